//! Rules and the packets that they match: addresses, ports, types, protocols, prefix lists, several
//! groups.

use sg_tests::{
    FAMILIES, V4, V6, matrix,
    probe::{icmp, raw, tcp, udp},
};

/// No ingress rule, and egress closed.
const CLOSED: &str = r#"
[[security_group]]
name = "closed"
egress = []
"#;

matrix! {
    /// Without a rule nothing passes, either way, and every packet is counted once. Neighbours are
    /// found all the same; otherwise the packets would not have come as far as the filter.
    fn nothing_passes_without_a_rule(world) {
        world.apply(&["closed"], CLOSED);
        for at in FAMILIES {
            let _servers = (
                tcp::serve(&world.instance, at.instance_port(80)),
                tcp::serve(&world.remote, at.remote_port(80)),
            );
            let ((), counts) = world.counted(|| {
                tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
                tcp::is_dropped(&world.instance, at.instance, at.remote_port(80));
                udp::is_dropped(&world.remote, at.remote, at.instance_port(53));
                icmp::is_dropped(&world.remote, at.remote, at.instance);
                icmp::is_dropped(&world.instance, at.instance, at.remote);
                raw::is_dropped(47, (&world.remote, at.remote), (&world.instance, at.instance));
            });
            counts.exactly(&[("ingress no_rule", 4), ("egress no_rule", 2)]);
        }
        assert!(world.counters().get("ingress exempt") > 0, "ARP and ND: {}", world.counters());
    }

    /// A CIDR admits its addresses on its ports and protocol, and nothing else.
    fn cidr_and_port(world) {
        world.apply(&["web"], r#"
            [[security_group]]
            name = "web"
            ingress = [
              { protocol = "tcp", ports = "80-82", cidrs = ["10.9.0.10/32", "fd09::10/128"] },
              { protocol = "udp", ports = [53, 123], cidrs = ["10.9.0.8/30", "fd09::10/127"] },
            ]
        "#);
        for at in FAMILIES {
            let _tcp = [79, 80, 82, 83].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            let _udp = [53, 80, 123].map(|port| udp::serve(&world.instance, at.instance_port(port)));
            let ((), counts) = world.counted(|| {
                tcp::passes(&world.remote, at.remote, at.instance_port(80));
                tcp::passes(&world.remote, at.remote, at.instance_port(82));
                udp::passes(&world.remote, at.remote, at.instance_port(53));
                udp::passes(&world.remote, at.other, at.instance_port(123));
            });
            counts.are(&["ingress rule", "ingress flow", "egress flow"]);
            assert_eq!(counts.get("ingress rule"), 4, "one packet opens a flow: {counts}");
            let ((), counts) = world.counted(|| {
                tcp::is_dropped(&world.remote, at.remote, at.instance_port(79));
                tcp::is_dropped(&world.remote, at.remote, at.instance_port(83));
                tcp::is_dropped(&world.remote, at.other, at.instance_port(80));
                udp::is_dropped(&world.remote, at.remote, at.instance_port(80));
            });
            counts.exactly(&[("ingress no_rule", 4)]);
        }
    }

    /// 0.0.0.0/0 says nothing about IPv6, and ::/0 nothing about IPv4.
    fn families_are_apart(world) {
        world.apply(&["web"], r#"
            [[security_group]]
            name = "web"
            ingress = [
              { protocol = "tcp", ports = 4, cidrs = ["0.0.0.0/0"] },
              { protocol = "tcp", ports = 6, cidrs = ["::/0"] },
            ]
            egress = []
        "#);
        for (at, own, others) in [(V4, 4, 6), (V6, 6, 4)] {
            let _servers = [4, 6].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            tcp::passes(&world.remote, at.remote, at.instance_port(own));
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(others));
        }
    }

    /// A covering prefix keeps its rules inside a longer one.
    fn covering_prefix_still_holds(world) {
        world.apply(&["web"], r#"
            [[security_group]]
            name = "web"
            ingress = [
              { protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8", "fd00::/8"] },
              { protocol = "tcp", ports = 22, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
            ]
        "#);
        for at in FAMILIES {
            let _servers = [22, 80].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            tcp::passes(&world.remote, at.remote, at.instance_port(80));
            tcp::passes(&world.remote, at.remote, at.instance_port(22));
            tcp::passes(&world.remote, at.other, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.other, at.instance_port(22));
        }
    }

    /// ICMP by type; echo is tracked, so the reply needs no rule.
    fn icmp_by_type(world) {
        world.apply(&["ping"], r#"
            [[security_group]]
            name = "ping"
            ingress = [
              { protocol = "icmp", type = 8, cidrs = ["10.9.0.10/32"] },
              { protocol = "icmpv6", type = 128, code = 0, cidrs = ["fd09::10/128"] },
            ]
            egress = []
        "#);
        for at in FAMILIES {
            let ((), counts) = world.counted(|| {
                icmp::passes(&world.remote, at.remote, at.instance);
            });
            counts.exactly(&[("ingress rule", 1), ("egress flow", 1)]);
            let ((), counts) = world.counted(|| {
                icmp::is_dropped(&world.remote, at.other, at.instance);
                icmp::is_dropped(&world.instance, at.instance, at.remote);
            });
            counts.exactly(&[("ingress no_rule", 1), ("egress no_rule", 1)]);
        }
    }

    /// A protocol by number; its flow is tracked by the addresses alone.
    fn protocol_by_number(world) {
        world.apply(&["gre"], r#"
            [[security_group]]
            name = "gre"
            ingress = [
              { protocol = 47, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
              { protocol = "253", cidrs = ["10.9.0.11/32", "fd09::11/128"] },
            ]
            egress = []
        "#);
        for at in FAMILIES {
            let instance = (&world.instance, at.instance);
            let ((), counts) = world.counted(|| {
                raw::passes(47, (&world.remote, at.remote), instance);
                raw::passes(47, instance, (&world.remote, at.remote));
                raw::passes(253, (&world.remote, at.other), instance);
                raw::is_dropped(253, (&world.remote, at.remote), instance);
                raw::is_dropped(47, (&world.remote, at.other), instance);
                raw::is_dropped(253, instance, (&world.remote, at.remote));
            });
            counts.exactly(&[
                ("ingress rule", 2),
                ("egress flow", 1),
                ("ingress no_rule", 2),
                ("egress no_rule", 1),
            ]);
        }
    }

    /// `all` is every protocol and port.
    fn all_protocols(world) {
        world.apply(&["open"], r#"
            [[security_group]]
            name = "open"
            ingress = [{ protocol = "all", cidrs = ["10.9.0.10/32", "fd09::10/128"] }]
            egress = []
        "#);
        for at in FAMILIES {
            let _tcp = tcp::serve(&world.instance, at.instance_port(1));
            let _udp = udp::serve(&world.instance, at.instance_port(65535));
            tcp::passes(&world.remote, at.remote, at.instance_port(1));
            udp::passes(&world.remote, at.remote, at.instance_port(65535));
            icmp::passes(&world.remote, at.remote, at.instance);
            raw::passes(253, (&world.remote, at.remote), (&world.instance, at.instance));
            tcp::is_dropped(&world.remote, at.other, at.instance_port(1));
            raw::is_dropped(253, (&world.remote, at.other), (&world.instance, at.instance));
        }
    }

    /// The groups of an interface are one union.
    fn several_groups(world) {
        let groups = r#"
            [[security_group]]
            name = "web"
            ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
            egress = []
            [[security_group]]
            name = "ssh"
            ingress = [{ protocol = "tcp", ports = 22, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
            egress = []
        "#;
        for at in FAMILIES {
            let _servers = [22, 80].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            world.apply(&["web"], groups);
            tcp::passes(&world.remote, at.remote, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(22));
            world.apply(&["web", "ssh"], groups);
            tcp::passes(&world.remote, at.remote, at.instance_port(80));
            tcp::passes(&world.remote, at.remote, at.instance_port(22));
        }
    }

    /// A prefix list admits its entries, as they are now.
    fn prefix_list(world) {
        let text = |four: &str, six: &str| {
            format!(r#"
                [[prefix_list]]
                name = "office4"
                max_entries = 5
                entries = ["{four}/32", "192.0.2.0/24"]
                [[prefix_list]]
                name = "office6"
                max_entries = 5
                entries = [{{ cidr = "{six}/128", description = "Lyon" }}]
                [[security_group]]
                name = "web"
                ingress = [{{ protocol = "tcp", ports = 80, prefix_lists = ["office4", "office6"] }}]
            "#)
        };
        for at in FAMILIES {
            let _server = tcp::serve(&world.instance, at.instance_port(80));
            world.apply(&["web"], &text("10.9.0.10", "fd09::10"));
            tcp::passes(&world.remote, at.remote, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.other, at.instance_port(80));
            world.apply(&["web"], &text("10.9.0.11", "fd09::11"));
            tcp::passes(&world.remote, at.other, at.instance_port(80));
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
        }
    }

    /// Egress rules name the destination.
    fn egress_rules(world) {
        world.apply(&["client"], r#"
            [[security_group]]
            name = "client"
            egress = [{ protocol = "tcp", ports = 443, cidrs = ["10.9.0.10/32", "fd09::10/128"] }]
        "#);
        for at in FAMILIES {
            let other = std::net::SocketAddr::new(at.other, 443);
            let _servers = [at.remote_port(443), at.remote_port(80), other]
                .map(|address| tcp::serve(&world.remote, address));
            let ((), counts) = world.counted(|| {
                tcp::passes(&world.instance, at.instance, at.remote_port(443));
            });
            counts.are(&["egress rule", "egress flow", "ingress flow"]);
            let ((), counts) = world.counted(|| {
                tcp::is_dropped(&world.instance, at.instance, at.remote_port(80));
                tcp::is_dropped(&world.instance, at.instance, other);
            });
            counts.exactly(&[("egress no_rule", 2)]);
        }
    }
}
