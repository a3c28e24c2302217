//! Two comparisons of passing packets. With no filter: the packet ends as near behind the filter as
//! can be. With the kernel's filters: the packet ends behind the IP stack for all.

use anyhow::Result;
use sg_common::Family;
use sg_tests::Datapath;

use super::{
    Effort,
    turns::{Outcome, Traffic, Turn, Turns},
};
use crate::{
    contenders::{Contender, Task},
    packets::name,
    report::{Row, Target},
    testbed::Sink,
};

const XDP: Contender = Contender::Sg(Datapath::Xdp);
const TC: Contender = Contender::Sg(Datapath::Tc);

/// A kind of traffic that passes, and what it has to reach.
pub struct Passing<'a> {
    pub what: &'a str,
    pub family: Family,
    /// Flows or so.
    pub at: u64,
    pub task: Task,
    pub traffic: Traffic<'a>,
    /// The target against a bare pass.
    pub of_nothing: f64,
    /// Others that filter before the TC sink, beside ours.
    pub early: &'a [Contender],
    /// Filters of the kernel, and how many times the fastest one's rate.
    pub others: &'a [Contender],
    pub than_others: f64,
    /// Quick mode's limits, instead of the targets.
    pub guards: [f64; 2],
}

impl Passing<'_> {
    /// `prepare` opens flows, say, before anything is in the packets' way behind the filter.
    pub fn measure(
        &self,
        effort: &Effort,
        rows: &mut Vec<Row>,
        prepare: impl Fn(&mut Turns) -> Result<()>,
        proof: impl Fn(&Turn, &Outcome) -> Result<()>,
    ) -> Result<()> {
        let Self { what, family, at, .. } = *self;
        let turns_at = |sink, contenders: &[Contender]| {
            let mut turns = Turns::of(contenders, &self.task)?;
            prepare(&mut turns)?;
            turns.sink(sink)?;
            let outcomes = turns.run(&self.traffic, effort)?;
            for (turn, outcome) in turns.0.iter().zip(&outcomes) {
                if turn.contender.filters() {
                    proof(turn, outcome)?;
                }
            }
            Ok::<Turns, anyhow::Error>(turns)
        };
        let bounds = [Contender::XdpPass, XDP, Contender::Nothing, TC];
        let near = turns_at(Sink::Tc, &[&bounds[..], self.early].concat())?;
        let group = format!("{}, {what}, sink at TC", name(family));
        rows.extend(near.rows(&group, at));
        for (of, with) in [(XDP, Contender::XdpPass), (TC, Contender::Nothing)] {
            rows.push(
                compare(&near, &group, at, of, with)
                    .target(Target::AtLeast(self.of_nothing))
                    .guard(effort, Target::AtLeast(self.guards[0])),
            );
        }
        for early in self.early {
            rows.push(compare(&near, &group, at, XDP, *early));
        }
        let contenders = [&[Contender::Nothing, XDP, TC], self.others].concat();
        let far = turns_at(Sink::Ip, &contenders)?;
        let group = format!("{}, {what}, sink behind the IP stack", name(family));
        rows.extend(far.rows(&group, at));
        let best = far.best(self.others);
        rows.push(compare(&far, &group, at, XDP, best));
        rows.push(
            compare(&far, &group, at, TC, best)
                .target(Target::AtLeast(self.than_others))
                .guard(effort, Target::AtLeast(self.guards[1])),
        );
        Ok(())
    }
}

fn compare(turns: &Turns, group: &str, at: u64, of: Contender, with: Contender) -> Row {
    let subject = format!("{} : {}", of.name(), with.name());
    Row::new(group, at, subject, "x", &turns.rate(of, with))
}
