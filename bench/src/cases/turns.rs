//! Contenders at testbeds of their own that take a burst each, round by round.

use anyhow::{Context as _, Result, ensure};
use sg_datapath::testing::varying::{Order, Sources};

use sg_common::Family;

use super::Effort;
use crate::{
    contenders::{Contender, Did, Filter, Task},
    echo,
    report::Row,
    statistics::Samples,
    testbed::{Sink, Testbed},
};

#[derive(Default)]
pub struct Turns(pub Vec<Turn>);

pub struct Turn {
    pub contender: Contender,
    // Goes before the testbed's namespaces do.
    pub filter: Box<dyn Filter>,
    pub testbed: Testbed,
    /// Nanoseconds a packet.
    samples: Samples,
}

/// The packets of all turns.
pub struct Traffic<'a> {
    pub frame: &'a [u8],
    pub sources: Sources,
    /// In turn: from this source on.
    pub from: u64,
}

/// A contender's counts over all rounds.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub contender: Contender,
    pub sent: u64,
    pub did: Did,
}

impl Outcome {
    /// An error unless the contender did this with all packets.
    pub fn is(&self, expected: impl Fn(u64) -> Did) -> Result<()> {
        self.did.is(expected(self.sent)).with_context(|| self.contender.name())
    }
}

/// Nanoseconds that a burst takes at least, so that its begin and end do not count.
const BURST: f64 = 8e6;

impl Turns {
    pub fn of(contenders: &[Contender], task: &Task) -> Result<Self> {
        let turn = |contender: &Contender| {
            let testbed = Testbed::new()?;
            let filter = contender
                .install(&testbed, task)
                .with_context(|| format!("installing {}", contender.name()))?;
            Ok(Turn { contender: *contender, filter, testbed, samples: Samples::default() })
        };
        contenders.iter().map(turn).collect::<Result<_>>().map(Self)
    }

    /// Gives everything that passes an end behind the filter.
    pub fn sink(&mut self, sink: Sink) -> Result<()> {
        self.0.iter_mut().try_for_each(|turn| turn.testbed.sink(sink))
    }

    /// All rounds. An error unless everything arrived, and what passed came to the sink.
    pub fn run(&mut self, traffic: &Traffic<'_>, effort: &Effort) -> Result<Vec<Outcome>> {
        let mut running = Vec::new();
        for turn in &self.0 {
            let mut generator = turn.testbed.generator(traffic.frame, traffic.sources)?;
            generator.restart(traffic.from);
            turn.testbed.burst(&mut generator, 1000)?;
            let first = turn.testbed.burst(&mut generator, 1000)?;
            let packets = ((BURST / first) as u32).clamp(500, effort.packets);
            running.push((generator, packets, Before::of(turn)?));
        }
        let contenders = self.0.len();
        for round in 0..effort.rounds {
            // Another one begins each time.
            for at in (0..contenders).map(|at| (at + round as usize) % contenders) {
                let (generator, packets, ..) = &mut running[at];
                if traffic.sources.order == Order::Random {
                    generator.restart(round);
                }
                let turn = &mut self.0[at];
                turn.samples.push(turn.testbed.burst(generator, *packets)?);
            }
        }
        let mut outcomes = Vec::new();
        for (turn, (_, packets, before)) in self.0.iter().zip(&running) {
            let sent = effort.rounds * u64::from(*packets);
            let outcome = before.outcome(turn, sent);
            outcomes.push(outcome.with_context(|| turn.contender.name())?);
        }
        Ok(outcomes)
    }

    pub fn rows(&self, group: &str, at: u64) -> Vec<Row> {
        let row = |turn: &Turn| Row::new(group, at, turn.contender.name(), "ns", &turn.samples);
        self.0.iter().map(row).collect()
    }

    /// Packets a second of one in packets of another.
    pub fn rate(&self, of: Contender, in_those_of: Contender) -> Samples {
        self.samples(in_those_of).zip(self.samples(of), |other, this| other / this)
    }

    /// The fastest of those that took part.
    pub fn best(&self, of: &[Contender]) -> Contender {
        let took_part = self.0.iter().filter(|turn| of.contains(&turn.contender));
        let median = |turn: &&Turn| turn.samples.summary().median;
        let best = took_part.min_by(|a, b| median(a).total_cmp(&median(b)));
        best.expect("one took part").contender
    }

    fn samples(&self, of: Contender) -> &Samples {
        let found = self.0.iter().find(|turn| turn.contender == of);
        &found.expect("it took part").samples
    }
}

impl Turn {
    pub fn open_flows(&self, family: Family, flows: u32) -> Result<()> {
        let opened = echo::open_flows(&self.testbed, family, flows);
        opened.with_context(|| format!("opening flows through {}", self.contender.name()))
    }
}

/// The counts before the rounds.
struct Before {
    did: Did,
    received: u64,
    sunk: Option<u64>,
}

impl Before {
    fn of(turn: &Turn) -> Result<Self> {
        let Turn { filter, testbed, .. } = turn;
        Ok(Self { did: filter.did(testbed)?, received: testbed.received()?, sunk: testbed.sunk()? })
    }

    /// A few packets may be lost before the filter, where a queue is full, and a few more may come:
    /// the machines look for IPv6 neighbours when they will.
    fn outcome(&self, turn: &Turn, sent: u64) -> Result<Outcome> {
        let now = Self::of(turn)?;
        let nearly = |count: u64, all: u64| count.abs_diff(all) * 1000 <= all;
        let arrived = now.received - self.received;
        ensure!(nearly(arrived, sent), "{arrived} of {sent} arrived");
        let did = now.did.since(self.did);
        if let (Some(now), Some(before)) = (now.sunk, self.sunk) {
            let (passed, sunk) = (sent - did.dropped, now - before);
            ensure!(nearly(sunk, passed), "{sunk} of {passed} came to the sink");
        }
        Ok(Outcome { contender: turn.contender, sent, did })
    }
}
