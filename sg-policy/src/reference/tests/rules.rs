//! Which packets rules allow. Asked with packets that open nothing else: each on a fresh host.

use super::{frames::*, *};

/// Checks the reason that each packet gets at ingress under one rule, or under none.
#[track_caller]
fn ingress(rules: &[(Services, &str)], packets: &[(Ip, Reason)]) {
    for (ip, expected) in packets {
        let mut host = Host::new(state(rules, &[]));
        host.check(I, &ip.frame(), *expected);
    }
}

use Reason::{NoRule, Rule as Allowed};

#[test]
fn nothing_is_allowed_without_a_rule_and_nothing_is_noted() {
    let mut host = Host::new(state(&[], &[]));
    host.check(I, &tcp("192.0.2.1:1000", "10.0.0.5:80", "S").frame(), NoRule);
    host.check(E, &udp("10.0.0.5:1000", "192.0.2.1:53").frame(), NoRule);
    host.check_states(&[]);
}

#[test]
fn the_peer_is_the_source_in_ingress_and_the_destination_in_egress() {
    let rules = [(tcp_port(80), "192.0.2.0/24")];
    let mut host = Host::new(state(&rules, &rules));
    host.check(I, &tcp("192.0.2.1:1000", "10.0.0.5:80", "S").frame(), Allowed);
    host.check(I, &tcp("10.0.0.5:1000", "192.0.2.2:80", "S").frame(), NoRule);
    host.check(E, &tcp("10.0.0.5:1000", "192.0.2.3:80", "S").frame(), Allowed);
    host.check(E, &tcp("192.0.2.4:1000", "10.0.0.5:80", "S").frame(), NoRule);
}

#[test]
fn a_rule_holds_in_its_direction_only() {
    let mut host = Host::new(state(&[(udp_port(53), "192.0.2.0/24")], &[]));
    host.check(E, &udp("10.0.0.5:1000", "192.0.2.1:53").frame(), NoRule);
    let mut host = Host::new(state(&[], &[(udp_port(53), "192.0.2.0/24")]));
    host.check(I, &udp("192.0.2.1:1000", "10.0.0.5:53").frame(), NoRule);
}

#[test]
fn prefixes_match_to_the_bit() {
    for (cidr, inside, outside) in [
        ("192.0.2.1/32", vec!["192.0.2.1"], vec!["192.0.2.0", "192.0.2.2"]),
        ("192.0.2.64/26", vec!["192.0.2.64", "192.0.2.127"], vec!["192.0.2.63", "192.0.2.128"]),
        ("0.0.0.0/0", vec!["0.0.0.1", "255.255.255.254", "128.0.0.0"], vec![]),
        ("2001:db8::1/128", vec!["2001:db8::1"], vec!["2001:db8::", "2001:db8::2"]),
        (
            "2001:db8:0:8000::/49",
            vec!["2001:db8:0:8000::", "2001:db8:0:ffff:ffff:ffff:ffff:ffff"],
            vec!["2001:db8:0:7fff:ffff:ffff:ffff:ffff", "2001:db8:1::"],
        ),
        ("2001:db8::ff00/120", vec!["2001:db8::ffff"], vec!["2001:db8::feff", "2001:db8::1:0"]),
        ("::/0", vec!["::1", "ffff::"], vec![]),
    ] {
        let to = if cidr.contains(':') { "fd00::5" } else { "10.0.0.5" };
        let ask = |from: &str, reason| (ip(from, to, 47, b""), reason);
        let inside = inside.iter().map(|from| ask(from, Allowed));
        let outside = outside.iter().map(|from| ask(from, NoRule));
        ingress(&[(Services::Protocol(47), cidr)], &inside.chain(outside).collect::<Vec<_>>());
    }
}

#[test]
fn families_are_apart() {
    let v4 = ip("192.0.2.1", "10.0.0.5", 47, b"");
    let v6 = ip("2001:db8::1", "fd00::5", 47, b"");
    ingress(&[(ALL, "0.0.0.0/0")], &[(v4.clone(), Allowed), (v6.clone(), NoRule)]);
    ingress(&[(ALL, "::/0")], &[(v4, NoRule), (v6, Allowed)]);
}

#[test]
fn all_means_every_protocol_and_port() {
    ingress(
        &[(ALL, "192.0.2.0/24")],
        &[
            (tcp("192.0.2.1:1", "10.0.0.5:0", "S"), Allowed),
            (tcp("192.0.2.1:1", "10.0.0.5:65535", "S"), Allowed),
            (udp("192.0.2.1:1", "10.0.0.5:7"), Allowed),
            (icmp("192.0.2.1", "10.0.0.5", 13, 9, 1), Allowed),
            (ip("192.0.2.1", "10.0.0.5", 0, b""), Allowed),
            (ip("192.0.2.1", "10.0.0.5", 255, b""), Allowed),
            (ip("192.0.2.1", "10.0.0.5", 58, b""), Allowed),
        ],
    );
}

