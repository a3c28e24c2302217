//! Fragments.

use super::{frames::*, *};
use Reason::{
    Flow, Fragment, FragmentTiny, FragmentUnknown, Malformed, NoRule, NotSyn, Rule as Allowed,
};

fn host() -> Host {
    Host::new(state(
        &[
            (udp_port(53), "192.0.2.0/24"),
            (udp_port(53), "2001:db8::/32"),
            (tcp_port(80), "192.0.2.0/24"),
            (tcp_port(80), "2001:db8::/32"),
            (icmp_type(8), "192.0.2.0/24"),
        ],
        &[],
    ))
}

/// UDP with 64 bytes of transport.
fn whole() -> Ip {
    udp_with("192.0.2.1:9", "10.0.0.5:53", &[7; 56])
}

fn whole6() -> Ip {
    udp_with("[2001:db8::1]:9", "[fd00::5]:53", &[7; 56])
}

fn first(id: u16) -> Vec<u8> {
    whole().slice(0, 32).fragment(id, 0, true).frame()
}

fn later(id: u16) -> Vec<u8> {
    whole().slice(32, 64).fragment(id, 4, false).frame()
}

fn first6(id: u32) -> Vec<u8> {
    whole6().slice(0, 32).fragment6(id, 0, true).frame()
}

fn later6(id: u32) -> Vec<u8> {
    whole6().slice(32, 64).fragment6(id, 4, false).frame()
}

#[test]
fn later_fragments_follow_the_first_for_thirty_seconds() {
    for (first, later) in [(first(5), later(5)), (first6(0x1_0005), later6(0x1_0005))] {
        let mut host = host();
        host.check(I, &later, FragmentUnknown);
        host.check(I, &first, Allowed);
        host.check(I, &later, Fragment);
        host.now += 30;
        host.check(I, &later, Fragment);
        host.now += 1;
        host.check(I, &later, FragmentUnknown);
    }
}

#[test]
fn the_key_is_addresses_protocol_and_identification_in_one_direction_on_one_interface() {
    let mut host = host();
    host.check(I, &first(5), Allowed);
    host.check(I, &first6(0x1_0005), Allowed);
    for (direction, frame) in [
        (I, later(6)),
        (I, later6(5)),
        (E, later(5)),
        (I, Ip { protocol: 1, ..whole() }.slice(32, 64).fragment(5, 4, false).frame()),
        (I, ip("192.0.2.2", "10.0.0.5", 17, &[0; 8]).fragment(5, 4, false).frame()),
        (I, ip("192.0.2.1", "10.0.0.6", 17, &[0; 8]).fragment(5, 4, false).frame()),
    ] {
        host.check(direction, &frame, FragmentUnknown);
    }
    host.check(I, &later(5), Fragment);
    host.check(I, &later6(0x1_0005), Fragment);
    host.live.push(live_interface(1));
    host.apply(|state| state.interfaces.push(interface("eth1", Role::Host, &["web"])));
    host.check_on(IFINDEX + 1, I, &later(5), FragmentUnknown);
    host.check_on(IFINDEX, I, &later(5), Fragment);
}

#[test]
fn ipv6_protocol_of_the_key_is_the_fragment_header_s() {
    let mut host = host();
    let first = whole6().slice(0, 32).extension(60, vec![0; 8]).fragment6(5, 0, true);
    host.check(I, &first.frame(), Allowed);
    let later = |protocol| ip("2001:db8::1", "fd00::5", protocol, &[0; 8]).fragment6(5, 5, false);
    host.check(I, &later(60).frame(), Fragment);
    host.check(I, &later(17).frame(), FragmentUnknown);
}

#[test]
fn a_first_fragment_is_tracked_and_matches_its_flow() {
    let mut host = host();
    host.check(I, &first(5), Allowed);
    host.check(I, &first(6), Flow);
    host.check_states(&["new"]);
    host.check(I, &later(6), Fragment);
    // A later one moves nothing.
    host.now += 20;
    host.check(I, &later(5), Fragment);
    assert_eq!(host.flows()[0].seen, 1000);
    assert_eq!(host.flows()[0].packets, 2);
}

