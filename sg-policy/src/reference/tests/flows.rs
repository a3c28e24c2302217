//! Tracked flows: what makes one, which packets belong to it, when it ends.

use super::{frames::*, *};
use Reason::{Flow, NoRule, NotSyn, Rule as Allowed};

/// Everything in from the peers, nothing out.
fn host() -> Host {
    Host::new(state(&[(ALL, "192.0.2.0/24"), (ALL, "2001:db8::/32")], &[]))
}

fn to(flags: &str) -> Ip {
    tcp("192.0.2.1:9", "10.0.0.5:80", flags)
}

fn from(flags: &str) -> Ip {
    tcp("10.0.0.5:80", "192.0.2.1:9", flags)
}

/// After these packets, a further one gets `flow` until `timeout` seconds later.
#[track_caller]
fn check_timeout(packets: &[(Direction, Ip)], timeout: u32) {
    let mut host = host();
    for (direction, ip) in packets {
        let frame = ip.frame();
        let packet = Packet {
            ifindex: IFINDEX,
            direction: *direction,
            frame: &frame,
            vlan_offloaded: false,
            gso: false,
        };
        assert!(host.evaluator.judge(&packet, host.now).unwrap().allowed(), "{ip:?}");
    }
    assert_eq!(host.flows().len(), 1);
    host.now += timeout;
    assert_eq!(host.flows().len(), 1, "idle for exactly {timeout} s");
    host.now += 1;
    assert_eq!(host.flows().len(), 0, "idle for more than {timeout} s");
}

#[test]
fn packets_of_a_flow_pass_both_ways_whatever_the_rules_say() {
    let mut host = host();
    host.check_all(&[
        (E, from("S"), NoRule),
        (I, to("S"), Allowed),
        (E, from("SA"), Flow),
        (I, to("A"), Flow),
        (E, from("PA"), Flow),
    ]);
    let flow = host.flows().remove(0);
    assert_eq!((flow.slot, flow.protocol, flow.egress), (0, 6, false));
    assert_eq!((flow.src.to_string(), flow.sport), ("192.0.2.1".to_owned(), 9));
    assert_eq!((flow.dst.to_string(), flow.dport), ("10.0.0.5".to_owned(), 80));
    assert_eq!((flow.state, flow.packets, flow.seen), ("established", 4, host.now));
}

#[test]
fn the_key_is_the_five_tuple() {
    let mut host = host();
    host.check(I, &udp("192.0.2.1:9", "10.0.0.5:53").frame(), Allowed);
    for other in [
        udp("10.0.0.6:53", "192.0.2.1:9"),
        udp("10.0.0.5:54", "192.0.2.1:9"),
        udp("10.0.0.5:53", "192.0.2.2:9"),
        udp("10.0.0.5:53", "192.0.2.1:8"),
        udp("192.0.2.1:9", "10.0.0.5:53"),
        tcp("10.0.0.5:53", "192.0.2.1:9", "A"),
    ] {
        host.check(E, &other.frame(), NoRule);
    }
    host.check(E, &udp("10.0.0.5:53", "192.0.2.1:9").frame(), Flow);
}

#[test]
fn tcp_opens_with_a_syn_only() {
    for flags in ["S", "SP", "SE", "SU"] {
        host().check(I, &to(flags).frame(), Allowed);
    }
    for flags in ["SA", "A", "", "F", "R", "SF", "SR", "FA", "RA", "PUF"] {
        let mut host = host();
        host.check(I, &to(flags).frame(), NotSyn);
        host.check(E, &from(flags).frame(), NoRule);
        host.check_states(&[]);
    }
}

#[test]
fn tcp_idle_timeouts() {
    check_timeout(&[(I, to("S"))], 60);
    check_timeout(&[(I, to("S")), (E, from("SA"))], 60);
    // Established when the opener acknowledges the answer, not before and not by another SYN.
    check_timeout(&[(I, to("S")), (I, to("A"))], 60);
    check_timeout(&[(I, to("S")), (E, from("A")), (I, to("A"))], 60);
    check_timeout(&[(I, to("S")), (E, from("SA")), (E, from("A")), (I, to("S"))], 60);
    check_timeout(&[(I, to("S")), (E, from("SA")), (I, to("A"))], 432_000);
    check_timeout(&[(I, to("S")), (E, from("SA")), (I, to("FA"))], 120);
    check_timeout(&[(I, to("S")), (E, from("FA"))], 120);
    check_timeout(
        &[(I, to("S")), (E, from("SA")), (I, to("A")), (E, from("FA")), (I, to("A"))],
        120,
    );
}

