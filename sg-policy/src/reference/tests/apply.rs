//! A change of the rules, and the flows that were there before.

use super::{frames::*, *};
use crate::model::OnRevoke;
use Reason::{Flow, FlowCut, NoRule, NotSyn, Rule as Allowed};

fn to(flags: &str) -> Ip {
    tcp("192.0.2.1:9", "10.0.0.5:80", flags)
}

fn from(flags: &str) -> Ip {
    tcp("10.0.0.5:80", "192.0.2.1:9", flags)
}

/// With an established connection to tcp/80, half a minute old.
fn host(on_revoke: OnRevoke) -> Host {
    let mut state = state(&[(tcp_port(80), "192.0.2.0/24")], &[]);
    state.change_filters(|filter| filter.on_revoke = on_revoke);
    let mut host = Host::new(state);
    host.check_all(&[(I, to("S"), Allowed), (E, from("SA"), Flow), (I, to("A"), Flow)]);
    host.now += 30;
    host
}

fn revoke(state: &mut DesiredState) {
    state.groups[0].ingress.clear();
}

fn allow(state: &mut DesiredState) {
    state.groups[0] = group("web", &[(tcp_port(80), "192.0.2.0/24")], &[]);
}

#[test]
fn keep_lets_flows_go_on_until_they_idle_out() {
    let mut host = host(OnRevoke::Keep);
    host.apply(revoke);
    host.check_all(&[(I, to("A"), Flow), (E, from("A"), Flow)]);
    host.check(I, &tcp("192.0.2.2:9", "10.0.0.5:80", "S").frame(), NoRule);
    host.now += 432_001;
    host.check(I, &to("A").frame(), NoRule);
}

#[test]
fn cut_ends_them_at_once_in_both_directions() {
    let mut host = host(OnRevoke::Cut);
    host.apply(revoke);
    host.check_states(&["cut"]);
    for _ in 0..2 {
        host.check_all(&[
            (I, to("A"), FlowCut),
            (E, from("A"), FlowCut),
            (E, from("R"), FlowCut),
            (I, to("SA"), FlowCut),
            (I, to("S"), NoRule),
        ]);
        host.now += 100;
    }
}

#[test]
fn a_cut_flow_ends_by_its_idle_timeout_counted_from_the_cut() {
    let mut host = host(OnRevoke::Cut);
    host.check(E, &from("FA").frame(), Flow);
    host.now += 100;
    host.apply(revoke);
    host.now += 120;
    host.check(I, &to("A").frame(), FlowCut);
    host.now += 1;
    host.check(I, &to("A").frame(), NoRule);
}

#[test]
fn a_cut_flow_may_be_opened_anew_by_a_syn_that_the_rules_allow() {
    let mut host = host(OnRevoke::Cut);
    host.apply(revoke);
    host.apply(allow);
    // Allowed again, and cut all the same.
    host.check_all(&[
        (I, to("A"), FlowCut),
        (E, from("S"), NoRule),
        (I, to("S"), Allowed),
        (E, from("SA"), Flow),
    ]);
}

#[test]
fn a_flow_without_syn_stays_cut() {
    let mut state = state(&[(udp_port(53), "192.0.2.0/24")], &[]);
    state.change_filters(|filter| filter.on_revoke = OnRevoke::Cut);
    let mut host = Host::new(state.clone());
    let request = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    host.check(I, &request, Allowed);
    host.apply(revoke);
    host.now += 20;
    host.apply(|old| *old = state);
    host.check(I, &request, FlowCut);
    host.now += 10;
    host.check(I, &request, FlowCut);
    host.now += 1;
    host.check(I, &request, Allowed);
}

type Change = fn(&mut DesiredState);

#[test]
fn only_flows_whose_opening_packet_is_not_allowed_are_cut() {
    let ingress = [
        (tcp_ports(80, 81), "192.0.2.0/24"),
        (udp_port(53), "192.0.2.0/24"),
        (icmp_type(8), "192.0.2.0/24"),
        (Services::Protocol(47), "192.0.2.0/24"),
    ];
    let mut state = state(&ingress, &[(udp_port(99), "192.0.2.0/24")]);
    state.change_filters(|filter| filter.on_revoke = OnRevoke::Cut);
    let opened = [
        (I, tcp("192.0.2.1:9", "10.0.0.5:80", "S")),
        (I, tcp("192.0.2.1:9", "10.0.0.5:81", "S")),
        (I, udp("192.0.2.1:9", "10.0.0.5:53")),
        (I, icmp("192.0.2.1", "10.0.0.5", 8, 0, 1)),
        (I, ip("192.0.2.1", "10.0.0.5", 47, b"")),
        (E, udp("10.0.0.5:9", "192.0.2.1:99")),
    ];
    // Which of them each change cuts.
    let changes: [(Change, [bool; 6]); 7] = [
        (|_| (), [false; 6]),
        (
            |state| state.groups[0].ingress[0].services = tcp_port(81),
            [true, false, false, false, false, false],
        ),
        (
            |state| drop(state.groups[0].ingress.remove(1)),
            [false, false, true, false, false, false],
        ),
        (
            |state| drop(state.groups[0].ingress.remove(2)),
            [false, false, false, true, false, false],
        ),
        (
            |state| drop(state.groups[0].ingress.remove(3)),
            [false, false, false, false, true, false],
        ),
        (|state| state.groups[0].egress.clear(), [false, false, false, false, false, true]),
        (|state| state.interfaces[0].groups.clear(), [true; 6]),
    ];
    for (change, cut) in changes {
        let mut host = Host::new(state.clone());
        for (direction, ip) in &opened {
            host.check(*direction, &ip.frame(), Allowed);
        }
        host.now += 5;
        host.apply(change);
        for ((direction, ip), cut) in opened.iter().zip(cut) {
            // A SYN would open anew, so what follows it is sent.
            let ip = if ip.protocol == 6 { with_ack(ip) } else { ip.clone() };
            host.check(*direction, &ip.frame(), if cut { FlowCut } else { Flow });
        }
    }
}

