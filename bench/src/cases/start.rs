//! From the start of the program to the first packet that is judged by saved rules.

use anyhow::{Result, ensure};
use sg_api::Applied;
use sg_common::Family;
use sg_tests::{Agent, Ran, ctl::file};

use super::{Case, Effort, apply::milliseconds};
use crate::{
    contenders::nft::{self, Form},
    packets::NEAR,
    prober::{self, Until},
    report::{Row, Target},
    rules::{Rules, Ruleset},
    statistics::Samples,
    testbed::{Testbed, run},
};

#[derive(Debug)]
pub struct Start;

const RULES: Ruleset = Rules::Scattered(10_000).of(Family::V4);

impl Case for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let (ours, theirs) = (Testbed::new()?, Testbed::new()?);
        let mut agent = Agent::start(ours.near(), &[]);
        agent.ctl().json::<Applied>(&["apply", &file(RULES.toml(NEAR, "").as_bytes())]);
        let nft = file(nft::text(Form::Set, &RULES).as_bytes());
        let (mut of_agent, mut of_nft) = (Samples::default(), Samples::default());
        for _ in 0..effort.rounds / 3 {
            agent.terminate();
            let detached = Ran::of(&mut agent.command(&["detach"]));
            ensure!(detached.status == Some(0), "{detached:?}");
            let start = || {
                agent.restart();
                Ok(())
            };
            of_agent.push(milliseconds(prober::time(&ours, Until::Drops, || Ok(()), start)?.0));
            let load = || run(theirs.near(), "nft", &["-f", &nft]).map(drop);
            of_nft.push(milliseconds(prober::time(&theirs, Until::Drops, || Ok(()), load)?.0));
            run(theirs.near(), "nft", &["flush", "ruleset"])?;
        }
        let row = |subject, unit, samples: &Samples| Row::new("", 0, subject, unit, samples);
        let ours = row("sg-agent", "ms", &of_agent).target(Target::AtMost(100.0));
        rows.push(ours.guard(effort, Target::AtMost(15_000.0)));
        rows.push(row("nft -f", "ms", &of_nft));
        let ratio = of_nft.zip(&of_agent, |theirs, ours| theirs / ours);
        rows.push(row("faster than nft", "x", &ratio).target(Target::AtLeast(1.0)));
        Ok(())
    }
}
