//! Memory of the agent, and of the BPF maps.

use std::{thread, time::Duration};

use anyhow::Result;
use sg_api::Applied;
use sg_common::Family;
use sg_datapath::map_sizes;
use sg_policy::compile::{Parameters, compile};
use sg_tests::{Agent, NetNs, ctl::file};

use super::{Case, Effort};
use crate::{
    lab::live,
    packets::{NEAR, name},
    report::{Row, Target},
    rules::{Rules, Ruleset},
    statistics::Samples,
};

#[derive(Debug)]
pub struct Memory;

const MEBIBYTE: f64 = (1 << 20) as f64;
const LIST: u32 = 100_000;

impl Case for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn run(&self, _effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let host = NetNs::new("memory");
        host.ip(&format!("link add {NEAR} type veth peer name far"));
        let mut agent = Agent::start(&host, &[]);
        let mut add = |group: &str, subject: &str, mebibytes: f64, most: Option<f64>| {
            let samples: Samples = [mebibytes].into_iter().collect();
            let row = Row::new(group, 0, subject, "MiB", &samples);
            rows.push(row.target(most.map(Target::AtMost)));
        };
        let apply = |agent: &Agent, ruleset: &Ruleset| {
            agent.ctl().json::<Applied>(&["apply", &file(ruleset.toml(NEAR, "").as_bytes())]);
        };
        // The agent gives back the memory of an apply when a second has passed without another.
        let resident = |agent: &Agent| {
            thread::sleep(Duration::from_secs(2));
            agent.rss() as f64 / 1024.0
        };
        apply(&agent, &Rules::Everyone.of(Family::V4));
        add("resident", "one rule", resident(&agent), Some(15.0));
        let maps = map_sizes(&agent.bpffs())?;
        for (name, bytes) in &maps {
            add("maps", name, *bytes as f64 / MEBIBYTE, None);
        }
        let all: usize = maps.iter().map(|(_, bytes)| bytes).sum();
        add("maps", "all", all as f64 / MEBIBYTE, Some(64.0));
        for family in Family::BOTH {
            let list = Rules::List(LIST).of(family);
            apply(&agent, &list);
            let of = format!("a list of {LIST}, {}", name(family));
            add("resident", &of, resident(&agent), Some(60.0));
            agent.kill();
            agent.restart();
            add("resident", &format!("{of}, restarted"), resident(&agent), Some(60.0));
            add("image", &of, image(&list)? as f64 / MEBIBYTE, Some(8.0));
        }
        Ok(())
    }
}

/// Bytes of compiled rules.
fn image(ruleset: &Ruleset) -> Result<usize> {
    let state = sg_policy::parse("rules.toml", ruleset.toml(NEAR, "").as_bytes())
        .map_err(|_| anyhow::anyhow!("invalid rules"))?;
    let live = live(1);
    let parameters = Parameters { ticks_per_1000s: 20_000, revision: 1, cut_since: 0 };
    let image =
        compile(&state, &[live], &parameters).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(image.words.len() * size_of::<u32>())
}
