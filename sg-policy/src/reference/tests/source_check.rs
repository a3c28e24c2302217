//! Packets that an instance behind a port may send.

use super::{frames::*, *};
use Reason::{Exempt, Malformed, NoRule, NonIp, Rule as Allowed, SourceCheck};

const EUI64: &str = "fe80::ff:fe00:5";

/// Everything may leave over protocol 47 and ICMPv6, so that only the check decides.
fn host(mac: Option<[u8; 6]>) -> Host {
    let egress = [
        (Services::Protocol(47), "0.0.0.0/0"),
        (Services::Protocol(47), "::/0"),
        (ICMPV6_ANY, "::/0"),
        (udp_port(9), "::/0"),
    ];
    let mut state = state(&[], &egress);
    let port = &mut state.interfaces[0];
    port.role = Role::Port;
    port.source_check = true;
    port.mac = mac;
    Host::new(state)
}

#[track_caller]
fn check(ip: &Ip, expected: Reason) {
    host(None).check(E, &ip.frame(), expected);
}

#[test]
fn ipv4_and_ipv6_only_from_own_addresses() {
    check(&ip("10.0.0.5", "192.0.2.1", 47, b""), Allowed);
    check(&ip("10.0.0.6", "192.0.2.1", 47, b""), SourceCheck);
    check(&ip("0.0.0.0", "192.0.2.1", 47, b""), SourceCheck);
    check(&ip("169.254.1.1", "192.0.2.1", 47, b""), SourceCheck);
    check(&ip("fd00::5", "2001:db8::1", 47, b""), Allowed);
    check(&ip("fd00::6", "2001:db8::1", 47, b""), SourceCheck);
    check(&ip("::", "2001:db8::1", 47, b""), SourceCheck);
}

#[test]
fn it_holds_for_port_role_egress_with_source_check_only() {
    let foreign = ip("10.0.0.6", "192.0.2.1", 47, b"").frame();
    let mut host = host(Some(OWN_MAC));
    host.check(I, &ip("10.9.9.9", "10.0.0.5", 47, b"").frame_from(PEER_MAC), NoRule);
    host.check(E, &foreign, SourceCheck);
    host.apply(|state| state.interfaces[0].role = Role::Host);
    host.check(E, &foreign, Allowed);
    host.apply(|state| {
        state.interfaces[0].role = Role::Port;
        state.interfaces[0].source_check = false;
    });
    host.now += 601;
    host.check(E, &foreign, Allowed);
}

#[test]
fn unspecified_address_for_dhcp_and_dad() {
    check(&udp("0.0.0.0:68", "255.255.255.255:67"), Exempt);
    check(&udp("0.0.0.0:68", "255.255.255.255:68"), SourceCheck);
    check(&udp("0.0.0.0:67", "255.255.255.255:67"), SourceCheck);
    check(&udp("[::]:546", "[ff02::1:2]:547"), SourceCheck);
    check(&neighbour("::", "ff02::1:ff00:5", 135, "fd00::5"), Exempt);
    for (kind, expected) in
        [(130, SourceCheck), (131, Exempt), (132, Exempt), (143, Exempt), (133, Exempt)]
    {
        check(&icmp("::", "ff02::16", kind, 0, 0).hop_limit(255), expected);
    }
    check(&icmp("::", "ff02::16", 128, 0, 0), SourceCheck);
    check(&neighbour("::", "ff02::1", 136, "fd00::5"), SourceCheck);
}

#[test]
fn own_link_local_is_any_without_mac() {
    for (source, expected) in [
        ("fe80::", Allowed),
        ("fe80::1", Allowed),
        ("febf:ffff::1", Allowed),
        ("fec0::1", SourceCheck),
        ("fe7f:ffff::1", SourceCheck),
    ] {
        check(&ip(source, "2001:db8::1", 47, b""), expected);
    }
}

