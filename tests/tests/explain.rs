//! `explain` tells the truth: its verdict is what a real packet gets, and asking leaves no trace.

use std::net::SocketAddr;

use sg_api::Explanation;
use sg_tests::{
    Addresses, FAMILIES, World, matrix,
    probe::{icmp, tcp, udp},
};

const RULES: &str = r#"
[[prefix_list]]
name = "office"
entries = ["10.9.0.10/32"]
[[security_group]]
name = "web"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"], description = "HTTP" },
  { protocol = "tcp", ports = "80-90", prefix_lists = ["office"] },
  { protocol = "udp", ports = 53, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
  { protocol = "tcp", ports = 8080, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = "icmp", type = 8, cidrs = ["10.9.0.10/32"] },
  { protocol = "icmpv6", type = 128, cidrs = ["fd09::10/128"] },
]
"#;

fn explain(world: &World, protocol: &str, src: SocketAddr, dst: SocketAddr) -> Explanation {
    let ends = format!("--src {src} --dst {dst}");
    world.ctl().explain(world.interface(), "ingress", protocol, &ends)
}

/// Asks about a packet, sends it, and asserts that both agree, on this reason.
#[track_caller]
fn agrees(
    world: &World,
    at: &Addresses,
    protocol: &str,
    from: std::net::IpAddr,
    port: u16,
    reason: &str,
) {
    let before = world.counters();
    let flows = world.ctl().flows().len();
    let answer = explain(world, protocol, SocketAddr::new(from, 40000), at.instance_port(port));
    assert_eq!(answer.reason, reason, "{protocol} from {from} to {port}: {answer:#?}");
    assert_eq!(world.counters().since(&before), Default::default(), "asking counts nothing");
    assert_eq!(world.ctl().flows().len(), flows, "asking makes no flow");

    let allowed = answer.verdict == "allow";
    let to = at.instance_port(port);
    let ((), counts) = world.counted(|| match (protocol, allowed) {
        ("tcp", true) => tcp::passes(&world.remote, from, to),
        ("tcp", false) => tcp::is_dropped(&world.remote, from, to),
        (_, true) => udp::passes(&world.remote, from, to),
        (_, false) => udp::is_dropped(&world.remote, from, to),
    });
    assert!(
        counts.get(&format!("ingress {reason}")) > 0,
        "the packet was judged otherwise: {counts}"
    );
}

matrix! {
    /// The verdict and reason of each packet are those of the packet path.
    fn verdicts_are_those_of_packets(world) {
        world.apply(&["web"], RULES);
        for at in &FAMILIES {
            let _tcp = [80, 81, 8080].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            let _udp = [53, 54].map(|port| udp::serve(&world.instance, at.instance_port(port)));
            let office = if at.remote.is_ipv4() { "rule" } else { "no_rule" };
            for (protocol, from, port, reason) in [
                ("tcp", at.remote, 80, "rule"),
                ("tcp", at.other, 80, "rule"),
                ("tcp", at.remote, 81, office),
                ("tcp", at.other, 81, "no_rule"),
                ("tcp", at.other, 8080, "untracked"),
                ("udp", at.remote, 53, "rule"),
                ("udp", at.other, 53, "no_rule"),
                ("udp", at.remote, 54, "no_rule"),
            ] {
                agrees(world, at, protocol, from, port, reason);
            }
        }
    }

    /// Every rule that allows the packet is named, with its group and peer.
    fn rules_are_named(world) {
        world.apply(&["web"], RULES);
        let at = FAMILIES[0];
        let answer = explain(world, "tcp", SocketAddr::new(at.remote, 40000), at.instance_port(80));
        let mut peers: Vec<_> = answer.rules.iter().map(|rule| rule.peer.as_str()).collect();
        peers.sort_unstable();
        assert_eq!(peers, ["10.9.0.0/24", "office"], "{answer:#?}");
        assert!(answer.rules.iter().all(|rule| rule.group == "web" && rule.id.starts_with("sgr-")));
        assert!(answer.rules.iter().any(|rule| rule.description == "HTTP"));
        let denied = explain(world, "tcp", SocketAddr::new(at.other, 40000), at.instance_port(81));
        assert_eq!((denied.verdict.as_str(), denied.rules.len()), ("deny", 0), "{denied:#?}");
    }

    /// A packet of an open connection is explained by its flow, also when its rule is gone.
    fn flow_is_shown(world) {
        world.apply(&["web"], RULES);
        for at in FAMILIES {
            let _server = tcp::serve(&world.instance, at.instance_port(80));
            world.apply(&["web"], RULES);
            let mut open = tcp::open(&world.remote, at.remote, at.instance_port(80));
            world.apply(&["web"], &RULES.replace("ports = 80,", "ports = 79,").replace("80-90", "82-90"));
            let answer = explain(world, "tcp", open.local(), at.instance_port(80));
            assert_eq!((answer.verdict.as_str(), answer.reason.as_str()), ("allow", "flow"), "{answer:#?}");
            let flow = answer.flow.expect("a flow");
            assert_eq!((flow.sport, flow.dport, flow.state.is_empty()), (open.local().port(), 80, false));
            assert_eq!(answer.rules, [], "no rule allows it now");
            open.passes();
            let ends = format!("--src {} --dst {}", at.instance_port(80), open.local());
            let reply = world.ctl().explain(world.interface(), "egress", "tcp", &ends);
            assert_eq!(reply.reason, "flow", "{reply:#?}");
        }
    }

    /// ICMP by type and code.
    fn icmp_is_explained(world) {
        world.apply(&["web"], RULES);
        for at in FAMILIES {
            let (protocol, request) = at.icmp();
            for (from, reason) in [(at.remote, "rule"), (at.other, "no_rule")] {
                let ends = format!("--src {from} --dst {} --type {request} --code 0", at.instance);
                let answer = world.ctl().explain(world.interface(), "ingress", protocol, &ends);
                assert_eq!(answer.reason, reason, "{answer:#?}");
                if answer.verdict == "allow" {
                    icmp::passes(&world.remote, from, at.instance);
                } else {
                    icmp::is_dropped(&world.remote, from, at.instance);
                }
            }
        }
    }
}