/// The segment with ACK in place of SYN.
fn with_ack(ip: &Ip) -> Ip {
    let mut ip = ip.clone();
    ip.payload[13] = 0x10;
    ip
}

#[test]
fn a_query_is_cut_by_the_type_and_code_of_its_request() {
    let code = |code| Services::Icmp(IcmpMatch { kind: Some(42), code: Some(code) });
    for opened_with in [0, 1, 15] {
        let mut state = state(&[(ICMP_ANY, "192.0.2.0/24")], &[]);
        state.change_filters(|filter| filter.on_revoke = OnRevoke::Cut);
        let mut host = Host::new(state);
        let request = icmp("192.0.2.1", "10.0.0.5", 42, opened_with, 7);
        let reply = icmp("10.0.0.5", "192.0.2.1", 43, 3, 7);
        host.check_all(&[(I, request.clone(), Allowed), (E, reply.clone(), Flow)]);
        host.apply(|state| {
            state.groups[0] = group("web", &[(code(opened_with), "192.0.2.0/24")], &[]);
        });
        host.check_all(&[(I, request.clone(), Flow), (E, reply.clone(), Flow)]);
        host.apply(|state| {
            state.groups[0] = group("web", &[(code(2), "192.0.2.0/24")], &[]);
        });
        host.check_all(&[(I, request, FlowCut), (E, reply, FlowCut)]);
    }
}

#[test]
fn one_change_of_several_is_enough_to_cut() {
    let mut host = host(OnRevoke::Cut);
    host.apply(revoke);
    host.now += 1;
    host.apply(allow);
    host.now += 1;
    host.apply(|state| state.change_filters(|filter| filter.on_revoke = OnRevoke::Keep));
    host.check(I, &to("A").frame(), FlowCut);
}

#[test]
fn a_later_cut_does_not_count_the_idle_time_anew() {
    let mut host = Host::new({
        let mut state = state(&[(udp_port(53), "192.0.2.0/24")], &[]);
        state.change_filters(|filter| filter.on_revoke = OnRevoke::Cut);
        state
    });
    let request = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    host.check(I, &request, Allowed);
    host.apply(revoke);
    host.now += 20;
    host.apply(|_| ());
    host.now += 11;
    host.check(I, &request, NoRule);
}

#[test]
fn what_was_revoked_under_keep_is_cut_later_by_flush_denied_once() {
    let mut host = host(OnRevoke::Keep);
    host.check(I, &tcp("192.0.2.2:9", "10.0.0.5:80", "S").frame(), Allowed);
    host.apply(|state| {
        state.groups[0] = group("web", &[(tcp_port(80), "192.0.2.2/32")], &[]);
    });
    host.check(I, &to("A").frame(), Flow);
    host.evaluator.flush_denied(host.now);
    host.check(I, &to("A").frame(), FlowCut);
    host.check(I, &tcp("192.0.2.2:9", "10.0.0.5:80", "A").frame(), Flow);
    host.apply(revoke);
    host.check(I, &tcp("192.0.2.2:9", "10.0.0.5:80", "A").frame(), Flow);
}

#[test]
fn a_flow_that_has_idled_out_is_nothing_to_cut() {
    let mut host = host(OnRevoke::Cut);
    host.now += 432_000;
    host.apply(revoke);
    host.check_states(&[]);
    host.apply(allow);
    host.check_all(&[(I, to("A"), NotSyn), (E, from("A"), NoRule)]);
}

#[test]
fn a_longer_timeout_does_not_bring_back_what_has_idled_out() {
    let state = state(&[(udp_port(53), "192.0.2.0/24")], &[]);
    let timeout = |udp| {
        move |state: &mut DesiredState| {
            state.interfaces[0].tracking = Tracking {
                tcp_established: 60,
                udp,
                udp_stream: 60,
                pickup: 0,
                ..Tracking::default()
            };
        }
    };
    let query = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    let answer = udp("10.0.0.5:53", "192.0.2.1:9").frame();
    for (idle, expected) in [(30, Flow), (31, NoRule)] {
        let mut host = Host::new(state.clone());
        host.apply(timeout(30));
        host.check(I, &query, Allowed);
        host.now += idle;
        host.apply(timeout(60));
        host.check(E, &answer, expected);
    }
}

#[test]
fn flows_of_an_interface_that_is_gone_are_forgotten() {
    let mut host = host(OnRevoke::Keep);
    host.apply(|_| ());
    host.check(E, &from("A").frame(), Flow);
    // Another interface in the same slot.
    host.live[0].ifindex = 50;
    host.apply(|_| ());
    host.check_states(&[]);
    host.check_on(50, I, &to("A").frame(), NotSyn);
    // And back.
    host.live[0].ifindex = IFINDEX;
    host.apply(|_| ());
    host.check(E, &from("A").frame(), NoRule);
}
