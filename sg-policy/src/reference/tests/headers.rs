//! Headers: what is malformed, what has too many of them, and how the walk finds the ports.

use super::{frames::*, *};
use Reason::{Malformed, NoRule, Rule as Allowed, TooManyHeaders};

/// A fresh host for each packet; tcp/80 and udp/53 are open, 47 and 51 too, ICMP also.
fn host() -> Host {
    let services =
        [tcp_port(80), udp_port(53), Services::Protocol(47), Services::Protocol(51), ICMP_ANY];
    let v4 = services.iter().map(|services| (*services, "192.0.2.0/24"));
    let v6 =
        [tcp_port(80), udp_port(53), Services::Protocol(47), Services::Protocol(59), ICMPV6_ANY];
    let v6 = v6.iter().map(|services| (*services, "2001:db8::/32"));
    Host::new(state(&v4.chain(v6).collect::<Vec<_>>(), &[]))
}

#[track_caller]
fn check(frame: &[u8], expected: Reason) {
    host().check(I, frame, expected);
}

fn syn() -> Ip {
    tcp("192.0.2.1:9", "10.0.0.5:80", "S")
}

fn syn6() -> Ip {
    tcp("[2001:db8::1]:9", "[fd00::5]:80", "S")
}

/// `bytes` with `value` at `at`.
fn with<const N: usize>(mut bytes: Vec<u8>, at: usize, value: [u8; N]) -> Vec<u8> {
    bytes[at..at + N].copy_from_slice(&value);
    bytes
}

const ETH: usize = 14;
const IP4: usize = ETH + 20;
const IP6: usize = ETH + 40;

#[test]
fn a_frame_cut_at_any_byte_is_malformed() {
    for whole in [
        syn().options(&[1; 8]).frame(),
        syn6().extension(0, vec![0; 8]).frame(),
        udp("192.0.2.1:9", "10.0.0.5:53").frame(),
        icmp("2001:db8::1", "fd00::5", 128, 0, 1).frame(),
        vlan(&syn().frame(), 0x8100),
    ] {
        check(&whole, Allowed);
        for length in 0..whole.len() {
            check(&whole[..length], Malformed);
        }
    }
}

#[test]
fn padding_is_ignored() {
    for mut frame in [syn().frame(), syn6().frame(), udp("192.0.2.1:9", "10.0.0.5:53").frame()] {
        frame.extend([0xff; 64]);
        check(&frame, Allowed);
    }
}

#[test]
fn up_to_two_vlan_tags_are_skipped() {
    let mut frame = syn().frame();
    for (tpid, expected) in [(0x8100, Allowed), (0x88a8, Allowed), (0x8100, TooManyHeaders)] {
        frame = vlan(&frame, tpid);
        check(&frame, expected);
    }
    check(&vlan(&vlan(&frame, 0x88a8), 0x88a8), TooManyHeaders);
    // The packet inside is judged.
    check(&vlan(&tcp("192.0.2.1:9", "10.0.0.5:81", "S").frame(), 0x8100), NoRule);
}

#[test]
fn a_tag_that_was_taken_off_counts() {
    let judge = |frame: &[u8]| {
        let packet =
            Packet { ifindex: IFINDEX, direction: I, frame, vlan_offloaded: true, gso: false };
        host().evaluator.judge(&packet, 0)
    };
    let one = vlan(&syn().frame(), 0x8100);
    assert_eq!(judge(&syn().frame()), Some(Allowed));
    assert_eq!(judge(&one), Some(Allowed));
    assert_eq!(judge(&vlan(&one, 0x88a8)), Some(TooManyHeaders));
}

#[test]
fn ether_type_and_version_have_to_agree() {
    check(&ethernet(PEER_MAC, 0x0800, &syn6().bytes()), Malformed);
    check(&ethernet(PEER_MAC, 0x86dd, &syn().bytes()), Malformed);
    check(&ethernet(PEER_MAC, 0x0800, &[]), Malformed);
}

#[test]
fn without_ethernet_header_the_first_nibble_decides() {
    let mut host = host();
    host.live[0].ethernet = false;
    host.apply(|_| ());
    host.check(I, &syn().bytes(), Allowed);
    host.check(I, &syn6().bytes(), Allowed);
    for bytes in [&[][..], &[0x50; 40], &[0; 40], &[0x4f], &[0x60; 39]] {
        host.check(I, bytes, Malformed);
    }
}

#[test]
fn ipv4_lengths() {
    let frame = || syn().frame();
    check(&with(frame(), ETH, [0x44]), Malformed);
    check(&with(frame(), ETH, [0x40]), Malformed);
    // Total length: below the header, one beyond the frame, too short for TCP, all of it.
    for (total, expected) in
        [(0, Malformed), (19, Malformed), (41, Malformed), (39, Malformed), (40, Allowed)]
    {
        check(&with(frame(), ETH + 2, u16::to_be_bytes(total)), expected);
    }
    // A header longer than the total length.
    check(&with(with(frame(), ETH, [0x46]), ETH + 2, [0, 20]), Malformed);
    // Bare headers are well-formed for a protocol without any.
    check(&ip("192.0.2.1", "10.0.0.5", 47, b"").frame(), Allowed);
}

#[test]
fn ipv4_options_move_the_ports() {
    for options in [4, 8, 40] {
        check(&syn().options(&vec![1; options]).frame(), Allowed);
    }
    let other_port = tcp("192.0.2.1:80", "10.0.0.5:81", "S");
    check(&other_port.options(&[0, 80, 0, 80]).frame(), NoRule);
}