#[test]
fn with_mac_it_is_the_eui64_one_from_that_mac() {
    let send = |ip: Ip, mac, expected| host(Some(OWN_MAC)).check(E, &ip.frame_from(mac), expected);
    send(ip(EUI64, "2001:db8::1", 47, b""), OWN_MAC, Allowed);
    send(ip("fe80::1", "2001:db8::1", 47, b""), OWN_MAC, SourceCheck);
    send(ip("fe81::ff:fe00:5", "2001:db8::1", 47, b""), OWN_MAC, SourceCheck);
    send(ip("fd00::5", "2001:db8::1", 47, b""), OWN_MAC, Allowed);
    send(ip("fd00::5", "2001:db8::1", 47, b""), PEER_MAC, SourceCheck);
    send(ip("10.0.0.5", "192.0.2.1", 47, b""), OWN_MAC, Allowed);
    send(ip("10.0.0.5", "192.0.2.1", 47, b""), PEER_MAC, SourceCheck);
    send(udp("0.0.0.0:68", "255.255.255.255:67"), PEER_MAC, SourceCheck);
}

#[test]
fn without_ethernet_header_there_is_no_mac_to_check() {
    let mut host = host(Some(OWN_MAC));
    host.live[0].ethernet = false;
    host.apply(|_| ());
    host.check(E, &ip("10.0.0.5", "192.0.2.1", 47, b"").bytes(), Allowed);
    host.check(E, &ip("fe80::1", "2001:db8::1", 47, b"").bytes(), SourceCheck);
}

#[test]
fn arp_claims() {
    let send = |mac, frame: &[u8], expected| host(mac).check(E, frame, expected);
    send(None, &arp(PEER_MAC, PEER_MAC, "10.0.0.5"), Exempt);
    send(None, &arp(PEER_MAC, PEER_MAC, "0.0.0.0"), Exempt);
    send(None, &arp(PEER_MAC, PEER_MAC, "10.0.0.6"), SourceCheck);
    send(Some(OWN_MAC), &arp(OWN_MAC, OWN_MAC, "10.0.0.5"), Exempt);
    send(Some(OWN_MAC), &arp(OWN_MAC, PEER_MAC, "10.0.0.5"), SourceCheck);
    send(Some(OWN_MAC), &arp(PEER_MAC, OWN_MAC, "10.0.0.5"), SourceCheck);
    send(None, &arp(OWN_MAC, OWN_MAC, "10.0.0.5")[..14 + 27], Malformed);
    // Not sent by the instance, or not checked: ARP is never filtered.
    let mut host = host(Some(OWN_MAC));
    host.check(I, &arp(PEER_MAC, PEER_MAC, "10.0.0.6"), Exempt);
    host.check(I, &arp(PEER_MAC, PEER_MAC, "10.0.0.6")[..14], Exempt);
    host.apply(|state| state.interfaces[0].source_check = false);
    host.check(E, &arp(PEER_MAC, PEER_MAC, "10.0.0.6")[..20], Exempt);
}

#[test]
fn no_router_advertisements_and_no_dhcp_server() {
    check(&icmp("fe80::5", "ff02::1", 134, 0, 0).hop_limit(255), SourceCheck);
    check(&icmp("fe80::5", "ff02::1", 134, 0, 0).hop_limit(64), SourceCheck);
    for port in [0, 67, 68, 1067] {
        check(&udp(&format!("10.0.0.5:{port}"), "255.255.255.255:68"), SourceCheck);
        check(&udp(&format!("[fe80::5]:{}", port + 479), "[fe80::1]:546"), SourceCheck);
    }
    check(&udp("10.0.0.5:68", "10.9.9.9:67"), Exempt);
    check(&udp("10.0.0.5:68", "192.0.2.1:67"), NoRule);
    check(&udp("[fe80::5]:546", "[ff02::1:2]:547"), Exempt);
    // The other family's ports mean nothing.
    check(&udp("10.0.0.5:547", "192.0.2.1:546"), NoRule);
    check(&udp("[fd00::5]:67", "[2001:db8::1]:68"), NoRule);
    // Towards the instance they are what it needs.
    host(None).check(I, &udp("192.0.2.1:67", "255.255.255.255:68").frame(), Exempt);
    host(None).check(I, &icmp("fe80::1", "ff02::1", 134, 0, 0).hop_limit(255).frame(), Exempt);
}

