//! Packets that are always let through, and their neighbours: cloud services, DHCP, neighbour
//! discovery, MLD, IGMP. No rule allows anything here.

use sg_common::{
    Direction::{Egress as E, Ingress as I},
    Reason::{Exempt, FragmentUnknown, NoRule, SourceCheck},
};
use sg_policy::reference::frames::{Ip, icmp, ip, neighbour, tcp, udp};

use crate::{
    row::{Calls, Outcome, Row, row},
    table::{Setup, check, check_setups},
    way::{V4, V6, WAYS, at},
};

const CLOSED: &str = "[[security_group]]\nname = \"web\"\ningress = []\negress = []\n";

fn exempt(holds: bool) -> Outcome {
    if holds { Exempt } else { NoRule }.into()
}

const SERVICES: [&str; 13] = [
    "169.254.169.253",
    "169.254.169.254",
    "169.254.169.123",
    "169.254.169.250",
    "169.254.169.251",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::253",
    "fd00:ec2::254",
    "fd00:ec2::123",
    "fd00:ec2::250",
    "fd00:ec2::251",
    "fd00:ec2::23",
];

const NO_SERVICES: [&str; 34] = [
    "169.254.169.122",
    "169.254.169.124",
    "169.254.169.249",
    "169.254.169.252",
    "169.254.169.255",
    "169.254.169.2",
    "169.254.169.23",
    "169.254.169.0",
    "169.254.170.1",
    "169.254.170.3",
    "169.254.170.22",
    "169.254.170.24",
    "169.254.170.253",
    "169.254.168.254",
    "169.254.171.2",
    "169.253.169.254",
    "169.255.169.254",
    "168.254.169.254",
    "254.169.254.169",
    "fd00:ec2::22",
    "fd00:ec2::24",
    "fd00:ec2::122",
    "fd00:ec2::124",
    "fd00:ec2::24f",
    "fd00:ec2::252",
    "fd00:ec2::255",
    "fd00:ec2::fd",
    "fd00:ec2::fe",
    "fd00:ec2::2",
    "fd00:ec2::1:254",
    "fd00:ec2:1::254",
    "fd00:ec1::254",
    "fd00:ec3::254",
    "fd01:ec2::254",
];

/// All that is between the instance and `peer`, and whether the instance may call it.
fn with_peer(peer: &str, services: bool) -> Vec<Row> {
    let own = if peer.contains(':') { "fd00::5" } else { "10.0.0.5" };
    let mut rows = vec![];
    for (direction, src, dst) in [(I, peer, own), (E, own, peer)] {
        let calls = services && direction == E;
        let opening = if calls { Calls } else { NoRule.into() };
        for port in [0, 53, 80, 123, 65535] {
            rows.push(row(direction, udp(&at(src, 9), &at(dst, port)), opening));
            rows.push(row(direction, tcp(&at(src, 9), &at(dst, port), "S"), opening));
            // Of a call that nobody has seen begin, no answer passes.
            for flags in ["A", "R", "SA", "F"] {
                let segment = tcp(&at(src, 9), &at(dst, port), flags);
                rows.push(row(direction, segment, exempt(calls)));
            }
            let datagram = udp(&at(src, 9), &at(dst, port));
            let later = match own.contains(':') {
                true => datagram.fragment6(1, 8, true),
                false => datagram.fragment(1, 8, true),
            };
            rows.push(row(direction, later, if calls { Exempt } else { FragmentUnknown }));
        }
        rows.push(row(
            direction,
            icmp(src, dst, if own.contains(':') { 128 } else { 8 }, 0, 1),
            NoRule,
        ));
        for protocol in [41, 47, 132] {
            rows.push(row(direction, ip(src, dst, protocol, &[0; 20]), NoRule));
        }
    }
    rows
}

#[test]
fn cloud_services() {
    let mut rows = vec![];
    rows.extend(SERVICES.iter().flat_map(|peer| with_peer(peer, true)));
    rows.extend(NO_SERVICES.iter().flat_map(|peer| with_peer(peer, false)));
    // Only as the peer.
    for (own, peer) in [("169.254.169.254", "192.0.2.1"), ("fd00:ec2::254", "2001:db8::1")] {
        rows.push(row(I, udp(&at(peer, 9), &at(own, 53)), NoRule));
        rows.push(row(E, udp(&at(own, 53), &at(peer, 9)), NoRule).host());
        rows.push(row(E, udp(&at(own, 53), &at(peer, 9)), SourceCheck).port());
    }
    check(CLOSED, &rows);
}

