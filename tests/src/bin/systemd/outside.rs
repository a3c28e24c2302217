//! The traffic from outside to the guest, all the time, and the guest's answers.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sg_tests::{
    NetNs,
    probe::{
        Link, Outcome, PATIENCE,
        craft::{Mac, Path, TCP, UDP, frame},
        link, tcp,
    },
};

use crate::TAP;

pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Sends what the rules of the test deny: pings, SYNs and datagrams to port 81.
pub(crate) struct Prober {
    sent: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
}

impl Prober {
    pub(crate) fn start(outside: &NetNs, from: Mac, to: Mac) -> Self {
        let answers = link::count(outside, TAP, is_answer);
        let link = Link::open(outside, TAP);
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let path = Path { source: IpAddr::V4(HERE), destination: IpAddr::V4(GUEST) };
        thread::spawn(move || {
            for number in 0u16.. {
                let port = 20_000 + number % 20_000;
                let [high, low] = number.to_be_bytes();
                let ping = path.icmp(8, &[1, 1, high, low, 0, 0, 0, 0]);
                for (protocol, payload) in [
                    (path.icmp_protocol(), ping),
                    (TCP, path.syn(port, 81)),
                    (UDP, path.udp(port, 81, b"probe")),
                ] {
                    link.send(&frame(from, to, &path.packet(protocol, &payload)));
                    count.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { sent, answers }
    }

    /// Probes sent and answers seen until now.
    pub(crate) fn now(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.answers.load(Ordering::Relaxed))
    }

    /// Packets sent and answered in a second.
    pub(crate) fn in_a_second(&self) -> (u64, u64) {
        let before = self.now();
        thread::sleep(Duration::from_secs(1));
        let after = self.now();
        (after.0 - before.0, after.1 - before.1)
    }
}

/// Whether the guest sends it because of a probe: ICMP, or TCP from port 81.
fn is_answer(frame: &[u8]) -> bool {
    let Some(packet) = frame.get(14..).filter(|packet| packet.len() >= 40) else { return false };
    let ports = &packet[usize::from(packet[0] & 15) * 4..];
    frame[12..14] == [8, 0]
        && packet[12..16] == GUEST.octets()
        && match packet[9] {
            1 => true,
            TCP => ports.get(..2) == Some(&[0, 81]),
            _ => false,
        }
}

/// A connection over which something is echoed all the time.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    echoes: Arc<AtomicU64>,
    /// Milliseconds that the slowest echo took.
    slowest: Arc<AtomicU64>,
    running: thread::JoinHandle<tcp::Connection>,
}

impl Traffic {
    pub(crate) fn start(mut connection: tcp::Connection) -> Self {
        let [echoes, slowest] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, count, longest) =
            (Arc::clone(&stop), Arc::clone(&echoes), Arc::clone(&slowest));
        let running = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(connection.echo(PATIENCE), Outcome::Passed, "the connection was lost");
                count.fetch_add(1, Ordering::Relaxed);
                longest.fetch_max(began.elapsed().as_millis() as u64, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
            connection
        });
        Self { stop, echoes, slowest, running }
    }

    /// Echoes since it started, and the slowest since the last look.
    #[track_caller]
    pub(crate) fn now(&self) -> (u64, u64) {
        assert!(!self.running.is_finished(), "the connection was lost");
        (self.echoes.load(Ordering::Relaxed), self.slowest.swap(0, Ordering::Relaxed))
    }

    pub(crate) fn end(self) -> tcp::Connection {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join().expect("the connection lives")
    }
}
