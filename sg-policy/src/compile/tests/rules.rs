//! Rules as people write them, and what each peer may do.

use std::net::IpAddr;

use sg_common::{
    Direction, Family,
    flow::{ICMP, ICMPV6, TCP, UDP},
    interval::Ref,
};

use super::{check::probes::address, *};

const IN: Direction = Direction::Ingress;
const OUT: Direction = Direction::Egress;

fn group(rules: &str) -> String {
    format!(
        "[[security_group]]\nname = \"a\"\n{rules}\n\
         [[interface]]\nname = \"x\"\ngroups = [\"a\"]\n"
    )
}

/// Compiles and asks the first interface.
fn ask(text: &str, check: impl Fn(CheckedInterface<'_>)) {
    let (state, live) = parsed(text);
    check(CheckedInterface::of(&compiled(&state, &live), 10));
}

/// `(peer, protocol, detail)` that are allowed, and ones that are not.
fn check(text: &str, direction: Direction, yes: &[(&str, u8, u16)], no: &[(&str, u8, u16)]) {
    ask(text, |interface| {
        for (questions, expected) in [(yes, true), (no, false)] {
            for (peer, protocol, detail) in questions {
                let found = interface.allows(direction, address(peer), *protocol, *detail);
                assert_eq!(found, expected, "{direction:?} {peer} {protocol} {detail}");
            }
        }
    });
}

#[test]
fn a_new_group_lets_nothing_in_and_everything_out() {
    ask(&group(""), |interface| {
        for family in Family::BOTH {
            assert_eq!(interface.record.row(family, IN), Ref::NONE);
            assert_eq!(interface.record.row(family, OUT), Ref::ALL);
            assert!(!interface.is_untracked(IN, family, TCP, 80));
            assert!(!interface.is_untracked(OUT, family, TCP, 80));
        }
        assert!(interface.allows_all(OUT, address("::1"), 0));
    });
}

#[test]
fn without_rules_nothing_passes() {
    ask(&group("ingress = []\negress = []"), |interface| {
        for family in Family::BOTH {
            for direction in Direction::BOTH {
                assert_eq!(interface.record.row(family, direction), Ref::NONE);
            }
        }
    });
}

#[test]
fn ports_are_inclusive() {
    check(
        &group(
            r#"ingress = [
                { protocol = "tcp", ports = "8000-8099", cidrs = ["10.0.0.0/8"] },
                { protocol = "udp", ports = ["0-1", "65535"], cidrs = ["10.0.0.0/8"] },
            ]"#,
        ),
        IN,
        &[
            ("10.0.0.0", TCP, 8000),
            ("10.255.255.255", TCP, 8099),
            ("10.1.2.3", UDP, 0),
            ("10.1.2.3", UDP, 1),
            ("10.1.2.3", UDP, 65535),
        ],
        &[
            ("10.0.0.0", TCP, 7999),
            ("10.255.255.255", TCP, 8100),
            ("9.255.255.255", TCP, 8000),
            ("11.0.0.0", TCP, 8000),
            ("10.1.2.3", UDP, 2),
            ("10.1.2.3", UDP, 65534),
            ("10.1.2.3", UDP, 8000),
            // The neighbours in the space of services.
            ("10.1.2.3", UDP - 1, 65535),
            ("10.1.2.3", UDP + 1, 0),
        ],
    );
}

#[test]
fn directions_do_not_mix() {
    let text = group(
        r#"ingress = [{ protocol = "tcp", ports = 22, cidrs = ["10.0.0.0/8"] }]
           egress = [{ protocol = "tcp", ports = 53, cidrs = ["10.0.0.0/8"] }]"#,
    );
    check(&text, IN, &[("10.0.0.1", TCP, 22)], &[("10.0.0.1", TCP, 53)]);
    check(&text, OUT, &[("10.0.0.1", TCP, 53)], &[("10.0.0.1", TCP, 22)]);
}

#[test]
fn a_covering_prefix_keeps_its_rules_inside_a_longer_one() {
    check(
        &group(
            r#"ingress = [
                { protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8"] },
                { protocol = "tcp", ports = 22, cidrs = ["10.1.0.0/16", "10.1.2.3/32"] },
                { protocol = "tcp", ports = 443, cidrs = ["0.0.0.0/0"] },
            ]"#,
        ),
        IN,
        &[
            ("10.1.2.3", TCP, 80),
            ("10.1.2.3", TCP, 22),
            ("10.1.2.3", TCP, 443),
            ("10.1.255.255", TCP, 22),
            ("10.2.0.0", TCP, 80),
            ("11.0.0.0", TCP, 443),
        ],
        &[("10.2.0.0", TCP, 22), ("11.0.0.0", TCP, 80), ("::1", TCP, 443)],
    );
}

