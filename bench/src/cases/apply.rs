//! How long a change takes: from the start of `sgctl` (or `nft`) to the first packet judged anew.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use sg_api::Applied;
use sg_common::Family;
use sg_tests::{Agent, ctl::file};

use super::{Case, Effort};
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
pub struct Apply;

const RULES: u32 = 10_000;
const ENTRIES: u32 = 100_000;

/// A change from one file to another, and back for the next round.
struct Change {
    name: &'static str,
    before: Ruleset,
    after: Ruleset,
    /// Milliseconds, by the number of interfaces.
    most: Option<fn(u32) -> f64>,
    /// Microseconds of `took_us`.
    most_inside: Option<f64>,
}

const SCATTERED: Ruleset = Rules::Scattered(RULES).of(Family::V4);
const LIST: Ruleset = Rules::List(ENTRIES).of(Family::V4);

const CHANGES: [Change; 4] = [
    Change {
        name: "a rule more",
        before: SCATTERED,
        after: Ruleset { probe: true, ..SCATTERED },
        most: Some(|interfaces| if interfaces > 100 { 25.0 } else { 20.0 }),
        most_inside: Some(5000.0),
    },
    Change {
        name: "10,000 other rules",
        before: Ruleset { other: true, ..SCATTERED },
        after: Ruleset { probe: true, ..SCATTERED },
        most: Some(|_| 50.0),
        most_inside: None,
    },
    Change {
        name: "a rule more beside a list of 100,000",
        before: LIST,
        after: Ruleset { probe: true, ..LIST },
        most: None,
        most_inside: None,
    },
    Change {
        name: "a list of 100,000 replaced",
        before: Ruleset { other: true, ..LIST },
        after: Ruleset { probe: true, ..LIST },
        most: Some(|_| 150.0),
        most_inside: None,
    },
];

impl Case for Apply {
    fn name(&self) -> &'static str {
        "apply"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        for interfaces in effort.sizes(&[1, 100, 1000], &[1]) {
            let ours = Ours::start(*interfaces)?;
            let changes = if *interfaces == 1 { &CHANGES[..] } else { &CHANGES[..1] };
            for change in effort.sizes(changes, &CHANGES[..1]) {
                ours.measure(change, effort, rows).with_context(|| change.name)?;
            }
            if *interfaces == 1 {
                ours.flush(effort, rows).context("flush")?;
            }
        }
        Ok(())
    }
}

/// A testbed with an agent and so many filtered interfaces.
struct Ours {
    agent: Agent,
    testbed: Testbed,
    interfaces: u32,
}

impl Ours {
    fn start(interfaces: u32) -> Result<Self> {
        let testbed = Testbed::new()?;
        let mut lines = String::new();
        for pair in 0..interfaces / 2 {
            let _ = writeln!(
                lines,
                "link add nic{} type veth peer name nic{}",
                2 * pair + 1,
                2 * pair + 2
            );
        }
        run(testbed.near(), "ip", &["-batch", &file(lines.as_bytes())])?;
        let agent = Agent::start(testbed.near(), &[]);
        Ok(Self { agent, testbed, interfaces })
    }

    fn toml(&self, ruleset: &Ruleset) -> String {
        file(ruleset.toml(if self.interfaces == 1 { NEAR } else { "nic*" }, "").as_bytes())
    }

    /// nft takes its turn beside it where there is but one interface, which it does not care about.
    fn measure(&self, change: &Change, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let ctl = self.agent.ctl();
        let [before, after] = [&change.before, &change.after].map(|ruleset| self.toml(ruleset));
        let theirs = (self.interfaces == 1 && !effort.quick).then(Theirs::new).transpose()?;
        let [mut whole, mut inside, mut of_nft] = [(); 3].map(|()| Samples::default());
        for _ in 0..effort.rounds / 3 {
            ctl.json::<Applied>(&["apply", &before]);
            let apply = || {
                let applied: Applied = ctl.json(&["apply", &after]);
                let filtered = applied.interfaces as u32;
                ensure!(applied.changed && filtered >= self.interfaces, "{applied:?}");
                Ok(applied.took_us)
            };
            let (took, took_us) = prober::time(&self.testbed, Until::Passes, || Ok(()), apply)?;
            whole.push(milliseconds(took));
            inside.push(took_us as f64);
            if let Some(theirs) = &theirs {
                of_nft.push(milliseconds(theirs.time(change)?));
            }
        }
        let at = u64::from(self.interfaces);
        let group = format!("{}, interfaces", change.name);
        let most = change.most.map(|most| Target::AtMost(most(self.interfaces)));
        let row = |subject, unit, samples: &Samples| Row::new(&group, at, subject, unit, samples);
        rows.push(
            row("sgctl apply", "ms", &whole).target(most).guard(effort, Target::AtMost(2000.0)),
        );
        rows.push(row("took_us", "us", &inside).target(change.most_inside.map(Target::AtMost)));
        if theirs.is_some() {
            rows.push(row("nft -f", "ms", &of_nft));
            let ratio = of_nft.zip(&whole, |theirs, ours| theirs / ours);
            rows.push(row("faster than nft", "x", &ratio).target(Target::AtLeast(4.0)));
        }
        Ok(())
    }

    /// A flow that the rules let no one open any more goes on until it is forgotten.
    fn flush(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let ctl = self.agent.ctl();
        let [closed, open] = [false, true].map(|probe| self.toml(&Ruleset { probe, ..SCATTERED }));
        let mut samples = Samples::default();
        for _ in 0..effort.rounds / 3 {
            ctl.json::<Applied>(&["apply", &open]);
            let close = || {
                ctl.json::<Applied>(&["apply", &closed]);
                Ok(())
            };
            let flush = || {
                ctl.run(&["flows", "flush"]).expect(0);
                Ok(())
            };
            let (took, ()) = prober::time(&self.testbed, Until::Drops, close, flush)?;
            samples.push(milliseconds(took));
        }
        let row = Row::new("flush", 0, "sgctl flows flush", "ms", &samples);
        rows.push(row.target(Target::AtMost(20.0)));
        Ok(())
    }
}

/// A testbed with nft.
struct Theirs(Testbed);

impl Theirs {
    fn new() -> Result<Self> {
        Testbed::new().map(Self)
    }

    fn time(&self, change: &Change) -> Result<Duration> {
        let [before, after] = [&change.before, &change.after]
            .map(|ruleset| file(nft::text(Form::Set, ruleset).as_bytes()));
        run(self.0.near(), "nft", &["-f", &before])?;
        let load = || run(self.0.near(), "nft", &["-f", &after]).map(drop);
        Ok(prober::time(&self.0, Until::Passes, || Ok(()), load)?.0)
    }
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}
