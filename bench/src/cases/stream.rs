//! TCP streams by iperf3 through a filtered port.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{Case, Effort, routed_paths};
use crate::{
    daemon::Daemon,
    report::{Row, Target},
    routed_path::{FilterUnderTest, RoutedPath, instance},
    testbed::run,
};

#[derive(Debug)]
pub struct Stream;

impl Case for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let paths = RoutedPath::all()?;
        let servers =
            paths.iter().map(|path| Daemon::start(&path.topology.instance, "iperf3", &["-s"]));
        let _servers: Vec<Daemon> = servers.collect::<Result<_>>()?;
        thread::sleep(Duration::from_millis(300));
        for mtu in effort.sizes(&[1500, 9001], &[1500]) {
            paths.iter().for_each(|path| path.set_mtu(*mtu));
            for streams in effort.sizes(&["1", "8"], &["1"]) {
                for towards_instance in effort.sizes(&[true, false], &[true]) {
                    let way = if *towards_instance { "to" } else { "from" };
                    let group = format!("{streams} {way} the instance, MTU {mtu}");
                    let found = routed_paths::rounds(&paths, effort.rounds / 3, |path| {
                        gigabits(path, streams, *towards_instance)
                    })
                    .with_context(|| group.clone())?;
                    rows.extend(found.rows(&group, "Gbit/s"));
                    for with in [FilterUnderTest::Nothing, FilterUnderTest::Nft] {
                        let row = found.ratio(&group, with, Target::AtLeast(0.95));
                        rows.push(row.guard(effort, Target::AtLeast(0.3)));
                    }
                }
            }
        }
        Ok(())
    }
}

fn gigabits(path: &RoutedPath, streams: &str, towards_instance: bool) -> Result<f64> {
    let to = instance().to_string();
    let mut args = vec!["-J", "-c", &to, "-t", "1", "-P", streams];
    if !towards_instance {
        args.push("-R");
    }
    let before = path.passed()?;
    let text = run(&path.topology.remote, "iperf3", &args)?;
    let said: serde_json::Value = serde_json::from_str(&text)?;
    let received = &said["end"]["sum_received"];
    let bits =
        received["bits_per_second"].as_f64().with_context(|| format!("cannot read {text}"))?;
    let bytes = received["bytes"].as_u64().unwrap_or(0);
    // Packets of 64 KiB at most: all that iperf3 counted came this way.
    let passed = path.passed()?.established - before.established;
    ensure!(
        path.filter == FilterUnderTest::Nothing || passed * 65_536 >= bytes,
        "{passed} packets, {bytes} bytes"
    );
    Ok(bits / 1e9)
}
