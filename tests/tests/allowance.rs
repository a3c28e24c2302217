//! Two guests share a flow table. One of them is flooded, or floods, with real packets. New connections of
//! the other one come about in both directions, and those that the flooded one has established go on.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use sg_tests::{
    Agent, Counts, NetNs, Role, Topology, V4,
    probe::{
        Link, Outcome, SILENCE,
        craft::{self, ICMP, Mac, Path, TCP, UDP},
        tcp, udp,
    },
    topology::{connect, mac, number},
};

const MAX_FLOWS: u64 = 8192;
/// Packets of each flood: the allowance several times over.
const FLOOD: u64 = 3 * MAX_FLOWS;
/// Packets at once, and how often: a machine that is busy with other tests keeps up.
const BURST: u32 = 40;
const EVERY: Duration = Duration::from_millis(1);
/// New connections of the other guest during a flood, in each direction.
const CONNECTIONS: u64 = 50;

const GRE: u8 = 47;
const OTHER_GUEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 2));

const RULES: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "guest"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8"] },
  { protocol = "udp", ports = 53, cidrs = ["10.0.0.0/8"] },
  { protocol = "icmp", type = 8, cidrs = ["10.0.0.0/8"] },
  { protocol = 47, cidrs = ["10.0.0.0/8"] },
]
egress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8"] },
  { protocol = "udp", ports = 53, cidrs = ["10.0.0.0/8"] },
  { protocol = "icmp", type = 8, cidrs = ["10.0.0.0/8"] },
  { protocol = 47, cidrs = ["10.0.0.0/8"] },
]
[[interface]]
name = "port1"
role = "port"
groups = ["guest"]
addresses = ["10.2.0.2"]
[[interface]]
name = "port0"
role = "port"
groups = ["guest"]
addresses = ["10.1.0.2"]
"#;

struct Machines {
    agent: Agent,
    remote: NetNs,
    flooded: NetNs,
    other: NetNs,
    _router: NetNs,
}

impl Machines {
    fn new() -> Self {
        let Topology { remote, instance: flooded, router } = Topology::new(Role::Port);
        let router = router.expect("a router");
        let other = NetNs::new("other");
        connect(&router, "port1", &other, "nic1");
        number(&other, "nic1", &[OTHER_GUEST]);
        router.ip("address add 10.2.0.1/32 dev port1
             -4 route add 10.2.0.0/24 dev port1
             -4 route add 10.64.0.0/10 via 10.9.0.10 dev up1 onlink");
        other.ip("-4 route add 10.9.0.0/24 via 10.2.0.1 dev nic1 onlink");
        remote.ip("-4 route add 10.2.0.0/24 via 10.9.0.1 dev up0 onlink");
        // Where nobody is, so that nobody resets what the guest answers.
        flooded.ip("-4 route add 10.64.0.0/10 via 10.1.0.1 dev nic0 onlink");
        let agent = Agent::start(&router, &["--max-flows", &MAX_FLOWS.to_string()]);
        Self { agent, remote, flooded, other, _router: router }
    }

    fn counts(&self, interface: &str) -> Counts {
        Counts::of(&self.agent.ctl().status(), interface)
    }
}

#[derive(Clone, Copy, Debug)]
enum Flood {
    Syn,
    /// A SYN and a segment without ACK from the same sender.
    SynAndSegment,
    /// Answered.
    Udp,
    /// Answered.
    Ping,
    /// Answered by an accomplice on the other side: nothing of it ever gives way.
    Gre,
}

const FLOODS: [Flood; 5] = [Flood::Syn, Flood::SynAndSegment, Flood::Udp, Flood::Ping, Flood::Gre];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Outside,
    Guest,
}

/// Both ends of the flooded guest's way to the world.
struct Ends {
    outside: Link,
    guest: Link,
}

const GATEWAYS: [(&str, Mac); 2] = [("up1", [2, 0, 0, 0, 0, 9]), ("port0", [2, 0, 0, 0, 0, 8])];

impl Ends {
    fn of(machines: &Machines) -> Self {
        Self {
            outside: Link::open(&machines.remote, "up0"),
            guest: Link::open(&machines.flooded, "nic0"),
        }
    }

    fn send(&self, from: From, packet: &[u8]) {
        let (link, (gateway, sender)) = match from {
            From::Outside => (&self.outside, GATEWAYS[0]),
            From::Guest => (&self.guest, GATEWAYS[1]),
        };
        link.send(&craft::frame(sender, mac(gateway), packet));
    }

    /// Sends what opens a flow that no other number does, and what goes with it.
    fn flood(&self, flood: Flood, from: From, number: u32) {
        let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        let stranger: IpAddr = Ipv4Addr::new(10, 64 | a >> 2, b, c).into();
        // Where the guest asks, somebody is to answer.
        let asks = matches!(flood, Flood::Udp | Flood::Ping) && from == From::Guest;
        let far = if asks { V4.remote } else { stranger };
        let path = match from {
            From::Outside => Path { source: far, destination: V4.instance },
            From::Guest => Path { source: V4.instance, destination: far },
        };
        let port = 1024 + (number % 60_000) as u16;
        match flood {
            Flood::Syn => self.send(from, &path.packet(TCP, &path.syn(port, 80))),
            Flood::SynAndSegment => {
                self.send(from, &path.packet(TCP, &path.syn(port, 80)));
                self.send(from, &path.packet(TCP, &path.tcp(port, 80, 0)));
            }
            Flood::Udp => self.send(from, &path.packet(UDP, &path.udp(port, 53, b"data"))),
            Flood::Ping => {
                let rest = [&port.to_be_bytes()[..], &[0; 6]].concat();
                self.send(from, &path.packet(ICMP, &path.icmp(8, &rest)));
            }
            Flood::Gre => {
                self.send(from, &path.packet(GRE, &[0; 8]));
                let back = Path { source: path.destination, destination: path.source };
                let accomplice = if from == From::Outside { From::Guest } else { From::Outside };
                self.send(accomplice, &back.packet(GRE, &[0; 8]));
            }
        }
    }

