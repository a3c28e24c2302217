//! Contenders at sites of their own that take a burst each, round by round.

use anyhow::{Context as _, Result, ensure};
use sg_agent::datapath::{generator::Generator, varying::Sources};
use sg_common::Family;

use super::Effort;
use crate::{
    contenders::{Contender, Did, Filter},
    report::Row,
    rules::Rules,
    site::Site,
    statistics::Samples,
};

#[derive(Default)]
pub struct Turns(Vec<Turn>);

pub struct Turn {
    contender: Contender,
    pub site: Site,
    // Before the site's namespaces go.
    pub filter: Box<dyn Filter>,
    /// Nanoseconds a packet.
    samples: Samples,
}

/// Nanoseconds that a burst takes at least, so that its begin and end do not count.
const BURST: f64 = 8e6;

impl Turns {
    /// With what packets that pass meet behind the filter.
    pub fn add(
        &mut self,
        contender: Contender,
        rules: Rules,
        family: Family,
        sink: Option<fn(&mut Site) -> Result<()>>,
    ) -> Result<()> {
        let mut site = Site::new()?;
        let filter = contender
            .install(&site, rules, family)
            .with_context(|| format!("installing {}", contender.name()))?;
        if let Some(sink) = sink {
            sink(&mut site)?;
        }
        self.0.push(Turn { contender, site, filter, samples: Samples::default() });
        Ok(())
    }

    /// All rounds; then each must have done with every packet what is `expected` of so many.
    pub fn run(
        &mut self,
        frame: &[u8],
        sources: Sources,
        effort: &Effort,
        expected: impl Fn(u64) -> Did,
    ) -> Result<()> {
        let mut running = Vec::new();
        for turn in &self.0 {
            let mut generator = turn.site.generator(frame, sources)?;
            turn.site.burst(&mut generator, 1000)?;
            let first = turn.site.burst(&mut generator, 1000)?;
            let packets = (BURST / first) as u32;
            let packets = packets.clamp(500, effort.packets);
            running.push((generator, packets, turn.filter.did(&turn.site)?, turn.site.received()?));
        }
        let contenders = self.0.len();
        for round in 0..effort.rounds {
            // Another one begins each time.
            for at in (0..contenders).map(|at| (at + round as usize) % contenders) {
                let (generator, packets, ..) = &mut running[at];
                self.0[at].burst(generator, *packets, round)?;
            }
        }
        for (turn, (_, packets, before, received)) in self.0.iter().zip(&running) {
            let sent = effort.rounds * u64::from(*packets);
            let arrived = turn.site.received()? - received;
            let did = turn.filter.did(&turn.site)?.since(*before);
            let name = turn.contender.name();
            // A few may be lost before the filter, where a queue is full.
            ensure!(arrived * 1000 >= sent * 999, "{name}: only {arrived} of {sent} arrived");
            did.is(expected(sent)).with_context(|| format!("{name}, {sent} packets"))?;
        }
        Ok(())
    }

    pub fn rows(&self, group: &str, at: u64) -> Vec<Row> {
        let row = |turn: &Turn| Row::new(group, at, turn.contender.name(), "ns", &turn.samples);
        self.0.iter().map(row).collect()
    }

    fn samples(&self, of: Contender) -> &Samples {
        let found = self.0.iter().find(|turn| turn.contender == of);
        &found.expect("it took part").samples
    }
}

impl Turn {
    fn burst(&mut self, generator: &mut Generator, packets: u32, round: u64) -> Result<()> {
        generator.restart(round);
        self.samples.push(self.site.burst(generator, packets)?);
        Ok(())
    }
}

/// Packets a second of one in packets of another.
pub fn rate(turns: &Turns, of: Contender, in_those_of: Contender) -> Samples {
    turns.samples(in_those_of).zip(turns.samples(of), |other, this| other / this)
}

/// The fastest of those that took part.
pub fn best(turns: &Turns, of: &[Contender]) -> Contender {
    let took_part = turns.0.iter().filter(|turn| of.contains(&turn.contender));
    let median = |turn: &&Turn| turn.samples.summary().median;
    let best = took_part.min_by(|a, b| median(a).total_cmp(&median(b)));
    best.expect("one took part").contender
}
