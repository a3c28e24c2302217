//! The cases. Each says what it measures, proves that it did, and what it has to reach.

mod apply;
mod connections;
mod deny;
mod established;
mod flow_log;
mod growth;
mod latency;
mod memory;
mod new_flows;
mod passing;
mod program;
mod routed_paths;
mod start;
mod stream;
mod turns;
mod untracked;

use std::fmt::Debug;

use anyhow::Result;

use crate::report::Row;

pub trait Case: Debug + Sync {
    fn name(&self) -> &'static str;

    /// Adds what it finds. Fails if the contenders did not do what the case is about.
    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()>;
}

pub const CASES: &[&dyn Case] = &[
    &program::Program,
    &deny::Deny,
    &established::Established,
    &untracked::Untracked,
    &new_flows::NewFlows,
    &stream::Stream,
    &connections::Connections,
    &latency::Latency,
    &apply::Apply,
    &start::Start,
    &memory::Memory,
    &growth::Growth,
    &flow_log::FlowLog,
];

/// How much is done for a figure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// All contenders take their turn in each.
    pub rounds: u64,
    /// Packets a turn.
    pub packets: u32,
    /// Only what guards against a fall, not what makes a curve.
    pub quick: bool,
}

impl Effort {
    pub const FULL: Self = Self { rounds: 25, packets: 50_000, quick: false };
    pub const QUICK: Self = Self { rounds: 9, packets: 20_000, quick: true };

    /// The sizes to measure: all, or in quick mode the first and the one that decides.
    pub fn sizes<'a, T>(&self, full: &'a [T], quick: &'a [T]) -> &'a [T] {
        if self.quick { quick } else { full }
    }
}

pub fn named(name: &str) -> Result<&'static dyn Case, String> {
    CASES.iter().find(|case| case.name() == name).copied().ok_or_else(|| {
        let names: Vec<_> = CASES.iter().map(|case| case.name()).collect();
        format!("no such case; there are: {}", names.join(", "))
    })
}