#[test]
fn neighbour_discovery_claims() {
    check(&neighbour("fd00::5", "ff02::1", 136, "fd00::5"), Exempt);
    check(&neighbour("fd00::5", "ff02::1", 136, "fe80::77"), Exempt);
    check(&neighbour("fd00::5", "ff02::1", 136, "fd00::6"), SourceCheck);
    check(&neighbour("fd00::5", "ff02::1", 136, "::"), SourceCheck);
    check(&neighbour("::", "ff02::1:ff00:6", 135, "fd00::6"), SourceCheck);
    check(&neighbour("::", "ff02::1:ff00:6", 135, "fe80::6"), Exempt);
    // Asking for another's address is no claim.
    check(&neighbour("fd00::5", "ff02::1:ff00:6", 135, "fd00::6"), Exempt);
    let mut host = host(Some(OWN_MAC));
    host.check(E, &neighbour("::", "ff02::1", 135, EUI64).frame(), Exempt);
    host.check(E, &neighbour("::", "ff02::1", 135, "fe80::6").frame(), SourceCheck);
}

#[test]
fn a_claim_too_short_for_its_target_is_malformed() {
    check(&neighbour("::", "ff02::1", 135, "fd00::5").slice(0, 23), Malformed);
    check(&neighbour("fd00::5", "ff02::1", 136, "fd00::5").slice(0, 23), Malformed);
    check(&neighbour("fd00::5", "ff02::1", 135, "fd00::5").slice(0, 8), Exempt);
    // The source is checked before.
    check(&neighbour("fd00::6", "ff02::1", 136, "fd00::5").slice(0, 23), SourceCheck);
}

#[test]
fn a_later_fragment_is_checked_by_its_addresses_alone() {
    check(&udp("0.0.0.0:68", "255.255.255.255:67").fragment(1, 0, true), Exempt);
    check(&udp("0.0.0.0:68", "255.255.255.255:67").fragment(1, 8, false), SourceCheck);
    check(&udp("10.0.0.5:67", "192.0.2.1:68").fragment(1, 8, false), Reason::FragmentUnknown);
    check(&icmp("::", "ff02::16", 143, 0, 0).fragment6(1, 8, false), SourceCheck);
    check(&icmp("fd00::5", "ff02::16", 134, 0, 0).fragment6(1, 8, false), Reason::Fragment);
    check(&icmp("fd00::5", "ff02::16", 134, 0, 0).fragment6(1, 0, true), SourceCheck);
}

#[test]
fn frames_that_are_not_ip() {
    let lldp = ethernet(OWN_MAC, 0x88cc, &[0; 46]);
    let stp = ethernet(OWN_MAC, 38, &[0x42; 46]);
    for frame in [&lldp, &stp, &lldp[..14].to_vec()] {
        for direction in Direction::BOTH {
            let mut host = host(None);
            host.check(direction, frame, NonIp);
            host.apply(|state| state.interfaces[0].source_check = false);
            host.check(direction, frame, NonIp);
            host.apply(|state| state.interfaces[0].role = Role::Host);
            host.check(direction, frame, Exempt);
        }
    }
    // The Ethernet source comes before.
    host(Some(OWN_MAC)).check(E, &ethernet(PEER_MAC, 0x88cc, &[]), SourceCheck);
    host(Some(OWN_MAC)).check(I, &ethernet(PEER_MAC, 0x88cc, &[]), NonIp);
}