#[test]
fn icmp_is_by_type_and_code_in_its_own_family() {
    let text = group(
        r#"ingress = [
            { protocol = "icmp", type = 8, cidrs = ["0.0.0.0/0"] },
            { protocol = "icmp", type = 3, code = 4, groups = ["a"] },
            { protocol = "icmpv6", type = 128, code = 0, groups = ["a"] },
            { protocol = "icmpv6", type = 255, cidrs = ["fd00::/8"] },
        ]"#,
    ) + "addresses = [\"10.0.0.1\", \"2001:db8::1\"]";
    let icmp = |kind: u8, code: u8| u16::from_be_bytes([kind, code]);
    check(
        &text,
        IN,
        &[
            ("1.2.3.4", ICMP, icmp(8, 0)),
            ("1.2.3.4", ICMP, icmp(8, 255)),
            ("10.0.0.1", ICMP, icmp(3, 4)),
            ("2001:db8::1", ICMPV6, icmp(128, 0)),
            ("fd12::1", ICMPV6, icmp(255, 255)),
        ],
        &[
            ("1.2.3.4", ICMP, icmp(7, 255)),
            ("1.2.3.4", ICMP, icmp(9, 0)),
            ("1.2.3.4", ICMP, icmp(3, 4)),
            ("10.0.0.1", ICMP, icmp(3, 3)),
            ("10.0.0.1", ICMP, icmp(3, 5)),
            ("2001:db8::1", ICMPV6, icmp(128, 1)),
            ("fd12::1", ICMPV6, icmp(254, 255)),
            // The other family's protocol.
            ("10.0.0.1", ICMPV6, icmp(128, 0)),
            ("10.0.0.1", ICMPV6, 0),
            ("2001:db8::1", ICMP, icmp(3, 4)),
            ("2001:db8::1", ICMP, 0),
        ],
    );
}

#[test]
fn protocols_and_all() {
    let text = group(
        r#"ingress = [
            { protocol = 0, cidrs = ["10.0.0.1/32"] },
            { protocol = 255, cidrs = ["10.0.0.2/32"] },
            { protocol = "all", cidrs = ["10.0.0.3/32", "fd00::/128"] },
        ]"#,
    );
    check(
        &text,
        IN,
        &[
            ("10.0.0.1", 0, 0),
            ("10.0.0.2", 255, 0),
            ("10.0.0.3", 0, 0),
            ("10.0.0.3", 255, 0),
            ("10.0.0.3", ICMPV6, 0),
            ("10.0.0.3", TCP, 65535),
            ("fd00::", ICMPV6, 0xffff),
        ],
        &[
            ("10.0.0.1", 1, 0),
            ("10.0.0.1", 255, 0),
            ("10.0.0.2", 254, 0),
            ("10.0.0.2", 0, 0),
            ("10.0.0.4", 0, 0),
            ("fd00::1", 0, 0),
        ],
    );
    ask(&text, |interface| {
        let all = |peer: &str, protocol| interface.allows_all(IN, address(peer), protocol);
        assert!(all("10.0.0.1", 0) && all("10.0.0.2", 255) && all("10.0.0.3", TCP));
        assert!(!all("10.0.0.1", 1) && !all("10.0.0.2", TCP));
    });
}

#[test]
fn ports_that_rules_allow_together_are_all_ports() {
    let text = group(
        r#"ingress = [
            { protocol = "tcp", ports = "0-99", cidrs = ["10.0.0.0/8"] },
            { protocol = "tcp", ports = "100-65535", cidrs = ["10.0.0.0/16"] },
            { protocol = "udp", ports = ["0-99", "101-65535"], cidrs = ["10.0.0.0/8"] },
        ]"#,
    );
    ask(&text, |interface| {
        assert!(interface.allows_all(IN, address("10.0.0.1"), TCP));
        assert!(!interface.allows_all(IN, address("10.1.0.1"), TCP));
        assert!(!interface.allows_all(IN, address("10.0.0.1"), UDP));
    });
}