#[test]
fn ports_are_inclusive_and_of_their_protocol() {
    let at = |port: u16| tcp("192.0.2.1:100", &format!("10.0.0.5:{port}"), "S");
    ingress(
        &[(tcp_ports(80, 90), "192.0.2.0/24")],
        &[(at(79), NoRule), (at(80), Allowed), (at(90), Allowed), (at(91), NoRule)],
    );
    ingress(
        &[(tcp_ports(0, 0), "192.0.2.0/24"), (tcp_ports(65535, 65535), "192.0.2.0/24")],
        &[(at(0), Allowed), (at(1), NoRule), (at(65534), NoRule), (at(65535), Allowed)],
    );
    // The port is the destination's, and TCP's is not UDP's.
    let from_80 = tcp("192.0.2.1:80", "10.0.0.5:100", "S");
    let udp_80 = udp("192.0.2.1:100", "10.0.0.5:80");
    ingress(&[(tcp_port(80), "192.0.2.0/24")], &[(from_80, NoRule), (udp_80.clone(), NoRule)]);
    ingress(&[(udp_port(80), "192.0.2.0/24")], &[(udp_80, Allowed), (at(80), NoRule)]);
}

#[test]
fn icmp_matches_by_type_and_code() {
    let message = |kind, code| icmp("192.0.2.1", "10.0.0.5", kind, code, 1);
    let rule = |kind, code| Services::Icmp(IcmpMatch { kind, code });
    ingress(&[(rule(None, None), "192.0.2.0/24")], &[(message(3, 4), Allowed)]);
    ingress(
        &[(rule(Some(3), None), "192.0.2.0/24")],
        &[(message(3, 0), Allowed), (message(3, 255), Allowed), (message(4, 0), NoRule)],
    );
    ingress(
        &[(rule(Some(3), Some(4)), "192.0.2.0/24")],
        &[(message(3, 4), Allowed), (message(3, 5), NoRule), (message(4, 4), NoRule)],
    );
}

#[test]
fn icmp_rules_are_of_one_family_also_with_a_group_as_peer() {
    let v4 = icmp("10.0.0.5", "10.0.0.5", 8, 0, 1);
    let v6 = icmp("fd00::5", "fd00::5", 128, 0, 1);
    // ICMP in IPv6 and ICMPv6 in IPv4 are other protocols.
    let v4_58 = ip("10.0.0.5", "10.0.0.5", 58, &[128, 0, 0, 0, 0, 1, 0, 1]);
    let v6_1 = ip("fd00::5", "fd00::5", 1, &[8, 0, 0, 0, 0, 1, 0, 1]);
    let packets =
        |a, b, c, d| [(v4.clone(), a), (v6.clone(), b), (v4_58.clone(), c), (v6_1.clone(), d)];
    let rules = |services| [(services, "group:web")];
    ingress(&rules(ICMP_ANY), &packets(Allowed, NoRule, NoRule, NoRule));
    ingress(&rules(ICMPV6_ANY), &packets(NoRule, Allowed, NoRule, NoRule));
    ingress(&rules(ALL), &packets(Allowed, Allowed, Allowed, Allowed));
}

#[test]
fn another_protocol_means_all_its_traffic() {
    ingress(
        &[(Services::Protocol(47), "192.0.2.0/24")],
        &[
            (ip("192.0.2.1", "10.0.0.5", 47, b""), Allowed),
            (ip("192.0.2.1", "10.0.0.5", 47, b"anything at all"), Allowed),
            (ip("192.0.2.1", "10.0.0.5", 50, b""), NoRule),
            (tcp("192.0.2.1:1", "10.0.0.5:47", "S"), NoRule),
        ],
    );
    let v6 = ip("2001:db8::1", "fd00::5", 132, b"");
    ingress(&[(Services::Protocol(132), "2001:db8::/32")], &[(v6, Allowed)]);
}

#[test]
fn a_covering_prefix_keeps_its_rules_inside_a_longer_one() {
    let at = |from: &str, port: u16| tcp(&format!("{from}:9"), &format!("10.0.0.5:{port}"), "S");
    ingress(
        &[(tcp_port(80), "10.0.0.0/8"), (tcp_port(22), "10.1.0.0/16")],
        &[
            (at("10.1.2.3", 80), Allowed),
            (at("10.1.2.3", 22), Allowed),
            (at("10.2.2.3", 80), Allowed),
            (at("10.2.2.3", 22), NoRule),
        ],
    );
}