fn data_to() -> Ip {
    tcp_with("192.0.2.1:9", "10.0.0.5:80", "A", (ISN + 1, ISN + 1), b"request")
}

fn data_from() -> Ip {
    tcp_with("10.0.0.5:80", "192.0.2.1:9", "A", (ISN + 1, ISN + 1), b"response")
}

fn handshake() -> [(Direction, Ip); 3] {
    [(I, to("S")), (E, from("SA")), (I, to("A"))]
}

/// A host with a connection that has carried data both ways, if `data`.
fn connected(data: bool) -> Host {
    let mut host = host();
    for (direction, ip) in handshake() {
        let expected = if ip.payload[13] == 2 { Allowed } else { Flow };
        host.check(direction, &ip.frame(), expected);
    }
    if data {
        host.check_all(&[(I, data_to(), Flow), (E, data_from(), Flow)]);
    }
    host
}

/// A segment without ACK from the same made-up source is none, nor is one that only guesses.
#[test]
fn established_is_who_acknowledged_the_answer() {
    let answer = |sequence| {
        (E, tcp_with("10.0.0.5:80", "192.0.2.1:9", "SA", (sequence, ISN + 1), b""), Flow)
    };
    let opener = |flags: &str, acknowledges| {
        (I, tcp_with("192.0.2.1:9", "10.0.0.5:80", flags, (ISN + 1, acknowledges), b"data"), Flow)
    };
    for sequence in [0, 1, 77_000, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX] {
        for (flags, above, state) in [
            ("A", 1, "established"),
            ("PA", 1, "established"),
            ("A", 2, "established"),
            ("A", 65_535, "established"),
            ("A", 0, "replied"),
            ("A", u32::MAX, "replied"),
            ("A", 65_536, "replied"),
            ("A", 0x8000_0000, "replied"),
            ("", 1, "replied"),
            ("P", 1, "replied"),
            ("S", 1, "replied"),
            ("SA", 1, "replied"),
            ("FA", 1, "closing"),
        ] {
            let mut host = host();
            host.check(I, &to("S").frame(), Allowed);
            host.check_all(&[answer(sequence), opener(flags, sequence.wrapping_add(above))]);
            host.check_states(&[state]);
            // The other side cannot do it, and the opener still can.
            let acknowledges = sequence.wrapping_add(1);
            let own = tcp_with("10.0.0.5:80", "192.0.2.1:9", "A", (9, acknowledges), b"");
            host.check(E, &own.frame(), Flow);
            host.check_states(&[state]);
            let last = tcp_with("192.0.2.1:9", "10.0.0.5:80", "A", (ISN + 1, acknowledges), b"");
            host.check(I, &last.frame(), Flow);
            host.check_states(&[if state == "closing" { state } else { "established" }]);
        }
    }
}

/// A server that has forgotten its first answer gives another.
#[test]
fn the_last_answer_counts() {
    let answer =
        |sequence| tcp_with("10.0.0.5:80", "192.0.2.1:9", "SA", (sequence, ISN + 1), b"").frame();
    let mut host = host();
    host.check(I, &to("S").frame(), Allowed);
    host.check(E, &answer(500_000), Flow);
    host.check(E, &answer(ISN), Flow);
    let first = tcp_with("192.0.2.1:9", "10.0.0.5:80", "A", (ISN + 1, 500_001), b"");
    host.check(I, &first.frame(), Flow);
    host.check_states(&["replied"]);
    host.check(I, &to("A").frame(), Flow);
    host.check_states(&["established"]);
}

#[test]
fn a_reset_before_that_ends_the_entry() {
    for before in 1..3 {
        for (direction, reset) in
            [(I, to("R")), (E, from("R")), (E, from("RA")), (I, to("RA")), (E, from("SR"))]
        {
            let mut host = host();
            for (number, (direction, ip)) in handshake()[..before].iter().enumerate() {
                host.check(*direction, &ip.frame(), if number == 0 { Allowed } else { Flow });
            }
            host.check(direction, &reset.frame(), Flow);
            host.check_states(&[]);
            // At once, and both ways.
            for flags in ["A", "SA", "R", "F"] {
                host.check(I, &to(flags).frame(), NotSyn);
                host.check(E, &from(flags).frame(), NoRule);
            }
            host.check_all(&[(I, to("S"), Allowed), (E, from("SA"), Flow), (I, to("A"), Flow)]);
            host.check_states(&["established"]);
        }
    }
}

