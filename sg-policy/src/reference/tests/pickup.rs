//! TCP picked up in mid-stream.

use super::{frames::*, *};
use Reason::{Flow, NoRule, NotSyn, Rule as Allowed};

fn host(pickup_until: Time) -> Host {
    let mut host = Host::new(state(&[(tcp_port(80), "192.0.2.0/24")], &[]));
    host.live[0].pickup_until = pickup_until;
    host.evaluator = Evaluator::new(host.state.clone(), host.live.clone(), 1000);
    host
}

fn to(flags: &str) -> Ip {
    tcp("192.0.2.1:9", "10.0.0.5:80", flags)
}

fn from(flags: &str) -> Ip {
    tcp("10.0.0.5:80", "192.0.2.1:9", flags)
}

/// Ports that tell nothing: the rules of either direction count, and here one may come in.
#[test]
fn segments_that_the_rules_allow_are_picked_up() {
    for (first, state, second) in
        [((I, to("A")), "new", (E, from("A"))), ((E, from("A")), "replied", (I, to("A")))]
    {
        let mut host = host(1030);
        host.check(first.0, &first.1.frame(), Allowed);
        host.check_states(&[state]);
        host.check_all(&[(first.0, first.1, Flow)]);
        host.check_states(&[state]);
        host.check_all(&[(second.0, second.1, Flow)]);
        host.check_states(&["established"]);
        let flow = host.flows().remove(0);
        assert_eq!((flow.egress, flow.sport, flow.dport), (false, 9, 80));
    }
}

/// `remote` calls port 80 of the instance, or the instance calls from there.
#[test]
fn the_side_with_the_only_high_port_has_opened_it() {
    for (remote, expected) in [(32_767, Allowed), (32_768, Allowed), (65_535, Allowed)] {
        let mut host = host(1030);
        let peer = format!("192.0.2.1:{remote}");
        host.check(E, &tcp("10.0.0.5:80", &peer, "A").frame(), expected);
        assert!(!host.flows()[0].egress);
    }
    // The instance's port is the high one: it has opened it, and may not.
    let mut state = state(&[(tcp_port(40_000), "192.0.2.0/24")], &[]);
    for (rule_out, expected) in [(false, NoRule), (true, Allowed)] {
        if rule_out {
            state = self::state(&[], &[(tcp_port(443), "192.0.2.0/24")]);
        }
        for (direction, ip) in [
            (I, tcp("192.0.2.1:443", "10.0.0.5:40000", "A")),
            (E, tcp("10.0.0.5:40000", "192.0.2.1:443", "A")),
        ] {
            let mut host = Host::new(state.clone());
            host.live[0].pickup_until = 1030;
            host.evaluator = Evaluator::new(host.state.clone(), host.live.clone(), 1000);
            host.check(direction, &ip.frame(), expected);
            assert!(host.flows().iter().all(|flow| flow.egress));
        }
    }
}

/// An entry that was picked up opens no port to a connection that begins.
#[test]
fn a_syn_is_judged_by_the_rules() {
    for flags in ["S", "SF", "SR"] {
        let mut host = host(1030);
        host.check_all(&[(I, to("A"), Allowed), (E, from(flags), NoRule), (E, from("A"), Flow)]);
        let mut host = self::host(1030);
        host.check_all(&[(E, from("A"), Allowed), (E, from(flags), NoRule), (I, to("A"), Flow)]);
        self::host(1030).check(E, &from(flags).frame(), NoRule);
    }
    let mut host = host(1030);
    host.check_all(&[(E, from("A"), Allowed), (I, to("S"), Allowed), (E, from("SA"), Flow)]);
    host.check_states(&["replied"]);
    host.check_all(&[(I, to("A"), Flow)]);
    host.check_states(&["established"]);
}

#[test]
fn only_until_then() {
    for (now, expected) in [(1029, Allowed), (1030, NotSyn), (1031, NotSyn)] {
        let mut host = host(1030);
        host.now = now;
        host.check(I, &to("A").frame(), expected);
    }
    host(0).check(I, &to("A").frame(), NotSyn);
}

#[test]
fn not_again_when_ticks_have_come_half_round() {
    for since in [1 << 31, (1 << 31) + 1031, 3 << 30] {
        let mut host = host(1030);
        host.now = 1000u32.wrapping_add(since);
        host.check(I, &to("A").frame(), NotSyn);
    }
}

#[test]
fn the_last_segments_make_a_closing_entry() {
    for (flags, expected) in
        [("FA", &["closing"][..]), ("R", &[]), ("SA", &["new"]), ("", &["new"])]
    {
        let mut host = host(1030);
        host.check(I, &to(flags).frame(), Allowed);
        host.check_states(expected);
    }
}

#[test]
fn an_apply_ends_it_for_interfaces_that_were_filtered_before() {
    let mut host = host(1030);
    host.live.push(LiveInterface { pickup_until: 1030, ..live_interface(1) });
    host.apply(|state| state.interfaces.push(interface("eth1", Role::Host, &["web"])));
    host.check_on(IFINDEX, I, &to("A").frame(), NotSyn);
    host.check_on(IFINDEX + 1, I, &to("A").frame(), Allowed);
    // The slot with another interface in it is another interface.
    host.live[1].ifindex = 50;
    host.live[1].pickup_until = 1030;
    host.apply(|_| ());
    host.check_on(50, I, &to("A").frame(), Allowed);
}

#[test]
fn flush_forgets_all_and_picks_up_anew() {
    let mut host = host(0);
    host.check(I, &to("S").frame(), Allowed);
    host.evaluator.flush(host.now);
    host.check_states(&[]);
    host.now += 29;
    host.check_all(&[(E, from("A"), Allowed), (I, to("A"), Flow)]);
    host.now += 1;
    host.check(I, &tcp("192.0.2.2:9", "10.0.0.5:80", "A").frame(), NotSyn);
    host.apply(|state| state.interfaces[0].tracking.pickup = 0);
    host.evaluator.flush(host.now);
    host.check(I, &to("A").frame(), NotSyn);
}
