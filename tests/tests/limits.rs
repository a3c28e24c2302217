//! Speed and memory. nextest runs these alone.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
    thread,
    time::{Duration, Instant},
};

use etherparse::PacketBuilder;
use sg_common::Family;
use sg_datapath::testing::{
    stopwatch::Stopwatch,
    trial::Program,
    varying::{self, Order, Sources},
};
use sg_policy::model::{DesiredState, LiveInterface};
use sg_tests::{Datapath, FAMILIES, Role, V4, World, differential::Rig, probe::tcp};

/// One group with this many rules, each with an address and a port of its own, half of them IPv6,
/// and one that admits the remote machine's first addresses.
fn large(rules: u32) -> String {
    let quota = rules + 2;
    let mut text = format!(
        "[settings.quotas]\nrules_per_group = {quota}\nrules_per_interface = {}\n\
         [[security_group]]\nname = \"large\"\ningress = [\n\
         {{ protocol = \"tcp\", ports = 80, cidrs = [\"10.9.0.10/32\", \"fd09::10/128\"] }},\n",
        quota * 5
    );
    for rule in 0..rules {
        // A Weyl sequence: scattered, never twice the same.
        let at = rule.wrapping_mul(0x9e37_79b1);
        let [a, b, c, d] = at.to_be_bytes();
        let cidr = if rule % 2 == 0 {
            // Above 10.0.0.0/8, below multicast.
            format!("{}.{b}.{c}.{d}/32", 11 + a % 200)
        } else {
            format!("2001:db8:{:x}:{:x}::/64", at >> 16, at & 0xffff)
        };
        let port = 1 + rule % 65535;
        writeln!(text, "{{ protocol = \"tcp\", ports = {port}, cidrs = [\"{cidr}\"] }},")
            .expect("memory");
    }
    text + "]\n"
}

/// The rules hold.
#[track_caller]
fn holds(world: &World) {
    for at in FAMILIES {
        let _server = tcp::serve(&world.instance, at.instance_port(80));
        tcp::passes(&world.remote, at.remote, at.instance_port(80));
        tcp::is_dropped(&world.remote, at.other, at.instance_port(80));
    }
}

#[test]
fn sixty_thousand_rules_within_a_second() {
    let world = World::new(Role::Host, Datapath::Tc);
    let applied = world.apply(&["large"], &large(60_000));
    assert!(applied.took_us < 1_000_000, "{applied:?}");
    holds(&world);
    assert!(world.ctl().status().rules > 60_000);
}

#[test]
fn ten_thousand_rules_in_thirty_megabytes() {
    let mut world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["large"], &large(10_000));
    holds(&world);
    // The agent gives back the memory of an apply when a second has passed without another.
    let wait = |world: &World| {
        let within = Instant::now() + Duration::from_secs(5);
        while world.agent.rss() >= 30_000 && Instant::now() < within {
            thread::sleep(Duration::from_millis(100));
        }
    };
    wait(&world);
    assert!(world.agent.rss() < 30_000, "{} KiB after an apply", world.agent.rss());
    world.agent.kill();
    world.agent.restart();
    // And what loading the programs took, when all are loaded.
    wait(&world);
    assert!(world.agent.rss() < 30_000, "{} KiB after a restart", world.agent.rss());
    tcp::is_dropped(&world.remote, V4.other, V4.instance_port(80));
}

/// A program's own nanoseconds for a packet with random addresses and ports that no rule allows: the
/// least of some runs, because what interrupts one only adds to it.
fn cost(rig: &mut Rig, program: Program, family: Family, rules: &DesiredState) -> f64 {
    const PACKETS: u32 = 150_000;
    let ifindex = rig.ifindexes[0];
    let live = LiveInterface {
        slot: 0,
        ifindex,
        entry: 0,
        addresses: vec![],
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    };
    rig.start(rules, &[live]);
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let to = match family {
        Family::V4 => ethernet.ipv4([1; 4], Ipv4Addr::new(192, 0, 2, 1).octets(), 64),
        Family::V6 => ethernet.ipv6(
            "2001:db8::1".parse::<Ipv6Addr>().expect("an address").octets(),
            "2001:db8::2".parse::<Ipv6Addr>().expect("an address").octets(),
            64,
        ),
    };
    let mut frame = Vec::new();
    to.tcp(1, 1, 1, 1000).syn().write(&mut frame, &[]).expect("memory");
    let anyone = Sources { count: varying::MOST, order: Order::Random };
    let whole = rig.datapath.stopwatch(program, ifindex, &frame, anyone).expect("it loads");
    let empty = Stopwatch::of_nothing(program, ifindex, &frame, anyone).expect("it loads");
    let (mut least_whole, mut least_empty) = (f64::MAX, f64::MAX);
    for _ in 0..5 {
        least_whole = least_whole.min(whole.run(PACKETS).expect("it runs"));
        least_empty = least_empty.min(empty.run(PACKETS).expect("it runs"));
    }
    least_whole - least_empty
}

#[test]
fn ten_thousand_rules_cost_what_ten_do() {
    const ROUNDS: usize = 12;
    let [few, many] = [10, 10_000].map(|rules| {
        let text = large(rules) + "[[interface]]\nname = \"lo\"\ngroups = [\"large\"]\n";
        sg_policy::parse("rules.toml", text.as_bytes()).expect("valid rules")
    });
    Rig::run(|rig| {
        for program in [Program::Xdp, Program::TcIn, Program::TcOut] {
            for family in [Family::V4, Family::V6] {
                // A neighbour on the same CPU may slow down one side for seconds: by turns, until a
                // round is as it should be. If more rules do cost more, none is.
                let similar = (0..ROUNDS).any(|_| {
                    let [few, many] = [&few, &many].map(|rules| cost(rig, program, family, rules));
                    eprintln!("{program:?}, {family:?}: {few} ns at 10 rules, {many} ns at 10,000");
                    assert!(few > 0.0);
                    many <= 1.5 * few
                });
                assert!(similar, "{program:?}, {family:?}");
            }
        }
    });
}
