//! TCP connections a second through a filtered port, one after the other.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

use super::{Case, Effort, routed_paths};
use crate::{
    cpu,
    report::{Row, Target},
    routed_path::{FilterUnderTest, RoutedPath, instance},
};

#[derive(Debug)]
pub struct Connections;

const PORT: u16 = 80;

impl Case for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn run(&self, effort: &Effort, rows: &mut Vec<Row>) -> Result<()> {
        let paths = RoutedPath::all()?;
        let time = Duration::from_millis(if effort.quick { 100 } else { 400 });
        let found = routed_paths::rounds(&paths, effort.rounds, |path| a_second(path, time))?;
        rows.extend(found.rows("", "/s"));
        for with in [FilterUnderTest::Nothing, FilterUnderTest::Nft] {
            let row = found.ratio("", with, Target::AtLeast(0.95));
            rows.push(row.guard(effort, Target::AtLeast(0.5)));
        }
        Ok(())
    }
}

/// Each is opened, ended by the server, and then reset by the client, so that nothing is left behind.
fn a_second(path: &RoutedPath, time: Duration) -> Result<f64> {
    let at = SocketAddr::new(instance(), PORT);
    let listener = path.topology.instance.run(|| TcpListener::bind(at))?;
    let ended = AtomicBool::new(false);
    let before = path.passed()?;
    let (count, took) = thread::scope(|scope| -> Result<_> {
        scope.spawn(|| {
            cpu::pin(cpu::measured());
            cpu::undisturbed(|| {
                let mut streams = listener.incoming();
                while streams.next().is_some() && !ended.load(Ordering::Relaxed) {}
            });
        });
        let connecting = || {
            cpu::pin(0);
            cpu::undisturbed(|| connect_for(at, time))
        };
        let result = path.topology.remote.run(connecting);
        ended.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        let last = path.topology.remote.run(|| TcpStream::connect(at));
        last?;
        result
    })?;
    let opened = path.passed()?.opening - before.opening;
    ensure!(
        path.filter == FilterUnderTest::Nothing || opened >= count,
        "{opened} opened for {count}"
    );
    Ok(count as f64 / took.as_secs_f64())
}

fn connect_for(at: SocketAddr, time: Duration) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < time {
        let mut stream = TcpStream::connect(at)?;
        // Waits for the server's end, or its queue would run over.
        ensure!(stream.read(&mut [0])? == 0, "data from a server that sends none");
        let reset = libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream, sockopt::Linger, &reset)?;
        count += 1;
    }
    Ok((count, start.elapsed()))
}
