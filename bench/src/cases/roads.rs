//! Rounds over the three roads.

use anyhow::Result;

use crate::{
    report::{Row, Target},
    road::{Gate, Road},
    statistics::Samples,
};

/// What each road gave, round by round.
pub struct Found(Vec<(Gate, Samples)>);

/// `measure` on each road in each round, another one first each time.
pub fn rounds(
    roads: &[Road],
    rounds: u64,
    mut measure: impl FnMut(&Road) -> Result<f64>,
) -> Result<Found> {
    let mut found: Vec<_> = roads.iter().map(|road| (road.gate, Samples::default())).collect();
    for round in 0..rounds as usize {
        for at in (0..roads.len()).map(|at| (at + round) % roads.len()) {
            found[at].1.push(measure(&roads[at])?);
        }
    }
    Ok(Found(found))
}

impl Found {
    pub fn new(found: Vec<(Gate, Samples)>) -> Self {
        Self(found)
    }

    pub fn rows(&self, group: &str, unit: &'static str) -> Vec<Row> {
        self.0
            .iter()
            .map(|(gate, samples)| Row::new(group, 0, gate.name(), unit, samples))
            .collect()
    }

    /// Ours in parts of another.
    pub fn ratio(&self, group: &str, with: Gate, target: impl Into<Option<Target>>) -> Row {
        let of = |gate| &self.0.iter().find(|(other, _)| *other == gate).expect("all took part").1;
        let ratio = of(Gate::Sg).zip(of(with), |ours, others| ours / others);
        let subject = format!("{} : {}", Gate::Sg.name(), with.name());
        Row::new(group, 0, subject, "x", &ratio).target(target)
    }
}