#[test]
fn the_first_of_an_untracked_service_is_untracked() {
    let mut host = Host::new(state(&[(udp_port(53), "0.0.0.0/0")], &[(ALL, "0.0.0.0/0")]));
    host.check(I, &first(5), Reason::Untracked);
    host.check(I, &later(5), Fragment);
    host.check(I, &later(6), FragmentUnknown);
    host.check_states(&[]);
}

#[test]
fn those_of_a_dropped_first_are_unknown() {
    let mut host = Host::new(state(&[], &[]));
    host.check(I, &first(5), NoRule);
    host.check(I, &later(5), FragmentUnknown);
}

#[test]
fn unless_a_rule_allows_the_peer_and_protocol_on_all_ports() {
    let mut host = Host::new(state(
        &[
            (udp_ports(0, 1000), "192.0.2.0/24"),
            (udp_ports(1001, 65535), "192.0.2.0/25"),
            (udp_ports(1002, 65535), "192.0.2.0/24"),
            (ICMP_ANY, "192.0.2.0/25"),
            (icmp_type(8), "192.0.2.0/24"),
            (Services::Protocol(47), "192.0.2.0/25"),
            (ALL, "192.0.2.16/28"),
        ],
        &[(udp_ports(0, 65535), "192.0.2.0/24")],
    ));
    let fragment =
        |from: &str, protocol| ip(from, "10.0.0.5", protocol, &[0; 8]).fragment(5, 8, true).frame();
    for (from, protocol, expected) in [
        ("192.0.2.1", 17, Fragment),
        ("192.0.2.128", 17, FragmentUnknown),
        ("192.0.2.1", 1, Fragment),
        ("192.0.2.128", 1, FragmentUnknown),
        ("192.0.2.1", 47, Fragment),
        ("192.0.2.128", 47, FragmentUnknown),
        ("192.0.2.1", 6, FragmentUnknown),
        ("192.0.2.16", 6, Fragment),
    ] {
        host.check(I, &fragment(from, protocol), expected);
    }
    let out = ip("10.0.0.5", "192.0.2.1", 17, &[0; 8]).fragment(5, 8, true).frame();
    host.check(E, &out, Fragment);
}

#[test]
fn a_refusal_is_kept_where_the_rules_would_have_allowed() {
    let mut host = Host::new(state(&[(tcp_ports(0, 65535), "192.0.2.0/24")], &[]));
    let first = |id| tcp("192.0.2.1:9", "10.0.0.5:80", "A").fragment(id, 0, true).frame();
    let later = |id| ip("192.0.2.1", "10.0.0.5", 6, &[0; 8]).fragment(id, 4, false).frame();
    host.check(I, &later(5), Fragment);
    host.check(I, &first(5), NotSyn);
    host.check(I, &later(5), FragmentUnknown);
    host.check(I, &later(6), Fragment);
    host.now += 31;
    host.check(I, &later(5), Fragment);
}

#[test]
fn a_cut_flow_s_first_fragment_refuses_the_later_ones() {
    let mut state = state(&[(udp_ports(0, 65535), "192.0.2.0/24")], &[]);
    state.change_filters(|filter| filter.on_revoke = crate::model::OnRevoke::Cut);
    let mut host = Host::new(state.clone());
    host.check(I, &whole().frame(), Allowed);
    host.apply(|state| state.groups[0].ingress.clear());
    host.apply(|old| *old = state);
    host.check(I, &first(5), Reason::FlowCut);
    host.check(I, &later(5), FragmentUnknown);
}

#[test]
fn a_kept_verdict_outlives_a_change_of_the_rules() {
    let mut host = host();
    host.check(I, &first(5), Allowed);
    host.apply(|state| state.groups[0].ingress.clear());
    host.check(I, &later(5), Fragment);
}

