//! A table that is much too small under SYNs with made-up senders, which the instance's kernel
//! answers: open connections move data, and new clients get in.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use sg_tests::{
    Addresses, Datapath, FAMILIES, Role, World,
    probe::{
        Link, PATIENCE, bulk,
        craft::{self, Path, TCP},
        tcp,
    },
    topology::mac,
};

const MAX_FLOWS: u64 = 2048;
/// SYNs, at least, while clients come and data moves: the table many times over.
const FLOOD: u64 = 10 * MAX_FLOWS;
/// SYNs at once, and how often. A new client has to answer before the table is full of others,
/// which takes 50 ms at this rate. A machine that is busy with other tests keeps that. At full
/// speed, 256 flows would leave 3 ms, which it does not keep.
const BURST: u32 = 40;
const EVERY: Duration = Duration::from_millis(1);
const MEGABYTES: usize = 24;

const WEB: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = [80, 81], cidrs = ["10.0.0.0/8", "fd00::/8"] }]
egress = []
"#;

/// Sends until it is told to stop.
fn flood(link: &Link, at: Addresses, to: craft::Mac, sent: &AtomicU64, done: &AtomicBool) {
    let mut number = 0_u32;
    let mut due = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if number.is_multiple_of(BURST) {
            // SYNs missed while others had the CPU are not made up for.
            due = (due + EVERY).max(Instant::now());
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        number += 1;
        let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        // Nobody is there, so nobody resets what the instance answers.
        let source: IpAddr = match at.instance {
            IpAddr::V4(_) => Ipv4Addr::new(10, 64 | a >> 2, b, c).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0xfd77, a.into(), b.into(), c.into(), 0, 0, 0, 1).into(),
        };
        let path = Path { source, destination: at.instance };
        let port = 1024 + (number % 60_000) as u16;
        link.send(&craft::frame([2, 0, 0, 0, 0, 9], to, &path.packet(TCP, &path.syn(port, 80))));
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

fn established_and_new_connections_under_a_flood(role: Role, datapath: Datapath) {
    let world = World::with_flags(role, datapath, &["--max-flows", &MAX_FLOWS.to_string()]);
    world.apply(&["web"], WEB);
    // The answers to the flood go somewhere: to where it comes from, which has no use for them.
    let (v4, v6) = match role {
        Role::Host => ("10.9.0.10 onlink", "fd09::10"),
        Role::Port => ("10.1.0.1 onlink", "fe80::1"),
    };
    world.instance.ip(&format!(
        "-4 route add 10.64.0.0/10 via {v4} dev nic0
         -6 route add fd77::/16 via {v6} dev nic0"
    ));
    let next = if role == Role::Host { mac("nic0") } else { mac("up1") };
    for at in FAMILIES {
        let _server = tcp::serve(&world.instance, at.instance_port(80));
        let mut open: Vec<_> =
            (0..8).map(|_| tcp::open(&world.remote, at.remote, at.instance_port(80))).collect();
        let link = Link::open(&world.remote, "up0");
        let (sent, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let ((), counts) = world.counted(|| {
            thread::scope(|scope| {
                scope.spawn(|| flood(&link, at, next, &sent, &done));
                let _ends = Ends(&done);
                let until = |floods: u64| {
                    while sent.load(Ordering::Relaxed) < floods * FLOOD {
                        thread::sleep(Duration::from_millis(5));
                    }
                };
                until(1);
                open.iter_mut().for_each(tcp::Connection::passes);
                // A new client, and both its ways compared byte by byte.
                let client = (&world.remote, at.remote);
                let server = (&world.instance, at.instance_port(81));
                bulk::exchange(client, server, MEGABYTES << 20, PATIENCE).expect("a transfer");
                for round in 2..5 {
                    tcp::passes(&world.remote, at.remote, at.instance_port(80));
                    until(round);
                    open.iter_mut().for_each(tcp::Connection::passes);
                }
            });
        });
        eprintln!("{role:?} {datapath:?}: {} SYNs, {counts}", sent.load(Ordering::Relaxed));
        assert!(counts.get("ingress rule") > 4 * FLOOD / 2, "the flood came in: {counts}");
        assert_eq!(counts.get("ingress not_syn"), 0, "a connection was forgotten: {counts}");
        // Half-open ones are answered, and go all the same.
        assert!(counts.get("egress flow") > MAX_FLOWS, "{counts}");
        let flows = world.ctl().flows();
        for connection in &open {
            let port = connection.local().port();
            let flow = flows.iter().find(|flow| flow.src == at.remote && flow.sport == port);
            assert_eq!(flow.map(|flow| flow.state.as_str()), Some("established"), "{flows:#?}");
        }
    }
}

/// Ends the flood, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn host_tc() {
    established_and_new_connections_under_a_flood(Role::Host, Datapath::Tc);
}

#[test]
fn port_xdp() {
    established_and_new_connections_under_a_flood(Role::Port, Datapath::Xdp);
}