#[test]
fn ipv6_lengths() {
    let length = |length: u16| with(syn6().frame(), ETH + 4, length.to_be_bytes());
    check(&length(20), Allowed);
    check(&length(21), Malformed);
    check(&length(19), Malformed);
    check(&length(0), Malformed);
    check(&ip("2001:db8::1", "fd00::5", 47, b"").frame(), Allowed);
}

#[test]
fn a_gso_packet_may_have_length_zero() {
    let judge = |frame: &[u8], gso| {
        let packet = Packet { ifindex: IFINDEX, direction: I, frame, vlan_offloaded: false, gso };
        host().evaluator.judge(&packet, 0)
    };
    for frame in [with(syn().frame(), ETH + 2, [0, 0]), with(syn6().frame(), ETH + 4, [0, 0])] {
        assert_eq!(judge(&frame, true), Some(Allowed));
        assert_eq!(judge(&frame, false), Some(Malformed));
    }
    // Any other wrong length still is one.
    assert_eq!(judge(&with(syn().frame(), ETH + 2, [0, 1]), true), Some(Malformed));
    let mut big = with(syn().frame(), ETH + 2, [0, 0]);
    big.extend(vec![0; 100_000]);
    assert_eq!(judge(&big, true), Some(Allowed));
}

#[test]
fn extension_headers_are_walked() {
    let extension = |kind, length_field: u8, length: usize| {
        let mut header = vec![0; length];
        header[1] = length_field;
        syn6().extension(kind, header).frame()
    };
    for (kind, length_field, length) in
        [(0, 0, 8), (43, 2, 24), (60, 255, 2048), (51, 4, 24), (51, 0, 8), (51, 1, 12)]
    {
        check(&extension(kind, length_field, length), Allowed);
    }
    // One byte in excess of the packet, and one that hides the ports.
    check(&extension(60, 4, 8), Malformed);
    check(&extension(60, 1, 8), Malformed);
    check(&extension(51, 200, 8), Malformed);
    // An atomic fragment is a whole packet, also with the reserved bits set.
    check(&syn6().fragment6(7, 0, false).frame(), Allowed);
    check(&with(syn6().fragment6(7, 0, false).frame(), IP6 + 3, [0b110]), Allowed);
    // AH is a protocol like any other in IPv4.
    check(&ip("192.0.2.1", "10.0.0.5", 51, b"").frame(), Allowed);
    // No next header, and mobility (135), end the walk.
    check(&ip("2001:db8::1", "fd00::5", 59, b"xxx").frame(), Allowed);
    check(&ip("2001:db8::1", "fd00::5", 135, b"").frame(), NoRule);
}

#[test]
fn eight_extension_headers_at_most() {
    let chain = |count: usize| {
        (0..count).fold(syn6(), |ip, i| match i % 3 {
            0 => ip.extension(60, vec![0; 8]),
            1 => ip.fragment6(7, 0, false),
            _ => ip.extension(51, vec![0; 8]),
        })
    };
    for count in 0..=8 {
        check(&chain(count).frame(), Allowed);
    }
    check(&chain(9).frame(), TooManyHeaders);
    check(&chain(30).frame(), TooManyHeaders);
    // The ninth is not read.
    let cut = syn6().slice(0, 0);
    let cut = (0..8).fold(Ip { protocol: 60, ..cut }, |ip, _| ip.extension(60, vec![0; 8]));
    check(&cut.frame(), TooManyHeaders);
}

#[test]
fn tcp_data_offset() {
    let offset = |words: u8| with(syn().frame(), IP4 + 12, [words << 4]);
    check(&offset(5), Allowed);
    check(&offset(4), Malformed);
    check(&offset(0), Malformed);
    check(&offset(6), Malformed);
    let mut ip = syn();
    ip.payload.extend([1; 40]);
    check(&with(ip.frame(), IP4 + 12, [0xf0]), Allowed);
}

#[test]
fn udp_length() {
    let length = |length: u16| {
        with(udp("192.0.2.1:9", "10.0.0.5:53").frame(), IP4 + 4, length.to_be_bytes())
    };
    for (value, expected) in
        [(0, Malformed), (7, Malformed), (8, Allowed), (15, Allowed), (16, Malformed)]
    {
        check(&length(value), expected);
    }
}

#[test]
fn icmp_below_eight_bytes() {
    for (from, to, protocol) in [("192.0.2.1", "10.0.0.5", 1), ("2001:db8::1", "fd00::5", 58)] {
        check(&ip(from, to, protocol, &[200, 0, 0, 0, 0, 0, 0]).frame(), Malformed);
        check(&ip(from, to, protocol, &[200, 0, 0, 0, 0, 0, 0, 0]).frame(), Allowed);
    }
    // ICMP in IPv6 and ICMPv6 in IPv4 have no header that is known.
    check(&ip("192.0.2.1", "10.0.0.5", 58, &[]).frame(), NoRule);
    check(&ip("2001:db8::1", "fd00::5", 1, &[]).frame(), NoRule);
}

#[test]
fn headers_come_before_everything_else() {
    // DHCP, an exempt service, and a port-role instance with another's address.
    let mut state = state(&[(ALL, "0.0.0.0/0")], &[]);
    state.interfaces[0].role = Role::Port;
    state.interfaces[0].source_check = true;
    let short = |ip: Ip| with(ip.frame(), IP4 + 4, [0, 7]);
    for ip in [
        udp("0.0.0.0:68", "255.255.255.255:67"),
        udp("10.0.0.5:9", "169.254.169.254:53"),
        udp("192.0.2.7:9", "192.0.2.1:53"),
    ] {
        Host::new(state.clone()).check(E, &short(ip), Malformed);
    }
}