#[test]
fn cloud_services_off() {
    let rules = format!("[settings]\nexempt_services = false\n{CLOSED}");
    check(&rules, &SERVICES.iter().flat_map(|peer| with_peer(peer, false)).collect::<Vec<_>>());
}

/// By direction and ports; peers are near.
#[test]
fn dhcp_ports() {
    let mut rows = vec![];
    for (direction, src, dst) in [
        (I, "10.9.9.9", "10.0.0.5"),
        (E, "10.0.0.5", "10.9.9.9"),
        (I, "fe80::9", "fd00::5"),
        (E, "fd00::5", "fe80::9"),
    ] {
        let v4 = src.contains('.');
        let (client, server) = if v4 { (68, 67) } else { (546, 547) };
        for to in [66, 67, 68, 69, 545, 546, 547, 548] {
            for from in [66, 67, 68, 69, 545, 546, 547, 548, 1067, 1547] {
                let passes = match (direction, v4) {
                    (I, true) => (from, to) == (server, client),
                    (E, true) => (from, to) == (client, server),
                    (I, false) => to == client,
                    (E, false) => to == server,
                };
                let datagram = udp(&at(src, from), &at(dst, to));
                rows.push(row(direction, datagram.clone(), exempt(passes)).host());
                // An instance is no server.
                let serves = direction == E && to == client;
                let of_port = if serves { SourceCheck.into() } else { exempt(passes) };
                rows.push(row(direction, datagram, of_port).port());
                rows.push(row(direction, tcp(&at(src, from), &at(dst, to), "S"), NoRule));
            }
        }
    }
    let discover = udp("0.0.0.0:68", "255.255.255.255:67");
    rows.push(row(E, discover.clone(), Exempt));
    rows.push(row(I, discover, NoRule));
    rows.push(row(I, udp("192.0.2.1:67", "255.255.255.255:68"), Exempt));
    rows.push(row(E, udp("[fe80::5]:546", "[ff02::1:2]:547"), Exempt));
    // A first fragment shows its ports, a later one does not.
    rows.push(row(I, udp("192.0.2.1:67", "10.0.0.5:68").fragment(1, 0, true), Exempt));
    rows.push(row(I, udp("192.0.2.1:67", "10.0.0.5:68").fragment(1, 2, true), FragmentUnknown));
    check(CLOSED, &rows);
}

/// Both ends of each range that a server may be in, and their neighbours.
#[test]
fn dhcp_servers() {
    let mut rows = vec![];
    for (first, last, before, behind) in [
        ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"),
        ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"),
        ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"),
        ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
        ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"),
        ("255.255.255.255", "255.255.255.255", "255.255.255.254", "0.0.0.0"),
    ] {
        for (server, near) in [(first, true), (last, true), (before, false), (behind, false)] {
            rows.push(row(E, udp("10.0.0.5:68", &at(server, 67)), exempt(near)));
            rows.push(row(I, udp(&at(server, 67), "10.0.0.5:68"), Exempt));
        }
    }
    for (server, near) in [
        ("fe80::", true),
        ("febf:ffff::1", true),
        ("fe7f:ffff::1", false),
        ("fec0::", false),
        ("ff00::", true),
        ("ff05::1:3", true),
        ("feff::1", false),
        ("fc00::", true),
        ("fdff:ffff::1", true),
        ("fbff:ffff::1", false),
        ("fe00::", false),
        ("2001:db8::1", false),
    ] {
        rows.push(row(E, udp("[fd00::5]:546", &at(server, 547)), exempt(near)));
        rows.push(row(I, udp(&at(server, 1547), "[fd00::5]:546"), exempt(near)));
    }
    check(CLOSED, &rows);
}