    /// Goes on until it is told to stop.
    fn run(&self, flood: Flood, from: From, sent: &AtomicU64, done: &AtomicBool) {
        let mut due = Instant::now();
        let first = sent.load(Ordering::Relaxed) as u32;
        for number in first.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            if number.is_multiple_of(BURST) {
                // Packets that were missed, because others had the CPU, are not made up for.
                due = (due + EVERY).max(Instant::now());
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            self.flood(flood, from, number);
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Ends the flood, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// New flows of an interface that found no room, and packets whose flow had to go.
fn lost(counts: &Counts) -> u64 {
    let lost = ["conntrack_allowance_exceeded", "no_rule", "not_syn"];
    let ways = ["ingress", "egress"];
    ways.iter().flat_map(|way| lost.map(|reason| counts.get(&format!("{way} {reason}")))).sum()
}

fn others_go_on_under_a_flood(from: From) {
    let machines = Machines::new();
    machines.agent.ctl().apply(RULES, &[]);
    let Machines { remote, flooded, other, .. } = &machines;
    let guest_port = V4.instance_port(80);
    let other_port = (OTHER_GUEST, 80).into();
    let _tcp = [
        tcp::serve(flooded, guest_port),
        tcp::serve(other, other_port),
        tcp::serve(remote, V4.remote_port(80)),
    ];
    let _udp = [udp::serve(flooded, V4.instance_port(53)), udp::serve(remote, V4.remote_port(53))];
    let mut open: Vec<_> = (0..8).map(|_| tcp::open(remote, V4.remote, guest_port)).collect();
    let ends = Ends::of(&machines);
    let sent = AtomicU64::new(0);
    for flood in FLOODS {
        let before = (machines.counts("port0"), machines.counts("port1"));
        let (done, began) = (AtomicBool::new(false), sent.load(Ordering::Relaxed));
        thread::scope(|scope| {
            scope.spawn(|| ends.run(flood, from, &sent, &done));
            let _stop = Stop(&done);
            for round in 0..CONNECTIONS {
                tcp::passes(remote, V4.remote, other_port);
                tcp::passes(other, OTHER_GUEST, V4.remote_port(80));
                while sent.load(Ordering::Relaxed) - began < FLOOD * (round + 1) / CONNECTIONS {
                    thread::sleep(EVERY);
                }
            }
        });
        let (at_flooded, at_other) =
            (machines.counts("port0").since(&before.0), machines.counts("port1").since(&before.1));
        eprintln!("{flood:?} from {from:?}: {at_flooded}; beside it: {at_other}");
        let way = if from == From::Outside { "ingress" } else { "egress" };
        let new = at_flooded.get(&format!("{way} rule"));
        let full = at_flooded.get(&format!("{way} conntrack_allowance_exceeded"));
        assert!(new + full > FLOOD / 2, "{flood:?} came: {at_flooded}");
        let new = at_other.get("ingress rule") + at_other.get("egress rule");
        assert!(new >= 2 * CONNECTIONS, "{flood:?}: {at_other}");
        assert!(lost(&at_other) <= 2 * CONNECTIONS / 100, "{flood:?}: {at_other}");
        open.iter_mut().for_each(tcp::Connection::passes);
    }
    let flows = machines.agent.ctl().status().interfaces;
    let flows =
        &flows.iter().find(|interface| interface.name == "port0").expect("it is there").flows;
    assert_eq!(flows.max, MAX_FLOWS, "half of either family's table");
    let most = MAX_FLOWS / 2;
    // The last flood has nothing that gives way.
    assert!((most * 9 / 10..=most + 2).contains(&flows.used), "{flows:?}");
}

#[test]
fn from_outside() {
    others_go_on_under_a_flood(From::Outside);
}

#[test]
fn from_a_guest() {
    others_go_on_under_a_flood(From::Guest);
}

/// Without an agent the last count binds, also for flows that have idled out. An agent frees them.
#[test]
fn the_agent_counts_and_frees() {
    const MOST: usize = 16;
    let mut machines = Machines::new();
    let own = format!("tracking = {{ max_flows = {MOST} }}\n");
    machines.agent.ctl().apply(&(RULES.to_owned() + &own), &[]);
    let server = V4.instance_port(80);
    let _server = tcp::serve(&machines.flooded, server);
    let attempt = |machines: &Machines| tcp::attempt(&machines.remote, V4.remote, server, SILENCE);
    // A reset before any data leaves 10 s.
    for _ in 0..MOST {
        assert_eq!(attempt(&machines), Outcome::Passed);
    }
    assert_eq!(attempt(&machines), Outcome::Silent);
    assert!(machines.counts("port0").get("ingress conntrack_allowance_exceeded") > 0);
    machines.agent.kill();
    thread::sleep(Duration::from_secs(12));
    assert_eq!(attempt(&machines), Outcome::Silent);
    machines.agent.restart();
    let until = Instant::now() + Duration::from_secs(30);
    while attempt(&machines) == Outcome::Silent {
        assert!(Instant::now() < until, "nothing was freed");
    }
}
