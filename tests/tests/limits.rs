//! Speed and memory. nextest runs these alone.

use std::fmt::Write;

use sg_tests::{Datapath, FAMILIES, Role, V4, World, probe::tcp};

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
    assert!(world.agent.rss() < 30_000, "{} KiB after an apply", world.agent.rss());
    world.agent.kill();
    world.agent.restart();
    assert!(world.agent.rss() < 30_000, "{} KiB after a restart", world.agent.rss());
    tcp::is_dropped(&world.remote, V4.other, V4.instance_port(80));
}
