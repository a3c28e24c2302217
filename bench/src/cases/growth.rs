//! The cost of a packet as things get more: rules, flows, interfaces, policies. Measured inside the
//! kernel, as in [`super::program`], and above the smallest number of each.

use anyhow::{Context as _, Result};
use sg_common::{
    Family,
    flow::{Addresses4, Addresses6, buckets_for, table_size},
};
use sg_datapath::testing::trial::Program;

use super::{Case, Effort};
use crate::{
    cpu,
    lab::{Lab, Path},
    memory_latency::MemoryLatency,
    packets::name,
    report::{Row, Target},
    statistics::Samples,
};

#[derive(Debug)]
pub struct Growth;

/// The thing that grows.
struct Axis {
    name: &'static str,
    numbers: &'static [u32],
    path: fn(u32) -> Path,
    /// Nanoseconds from the least number to the most.
    most: Option<f64>,
    /// Bytes of the table that one entry of is looked at.
    table: Option<fn(u32, Family) -> usize>,
}

const AXES: [Axis; 4] = [
    Axis {
        name: "rules",
        numbers: &[10, 100, 1000, 10_000, 100_000],
        path: Path::denied,
        most: Some(100.0),
        table: None,
    },
    Axis {
        name: "flows",
        numbers: &[1, 100, 1000, 10_000, 100_000, 1_000_000],
        path: Path::established,
        most: Some(150.0),
        table: Some(flow_table),
    },
    Axis {
        name: "interfaces",
        numbers: &[1, 10, 100, 1000],
        path: |interfaces| Path { interfaces, ..Path::denied(10) },
        most: Some(20.0),
        table: None,
    },
    Axis {
        name: "policies",
        numbers: &[1, 10, 100, 1000],
        path: |policies| Path { interfaces: policies, policies, ..Path::denied(10) },
        most: None,
        table: None,
    },
];

fn flow_table(flows: u32, family: Family) -> usize {
    let buckets = buckets_for(Path::established(flows).max_flows() as usize);
    match family {
        Family::V4 => table_size::<Addresses4>(buckets),
        Family::V6 => table_size::<Addresses6>(buckets),
    }
}

impl Case for Growth {
    fn name(&self) -> &'static str {
        "growth"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let axes = effort.sizes(&AXES, &AXES[..1]);
        for family in effort.sizes(&Family::BOTH, &[Family::V4]) {
            for axis in axes {
                grow(axis, *family, effort, rows).with_context(|| axis.name)?;
            }
        }
        Ok(())
    }
}

/// By the TC program, whose test runs are quick to begin, so that many interfaces can take turns.
fn grow(axis: &Axis, family: Family, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
    let group = format!("{}, {}", name(family), axis.name);
    let numbers = effort.sizes(axis.numbers, &[10, 10_000]);
    let mut found: Vec<Samples> = Vec::new();
    for number in numbers {
        let path = (axis.path)(*number);
        let samples = Lab::run(&path, |lab| {
            lab.prepare(&path, family)?;
            Ok(lab.time(Program::TcIn, family, &path, effort)?.0)
        });
        found.push(samples.with_context(|| format!("{group}: {number}"))?);
    }
    for (number, samples) in numbers.iter().zip(&found) {
        rows.push(Row::new(&group, u64::from(*number), "sg, TC", "ns", samples));
    }
    let row = Row::new(&group, 0, "from least to most", "ns", &growth(&found));
    let row = row.target(axis.most.map(Target::AtMost));
    rows.push(row.guard(effort, Target::AtMost(300.0)));
    let Some(table) = axis.table else { return Ok(()) };
    let mut found: Vec<Samples> = Vec::new();
    for number in numbers {
        let mut latency = MemoryLatency::new(table(*number, family), *number as usize)?;
        latency.time(*number);
        let turn = |_| cpu::undisturbed(|| latency.time(effort.packets));
        let samples: Samples = (0..effort.rounds).map(turn).collect();
        rows.push(Row::new(&group, u64::from(*number), BOUND, "ns", &samples));
        found.push(samples);
    }
    rows.push(Row::new(&group, 0, "from least to most of that", "ns", &growth(&found)));
    Ok(())
}

/// Nobody who looks an entry up, and waits for what it says, is faster.
const BOUND: &str = "one line of the table, waited for";

fn growth(found: &[Samples]) -> Samples {
    found[found.len() - 1].zip(&found[0], |most, least| most - least)
}
