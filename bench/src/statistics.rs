//! Statistics over many rounds.

use serde::Serialize;

/// A value a round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// Samples in four numbers. The middle half lies between `low` and `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub least: f64,
    pub rounds: usize,
}

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Round by round.
    pub fn zip(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        self.0.iter().zip(&other.0).map(|(left, right)| of(*left, *right)).collect()
    }

    pub fn summary(&self) -> Summary {
        assert!(!self.0.is_empty(), "no rounds");
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Summary {
            median: quantile(&sorted, 0.5),
            low: quantile(&sorted, 0.25),
            high: quantile(&sorted, 0.75),
            least: sorted[0],
            rounds: sorted.len(),
        }
    }

    /// Value below which that share of the samples lies.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        quantile(&sorted, share)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Between neighbours, in proportion (Hyndman and Fan's type 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn quantiles() {
        let summary = samples(&[9.0, 1.0, 3.0, 2.0, 4.0]).summary();
        let expected = Summary { median: 3.0, low: 2.0, high: 4.0, least: 1.0, rounds: 5 };
        assert_eq!(summary, expected);
        assert_eq!(samples(&[1.0, 2.0]).summary().median, 1.5);
        assert_eq!(samples(&[7.0]).summary().high, 7.0);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let ratio = samples(&[2.0, 40.0, 6.0]).zip(&samples(&[1.0, 20.0, 3.0]), |a, b| a / b);
        assert_eq!(ratio.summary().least, 2.0);
        assert_eq!(ratio.summary().high, 2.0);
    }
}
