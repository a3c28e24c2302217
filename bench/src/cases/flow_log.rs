//! The cost of the flow log under a flood: the agent's CPU time while packets from random sources
//! are dropped, as many as one CPU can send.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use sg_common::Family;
use sg_datapath::testing::varying::{MOST, Order, Sources};
use sg_tests::{Agent, ctl::file, sandbox, tools::Running};

use super::{Case, Effort};
use crate::{
    packets::{Kind, NEAR, frame},
    report::{Row, Target},
    rules::{CLOSED, Rules},
    statistics::Samples,
    testbed::Testbed,
};

#[derive(Debug)]
pub struct FlowLog;

/// Seconds of a window: short enough that some windows close while it is measured.
const INTERVAL: &str = "10";
/// Packets between two looks at the clock.
const BURST: u32 = 50_000;

impl Case for FlowLog {
    fn name(&self) -> &'static str {
        "flow_log"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let log = sandbox::directory("log").join("flows.log");
        let log = log.to_str().context("a path")?;
        let to_file = ["--flow-log", log, "--flow-log-interval", INTERVAL];
        measure("no flow log", &["--flow-log", "off"], false, effort, rows)?;
        measure("to a file", &to_file, false, effort, rows)?;
        measure("to a file, followed", &to_file, true, effort, rows)
    }
}

fn measure(
    what: &str,
    flags: &[&str],
    is_followed: bool,
    effort: &Effort,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let testbed = Testbed::new()?;
    let agent = Agent::start(testbed.near(), flags);
    let rules = Rules::Scattered(1000).of(Family::V4).toml(NEAR, "datapath = \"xdp\"");
    agent.ctl().run(&["apply", &file(rules.as_bytes())]).expect(0);
    let _follower = is_followed.then(|| {
        let mut command: Command = agent.ctl().command();
        Running::start(command.args(["log", "--follow"]).stdout(Stdio::null()))
    });
    let frame = frame(Family::V4, Kind::Syn, CLOSED);
    let sources = Sources { count: MOST, order: Order::Random };
    let mut generator = testbed.generator(&frame, sources)?;
    let time = Duration::from_secs(if effort.quick { 11 } else { 31 });
    let (used, began) = (cpu_time(&agent)?, Instant::now());
    let before = dropped(&agent);
    while began.elapsed() < time {
        testbed.burst(&mut generator, BURST)?;
    }
    let took = began.elapsed().as_secs_f64();
    let used = (cpu_time(&agent)? - used).as_secs_f64();
    let rate = (dropped(&agent) - before) as f64 / took;
    ensure!(rate > 10_000.0, "only {rate} packets a second were dropped");
    let mut add = |subject: String, unit, value: f64, target: Option<f64>| {
        let samples: Samples = [value].into_iter().collect();
        rows.push(
            Row::new("a flood", 0, subject, unit, &samples).target(target.map(Target::AtMost)),
        );
    };
    add(format!("{what}: dropped"), "M/s", rate / 1e6, None);
    // The agent's part of a CPU, its other work included.
    add(format!("{what}: agent's part of a CPU"), "%", 100.0 * used / took, Some(5.0));
    Ok(())
}

fn dropped(agent: &Agent) -> u64 {
    let status = agent.ctl().status();
    let interfaces = status.interfaces.iter();
    interfaces.flat_map(|it| it.ingress.dropped.values()).map(|count| count.packets).sum()
}

/// Time that the process has had on CPUs.
fn cpu_time(agent: &Agent) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid()))?;
    // The name may have spaces in it; utime and stime are fields 14 and 15, state is 3.
    let (_, rest) = stat.rsplit_once(") ").context("a stat line")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // In USER_HZ, which is 100.
    Ok(Duration::from_millis(ticks * 10))
}
