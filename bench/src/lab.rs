//! The cost of a program above one that does nothing: BPF_PROG_TEST_RUN with another source in each
//! packet.

use std::io;

use anyhow::{Context as _, Result, ensure};
use nix::net::if_::if_nametoindex;
use sg_common::{Direction, Family, Reason, counter};
use sg_datapath::testing::{
    stopwatch::Stopwatch,
    trial::{Moved, Program},
    varying::{MOST, Order, Sources},
};
use sg_policy::model::{DesiredState, LiveInterface};
use sg_tests::{ctl::file, differential::Rig};

use crate::{
    cases::Effort,
    cpu,
    packets::{Kind, frame},
    rules::{CLOSED, OPEN, Rules},
    statistics::Samples,
};

/// The flow table's capacity by default.
const DEFAULT_FLOWS: u32 = 262_144;

/// A way through a program.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub name: &'static str,
    /// Rules, flows: what there is much of.
    pub at: u32,
    pub rules: Rules,
    pub kind: Kind,
    pub port: u16,
    /// The reason of each packet. `None`: the interface is not filtered, so nothing is counted.
    pub reason: Option<Reason>,
    pub sources: u32,
    /// Interfaces that packets come from by turns.
    pub interfaces: u32,
    /// Sets of groups, as many as interfaces or one for all.
    pub policies: u32,
}

impl Path {
    pub const UNFILTERED: Self = Self {
        name: "not filtered",
        at: 0,
        rules: Rules::Everyone,
        kind: Kind::Datagram,
        port: OPEN,
        reason: None,
        sources: MOST,
        interfaces: 1,
        policies: 1,
    };
    pub const UNTRACKED: Self =
        Self { name: "untracked", reason: Some(Reason::Untracked), ..Self::UNFILTERED };

    pub fn denied(rules: u32) -> Self {
        Self {
            name: "deny",
            at: rules,
            rules: Rules::Scattered(rules),
            kind: Kind::Syn,
            port: CLOSED,
            reason: Some(Reason::NoRule),
            ..Self::UNFILTERED
        }
    }

    pub fn established(flows: u32) -> Self {
        Self {
            name: "established",
            at: flows,
            rules: Rules::Senders,
            reason: Some(Reason::Flow),
            sources: flows,
            ..Self::UNFILTERED
        }
    }

    /// The size of the flow table: twice the number of flows, as the documents advise.
    pub fn max_flows(&self) -> u32 {
        if self.reason == Some(Reason::Flow) {
            DEFAULT_FLOWS.max(2 * self.at)
        } else {
            DEFAULT_FLOWS
        }
    }

    fn state(&self, family: Family) -> DesiredState {
        let mut text = self.rules.of(family).toml("nic0", "");
        for policy in 1..self.policies {
            let port = 10_000 + policy;
            text += &format!(
                "[[security_group]]\nname = \"bench{policy}\"\n\
                 ingress = [{{ protocol = \"tcp\", ports = {port}, cidrs = [\"192.0.2.0/24\"] }}]\n\
                 [[interface]]\nname = \"nic{policy}\"\ngroups = [\"bench{policy}\"]\n"
            );
        }
        sg_policy::parse("rules.toml", text.as_bytes()).expect("valid rules")
    }
}

/// An interface as the agent tells the compiler of it.
pub fn live(ifindex: u32) -> LiveInterface {
    LiveInterface {
        slot: 0,
        ifindex,
        entry: 0,
        addresses: vec![],
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    }
}

/// Loaded programs, and interfaces.
pub struct Lab<'a> {
    rig: &'a mut Rig,
    ifindexes: Vec<u32>,
}