/// Members: entries that carry the group, there or not, with the addresses that count.
#[test]
fn group_members() {
    let (state, mut live) = parsed(
        r#"
        [[security_group]]
        name = "a"
        ingress = [{ protocol = "all", groups = ["b"] }, { protocol = "tcp", ports = 22, groups = ["a"] }]
        egress = []
        [[security_group]]
        name = "b"
        ingress = [{ protocol = "udp", ports = 53, cidrs = ["10.0.0.0/8"] }]
        egress = []
        [[interface]]
        name = "x"
        groups = ["a"]
        [[interface]]
        name = "absent"
        groups = ["b"]
        role = "port"
        addresses = ["10.0.0.7", "fd00::7"]
        [[interface]]
        name = "port"
        groups = ["b", "a"]
        role = "port"
        [[interface]]
        name = "nic*"
        groups = ["b"]
        [[interface]]
        name = "named"
        groups = ["b"]
        addresses = ["10.0.0.9"]
        "#,
    );
    live.remove(1);
    // Not a member by these: it is a port (index 1 now), and has addresses in its entry (index 3).
    live[1].addresses = vec![address("10.0.0.8")];
    live[3].addresses = vec![address("10.0.0.10")];
    live[0].addresses = vec![address("10.0.0.1")];
    live[2].addresses = vec![address("10.0.0.20"), address("fd00::20")];
    live.push(LiveInterface {
        slot: 30,
        ifindex: 30,
        addresses: vec![address("10.0.0.21")],
        ..live[2].clone()
    });
    let image = compiled(&state, &live);
    let members = |ifindex, port| {
        let interface = CheckedInterface::of(&image, ifindex);
        let peers = (0..32)
            .map(|host| format!("10.0.0.{host}"))
            .chain((0..32).map(|host| format!("fd00::{host}")));
        let peers = peers.filter(|peer| interface.allows(IN, address(peer), TCP, port));
        peers.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(members(10, 80), "10.0.0.7 10.0.0.9 10.0.0.20 10.0.0.21 fd00::7 fd00::20");
    assert_eq!(members(10, 22), "10.0.0.1 10.0.0.7 10.0.0.9 10.0.0.20 10.0.0.21 fd00::7 fd00::20");
    // Rules of a group that is named as a peer are not imported; those of one carried are.
    assert!(!CheckedInterface::of(&image, 10).allows(IN, address("10.0.0.30"), UDP, 53));
    assert!(CheckedInterface::of(&image, 12).allows(IN, address("10.0.0.30"), UDP, 53));
    assert_eq!(members(12, 22), members(10, 22));
    assert_eq!(members(13, 22), "");
}

#[test]
fn prefix_lists() {
    let text = group(
        r#"ingress = [
            { protocol = "tcp", ports = 22, prefix_lists = ["four", "six", "none"] },
            { protocol = "tcp", ports = 80, prefix_lists = ["everyone"] },
        ]"#,
    ) + r#"
        [[prefix_list]]
        name = "four"
        entries = ["192.0.2.0/24", "192.0.2.128/25", "198.51.100.7/32"]
        [[prefix_list]]
        name = "six"
        entries = ["2001:db8::/63", "2001:db8:0:2::/64", "2001:db8:0:5:8000::/65", "ffff::/16"]
        [[prefix_list]]
        name = "none"
        entries = []
        [[prefix_list]]
        name = "everyone"
        entries = ["::/0", "2001:db8::/32"]
    "#;
    check(
        &text,
        IN,
        &[
            ("192.0.2.0", TCP, 22),
            ("192.0.2.255", TCP, 22),
            ("198.51.100.7", TCP, 22),
            ("2001:db8::", TCP, 22),
            ("2001:db8:0:2:ffff:ffff:ffff:ffff", TCP, 22),
            ("2001:db8:0:5:8000::", TCP, 22),
            ("2001:db8:0:5:ffff:ffff:ffff:ffff", TCP, 22),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", TCP, 22),
            ("2001:db8::", TCP, 80),
            ("::", TCP, 80),
        ],
        &[
            ("192.0.1.255", TCP, 22),
            ("192.0.3.0", TCP, 22),
            ("198.51.100.6", TCP, 22),
            ("198.51.100.8", TCP, 22),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", TCP, 22),
            ("2001:db8:0:3::", TCP, 22),
            ("2001:db8:0:5:7fff:ffff:ffff:ffff", TCP, 22),
            ("2001:db8:0:6::", TCP, 22),
            ("192.0.2.0", TCP, 80),
        ],
    );
}

const NONE: [Vec<u16>; 2] = [Vec::new(), Vec::new()];

/// Ports of 0..=9, 79..=81 and the last that are untracked: `(ingress side, egress side)`.
fn untracked(interface: CheckedInterface<'_>, family: Family, protocol: u8) -> [Vec<u16>; 2] {
    Direction::BOTH.map(|side| {
        let ports = (0..10).chain(79..=81).chain([u16::MAX]);
        ports.filter(|port| interface.is_untracked(side, family, protocol, *port)).collect()
    })
}