#[test]
fn rules_of_all_groups_are_one_union_and_of_no_other_group() {
    let mut state = state(&[(tcp_port(80), "192.0.2.0/24")], &[]);
    state.groups.push(group("ssh", &[(tcp_port(22), "192.0.2.0/24")], &[]));
    state.groups.push(group("other", &[(tcp_port(25), "192.0.2.0/24")], &[]));
    state.interfaces[0].groups = ["web", "ssh"].map(GroupId::of_name).to_vec();
    let mut host = Host::new(state);
    host.check(I, &tcp("192.0.2.1:9", "10.0.0.5:80", "S").frame(), Allowed);
    host.check(I, &tcp("192.0.2.1:9", "10.0.0.5:22", "S").frame(), Allowed);
    host.check(I, &tcp("192.0.2.1:9", "10.0.0.5:25", "S").frame(), NoRule);
}

#[test]
fn a_prefix_list_is_its_current_entries() {
    let mut state = state(&[(tcp_port(80), "list:office")], &[]);
    state.prefix_lists = vec![list("office", &["192.0.2.0/25", "198.51.100.7/32"])];
    let mut host = Host::new(state);
    let from = |peer: &str| tcp(&format!("{peer}:9"), "10.0.0.5:80", "S").frame();
    host.check(I, &from("192.0.2.127"), Allowed);
    host.check(I, &from("192.0.2.128"), NoRule);
    host.check(I, &from("198.51.100.7"), Allowed);
    host.apply(|state| state.prefix_lists = vec![list("office", &["192.0.2.128/25"])]);
    host.check(I, &from("192.0.2.128"), Allowed);
    host.check(I, &from("192.0.2.126"), NoRule);
}

#[test]
fn a_group_peer_is_the_addresses_of_its_members() {
    let mut state = state(&[(udp_port(53), "group:lb")], &[]);
    // Rules of the referenced group are not imported.
    state.groups.push(group("lb", &[(udp_port(99), "192.0.2.0/24")], &[]));
    let mut member = interface("tap*", Role::Port, &["lb"]);
    member.addresses = vec![];
    state.interfaces.push(member.clone());
    // There or not.
    state.interfaces.push(Interface {
        name: "absent".to_owned(),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        ..member.clone()
    });
    state.interfaces.push(Interface { name: "eth1".to_owned(), role: Role::Host, ..member });
    let mut host = Host::new(state);
    host.live.truncate(2);
    host.live[1].addresses = vec!["192.0.2.66".parse().unwrap()];
    host.live
        .push(LiveInterface { addresses: vec!["192.0.2.3".parse().unwrap()], ..live_interface(3) });
    host.apply(|_| ());
    let from = |peer: &str| udp(&format!("{peer}:9"), "10.0.0.5:53").frame();
    host.check(I, &from("192.0.2.1"), Allowed);
    host.check(I, &udp("[2001:db8::1]:9", "[fd00::5]:53").frame(), Allowed);
    // Host role without addresses: what the interface has, as it changes.
    host.check(I, &from("192.0.2.3"), Allowed);
    host.check(I, &from("192.0.2.4"), NoRule);
    host.live[2].addresses = vec!["192.0.2.4".parse().unwrap()];
    host.apply(|_| ());
    host.check(I, &from("192.0.2.4"), Allowed);
    host.now += 60;
    host.check(I, &from("192.0.2.3"), NoRule);
    // A glob in port role has no members, whatever addresses its interfaces have.
    host.check(I, &from("192.0.2.66"), NoRule);
    host.check(I, &udp("192.0.2.1:9", "10.0.0.5:99").frame(), NoRule);
    // Nor does a group's own name come by itself.
    host.check(I, &from("10.0.0.5"), NoRule);
}

#[test]
fn a_host_entry_with_addresses_has_those_and_not_the_interface_s() {
    let mut host = Host::new(state(&[(udp_port(53), "group:web")], &[]));
    host.live[0].addresses = vec!["192.0.2.1".parse().unwrap()];
    host.apply(|_| ());
    host.check(I, &udp("192.0.2.1:9", "10.0.0.5:53").frame(), NoRule);
    host.check(I, &udp("10.0.0.5:9", "10.0.0.5:53").frame(), Allowed);
}

#[test]
fn each_interface_has_its_own_rules_and_state() {
    let mut state = state(&[(udp_port(53), "192.0.2.0/24")], &[]);
    state.groups.push(group("db", &[], &[]));
    state.interfaces.push(interface("eth1", Role::Host, &["db"]));
    let mut host = Host::new(state);
    let request = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    let reply = udp("10.0.0.5:53", "192.0.2.1:9").frame();
    host.check_on(IFINDEX, I, &request, Allowed);
    host.check_on(IFINDEX + 1, I, &request, NoRule);
    host.check_on(IFINDEX + 1, E, &reply, NoRule);
    host.check_on(IFINDEX, E, &reply, Reason::Flow);
}

#[test]
fn an_interface_that_is_not_filtered_has_no_verdict() {
    let mut host = Host::new(state(&[], &[]));
    let frame = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    let packet =
        Packet { ifindex: 99, direction: I, frame: &frame, vlan_offloaded: false, gso: false };
    assert_eq!(host.evaluator.judge(&packet, host.now), None);
}
