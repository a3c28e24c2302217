//! What a program itself costs, above one that does nothing: BPF_PROG_TEST_RUN with another source
//! in each packet.

use anyhow::{Context as _, Result, ensure};
use sg_agent::datapath::{
    stopwatch::Stopwatch,
    trial::{self, Moved},
    varying::{MOST, Order, Sources},
};
use sg_common::{Direction, Family, Reason, counter};
use sg_policy::model::LiveInterface;
use sg_tests::differential::Rig;

use super::{Case, Effort};
use crate::{
    cpu,
    packets::{Kind, frame},
    report::{Row, Target},
    rules::{CLOSED, OPEN, Rules},
    statistics::Samples,
};

/// The flow table's capacity by default.
const DEFAULT_FLOWS: u32 = 262_144;
/// These get a table with twice as many lanes, as the documents advise.
const MANY_FLOWS: u32 = 1_000_000;

const HOOKS: [(trial::Program, &str); 2] =
    [(trial::Program::Xdp, "XDP"), (trial::Program::TcIn, "TC")];

#[derive(Debug)]
pub struct Program;

/// A way through the program.
#[derive(Clone, Copy)]
struct Path {
    name: &'static str,
    /// Rules or flows.
    at: u32,
    rules: Rules,
    kind: Kind,
    port: u16,
    /// What each packet gets. `None`: the interface is not filtered, so nothing is counted.
    reason: Option<Reason>,
    sources: u32,
    /// Nanoseconds.
    most: Option<f64>,
}

impl Path {
    const UNFILTERED: Self = Self {
        name: "not filtered",
        at: 0,
        rules: Rules::Everyone,
        kind: Kind::Datagram,
        port: OPEN,
        reason: None,
        sources: MOST,
        most: None,
    };
    const UNTRACKED: Self = Self {
        name: "untracked",
        reason: Some(Reason::Untracked),
        most: Some(15.0),
        ..Self::UNFILTERED
    };

    fn denied(rules: u32) -> Self {
        Self {
            name: "deny",
            at: rules,
            rules: Rules::Scattered(rules),
            kind: Kind::Syn,
            port: CLOSED,
            reason: Some(Reason::NoRule),
            most: [(1000, 25.0), (10_000, 40.0)].iter().find(|of| of.0 == rules).map(|of| of.1),
            ..Self::UNFILTERED
        }
    }

    fn established(flows: u32) -> Self {
        Self {
            name: "established",
            at: flows,
            rules: Rules::Senders,
            reason: Some(Reason::Flow),
            sources: flows,
            most: (flows == 1000).then_some(30.0),
            ..Self::UNFILTERED
        }
    }
}

impl Case for Program {
    fn name(&self) -> &'static str {
        "program"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let rules = effort.sizes(&[10, 1000, 10_000, 100_000], &[10, 10_000]);
        let flows = effort.sizes(&[1, 1000, 100_000], &[1, 1000]);
        let mut paths = vec![Path::UNFILTERED, Path::UNTRACKED];
        paths.extend(rules.iter().map(|rules| Path::denied(*rules)));
        paths.extend(flows.iter().map(|flows| Path::established(*flows)));
        rows.extend(measure_all(DEFAULT_FLOWS, &paths, effort)?);
        if !effort.quick {
            rows.extend(measure_all(2 * MANY_FLOWS, &[Path::established(MANY_FLOWS)], effort)?);
        }
        Ok(())
    }
}

/// With a flow table of this capacity.
fn measure_all(capacity: u32, paths: &[Path], effort: &Effort) -> Result<Vec<Row>> {
    Rig::with_capacity(capacity, |rig| {
        cpu::pin(cpu::measured());
        let mut rows = Vec::new();
        if capacity == DEFAULT_FLOWS {
            rows.extend(least(rig.ifindexes[1], effort)?);
        }
        for family in Family::BOTH {
            for path in paths {
                rows.extend(measure(rig, family, path, effort)?);
            }
        }
        Ok(rows)
    })
}