#[test]
fn a_reset_leaves_ten_seconds_or_two_minutes_after_data_both_ways() {
    let after = |more: &[(Direction, Ip)]| [&handshake()[..], more].concat();
    for reset in [(I, to("R")), (E, from("RA")), (E, data_reset())] {
        check_timeout(&after(std::slice::from_ref(&reset)), 10);
        check_timeout(&after(&[(I, data_to()), reset.clone()]), 10);
        check_timeout(&after(&[(E, data_from()), reset.clone()]), 10);
        check_timeout(&after(&[(E, from("A")), (I, to("A")), reset.clone()]), 10);
        check_timeout(&after(&[(I, data_to()), (E, data_from()), reset.clone()]), 120);
        // A segment of one side alone does not take it back.
        check_timeout(&after(&[reset.clone(), (I, to("A")), (I, data_to()), (I, to("FA"))]), 10);
        check_timeout(&after(&[reset.clone(), (E, from("A")), (E, data_from())]), 10);
        // Nor does another reset shorten a FIN's time.
        check_timeout(&after(&[(I, to("FA")), reset.clone()]), 120);
    }
}

fn data_reset() -> Ip {
    tcp_with("10.0.0.5:80", "192.0.2.1:9", "RA", (ISN + 1, ISN + 1), b"why")
}

/// A stranger's reset with any sequence number.
#[test]
fn a_reset_was_not_theirs_when_both_sides_go_on() {
    for data in [false, true] {
        for (direction, reset) in [(I, to("R")), (E, from("RA"))] {
            let mut host = connected(data);
            host.check(direction, &reset.frame(), Flow);
            host.check_states(&["reset"]);
            host.check_all(&[(E, from("A"), Flow), (I, to("A"), Flow)]);
            host.check_states(&["reset"]);
            host.check(E, &from("A").frame(), Flow);
            host.check_states(&["established"]);
            host.now += 432_000;
            host.check(I, &to("A").frame(), Flow);
            // Once more, it leaves as much time as before.
            host.check(direction, &reset.frame(), Flow);
            host.now += if data { 120 } else { 10 };
            host.check_states(&["reset"]);
            host.now += 1;
            host.check_states(&[]);
        }
    }
    // Segments that only a reset, an end or a new beginning may have are no going on.
    for flags in ["R", "RA", "FA", "SA"] {
        let mut host = connected(true);
        host.check(I, &to("R").frame(), Flow);
        host.check_all(&[(I, to(flags), Flow), (E, from(flags), Flow), (E, from("A"), Flow)]);
        host.check_states(&["reset"]);
    }
}

/// Data of the side whose address a stranger took for a FIN: nothing follows a FIN.
#[test]
fn a_fin_was_not_theirs_when_its_side_goes_on_with_data() {
    let cases =
        [(I, to("FA"), data_to(), (E, from("A"))), (E, from("FA"), data_from(), (I, to("A")))];
    for (direction, fin, data, answer) in cases {
        let mut host = connected(false);
        host.check(direction, &fin.frame(), Flow);
        // Data that was under way, and acknowledgements of what comes.
        host.check(direction, &data.frame(), Flow);
        host.check_states(&["closing"]);
        host.check(answer.0, &answer.1.frame(), Flow);
        let pure = if direction == I { to("A") } else { from("A") };
        host.check(direction, &pure.frame(), Flow);
        host.check_states(&["closing"]);
        host.check(direction, &data.frame(), Flow);
        host.check_states(&["established"]);
        host.now += 432_000;
        host.check(answer.0, &answer.1.frame(), Flow);
        // A real close: both sides end.
        let (other, end) = if direction == I { (E, from("FA")) } else { (I, to("FA")) };
        host.check_all(&[(direction, fin, Flow), (other, end, Flow), (direction, pure, Flow)]);
        host.check_states(&["closing"]);
    }
}

#[test]
fn udp_idle_timeouts() {
    let to = || (I, udp("192.0.2.1:9", "10.0.0.5:53"));
    let from = || (E, udp("10.0.0.5:53", "192.0.2.1:9"));
    check_timeout(&[to()], 30);
    check_timeout(&[to(), from()], 30);
    check_timeout(&[to(), to(), to(), from()], 30);
    check_timeout(&[to(), from(), from(), from()], 30);
    check_timeout(&[to(), from(), to(), from()], 180);
    check_timeout(&[to(), to(), from(), from()], 180);
}

