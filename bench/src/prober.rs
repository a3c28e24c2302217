//! When a change is in force, as packets see it: datagrams from the remote machine all the time, each
//! with the time at which it was sent.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use sg_common::Family;
use sg_tests::V4;

use crate::{cpu, packets::instance, testbed::Testbed};

/// The port that datagrams go to.
pub const PORT: u16 = 7;
/// Who sends them, as rules name it.
pub const FROM: &str = "10.9.0.10/32";

/// Between two datagrams, and with it how exact an answer is.
const PACE: Duration = Duration::from_micros(50);
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing came for so long: nothing will.
const SILENCE: Duration = Duration::from_millis(30);

/// The event that ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The first datagram passes.
    Passes,
    /// None passes any more.
    Drops,
}

/// Times are nanoseconds since the prober's start; 0 is never.
#[derive(Clone, Copy, Default)]
struct Seen {
    first: u64,
    last: u64,
}

/// How long after the beginning of `change` the first datagram was sent that got its new verdict, and
/// what `change` returned. `prepare` runs when datagrams are on their way already.
pub fn time<T>(
    testbed: &Testbed,
    until: Until,
    prepare: impl FnOnce() -> Result<()>,
    change: impl FnOnce() -> Result<T>,
) -> Result<(Duration, T)> {
    let at = SocketAddr::new(instance(Family::V4), PORT);
    let receiver = testbed.near().run(|| UdpSocket::bind(at)).context("the receiver")?;
    receiver.set_read_timeout(Some(Duration::from_millis(5)))?;
    // A port of its own: no flow of an earlier round goes on.
    let from = SocketAddr::new(V4.remote, 0);
    let sender = testbed.topology.remote.run(|| UdpSocket::bind(from)).context("the sender")?;
    sender.connect(at)?;
    let (start, ended, seen) =
        (Instant::now(), AtomicBool::new(false), Mutex::new(Seen::default()));
    let now = || start.elapsed().as_nanos() as u64;
    let seen_now = || *seen.lock().expect("no panic");
    thread::scope(|scope| {
        scope.spawn(|| cpu::undisturbed(|| send(&sender, &ended, now)));
        scope.spawn(|| cpu::undisturbed(|| receive(&receiver, &ended, &seen)));
        let result = (|| {
            thread::sleep(2 * SILENCE);
            prepare()?;
            thread::sleep(2 * SILENCE);
            let deadline = Instant::now() + PATIENCE;
            while (seen_now().last + SILENCE.as_nanos() as u64 > now()) != (until == Until::Drops) {
                ensure!(Instant::now() < deadline, "not what was expected before the change");
                thread::sleep(SILENCE / 3);
            }
            let begin = now();
            let result = change()?;
            let deadline = Instant::now() + PATIENCE;
            loop {
                let Seen { first, last } = seen_now();
                let done = match until {
                    Until::Passes if first != 0 => Some(first),
                    // The first that was dropped came one pace after the last that was not.
                    Until::Drops if last + (SILENCE.as_nanos() as u64) < now() => {
                        Some(last + PACE.as_nanos() as u64)
                    }
                    _ => None,
                };
                if let Some(done) = done {
                    return Ok((Duration::from_nanos(done.saturating_sub(begin)), result));
                }
                if Instant::now() > deadline {
                    bail!("the change is not in force after {PATIENCE:?}");
                }
                thread::sleep(Duration::from_millis(1));
            }
        })();
        ended.store(true, Ordering::Relaxed);
        result
    })
}

fn send(socket: &UdpSocket, ended: &AtomicBool, now: impl Fn() -> u64) {
    while !ended.load(Ordering::Relaxed) {
        // Refused where the receiver has just gone.
        let _: io::Result<usize> = socket.send(&now().to_ne_bytes());
        thread::sleep(PACE);
    }
}

fn receive(socket: &UdpSocket, ended: &AtomicBool, seen: &Mutex<Seen>) {
    let mut data = [0; 8];
    while !ended.load(Ordering::Relaxed) {
        if let Ok(8) = socket.recv(&mut data) {
            let sent = u64::from_ne_bytes(data);
            let mut seen = seen.lock().expect("no panic");
            seen.last = sent;
            if seen.first == 0 {
                seen.first = sent;
            }
        }
    }
}
