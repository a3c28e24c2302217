//! Every packet is judged by the whole old rules or the whole new ones, and all interfaces change
//! at the same instant.
//!
//! A generator sends one packet at a time, each on another interface. Behind it goes one on the
//! same interface that both rulesets allow, which tells when the first one's fate is decided. The
//! fate says which ruleset judged, so each packet has a version. Versions must not go back, on
//! whatever interface. Each is of a ruleset that was in force or being applied meanwhile.

use std::{
    io::Read as _,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use socket2::{Domain, Protocol, Socket, Type};

use sg_tests::{
    Agent, Counts, Datapath, NetNs, eventually,
    probe::{
        Link, PATIENCE,
        craft::{self, Path, UDP},
    },
    topology::{connect, mac},
};

const INTERFACES: usize = 50;
const CHANGES: u64 = 1000;

const INSTANCE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

/// The rulesets by turns: the even versions and the odd ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Even,
    Odd,
}

impl Half {
    fn of(version: u64) -> Self {
        if version.is_multiple_of(2) { Self::Even } else { Self::Odd }
    }

    fn other(self) -> Self {
        if self == Self::Even { Self::Odd } else { Self::Even }
    }
}

/// A version's rules. One half opens ports on the left interfaces; the other half opens them on the
/// right ones. The peers change, too, so the test would see a packet that got the peers of one half
/// and the ports of the other. Ports 10 and 11 are not tracked; 3 and 4 are always open.
fn rules(version: u64, datapath: Datapath) -> String {
    let half = Half::of(version);
    let (peers, [left, right]) = match half {
        Half::Even => ("20.0.0.0/9", [0, 1]),
        Half::Odd => ("20.128.0.0/9", [1, 0]),
    };
    let mut text =
        format!("[[prefix_list]]\nname = \"peers\"\nmax_entries = 1\nentries = [\"{peers}\"]\n");
    for (name, offset) in [("left", left), ("right", right)] {
        let (tracked, untracked) = (1 + offset, 10 + offset);
        text += &format!(
            r#"
            [[security_group]]
            name = "{name}"
            ingress = [
              {{ protocol = "udp", ports = {tracked}, prefix_lists = ["peers"] }},
              {{ protocol = "udp", ports = {untracked}, cidrs = ["0.0.0.0/0"] }},
              {{ protocol = "udp", ports = 3, cidrs = ["20.0.0.0/8"] }},
              {{ protocol = "udp", ports = 4, cidrs = ["0.0.0.0/0"] }},
            ]
            "#
        );
    }
    for index in 0..INTERFACES {
        let group = if is_left(index) { "left" } else { "right" };
        text += &format!(
            "[[interface]]\nname = \"in{index}\"\ngroups = [\"{group}\"]\ndatapath = \"{}\"\n",
            datapath.name()
        );
    }
    text
}

fn is_left(index: usize) -> bool {
    index.is_multiple_of(2)
}

/// A packet that not all rulesets allow: the half that its peer belongs to, its port, and the half
/// that allows it.
struct Probe {
    peer: Half,
    port: u16,
    allowed_by: Option<Half>,
}

/// The `number`th packet of an interface.
fn probe(number: u64, index: usize) -> Probe {
    // Which half opens port 1 here, and port 10.
    let one = if is_left(index) { Half::Even } else { Half::Odd };
    let two = one.other();
    let (peer, port, allowed_by) = match number % 8 {
        0 | 6 => (one, 1, Some(one)),
        1 | 7 => (two, 2, Some(two)),
        // One half's peer and the other one's port.
        2 => (two, 1, None),
        3 => (one, 2, None),
        4 => (Half::Even, 10, Some(one)),
        _ => (Half::Odd, 11, Some(two)),
    };
    Probe { peer, port, allowed_by }
}

/// The frame of a packet that opens a flow of its own.
fn frame(peer: Half, port: u16, index: usize, number: u64) -> Vec<u8> {
    let low = (number >> 15) as u32 & 0x7f_ffff;
    let high = if peer == Half::Even { 0 } else { 0x80_0000 };
    let source = Ipv4Addr::from(0x1400_0000 | high | low);
    let path = Path { source: source.into(), destination: IpAddr::V4(INSTANCE) };
    let packet = path.udp(1024 + (number & 0x7fff) as u16, port, &number.to_be_bytes());
    craft::frame([2, 0, 0, 0, 0, 9], mac(&format!("in{index}")), &path.packet(UDP, &packet))
}

/// Sends packets and sees what arrives.
struct Generator<'a> {
    links: Vec<Link>,
    arrivals: Socket,
    /// Changes begun and done: odd while one is under way.
    clock: &'a AtomicU64,
}

/// A generator's counts.
#[derive(Debug, Default)]
struct Seen {
    passed: u64,
    dropped: u64,
    /// Changes of the version from a packet to the next.
    changes: u64,
    version: u64,
}