#[test]
fn icmp_and_other_idle_timeouts() {
    check_timeout(&[(I, icmp("192.0.2.1", "10.0.0.5", 8, 0, 1))], 30);
    check_timeout(
        &[
            (I, icmp("2001:db8::1", "fd00::5", 128, 0, 1)),
            (E, icmp("fd00::5", "2001:db8::1", 129, 0, 1)),
        ],
        30,
    );
    check_timeout(&[(I, ip("192.0.2.1", "10.0.0.5", 47, b""))], 600);
    // No ICMP of its family: another protocol.
    check_timeout(&[(I, ip("192.0.2.1", "10.0.0.5", 58, &[128; 8]))], 600);
    check_timeout(&[(I, ip("2001:db8::1", "fd00::5", 1, &[8; 8]))], 600);
}

#[test]
fn timeouts_are_the_interface_s() {
    let mut host = host();
    host.apply(|state| {
        state.interfaces[0].tracking = Tracking {
            tcp_established: 350,
            udp: 40,
            udp_stream: 60,
            pickup: 0,
            ..Tracking::default()
        };
    });
    let to = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    let from = udp("10.0.0.5:53", "192.0.2.1:9").frame();
    host.check(I, &to, Allowed);
    host.now += 40;
    host.check(E, &from, Flow);
    host.now += 41;
    host.check(E, &from, NoRule);
    for (direction, frame, expected) in
        [(I, &to, Allowed), (E, &from, Flow), (I, &to, Flow), (E, &from, Flow)]
    {
        host.check(direction, frame, expected);
    }
    host.now += 61;
    host.check(E, &from, NoRule);
    host.check_all(&[
        (I, super::flows::to("S"), Allowed),
        (E, super::flows::from("SA"), Flow),
        (I, super::flows::to("A"), Flow),
    ]);
    host.now += 350;
    host.check_states(&["established"]);
    host.now += 1;
    host.check_states(&[]);
}

#[test]
fn ticks_need_not_be_seconds_and_wrap_around() {
    let rules = state(&[(ALL, "192.0.2.0/24")], &[]);
    // 15.625 ticks a second: 30 s are 468.75 ticks, 468 with the rest cut off.
    let mut evaluator = Evaluator::new(rules, vec![live_interface(0)], 15_625);
    let frame = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    let packet =
        Packet { ifindex: IFINDEX, direction: I, frame: &frame, vlan_offloaded: false, gso: false };
    let start = Time::MAX - 5;
    assert_eq!(evaluator.judge(&packet, start), Some(Allowed));
    assert_eq!(evaluator.would(&packet, start.wrapping_add(468)), Some(Flow));
    assert_eq!(evaluator.would(&packet, start.wrapping_add(469)), Some(Allowed));
}

#[test]
fn each_packet_starts_the_idle_time_anew() {
    let mut host = host();
    let to = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    host.check(I, &to, Allowed);
    for _ in 0..5 {
        host.now += 30;
        host.check(I, &to, Flow);
    }
}

#[test]
fn an_idled_out_connection_stays_ended() {
    let mut host = host();
    host.check_all(&[(I, to("S"), Allowed), (E, from("SA"), Flow)]);
    host.now += 61;
    host.check_all(&[(I, to("A"), NotSyn), (E, from("A"), NoRule), (I, to("S"), Allowed)]);
}

#[test]
fn a_syn_reopens_a_closing_flow_if_the_rules_allow_it() {
    for end in ["FA", "R"] {
        let mut host = connected(false);
        host.check(E, &from(end).frame(), Flow);
        host.now += 5;
        // Refused, and the entry is as it was.
        host.check(E, &from("S").frame(), NoRule);
        assert_eq!(host.flows()[0].seen, host.now - 5);
        host.check_all(&[(I, to("S"), Allowed)]);
        host.check_states(&["new"]);
        assert_eq!(host.flows()[0].packets, 1);
        host.check(E, &from("SA").frame(), Flow);
    }
}

#[test]
fn the_side_that_reopens_is_the_opener() {
    let mut host = Host::new(state(&[(ALL, "192.0.2.0/24")], &[(ALL, "192.0.2.0/24")]));
    host.check_all(&[(I, to("S"), Allowed), (E, from("R"), Flow), (E, from("S"), Allowed)]);
    let flow = host.flows().remove(0);
    assert_eq!((flow.egress, flow.sport, flow.dport), (true, 80, 9));
}

