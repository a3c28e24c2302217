//! Rounds over the three routed paths.

use anyhow::Result;

use crate::{
    report::{Row, Target},
    routed_path::{FilterUnderTest, RoutedPath},
    statistics::Samples,
};

/// The results of each routed path, round by round.
pub struct Found(Vec<(FilterUnderTest, Samples)>);

/// `measure` on each routed path in each round, another one first each time.
pub fn rounds(
    paths: &[RoutedPath],
    rounds: u64,
    mut measure: impl FnMut(&RoutedPath) -> Result<f64>,
) -> Result<Found> {
    let mut found: Vec<_> = paths.iter().map(|path| (path.filter, Samples::default())).collect();
    for round in 0..rounds as usize {
        for at in (0..paths.len()).map(|at| (at + round) % paths.len()) {
            found[at].1.push(measure(&paths[at])?);
        }
    }
    Ok(Found(found))
}

impl Found {
    pub fn new(found: Vec<(FilterUnderTest, Samples)>) -> Self {
        Self(found)
    }

    pub fn rows(&self, group: &str, unit: &'static str) -> Vec<Row> {
        self.0
            .iter()
            .map(|(filter, samples)| Row::new(group, 0, filter.name(), unit, samples))
            .collect()
    }

    /// Ours in parts of another.
    pub fn ratio(
        &self,
        group: &str,
        with: FilterUnderTest,
        target: impl Into<Option<Target>>,
    ) -> Row {
        let of =
            |filter| &self.0.iter().find(|(other, _)| *other == filter).expect("all took part").1;
        let ratio = of(FilterUnderTest::Sg).zip(of(with), |ours, others| ours / others);
        let subject = format!("{} : {}", FilterUnderTest::Sg.name(), with.name());
        Row::new(group, 0, subject, "x", &ratio).target(target)
    }
}