impl Generator<'_> {
    fn run(&self, done: &AtomicBool) -> Seen {
        // On one CPU frames keep their order.
        let mut cpu = CpuSet::new();
        cpu.set(0).expect("a CPU");
        sched_setaffinity(Pid::from_raw(0), &cpu).expect("to stay there");
        let mut seen = Seen::default();
        for number in 0.. {
            if done.load(Ordering::SeqCst) {
                break;
            }
            self.step(number, &mut seen);
        }
        seen
    }

    /// Sends one probe, sees its fate, and which version it can have been judged by.
    fn step(&self, number: u64, seen: &mut Seen) {
        let index = (number % INTERFACES as u64) as usize;
        let probe = probe(number / INTERFACES as u64, index);
        let [first, second] = [2 * number, 2 * number + 1];
        let marker = 3 + (number % 2) as u16;
        let begun = self.clock.load(Ordering::SeqCst);
        self.links[index].send(&frame(probe.peer, probe.port, index, first));
        self.links[index].send(&frame(Half::of(number / 2), marker, index, second));
        let passed = match self.next(number) {
            arrived if arrived == first => {
                assert_eq!(self.next(number), second, "lost or out of order");
                true
            }
            arrived => {
                assert_eq!(arrived, second, "lost or out of order");
                false
            }
        };
        let ended = self.clock.load(Ordering::SeqCst);
        seen.passed += 1 + u64::from(passed);
        seen.dropped += u64::from(!passed);
        let Some(allowed_by) = probe.allowed_by else {
            assert!(
                !passed,
                "packet {number} got the peers of one ruleset and the ports of another"
            );
            return;
        };
        let judged_by = if passed { allowed_by } else { allowed_by.other() };
        let mut version = seen.version.max(begun / 2);
        if Half::of(version) != judged_by {
            version += 1;
        }
        let newest = ended.div_ceil(2);
        assert!(
            version <= newest,
            "packet {number} on in{index} was judged by {judged_by:?} rules, after version {} and \
             with versions {} to {newest} in force",
            seen.version,
            begun / 2,
        );
        seen.changes += u64::from(version != seen.version);
        seen.version = version;
    }

    /// The number in the next packet that arrives.
    fn next(&self, number: u64) -> u64 {
        let mut packet = [0; 64];
        let length = (&self.arrivals).read(&mut packet).unwrap_or_else(|error| {
            panic!("packet {number}: what both rulesets allow did not come: {error}")
        });
        assert_eq!(length, 36, "headers of 28 bytes and a number");
        u64::from_be_bytes(packet[28..36].try_into().expect("8 bytes"))
    }
}

/// Ends the generator, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn alternating_rulesets(datapath: Datapath) {
    let (source, host) = (NetNs::new("source"), NetNs::new("host"));
    for namespace in [&source, &host] {
        // Nothing of the kernels' own.
        namespace.sysctl("ipv6/conf/default/disable_ipv6", "1");
    }
    for key in ["all", "default"] {
        host.sysctl(&format!("ipv4/conf/{key}/rp_filter"), "0");
    }
    host.ip(&format!("address add {INSTANCE}/32 dev lo"));
    for index in 0..INTERFACES {
        connect(&source, &format!("out{index}"), &host, &format!("in{index}"));
    }
    let arrivals = host.run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)));
    let arrivals = arrivals.expect("a raw socket");
    arrivals.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let agent = Agent::start(&host, &[]);
    let ctl = agent.ctl();
    assert_eq!(ctl.post_rules(&rules(0, datapath)).interfaces, INTERFACES);
    // A packet counts twice in the moment when one of a crowd gets its lasting hook; wait for that.
    eventually("all have their hooks", || {
        ctl.status().interfaces.iter().all(|interface| interface.datapath != "tc")
    });

    let (clock, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let links = (0..INTERFACES).map(|index| Link::open(&source, &format!("out{index}"))).collect();
    let generator = Generator { links, arrivals, clock: &clock };
    let seen = thread::scope(|scope| {
        let _ends = Ends(&done);
        let running = scope.spawn(|| generator.run(&done));
        for version in 1..=CHANGES {
            clock.store(2 * version - 1, Ordering::SeqCst);
            assert!(ctl.post_rules(&rules(version, datapath)).changed);
            clock.store(2 * version, Ordering::SeqCst);
            if running.is_finished() {
                // It has failed, and says how.
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
        running.join().expect("no packet judged by a mix")
    });
    eprintln!("{datapath:?}: {seen:?}");
    assert!(seen.changes > CHANGES / 2, "too few packets for so many changes: {seen:?}");

    let status = ctl.status();
    let (mut passed, mut dropped) = (0, 0);
    for index in 0..INTERFACES {
        let counts = Counts::of(&status, &format!("in{index}")).of_direction("ingress");
        passed += counts.get("ingress rule") + counts.get("ingress untracked");
        dropped += counts.get("ingress no_rule");
        counts.are(&["ingress rule", "ingress untracked", "ingress no_rule"]);
    }
    assert_eq!((passed, dropped), (seen.passed, seen.dropped));
}

#[test]
fn alternating_rulesets_xdp() {
    alternating_rulesets(Datapath::Xdp);
}

#[test]
fn alternating_rulesets_tc() {
    alternating_rulesets(Datapath::Tc);
}
