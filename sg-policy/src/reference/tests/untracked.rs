//! Services that are open to all and not tracked.

use super::{frames::*, *};
use Reason::{Flow, NoRule, Rule as Allowed, Untracked};

const ANYONE: &str = "0.0.0.0/0";

fn web() -> Ip {
    tcp("192.0.2.1:9", "10.0.0.5:80", "S")
}

#[track_caller]
fn check(
    ingress: &[(Services, &str)],
    egress: &[(Services, &str)],
    packets: &[(Direction, Ip, Reason)],
) {
    let mut host = Host::new(state(ingress, egress));
    host.check_all(packets);
    let untracked_only = packets.iter().all(|(_, _, reason)| matches!(reason, Untracked | NoRule));
    assert!(!untracked_only || host.flows().is_empty(), "{:#?}", host.flows());
}

#[test]
fn neither_a_packet_to_an_open_service_nor_its_reply_is_tracked() {
    check(
        &[(tcp_port(80), ANYONE)],
        &[(ALL, ANYONE)],
        &[
            (I, web(), Untracked),
            (E, tcp("10.0.0.5:80", "192.0.2.1:9", "SA"), Untracked),
            // In mid-stream, too, since nothing is known of a stream.
            (I, tcp("192.0.2.7:9", "10.0.0.5:80", "A"), Untracked),
            (E, tcp("10.0.0.5:80", "192.0.2.8:9", "R"), Untracked),
            // Another service of the same host is tracked.
            (E, tcp("10.0.0.5:81", "192.0.2.1:9", "S"), Allowed),
        ],
    );
}

#[test]
fn the_same_from_the_other_side() {
    check(
        &[(tcp_ports(0, 65535), ANYONE)],
        &[(tcp_port(443), ANYONE)],
        &[
            (E, tcp("10.0.0.5:9", "192.0.2.1:443", "S"), Untracked),
            (I, tcp("192.0.2.1:443", "10.0.0.5:9", "SA"), Untracked),
            (I, tcp("192.0.2.1:9", "10.0.0.5:9", "S"), Allowed),
        ],
    );
}

#[test]
fn the_other_direction_has_to_be_open_on_all_ports_of_the_protocol() {
    let open = [(tcp_port(80), ANYONE)];
    for (egress, expected) in [
        (vec![(tcp_ports(0, 65535), ANYONE)], Untracked),
        (vec![(tcp_ports(0, 100), ANYONE), (tcp_ports(101, 65535), ANYONE)], Untracked),
        (vec![(tcp_ports(50, 65535), ANYONE), (tcp_ports(0, 60), ANYONE)], Untracked),
        (vec![(tcp_ports(0, 100), ANYONE), (tcp_ports(102, 65535), ANYONE)], Allowed),
        (vec![(tcp_ports(1, 65535), ANYONE)], Allowed),
        (vec![(tcp_ports(0, 65534), ANYONE)], Allowed),
        (vec![(udp_ports(0, 65535), ANYONE)], Allowed),
        (vec![(ALL, "0.0.0.0/1")], Allowed),
        (vec![(ALL, "::/0")], Allowed),
        (vec![(ALL, "group:web")], Allowed),
        (vec![], Allowed),
    ] {
        check(&open, &egress, &[(I, web(), expected)]);
    }
}

#[test]
fn the_service_has_to_be_open_to_all_addresses_of_its_family() {
    let egress = [(ALL, ANYONE), (ALL, "::/0")];
    let web6 = tcp("[2001:db8::1]:9", "[fd00::5]:80", "S");
    for (ingress, v4, v6) in [
        (vec![(tcp_port(80), ANYONE)], Untracked, NoRule),
        (vec![(tcp_port(80), "::/0")], NoRule, Untracked),
        (vec![(ALL, ANYONE)], Untracked, NoRule),
        (vec![(tcp_port(80), "192.0.0.0/2")], Allowed, NoRule),
        // A narrower rule beside the open one changes nothing.
        (vec![(tcp_port(80), "192.0.2.0/24"), (tcp_port(80), ANYONE)], Untracked, NoRule),
    ] {
        check(&ingress, &egress, &[(I, web(), v4)]);
        check(&ingress, &egress, &[(I, web6.clone(), v6)]);
    }
}

#[test]
fn a_list_that_holds_the_whole_family_opens_to_all() {
    let mut state = state(&[(tcp_port(80), "list:any")], &[(ALL, "list:any")]);
    state.prefix_lists = vec![list("any", &["10.0.0.0/8", "0.0.0.0/0"])];
    Host::new(state).check(I, &web().frame(), Untracked);
}

#[test]
fn udp_is_untracked_likewise_and_apart_from_tcp() {
    let egress = [(tcp_ports(0, 65535), ANYONE), (udp_ports(0, 65535), ANYONE)];
    check(
        &[(udp_port(53), ANYONE)],
        &egress,
        &[
            (I, udp("192.0.2.1:9", "10.0.0.5:53"), Untracked),
            (E, udp("10.0.0.5:53", "192.0.2.1:9"), Untracked),
            (I, tcp("192.0.2.1:9", "10.0.0.5:53", "S"), NoRule),
        ],
    );
}

#[test]
fn icmp_and_other_protocols_are_always_tracked() {
    check(
        &[(ALL, ANYONE)],
        &[(ALL, ANYONE)],
        &[
            (I, icmp("192.0.2.1", "10.0.0.5", 8, 0, 1), Allowed),
            (E, icmp("10.0.0.5", "192.0.2.1", 0, 0, 1), Flow),
            (I, ip("192.0.2.1", "10.0.0.5", 47, b""), Allowed),
            (E, ip("10.0.0.5", "192.0.2.1", 47, b""), Flow),
        ],
    );
}

#[test]
fn an_untracked_service_comes_before_a_flow_and_stops_at_once() {
    let mut host = Host::new(state(&[(tcp_port(80), "192.0.2.0/24")], &[]));
    host.check(I, &web().frame(), Allowed);
    host.apply(|state| {
        *state = super::state(&[(tcp_port(80), ANYONE)], &[(ALL, ANYONE)]);
    });
    host.check(I, &tcp("192.0.2.1:9", "10.0.0.5:80", "F").frame(), Untracked);
    host.check_states(&["new"]);
    host.apply(|state| *state = super::state(&[], &[(ALL, ANYONE)]));
    host.check(I, &tcp("192.0.2.9:9", "10.0.0.5:80", "A").frame(), NoRule);
}
