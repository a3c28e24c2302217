//! Packets that are never filtered.

use super::{frames::*, *};
use Reason::{Exempt, NoRule};

fn host(role: Role) -> Host {
    let mut state = state(&[], &[]);
    state.interfaces[0].role = role;
    Host::new(state)
}

/// In both directions and both roles.
#[track_caller]
fn check(ip: &Ip, expected: Reason) {
    for role in [Role::Port, Role::Host] {
        for direction in Direction::BOTH {
            let mut host = host(role);
            host.check(direction, &ip.frame(), expected);
            host.check_states(&[]);
        }
    }
}

#[test]
fn neighbour_discovery_has_hop_limit_255() {
    for kind in 133..=137 {
        check(&icmp("fe80::1", "fe80::2", kind, 0, 0).hop_limit(255), Exempt);
        check(&icmp("fe80::1", "fe80::2", kind, 0, 0).hop_limit(254), NoRule);
    }
    check(&icmp("fe80::1", "fe80::2", 138, 0, 0).hop_limit(255), NoRule);
    check(&icmp("fe80::1", "fe80::2", 129, 0, 0).hop_limit(255), NoRule);
    // Not in IPv4.
    check(&ip("192.0.2.1", "192.0.2.2", 58, &[135, 0, 0, 0, 0, 0, 0, 0]).hop_limit(255), NoRule);
    check(&icmp("192.0.2.1", "192.0.2.2", 135, 0, 0).hop_limit(255), NoRule);
}

#[test]
fn multicast_listener_discovery_and_igmp() {
    for kind in [130, 131, 132, 143] {
        check(&icmp("fe80::1", "ff02::16", kind, 0, 0).hop_limit(1), Exempt);
    }
    check(&icmp("fe80::1", "ff02::16", 142, 0, 0).hop_limit(1), NoRule);
    check(&icmp("fe80::1", "ff02::16", 144, 0, 0).hop_limit(1), NoRule);
    // Behind a hop-by-hop header with the router alert, as MLD is.
    let alert = vec![0, 0, 5, 2, 0, 0, 1, 0];
    check(&icmp("fe80::1", "ff02::16", 143, 0, 0).extension(0, alert), Exempt);
    check(&ip("192.0.2.1", "224.0.0.22", 2, b""), Exempt);
    check(&ip("192.0.2.1", "224.0.0.22", 2, b"").fragment(1, 8, false), Exempt);
    // To one host it is no more than other traffic.
    for kind in [130, 131, 132, 143] {
        check(&icmp("fe80::1", "fe80::5", kind, 0, 0).hop_limit(1), NoRule);
    }
    check(&ip("192.0.2.1", "10.0.0.5", 2, b""), NoRule);
    check(&ip("fe80::1", "ff02::16", 2, b""), NoRule);
}

#[track_caller]
fn check_one(direction: Direction, ip: &Ip, expected: Reason) {
    for role in [Role::Port, Role::Host] {
        let mut host = host(role);
        host.check(direction, &ip.frame(), expected);
        host.check_states(&[]);
    }
}

#[test]
fn dhcpv4_of_the_instance_as_a_client() {
    check_one(E, &udp("0.0.0.0:68", "255.255.255.255:67"), Exempt);
    check_one(I, &udp("0.0.0.0:68", "255.255.255.255:67"), NoRule);
    check_one(I, &udp("192.0.2.1:67", "10.0.0.5:68"), Exempt);
    check_one(I, &udp("192.0.2.1:67", "255.255.255.255:68"), Exempt);
    check_one(E, &udp("10.0.0.5:67", "255.255.255.255:68"), NoRule);
    for (from, to) in [(67, 67), (68, 68), (66, 68), (67, 69), (1067, 68), (68, 67), (547, 546)] {
        check_one(I, &udp(&format!("10.9.9.9:{from}"), &format!("10.0.0.5:{to}")), NoRule);
    }
    for (from, to) in [(67, 67), (68, 68), (69, 67), (68, 66), (1068, 67), (546, 547)] {
        check_one(E, &udp(&format!("10.0.0.5:{from}"), &format!("10.9.9.9:{to}")), NoRule);
    }
    check_one(E, &tcp("10.0.0.5:68", "10.9.9.9:67", "S"), NoRule);
    check_one(I, &tcp("10.9.9.9:67", "10.0.0.5:68", "S"), NoRule);
}

#[test]
fn dhcpv4_goes_to_near_servers_only() {
    for (server, expected) in [
        ("255.255.255.255", Exempt),
        ("255.255.255.254", NoRule),
        ("9.255.255.255", NoRule),
        ("10.0.0.0", Exempt),
        ("10.255.255.255", Exempt),
        ("11.0.0.0", NoRule),
        ("172.15.255.255", NoRule),
        ("172.16.0.0", Exempt),
        ("172.31.255.255", Exempt),
        ("172.32.0.0", NoRule),
        ("192.167.255.255", NoRule),
        ("192.168.0.0", Exempt),
        ("192.168.255.255", Exempt),
        ("192.169.0.0", NoRule),
        ("100.63.255.255", NoRule),
        ("100.64.0.0", Exempt),
        ("100.127.255.255", Exempt),
        ("100.128.0.0", NoRule),
        ("169.253.255.255", NoRule),
        ("169.254.0.0", Exempt),
        ("169.254.255.255", Exempt),
        ("169.255.0.0", NoRule),
        ("224.0.0.1", NoRule),
        ("192.0.2.1", NoRule),
    ] {
        check_one(E, &udp("10.0.0.5:68", &format!("{server}:67")), expected);
        // Its answer passes from wherever it is.
        check_one(I, &udp(&format!("{server}:67"), "10.0.0.5:68"), Exempt);
    }
}

