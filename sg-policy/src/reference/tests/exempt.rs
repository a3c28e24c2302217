//! What is never filtered.

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
    check(&ip("fe80::1", "ff02::16", 2, b""), NoRule);
}

#[test]
fn dhcp_between_client_and_server_ports() {
    check(&udp("0.0.0.0:68", "255.255.255.255:67"), Exempt);
    check(&udp("192.0.2.1:67", "192.0.2.2:68"), Exempt);
    check(&udp("[fe80::1]:546", "[ff02::1:2]:547"), Exempt);
    check(&udp("[fe80::1]:547", "[fe80::2]:546"), Exempt);
    for (from, to) in [(67, 67), (68, 68), (68, 69), (1068, 67), (546, 547)] {
        check(&udp(&format!("192.0.2.1:{from}"), &format!("192.0.2.2:{to}")), NoRule);
    }
    for (from, to) in [(546, 546), (547, 547), (67, 68)] {
        check(&udp(&format!("[fe80::1]:{from}"), &format!("[fe80::2]:{to}")), NoRule);
    }
    check(&tcp("192.0.2.1:68", "192.0.2.2:67", "S"), NoRule);
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
        for (direction, ip) in [
            (E, tcp("10.0.0.5:9", &at, "S")),
            (E, tcp("10.0.0.5:9", &at, "A")),
            (E, udp("10.0.0.5:9", &at)),
            (I, tcp(&at, "10.0.0.5:9", "SA")),
            (I, udp(&at, "10.0.0.5:9")),
            (I, udp(&at, "10.0.0.5:9").fragment(1, 8, true)),
        ] {
            host(Role::Host).check(direction, &ip.frame(), Exempt);
            // As the instance's own address, or in other protocols, it means nothing.
            let fragment = ip.fragment.1 != 0;
            let expected = if fragment { Reason::FragmentUnknown } else { NoRule };
            host(Role::Host).check(direction.reverse(), &ip.frame(), expected);
        }
        host(Role::Host).check(E, &icmp("10.0.0.5", service, 8, 0, 1).frame(), NoRule);
    }
    for last in ["253", "254", "123", "250", "251", "23"] {
        let at = format!("[fd00:ec2::{last}]:80");
        host(Role::Host).check(E, &udp("[fd00::5]:9", &at).frame(), Exempt);
        host(Role::Host).check(I, &tcp(&at, "[fd00::5]:9", "SA").frame(), Exempt);
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