#[test]
fn a_syn_on_a_flow_that_is_not_closing_belongs_to_it() {
    let mut host = host();
    host.check_all(&[
        (I, to("S"), Allowed),
        (I, to("S"), Flow),
        // Simultaneous open: the rules do not allow this one by itself.
        (E, from("S"), Flow),
    ]);
    host.check_states(&["replied"]);
}

#[test]
fn other_protocols_are_tracked_by_addresses_and_protocol() {
    let mut host = host();
    host.check_all(&[
        (I, ip("192.0.2.1", "10.0.0.5", 47, b""), Allowed),
        (E, ip("10.0.0.5", "192.0.2.1", 47, b"x"), Flow),
        (E, ip("10.0.0.5", "192.0.2.1", 50, b"x"), NoRule),
        (E, ip("10.0.0.5", "192.0.2.2", 47, b"x"), NoRule),
    ]);
    host.check_states(&["replied"]);
    assert_eq!(host.flows()[0].protocol, 47);
}

#[test]
fn queries_and_their_replies() {
    let queries = [(8, 0), (13, 14), (15, 16), (17, 18), (42, 43)];
    let queries_v6 = [(128, 129), (139, 140), (160, 161)];
    let v4 = queries.map(|types| ("192.0.2.1", "10.0.0.5", types));
    let v6 = queries_v6.map(|types| ("2001:db8::1", "fd00::5", types));
    for (peer, own, (request, reply)) in v4.into_iter().chain(v6) {
        let mut host = host();
        host.check_all(&[
            (I, icmp(peer, own, request, 0, 7), Allowed),
            (I, icmp(peer, own, request, 0, 7), Flow),
            (E, icmp(own, peer, reply, 0, 7), Flow),
            // Another identifier, and a query of one's own, are other flows.
            (E, icmp(own, peer, reply, 0, 8), NoRule),
            (E, icmp(own, peer, request, 0, 7), NoRule),
            (E, icmp(own, peer, 99, 0, 7), NoRule),
        ]);
        let flow = host.flows().remove(0);
        assert_eq!((flow.sport, flow.dport, flow.egress), (7, request.into(), false));
        assert_eq!(host.flows().len(), 1);
    }
}

#[test]
fn an_own_query_with_the_same_identifier_is_another_flow() {
    let both = [(ICMP_ANY, "192.0.2.0/24")];
    let mut host = Host::new(state(&both, &both));
    host.check_all(&[
        (I, icmp("192.0.2.1", "10.0.0.5", 8, 0, 7), Allowed),
        (E, icmp("10.0.0.5", "192.0.2.1", 8, 0, 7), Allowed),
        (I, icmp("192.0.2.1", "10.0.0.5", 0, 0, 7), Flow),
        (E, icmp("10.0.0.5", "192.0.2.1", 0, 0, 7), Flow),
    ]);
    assert_eq!(host.flows().len(), 2);
}

#[test]
fn only_a_request_opens_a_flow() {
    let mut host = host();
    for kind in [0, 14, 43, 3, 5, 9, 40] {
        host.check(I, &icmp("192.0.2.1", "10.0.0.5", kind, 0, 7).frame(), Allowed);
        host.check(I, &icmp("192.0.2.1", "10.0.0.5", kind, 0, 7).frame(), Allowed);
    }
    host.check(I, &icmp("2001:db8::1", "fd00::5", 129, 0, 7).frame(), Allowed);
    // IPv4's types mean nothing in IPv6.
    host.check(I, &icmp("2001:db8::1", "fd00::5", 8, 0, 7).frame(), Allowed);
    host.check_states(&[]);
}

#[test]
fn no_query_has_a_code_above_fifteen() {
    for (peer, own, request) in [("192.0.2.1", "10.0.0.5", 8), ("2001:db8::1", "fd00::5", 139)] {
        let mut host = host();
        host.check_all(&[
            (I, icmp(peer, own, request, 16, 7), Allowed),
            (I, icmp(peer, own, request, 255, 7), Allowed),
        ]);
        host.check_states(&[]);
        host.check_all(&[
            (I, icmp(peer, own, request, 15, 7), Allowed),
            (I, icmp(peer, own, request, 15, 7), Flow),
            // Not even beside a flow.
            (I, icmp(peer, own, request, 16, 7), Allowed),
        ]);
    }
}
