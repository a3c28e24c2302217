//! State: what passes because of what passed before.

use std::{
    thread,
    time::{Duration, Instant},
};

use sg_tests::{
    Datapath, FAMILIES, Role, V4, World, matrix,
    probe::{Outcome, PATIENCE, SILENCE, icmp, tcp, udp},
};

/// The remote network may come in on 80 and 53 and ping; nothing may go out by itself.
const INBOUND: &str = r#"
[[security_group]]
name = "inbound"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "udp", ports = 53, cidrs = ["10.9.0.0/24", "fd09::/64"] },
]
egress = []
"#;

/// The instance may go anywhere; nothing may come in by itself.
const OUTBOUND: &str = r#"
[[security_group]]
name = "outbound"
"#;

matrix! {
    /// Replies need no rule of their own, in either direction.
    fn replies_pass(world) {
        for at in FAMILIES {
            world.apply(&["inbound"], INBOUND);
            let _inside = (
                tcp::serve(&world.instance, at.instance_port(80)),
                udp::serve(&world.instance, at.instance_port(53)),
            );
            let ((), counts) = world.counted(|| {
                tcp::passes(&world.remote, at.remote, at.instance_port(80));
                udp::passes(&world.remote, at.remote, at.instance_port(53));
            });
            counts.are(&["ingress rule", "ingress flow", "egress flow"]);

            world.apply(&["outbound"], OUTBOUND);
            let _outside = (
                tcp::serve(&world.remote, at.remote_port(443)),
                udp::serve(&world.remote, at.remote_port(123)),
            );
            let ((), counts) = world.counted(|| {
                tcp::passes(&world.instance, at.instance, at.remote_port(443));
                udp::passes(&world.instance, at.instance, at.remote_port(123));
                icmp::passes(&world.instance, at.instance, at.remote);
            });
            counts.are(&["egress rule", "egress flow", "ingress flow"]);
            assert_eq!(counts.get("egress rule"), 3, "{counts}");
        }
    }

    /// A service open to everyone with egress open to everyone leaves no flow; the flow of a
    /// service open to some does.
    fn open_service_is_not_tracked(world) {
        world.apply(&["web"], r#"
            [[security_group]]
            name = "web"
            ingress = [
              { protocol = "tcp", ports = 80, cidrs = ["0.0.0.0/0", "::/0"] },
              { protocol = "tcp", ports = 22, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
            ]
        "#);
        for at in FAMILIES {
            let _servers = [22, 80].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            let ((), counts) = world.counted(|| {
                tcp::open(&world.remote, at.remote, at.instance_port(80)).passes();
            });
            counts.are(&["ingress untracked", "egress untracked"]);
            let to = |port| move |flow: &sg_api::Flow| flow.dport == port && flow.dst == at.instance;
            assert!(!world.ctl().flows().iter().any(to(80)));
            let _open = tcp::open(&world.remote, at.remote, at.instance_port(22));
            assert!(world.ctl().flows().iter().any(to(22)));
        }
    }

    /// An untracked service stops at once when its rule goes; a tracked connection goes on.
    fn untracked_stops_with_its_rule(world) {
        let text = |ports: &str| format!(r#"
            [[security_group]]
            name = "web"
            ingress = [
              {{ protocol = "tcp", ports = {ports}, cidrs = ["0.0.0.0/0", "::/0"] }},
              {{ protocol = "tcp", ports = {ports}, cidrs = ["10.9.0.10/32", "fd09::10/128"] }},
            ]
        "#);
        for at in FAMILIES {
            let _server = tcp::serve(&world.instance, at.instance_port(80));
            world.apply(&["web"], &text("80"));
            let mut open = tcp::open(&world.remote, at.remote, at.instance_port(80));
            world.apply(&["web"], &text("81"));
            let (_, counts) = world.counted(|| open.echo(SILENCE));
            assert!(counts.get("ingress no_rule") > 0, "{counts}");
        }
    }

    /// `flows` shows what is there, as the opener sent it, and `flows flush` forgets it.
    fn flows_are_listed_and_flushed(world) {
        world.apply(&["inbound"], INBOUND);
        for at in FAMILIES {
            let _servers = (
                tcp::serve(&world.instance, at.instance_port(80)),
                udp::serve(&world.instance, at.instance_port(53)),
            );
            let mut open = tcp::open(&world.remote, at.remote, at.instance_port(80));
            let exchange = udp::open(&world.remote, at.other, at.instance_port(53));
            exchange.passes();
            let flows = world.ctl().flows();
            let find = |protocol: &str, local: std::net::SocketAddr| {
                flows.iter().find(|flow| {
                    flow.protocol == protocol && flow.src == local.ip() && flow.sport == local.port()
                }).unwrap_or_else(|| panic!("no {protocol} flow from {local} in {flows:#?}"))
            };
            let flow = find("tcp", open.local());
            assert_eq!((flow.dst, flow.dport), (at.instance, 80));
            assert_eq!((flow.direction.as_str(), flow.interface.as_str()), ("ingress", world.interface()));
            assert!(flow.packets >= 5 && flow.bytes > 5 * 40, "{flow:?}");
            assert!((430_000..=432_000).contains(&flow.expires_s), "{flow:?}");
            let flow = find("udp", exchange.local());
            assert_eq!((flow.dst, flow.dport, flow.packets), (at.instance, 53, 2));
            assert!(flow.expires_s <= 30, "{flow:?}");

            let flushed: sg_api::Flushed = world.ctl().json(&["flows", "flush"]);
            assert!(flushed.flows >= 2, "{flushed:?}");
            assert_eq!(world.ctl().flows(), []);
            // A flush opens the pickup time anew.
            open.passes();
        }
    }

    /// A mid-stream segment without an entry is dropped once the pickup time is over.
    fn mid_stream_is_not_picked_up(world) {
        let settings = "[settings.tracking]\npickup = 0\n";
        world.apply(&["inbound"], &format!("{settings}{INBOUND}"));
        for at in FAMILIES {
            let _server = tcp::serve(&world.instance, at.instance_port(80));
            let mut open = tcp::open(&world.remote, at.remote, at.instance_port(80));
            world.ctl().run(&["flows", "flush"]).expect(0);
            let ((), counts) = world.counted(|| open.is_dropped());
            counts.are(&["ingress not_syn"]);
        }
    }

    /// A filter that starts on a busy machine keeps the sessions that the rules allow.
    fn sessions_survive_the_start_of_the_filter(world) {
        for at in FAMILIES {
            let _servers = [80, 22].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            let empty = "";
            world.ctl().apply(empty, &["--force"]);
            let mut allowed = tcp::open(&world.remote, at.remote, at.instance_port(80));
            let mut denied = tcp::open(&world.remote, at.remote, at.instance_port(22));
            world.apply(&["inbound"], INBOUND);
            allowed.passes();
            denied.is_dropped();
        }
    }

    /// The ICMP error that a refused datagram gets comes back without a rule for ICMP.
    fn related_errors_pass(world) {
        for (related, expected) in [("true", Outcome::Refused), ("false", Outcome::Silent)] {
            let settings = format!("[settings]\nrelated_icmp = {related}\n");
            let text = r#"
                [[security_group]]
                name = "client"
                egress = [{ protocol = "udp", ports = 9, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
            "#;
            world.apply(&["client"], &format!("{settings}{text}"));
            for at in FAMILIES {
                let exchange = udp::open(&world.instance, at.instance, at.remote_port(9));
                let limit = if related == "true" { PATIENCE } else { SILENCE };
                let (outcome, counts) = world.counted(|| exchange.echo(4, limit));
                assert_eq!(outcome, expected, "{counts}");
                let error = if related == "true" { "ingress related" } else { "ingress no_rule" };
                counts.exactly(&[("egress rule", 1), (error, 1)]);
            }
        }
    }

    /// Fragments follow the verdict of the first one.
    fn fragments(world) {
        world.apply(&["inbound"], INBOUND);
        for at in FAMILIES {
            let _servers = [53, 54].map(|port| udp::serve(&world.instance, at.instance_port(port)));
            let allowed = udp::open(&world.remote, at.remote, at.instance_port(53));
            let (outcome, counts) = world.counted(|| allowed.echo(4000, PATIENCE));
            outcome.passed();
            assert_eq!(counts.get("ingress rule"), 1, "{counts}");
            assert_eq!(counts.get("ingress fragment"), 2, "{counts}");
            assert_eq!(counts.get("egress fragment"), 2, "{counts}");
            let denied = udp::open(&world.remote, at.remote, at.instance_port(54));
            let (outcome, counts) = world.counted(|| denied.echo(4000, SILENCE));
            outcome.dropped();
            counts.exactly(&[("ingress no_rule", 1), ("ingress fragment_unknown", 2)]);
        }
    }
}

/// A full table refuses new flows, says so, and keeps the established ones.
#[test]
fn full_table_keeps_established_flows() {
    let world = World::with_flags(Role::Port, Datapath::Tc, &["--max-flows", "64"]);
    world.apply(&["inbound"], INBOUND);
    let _server = udp::serve(&world.instance, V4.instance_port(53));
    let mut established = Vec::new();
    let ((), counts) = world.counted(|| {
        for _ in 0..2000 {
            let exchange = udp::open(&world.remote, V4.remote, V4.instance_port(53));
            if exchange.echo(4, Duration::from_millis(200)) != Outcome::Passed {
                break;
            }
            // A second request and response make a stream, which does not give way.
            exchange.passes();
            established.push(exchange);
        }
    });
    assert!(established.len() >= 32, "{} flows fitted", established.len());
    assert_eq!(counts.get("ingress conntrack_allowance_exceeded"), 1, "{counts}");
    for exchange in &established {
        exchange.passes();
    }
    let status = world.ctl().status();
    let flows = status.interfaces[0].flows;
    assert!(flows.used as usize >= established.len() && flows.used <= flows.capacity, "{flows:?}");
}

/// The time that an idle flow has left runs down; a packet winds it up again.
#[test]
fn idle_time_runs_down() {
    let world = World::new(Role::Host, Datapath::Tc);
    let settings = "[settings.tracking]\nudp = 30\n";
    world.apply(&["outbound"], &format!("{settings}{OUTBOUND}"));
    let _server = udp::serve(&world.remote, V4.remote_port(53));
    let exchange = udp::open(&world.instance, V4.instance, V4.remote_port(53));
    let left = || world.ctl().flows().iter().map(|flow| flow.expires_s).max().expect("a flow");
    // A busy machine, or an emulated one, takes seconds to look.
    let began = Instant::now();
    let at_least = || 28_u64.saturating_sub(began.elapsed().as_secs());
    exchange.passes();
    let fresh = left();
    assert!((at_least()..=30).contains(&fresh), "{fresh} s left");
    thread::sleep(Duration::from_millis(3100));
    let idle = left();
    assert!((at_least()..=fresh - 2).contains(&idle), "{idle} s left, {fresh} s before");
    exchange.passes();
    assert!(left() > idle, "{} s left", left());
}
