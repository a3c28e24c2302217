use super::*;

const RULES: &str = r#"
[[prefix_list]]
name = "lan"
entries = ["192.0.2.0/24"]

[[security_group]]
name = "a"
ingress = [
  { protocol = "tcp", ports = "80-90", cidrs = ["10.0.0.0/8", "fd00::/8"] },
  { protocol = "udp", ports = 53, prefix_lists = ["lan"] },
  { protocol = "icmp", type = 3, code = 4, cidrs = ["0.0.0.0/0"] },
  { protocol = "icmpv6", type = 128, cidrs = ["::/0"] },
  { protocol = 47, groups = ["b"] },
  { protocol = "icmp", groups = ["b"] },
  { protocol = "icmpv6", groups = ["b"] },
]
egress = []

[[security_group]]
name = "b"
ingress = [{ protocol = "all", groups = ["b"] }]

[[interface]]
name = "eth0"
groups = ["a", "b"]

[[interface]]
name = "eth1"
groups = ["b"]
addresses = ["172.16.0.1", "fd99::1"]
"#;

#[test]
fn rules_are_named_by_direction_protocol_service_and_peer() {
    let icmp = |kind, code| Detail::Icmp { kind, code };
    let table: &[(Direction, u8, &str, Detail, &[&str])] = &[
        (Direction::Ingress, TCP, "10.1.2.3", Detail::Port(80), &["tcp 80-90 from 10.0.0.0/8"]),
        (Direction::Ingress, TCP, "10.1.2.3", Detail::Port(90), &["tcp 80-90 from 10.0.0.0/8"]),
        (Direction::Ingress, TCP, "10.1.2.3", Detail::Port(91), &[]),
        (Direction::Ingress, UDP, "10.1.2.3", Detail::Port(80), &[]),
        (Direction::Ingress, TCP, "11.1.2.3", Detail::Port(80), &[]),
        (Direction::Ingress, TCP, "fd00::1", Detail::Port(80), &["tcp 80-90 from fd00::/8"]),
        (Direction::Egress, TCP, "10.1.2.3", Detail::Port(80), &["egress all to 0.0.0.0/0"]),
        (Direction::Ingress, UDP, "192.0.2.9", Detail::Port(53), &["udp 53 from prefix list lan"]),
        (Direction::Ingress, UDP, "192.0.3.9", Detail::Port(53), &[]),
        (Direction::Ingress, ICMP, "1.2.3.4", icmp(3, 4), &["icmp type 3 code 4 from 0.0.0.0/0"]),
        (Direction::Ingress, ICMP, "1.2.3.4", icmp(3, 3), &[]),
        (Direction::Ingress, ICMPV6, "::9", icmp(128, 9), &["icmpv6 type 128 from ::/0"]),
        (Direction::Ingress, ICMP, "::9", icmp(128, 0), &[]),
        // Members: the addresses that eth0 has, and those that are written for eth1.
        (
            Direction::Ingress,
            47,
            "198.51.100.1",
            Detail::None,
            &["a ingress protocol 47 from group b", "b ingress all from group b"],
        ),
        // A group has members of both families, an ICMP rule is about one.
        (Direction::Ingress, ICMP, "fd99::1", icmp(8, 0), &["b ingress all from group b"]),
        (Direction::Ingress, ICMPV6, "172.16.0.1", icmp(8, 0), &["b ingress all from group b"]),
        (Direction::Ingress, TCP, "172.16.0.1", Detail::Port(1), &["all from group b"]),
        (Direction::Ingress, TCP, "172.16.0.2", Detail::Port(1), &[]),
    ];
    let state = crate::parse("rules.toml", RULES.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let own = |entry, address: &str| LiveInterface {
        slot: 0,
        ifindex: 1,
        entry,
        addresses: vec![address.parse().expect("an address")],
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    };
    let live = [own(0, "198.51.100.1"), own(1, "172.16.0.2")];
    for (direction, protocol, peer, detail, expected) in table {
        let peer = peer.parse().expect("an address");
        let traffic = Traffic { direction: *direction, protocol: *protocol, peer, detail: *detail };
        let found: Vec<String> = rules_allowing(&state, &live, 0, &traffic)
            .into_iter()
            .map(|(group, rule)| rule.text(&group.name, *direction, &state.names()))
            .collect();
        let matches = found.iter().zip(*expected).all(|(text, end)| text.ends_with(end));
        assert!(matches && found.len() == expected.len(), "{traffic:?}: {found:?}");
    }
    let nowhere = Traffic {
        direction: Direction::Egress,
        protocol: TCP,
        peer: live[0].addresses[0],
        detail: Detail::None,
    };
    assert!(rules_allowing(&state, &live, 9, &nowhere).is_empty());
}