impl Lab<'_> {
    /// Programs with room for this path.
    pub fn run<T: Send>(
        path: &Path,
        action: impl FnOnce(&mut Lab<'_>) -> Result<T> + Send,
    ) -> Result<T> {
        let interfaces = path.interfaces;
        Rig::with_room(path.max_flows(), interfaces.max(4) as u16, |rig| {
            cpu::pin(cpu::measured());
            let ifindexes = links(interfaces)?;
            action(&mut Lab { rig, ifindexes })
        })
    }

    /// Nanoseconds of an empty program with one and the same packet: how fast the machine is.
    pub fn least(&self, program: Program, effort: &Effort) -> Result<Samples> {
        let frame = frame(Family::V4, Kind::Datagram, OPEN);
        let stopwatch = Stopwatch::of_least(program, self.ifindexes[0], &frame)?;
        let turn = |_| cpu::undisturbed(|| stopwatch.run(effort.packets));
        Ok((0..effort.rounds).map(turn).collect::<io::Result<Samples>>()?)
    }

    /// Puts the path's rules in force, and opens its flows.
    pub fn prepare(&mut self, path: &Path, family: Family) -> Result<()> {
        // Not filtered: the rules are for one that no packet comes from.
        let filtered =
            if path.reason.is_some() { &self.ifindexes[..] } else { &self.rig.ifindexes[..1] };
        let live: Vec<LiveInterface> = filtered
            .iter()
            .enumerate()
            .map(|(at, ifindex)| LiveInterface {
                slot: at as u16,
                entry: if path.policies > 1 { at } else { 0 },
                ..live(*ifindex)
            })
            .collect();
        self.rig.start(&path.state(family), &live);
        if path.reason != Some(Reason::Flow) {
            return Ok(());
        }
        let opening = Sources { count: path.sources, order: Order::InTurn };
        let frame = frame(family, path.kind, path.port);
        let ifindex = self.ifindexes[0];
        self.rig.datapath.stopwatch(Program::Xdp, ifindex, &frame, opening)?.run(path.sources)?;
        let moved = self.rig.moved();
        let opened = counted(&moved, Reason::Rule);
        ensure!(opened == u64::from(path.sources), "{opened} of {} flows: {moved:?}", path.sources);
        Ok(())
    }

    /// Nanoseconds above nothing, round by round, and the least of both compared.
    pub fn time(
        &mut self,
        program: Program,
        family: Family,
        path: &Path,
        effort: &Effort,
    ) -> Result<(Samples, f64)> {
        let frame = frame(family, path.kind, path.port);
        let sources = Sources { count: path.sources, order: Order::Random };
        let datapath = &self.rig.datapath;
        let (mut whole, mut empty) = (Vec::new(), Vec::new());
        for ifindex in &self.ifindexes {
            whole.push(datapath.stopwatch(program, *ifindex, &frame, sources)?);
            empty.push(Stopwatch::of_nothing(program, *ifindex, &frame, sources)?);
        }
        let each = effort.packets / self.ifindexes.len() as u32;
        let (mut with, mut without) = (Samples::default(), Samples::default());
        self.rig.moved();
        for round in 0..effort.rounds {
            let turn = |stopwatches: &[Stopwatch]| -> io::Result<f64> {
                stopwatches.iter().for_each(|stopwatch| stopwatch.restart(round));
                cpu::undisturbed(|| {
                    let times = stopwatches.iter().map(|stopwatch| stopwatch.run(each));
                    Ok(times.sum::<io::Result<f64>>()? / stopwatches.len() as f64)
                })
            };
            with.push(turn(&whole)?);
            without.push(turn(&empty)?);
        }
        let packets = effort.rounds * u64::from(each) * self.ifindexes.len() as u64;
        self.prove(path, packets).with_context(|| path.name)?;
        let least = with.summary().least - without.summary().least;
        Ok((with.zip(&without, |with, without| with - without), least))
    }

    /// Each packet got what the path is about.
    fn prove(&mut self, path: &Path, packets: u64) -> Result<()> {
        let moved = self.rig.moved();
        let Some(reason) = path.reason else {
            ensure!(moved.is_empty(), "not filtered, and yet counted: {moved:?}");
            return Ok(());
        };
        let counted = counted(&moved, reason);
        // A few of a million flows find no lane among twice as many.
        let missing = if path.at > 1000 { packets / 1000 } else { 0 };
        ensure!(
            counted <= packets && counted + missing >= packets,
            "{counted} of {packets} packets were {}: {moved:?}",
            reason.name()
        );
        Ok(())
    }
}

/// Makes `count` interfaces in the calling thread's namespace.
fn links(count: u32) -> Result<Vec<u32>> {
    if count > 1 {
        let pair = |i| format!("link add nic{i} type veth peer name nic{}\n", i + 1);
        let lines: String = (0..count).step_by(2).map(pair).collect();
        let status = std::process::Command::new("ip")
            .args(["-batch", &file(lines.as_bytes())])
            .status()
            .context("ip")?;
        ensure!(status.success(), "ip: {status}");
    }
    let name = |i| if count > 1 { format!("nic{i}") } else { "left".to_owned() };
    (0..count).map(|i| Ok(if_nametoindex(name(i).as_str())?)).collect()
}

/// Packets towards the machine that got this reason.
fn counted(moved: &[Moved], reason: Reason) -> u64 {
    let index = counter::index(Direction::Ingress, reason);
    moved.iter().filter(|moved| moved.index == index).map(|moved| moved.by.packets).sum()
}