#[test]
fn neighbour_discovery() {
    let mut rows = vec![];
    for way in V6 {
        for kind in [127, 133, 134, 135, 136, 137, 138, 141, 142, 148, 255] {
            for hop_limit in [0, 1, 64, 254, 255] {
                // About the instance itself, which it may claim.
                let message = neighbour(way.src, way.dst, kind, "fd00::5").hop_limit(hop_limit);
                let passes = (133..=137).contains(&kind) && hop_limit == 255;
                rows.push(way.row(message.clone(), exempt(passes)).host());
                let of_port = if kind == 134 && way.direction == E {
                    SourceCheck.into()
                } else {
                    exempt(passes)
                };
                rows.push(way.row(message, of_port).port());
            }
        }
        // Any code; IPv4's protocol number and IPv6's number for ICMP are none of it.
        rows.push(way.row(way.icmp(135, 255).hop_limit(255), Exempt));
        let message = Ip { protocol: 1, ..way.icmp(135, 0).hop_limit(255) };
        rows.push(way.row(message, NoRule));
    }
    for way in V4 {
        for kind in 130..=143 {
            let message = Ip { protocol: 58, ..way.icmp(kind, 0).hop_limit(255) };
            rows.push(way.row(message, NoRule));
            rows.push(way.row(way.icmp(kind, 0).hop_limit(255), NoRule));
        }
    }
    check(CLOSED, &rows);
}

#[test]
fn multicast_listeners() {
    const ALL: &str = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let mut rows = vec![];
    for way in V6 {
        for (kind, passes) in [
            (128, false),
            (129, false),
            (130, true),
            (131, true),
            (132, true),
            (138, false),
            (142, false),
            (143, true),
            (144, false),
            (151, false),
        ] {
            for hop_limit in [0, 1, 255] {
                // Multicast addresses, the first and the last of all, and what is none.
                for (to, is_multicast) in
                    [("ff00::", true), (ALL, true), ("feff::1", false), (way.dst, false)]
                {
                    let expected = exempt(passes && is_multicast);
                    let message = || icmp(way.src, to, kind, 0, 7).hop_limit(hop_limit);
                    rows.push(way.row(message(), expected));
                    // With a router alert, as it is sent (RFC 2710).
                    let alert = vec![0, 0, 5, 2, 0, 0, 1, 0];
                    rows.push(way.row(message().extension(0, alert), expected));
                }
            }
        }
    }
    check(CLOSED, &rows);
}

#[test]
fn igmp() {
    let mut rows = vec![];
    for way in WAYS {
        for number in [1, 2, 3] {
            if number == 1 && way.is_v4() {
                continue;
            }
            let addresses = match way.is_v4() {
                true => {
                    [("224.0.0.0", true), ("239.255.255.255", true), ("223.255.255.255", false)]
                }
                false => [("ff02::16", true), ("ff0e::1", true), (way.dst, false)],
            };
            for (to, is_multicast) in addresses.into_iter().chain([("240.0.0.1", false)]) {
                if to.contains(':') == way.is_v4() {
                    continue;
                }
                let expected = exempt(number == 2 && way.is_v4() && is_multicast);
                for length in [0, 8, 100] {
                    let message = ip(way.src, to, number, &vec![0x16; length]);
                    rows.push(way.row(message.clone(), expected));
                    rows.push(way.row(message.hop_limit(1), expected));
                }
            }
        }
    }
    rows.push(row(
        E,
        ip("10.0.0.5", "224.0.0.22", 2, &[0x22; 16]).options(&[148, 4, 0, 0]),
        Exempt,
    ));
    check(CLOSED, &rows);
}

/// Exempt traffic does not depend on rules, nor on the source check being off.
#[test]
fn without_source_check() {
    let rows = [
        // A server needs a rule all the same.
        row(E, udp("10.0.0.66:67", "255.255.255.255:68"), NoRule),
        row(E, icmp("fe80::1", "ff02::1", 134, 0, 0).hop_limit(255), Exempt),
        row(E, udp("[fe80::1]:547", "[fe80::2]:546"), NoRule),
        row(E, tcp("10.0.0.66:9", "169.254.169.254:80", "S"), Calls),
    ];
    check_setups(&[(Setup { port: "source_check = false", ..Setup::new(CLOSED) }, &rows)]);
}