#[test]
fn a_first_fragment_needs_the_whole_fixed_header() {
    for (protocol, needs) in [(6, 20), (17, 8), (1, 8), (47, 0)] {
        let payload = |length: usize| {
            let mut payload = tcp("192.0.2.1:9", "10.0.0.5:80", "S").payload;
            payload[4] = 1; // a UDP length that is long enough
            ip("192.0.2.1", "10.0.0.5", protocol, &payload[..length]).fragment(5, 0, true).frame()
        };
        if needs > 0 {
            host().check(I, &payload(needs - 1), FragmentTiny);
            host().check(I, &payload(0), FragmentTiny);
        }
        let reason = host().evaluator.would(
            &Packet {
                ifindex: IFINDEX,
                direction: I,
                frame: &payload(needs),
                vlan_offloaded: false,
                gso: false,
            },
            1000,
        );
        assert_ne!(reason, Some(FragmentTiny), "protocol {protocol}");
    }
    let echo = icmp("2001:db8::1", "fd00::5", 128, 0, 1).slice(0, 7).fragment6(5, 0, true);
    host().check(I, &echo.frame(), FragmentTiny);
}

#[test]
fn an_extension_header_has_to_fit_in_a_first_fragment() {
    let cut = |ip: Ip| ip.fragment6(5, 0, true).frame();
    let mut long = vec![0; 8];
    long[1] = 10;
    host().check(I, &cut(whole6().slice(0, 8).extension(60, long)), FragmentTiny);
    host().check(I, &cut(ip("2001:db8::1", "fd00::5", 60, &[17, 0])), FragmentTiny);
    // Before the fragment header it is the packet that is wrong.
    let mut long = vec![0; 8];
    long[1] = 20;
    let before = whole6().slice(0, 8).fragment6(5, 0, true).extension(60, long);
    host().check(I, &before.frame(), Malformed);
    host().check(I, &ip("2001:db8::1", "fd00::5", 44, &[17, 0, 0, 1, 0, 0, 0]).frame(), Malformed);
}

#[test]
fn lengths_in_a_first_fragment() {
    // A UDP length and a data offset beyond the fragment are what fragments are for.
    host().check(I, &first(5), Allowed);
    let mut segment = tcp("192.0.2.1:9", "10.0.0.5:80", "S");
    segment.payload[12] = 0xf0;
    host().check(I, &segment.clone().fragment(5, 0, true).frame(), Allowed);
    segment.payload[12] = 0x40;
    host().check(I, &segment.fragment(5, 0, true).frame(), Malformed);
    let mut datagram = whole().slice(0, 32).fragment(5, 0, true);
    datagram.payload[4..6].copy_from_slice(&[0, 7]);
    host().check(I, &datagram.frame(), Malformed);
}

#[test]
fn a_tcp_fragment_at_offset_eight_is_tiny() {
    let at = |offset| ip("192.0.2.1", "10.0.0.5", 6, &[0; 32]).fragment(5, offset, true).frame();
    let at6 =
        |offset| ip("2001:db8::1", "fd00::5", 6, &[0; 32]).fragment6(5, offset, false).frame();
    for frame in [at(1), at6(1)] {
        host().check(I, &frame, FragmentTiny);
    }
    for frame in [at(2), at6(2)] {
        host().check(I, &frame, FragmentUnknown);
    }
    let udp = ip("192.0.2.1", "10.0.0.5", 17, &[0; 32]).fragment(5, 1, true).frame();
    host().check(I, &udp, FragmentUnknown);
}

#[test]
fn a_fragment_beyond_the_largest_datagram_is_malformed() {
    // 8191 * 8 = 65528.
    let at =
        |length| ip("192.0.2.1", "10.0.0.5", 17, &vec![0; length]).fragment(5, 8191, false).frame();
    let at6 = |length| {
        ip("2001:db8::1", "fd00::5", 17, &vec![0; length]).fragment6(5, 8191, false).frame()
    };
    host().check(I, &at(7), FragmentUnknown);
    host().check(I, &at(8), Malformed);
    host().check(I, &at6(7), FragmentUnknown);
    host().check(I, &at6(8), Malformed);
}

#[test]
fn later_fragments_have_no_transport_to_check() {
    for length in 0..8 {
        let frame = ip("192.0.2.1", "10.0.0.5", 17, &vec![0; length]).fragment(5, 8, false).frame();
        host().check(I, &frame, FragmentUnknown);
    }
    // The walk ends at the fragment header: what follows is payload.
    let frame = ip("2001:db8::1", "fd00::5", 60, &[0, 255]).fragment6(5, 8, false).frame();
    host().check(I, &frame, FragmentUnknown);
}