#[test]
fn untracked_services_need_both_directions_open() {
    let open = r#"ingress = [
        { protocol = "tcp", ports = [80, "2-3"], cidrs = ["0.0.0.0/0", "::/0"] },
        { protocol = "tcp", ports = 79, cidrs = ["0.0.0.0/1", "128.0.0.0/1"] },
        { protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8"] },
        { protocol = "udp", ports = 5, cidrs = ["::/0"] },
    ]"#;
    ask(&group(open), |interface| {
        assert_eq!(untracked(interface, Family::V4, TCP), [vec![2, 3, 80], vec![]]);
        assert_eq!(untracked(interface, Family::V6, TCP), [vec![2, 3, 80], vec![]]);
        assert_eq!(untracked(interface, Family::V4, UDP), NONE);
        assert_eq!(untracked(interface, Family::V6, UDP), [vec![5], vec![]]);
        assert_eq!(untracked(interface, Family::V6, 132), NONE);
    });
    // The way back: all ports of TCP, and of UDP all but one.
    let back = r#"
        egress = [
            { protocol = "tcp", ports = ["0-9", "10-65535"], cidrs = ["0.0.0.0/0"] },
            { protocol = "udp", ports = ["0-9", "11-65535"], cidrs = ["::/0"] },
        ]"#;
    ask(&group(&format!("{open}{back}")), |interface| {
        assert_eq!(untracked(interface, Family::V4, TCP), [vec![2, 3, 80], vec![]]);
        assert_eq!(untracked(interface, Family::V6, TCP), NONE);
        assert_eq!(untracked(interface, Family::V6, UDP), NONE);
    });
    let both = r#"ingress = [{ protocol = "all", cidrs = ["0.0.0.0/0"] }]"#;
    ask(&group(both), |interface| {
        let all: Vec<u16> = (0..10).chain(79..=81).chain([u16::MAX]).collect();
        for protocol in [TCP, UDP] {
            assert_eq!(untracked(interface, Family::V4, protocol), [all.clone(), all.clone()]);
            assert_eq!(untracked(interface, Family::V6, protocol), NONE);
        }
        assert!(!interface.is_untracked(IN, Family::V4, ICMP, 0x0800));
        assert!(!interface.is_untracked(IN, Family::V4, 47, 0));
    });
}

#[test]
fn a_group_opens_what_another_lets_back() {
    let text = r#"
        [[security_group]]
        name = "in"
        ingress = [{ protocol = "udp", ports = 53, cidrs = ["0.0.0.0/0"] }]
        egress = []
        [[security_group]]
        name = "out"
        [[interface]]
        name = "x"
        groups = ["in", "out"]
        [[interface]]
        name = "y"
        groups = ["in"]
        [[interface]]
        name = "z"
        groups = ["out", "in"]
    "#;
    let (state, live) = parsed(text);
    let image = compiled(&state, &live);
    let [both, one, swapped] = [10, 11, 12].map(|ifindex| CheckedInterface::of(&image, ifindex));
    for interface in [both, swapped] {
        assert!(interface.is_untracked(IN, Family::V4, UDP, 53));
        assert!(interface.allows(OUT, address("1.1.1.1"), TCP, 1));
    }
    assert!(!one.is_untracked(IN, Family::V4, UDP, 53));
    assert!(one.allows(IN, address("1.1.1.1"), UDP, 53));
    assert!(!one.allows(OUT, address("1.1.1.1"), TCP, 1));
}

/// Each address alone in its class, on both sides of every page of a row.
#[test]
fn classes_beyond_a_page() {
    let host = |number: u32| IpAddr::V4((0x0a00_0000 + number).into());
    let rules: Vec<_> = (0..300)
        .map(|number| {
            format!(
                "{{ protocol = \"tcp\", ports = {}, cidrs = [\"{}/32\"] }}",
                number + 1,
                host(number * 2)
            )
        })
        .collect();
    // Interface y has one rule, so one grant in its rows. It covers all classes of the first page
    // but the class of everyone else, no class of whole pages, then one class.
    let few: Vec<u32> = (0..64).chain([299]).collect();
    let some = format!("\"10.0.0.0/25\", \"{}/32\"", host(299 * 2));
    let text = format!(
        "[settings.quotas]\nrules_per_group = 1000\ngroups_per_interface = 1\n{}\n\
         [[security_group]]\nname = \"b\"\n\
         ingress = [{{ protocol = \"tcp\", ports = 9, cidrs = [{some}] }}]\n\
         [[interface]]\nname = \"y\"\ngroups = [\"b\"]\n",
        group(&format!("ingress = [{}]", rules.join(",")))
    );
    let (state, live) = parsed(&text);
    let image = compiled(&state, &live);
    let [all, sparse] = [10, 11].map(|ifindex| CheckedInterface::of(&image, ifindex));
    for number in 0..300 {
        let port = number as u16 + 1;
        for (port, allowed) in [(port - 1, false), (port, true), (port + 1, false)] {
            assert_eq!(all.allows(IN, host(number * 2), TCP, port), allowed, "{number}");
        }
        assert!(!all.allows(IN, host(number * 2 + 1), TCP, port));
        let allowed = few.contains(&number);
        assert_eq!(sparse.allows(IN, host(number * 2), TCP, 9), allowed, "{number}");
    }
}