/// A server may answer from any port (RFC 8415, section 7.2, as servers and relays do).
#[test]
fn dhcpv6_of_the_instance_as_a_client_by_destination_port() {
    for (far, near) in [
        ("fe7f::1", false),
        ("fe80::1", true),
        ("febf::1", true),
        ("fec0::1", false),
        ("ff02::1:2", true),
        ("fbff::1", false),
        ("fc00::1", true),
        ("fdff::1", true),
        ("fe00::1", false),
        ("2001:db8::1", false),
    ] {
        let expected = if near { Exempt } else { NoRule };
        for port in [0, 546, 547, 1547, 65535] {
            check_one(E, &udp(&format!("[fe80::5]:{port}"), &format!("[{far}]:547")), expected);
            check_one(I, &udp(&format!("[{far}]:{port}"), "[fe80::5]:546"), expected);
            check_one(I, &udp(&format!("[{far}]:{port}"), "[fe80::5]:547"), NoRule);
            check_one(E, &udp(&format!("[fe80::5]:{port}"), &format!("[{far}]:546")), NoRule);
        }
    }
    check_one(E, &udp("[fe80::5]:68", "[fe80::1]:67"), NoRule);
    check_one(E, &tcp("[fe80::5]:546", "[fe80::1]:547", "S"), NoRule);
}

#[test]
fn link_local_services_as_peer_over_tcp_and_udp() {
    for service in [
        "169.254.169.253",
        "169.254.169.254",
        "169.254.169.123",
        "169.254.169.250",
        "169.254.169.251",
        "169.254.170.2",
        "169.254.170.23",
    ] {
        let at = format!("{service}:80");
        for ip in [
            tcp("10.0.0.5:9", &at, "S"),
            tcp("10.0.0.5:9", &at, "A"),
            udp("10.0.0.5:9", &at),
            udp("10.0.0.5:9", &at).fragment(1, 8, true),
        ] {
            host(Role::Host).check(E, &ip.frame(), Exempt);
            // As the instance's own address, or in other protocols, it means nothing.
            let fragment = ip.fragment.1 != 0;
            let expected = if fragment { Reason::FragmentUnknown } else { NoRule };
            host(Role::Host).check(I, &ip.frame(), expected);
        }
        host(Role::Host).check(E, &icmp("10.0.0.5", service, 8, 0, 1).frame(), NoRule);
        answers(&at, "10.0.0.5:9");
    }
    for last in ["253", "254", "123", "250", "251", "23"] {
        answers(&format!("[fd00:ec2::{last}]:80"), "[fd00::5]:9");
    }
    for other in
        ["169.254.169.252:80", "169.254.170.3:80", "169.254.169.2:80", "169.253.169.254:80"]
    {
        host(Role::Host).check(E, &udp("10.0.0.5:9", other).frame(), NoRule);
    }
    for other in ["[fd00:ec2::2]:80", "[fd00:ec2::1:254]:80", "[fd00:ec2:1::254]:80"] {
        host(Role::Host).check(E, &udp("[fd00::5]:9", other).frame(), NoRule);
    }
}

/// A service answers, and opens nothing by itself.
#[track_caller]
fn answers(service: &str, instance: &str) {
    for (opening, answer) in [
        (tcp(instance, service, "S"), tcp(service, instance, "SA")),
        (udp(instance, service), udp(service, instance)),
    ] {
        let mut host = host(Role::Host);
        host.check(I, &answer.frame(), NoRule);
        host.check_all(&[(E, opening.clone(), Exempt), (I, answer.clone(), Reason::Flow)]);
        host.check_all(&[(E, opening, Exempt), (I, answer.clone(), Reason::Flow)]);
        host.now += 60_001;
        host.check(I, &answer.frame(), NoRule);
    }
    let mut host = host(Role::Host);
    host.check_all(&[
        (E, tcp(instance, service, "A"), Exempt),
        (I, tcp(service, instance, "A"), NoRule),
    ]);
    host.check(I, &tcp(service, instance, "S").frame(), NoRule);
}

#[test]
fn link_local_services_are_filtered_when_told_so() {
    let mut state = state(&[], &[]);
    state.change_filters(|filter| filter.exempt_services = false);
    let mut host = Host::new(state);
    host.check(E, &udp("10.0.0.5:9", "169.254.169.254:53").frame(), NoRule);
    host.check(E, &udp("0.0.0.0:68", "255.255.255.255:67").frame(), Exempt);
}

#[test]
fn later_fragments_do_not_follow_an_exempt_first() {
    let whole = udp_with("192.0.2.1:67", "10.0.0.5:68", &[0; 64]);
    let mut host = host(Role::Host);
    host.check(I, &whole.clone().slice(0, 32).fragment(5, 0, true).frame(), Exempt);
    host.check(I, &whole.slice(32, 72).fragment(5, 4, false).frame(), Reason::FragmentUnknown);
}