/// Both hooks, by turns.
fn measure(rig: &mut Rig, family: Family, path: &Path, effort: &Effort) -> Result<Vec<Row>> {
    let ifindex = rig.ifindexes[1];
    start(rig, family, path, ifindex)?;
    let mut rows = Vec::new();
    for (program, hook) in HOOKS {
        let group = format!("{hook}, {family:?}, {}", path.name);
        let (above, least) =
            time(rig, program, family, path, effort).with_context(|| group.clone())?;
        let mut row = Row::new(group, u64::from(path.at), "sg", "ns", &above);
        row.summary.least = least;
        rows.push(row.target(path.most.map(Target::AtMost)));
    }
    Ok(rows)
}

fn start(rig: &mut Rig, family: Family, path: &Path, ifindex: u32) -> Result<()> {
    let text = path.rules.toml(family, "[[interface]]\nname = \"left\"\ngroups = [\"bench\"]\n");
    let state = sg_policy::parse("rules.toml", text.as_bytes()).expect("valid rules");
    let live = LiveInterface {
        slot: 0,
        // One that no packet comes from.
        ifindex: if path.reason.is_some() { ifindex } else { rig.ifindexes[2] },
        entry: 0,
        addresses: vec![],
        ethernet: true,
        pickup_until: 0,
    };
    rig.start(&state, &[live]);
    if path.reason != Some(Reason::Flow) {
        return Ok(());
    }
    let opening = Sources { count: path.sources, order: Order::InTurn };
    let frame = frame(family, path.kind, path.port);
    let stopwatch = rig.datapath.stopwatch(trial::Program::Xdp, ifindex, &frame, opening)?;
    stopwatch.run(path.sources)?;
    let moved = rig.moved();
    let opened = counted(&moved, Reason::Rule);
    ensure!(opened == u64::from(path.sources), "{opened} of {} flows: {moved:?}", path.sources);
    Ok(())
}

/// How fast the machine is: an empty program, which the figures come on top of.
fn least(ifindex: u32, effort: &Effort) -> Result<Vec<Row>> {
    let frame = frame(Family::V4, Kind::Datagram, OPEN);
    let row = |(program, hook): (_, &str)| {
        let stopwatch = Stopwatch::of_least(program, ifindex, &frame)?;
        let turn = |_| cpu::undisturbed(|| stopwatch.run(effort.packets));
        let samples = (0..effort.rounds).map(turn).collect::<std::io::Result<Samples>>()?;
        Ok(Row::new(hook, 0, "an empty program", "ns", &samples))
    };
    HOOKS.map(row).into_iter().collect()
}

/// Nanoseconds above nothing, round by round, and the least of both compared.
fn time(
    rig: &mut Rig,
    program: trial::Program,
    family: Family,
    path: &Path,
    effort: &Effort,
) -> Result<(Samples, f64)> {
    let ifindex = rig.ifindexes[1];
    let frame = frame(family, path.kind, path.port);
    let sources = Sources { count: path.sources, order: Order::Random };
    let whole = rig.datapath.stopwatch(program, ifindex, &frame, sources)?;
    let empty = Stopwatch::of_nothing(program, ifindex, &frame, sources)?;
    let (mut with, mut without) = (Samples::default(), Samples::default());
    rig.moved();
    for round in 0..effort.rounds {
        let turn = |stopwatch: &Stopwatch| {
            stopwatch.restart(round);
            cpu::undisturbed(|| stopwatch.run(effort.packets))
        };
        with.push(turn(&whole)?);
        without.push(turn(&empty)?);
    }
    let packets = effort.rounds * u64::from(effort.packets);
    if let Some(reason) = path.reason {
        let moved = rig.moved();
        let counted = counted(&moved, reason);
        // Of a million flows in twice as many lanes, a few find none.
        let missing = packets.saturating_sub(counted);
        ensure!(
            counted <= packets && missing * 1000 <= if path.at > 1000 { packets } else { 0 },
            "{counted} of {packets} packets were {}: {moved:?}",
            reason.name()
        );
    } else {
        let moved = rig.moved();
        ensure!(moved.is_empty(), "not filtered, and yet counted: {moved:?}");
    }
    let least = with.summary().least - without.summary().least;
    Ok((with.zip(&without, |with, without| with - without), least))
}

/// Packets towards the machine that got this reason.
fn counted(moved: &[Moved], reason: Reason) -> u64 {
    let index = counter::index(Direction::Ingress, reason);
    moved.iter().filter(|moved| moved.index == index).map(|moved| moved.by.packets).sum()
}
