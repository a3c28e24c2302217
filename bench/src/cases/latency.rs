//! Request and response through a filtered port, with and without a stream beside them.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Case, Effort,
    routed_paths::{self, Found},
};
use crate::{
    cpu,
    daemon::Daemon,
    report::{Row, Target},
    routed_path::{FilterUnderTest, RoutedPath, instance},
    statistics::Samples,
    testbed::received,
};

#[derive(Debug)]
pub struct Latency;

const PORT: u16 = 7;
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// Bits a second of the stream beside: half of the machine's maximum.
const HEAVY: &str = "4G";
/// Bytes that must have come beside the exchanges of a round, or the load was none.
const LEAST: u64 = 10 << 20;

impl Case for Latency {
    fn name(&self) -> &'static str {
        "latency"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let paths = RoutedPath::all()?;
        let servers =
            paths.iter().map(|path| Daemon::start(&path.topology.instance, "iperf3", &["-s"]));
        let _servers: Vec<Daemon> = servers.collect::<Result<_>>()?;
        thread::sleep(Duration::from_millis(300));
        let exchanges = if effort.quick { 1000 } else { 3000 };
        for (load, heavy) in
            effort.sizes(&[("light load", false), ("heavy load", true)], &[("light load", false)])
        {
            let mut found = QUANTILES.map(|_| Vec::new());
            routed_paths::rounds(&paths, effort.rounds, |path| {
                let stream = heavy.then(|| stream(path)).transpose()?;
                let before = received(&path.topology.instance)?.bytes;
                let times = exchange(path, exchanges).with_context(|| path.filter.name())?;
                let bytes = received(&path.topology.instance)?.bytes - before;
                ensure!(!heavy || bytes > LEAST, "only {bytes} bytes came beside");
                drop(stream);
                for (found, (_, quantile)) in found.iter_mut().zip(QUANTILES) {
                    found.push((path.filter, times.quantile(quantile)));
                }
                Ok(0.0)
            })?;
            for (found, (name, _)) in found.into_iter().zip(QUANTILES) {
                let of = |filter| {
                    let of = found.iter().filter(|(other, _)| *other == filter);
                    (filter, of.map(|(_, time)| *time).collect())
                };
                let found = Found::new(crate::routed_path::FILTERS_UNDER_TEST.map(of).to_vec());
                let group = format!("{name}, {load}");
                rows.extend(found.rows(&group, "us"));
                let target = (name == "p99").then_some(Target::AtMost(1.05));
                let row = found.ratio(&group, FilterUnderTest::Nothing, target);
                let guarded = name == "p50";
                rows.push(if guarded { row.guard(effort, Target::AtMost(1.6)) } else { row });
            }
        }
        Ok(())
    }
}

fn stream(path: &RoutedPath) -> Result<Daemon> {
    let to = instance().to_string();
    let stream =
        Daemon::start(&path.topology.remote, "iperf3", &["-c", &to, "-t", "60", "-b", HEAVY])?;
    // Until it has found its pace.
    thread::sleep(Duration::from_millis(200));
    Ok(stream)
}

/// Microseconds.
fn exchange(path: &RoutedPath, exchanges: u32) -> Result<Samples> {
    let at = SocketAddr::new(instance(), PORT);
    let server = path.topology.instance.run(|| UdpSocket::bind(at))?;
    server.set_read_timeout(Some(Duration::from_millis(50)))?;
    let ended = AtomicBool::new(false);
    let before = path.passed()?;
    let times = thread::scope(|scope| {
        scope.spawn(|| {
            cpu::pin(cpu::measured());
            cpu::undisturbed(|| answer(&server, &ended));
        });
        let asking = || {
            cpu::pin(0);
            cpu::undisturbed(|| ask(at, exchanges))
        };
        let result = path.topology.remote.run(asking);
        ended.store(true, Ordering::Relaxed);
        result
    })?;
    let passed = path.passed()?.established - before.established;
    let all = 2 * u64::from(exchanges) - 1;
    ensure!(path.filter == FilterUnderTest::Nothing || passed >= all, "{passed} packets of {all}");
    Ok(times)
}

fn answer(server: &UdpSocket, ended: &AtomicBool) {
    let mut data = [0; 64];
    while !ended.load(Ordering::Relaxed) {
        if let Ok((length, peer)) = server.recv_from(&mut data) {
            // The one that waits for it says so if it does not come.
            let _ = server.send_to(&data[..length], peer);
        }
    }
}

fn ask(at: SocketAddr, exchanges: u32) -> io::Result<Samples> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(at)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut data = [0; 64];
    let mut once = |_| {
        let start = Instant::now();
        socket.send(&data[..32])?;
        socket.recv(&mut data)?;
        Ok(start.elapsed().as_nanos() as f64 / 1e3)
    };
    (0..exchanges).map(&mut once).collect()
}
