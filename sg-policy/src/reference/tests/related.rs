//! ICMP errors.

use super::{frames::*, *};
use Reason::{NoRule, Related, Rule as Allowed};

/// The instance talks to 192.0.2.1:53 from port 9, is served by nobody else, and has been asked on
/// port 80 by 192.0.2.2.
fn host() -> Host {
    let mut host = Host::new(state(
        &[(tcp_port(80), "192.0.2.0/24")],
        &[(udp_port(53), "192.0.2.0/24"), (ALL, "2001:db8::/32"), (icmp_type(8), "192.0.2.0/24")],
    ));
    host.check_all(&[
        (E, sent(), Allowed),
        (E, sent6(), Allowed),
        (I, tcp("192.0.2.2:9", "10.0.0.5:80", "S"), Allowed),
        (E, icmp("10.0.0.5", "192.0.2.1", 8, 0, 7), Allowed),
        (E, ip("fd00::5", "2001:db8::1", 50, b""), Allowed),
    ]);
    host
}

fn sent() -> Ip {
    udp("10.0.0.5:9", "192.0.2.1:53")
}

fn sent6() -> Ip {
    udp("[fd00::5]:9", "[2001:db8::1]:53")
}

/// From a router that no rule knows.
#[track_caller]
fn check(quoted: &[u8], expected: Reason) {
    let error = if quoted.first().is_some_and(|first| first >> 4 == 6) {
        icmp_error("fe80::9", "fd00::5", 1, quoted)
    } else {
        icmp_error("203.0.113.9", "10.0.0.5", 3, quoted)
    };
    let mut host = host();
    let before = host.flows();
    host.check(I, &error.frame(), expected);
    assert_eq!(host.flows(), before, "an error touches no flow");
}

#[test]
fn errors_that_quote_a_packet_of_a_tracked_flow_pass() {
    for kind in 0..=255 {
        let error = icmp_error("203.0.113.9", "10.0.0.5", kind, &sent().bytes());
        let expected = if matches!(kind, 3 | 11 | 12) { Related } else { NoRule };
        host().check(I, &error.frame(), expected);
        let error = icmp_error("fe80::9", "fd00::5", kind, &sent6().bytes());
        let expected = if matches!(kind, 1..=4) { Related } else { NoRule };
        host().check(I, &error.frame(), expected);
    }
}

#[test]
fn what_may_be_quoted() {
    check(&tcp("10.0.0.5:80", "192.0.2.2:9", "A").bytes(), Related);
    check(&icmp("10.0.0.5", "192.0.2.1", 8, 0, 7).bytes(), Related);
    check(&ip("fd00::5", "2001:db8::1", 50, b"").bytes(), Related);
    for other in [
        udp("10.0.0.5:8", "192.0.2.1:53"),
        udp("10.0.0.5:9", "192.0.2.1:54"),
        udp("10.0.0.5:9", "192.0.2.2:53"),
        tcp("10.0.0.5:9", "192.0.2.1:53", "A"),
        icmp("10.0.0.5", "192.0.2.1", 8, 0, 8),
        icmp("10.0.0.5", "192.0.2.1", 0, 0, 7),
        icmp("10.0.0.5", "192.0.2.1", 3, 0, 7),
        ip("10.0.0.5", "192.0.2.1", 50, b""),
    ] {
        check(&other.bytes(), NoRule);
    }
}

#[test]
fn the_quoted_packet_went_the_other_way() {
    // As if the peer's own packet came back: its source is the error's destination, though.
    check(&udp("192.0.2.1:53", "10.0.0.5:9").bytes(), NoRule);
    let mut host = host();
    let error = icmp_error("10.0.0.5", "192.0.2.1", 3, &sent().bytes());
    host.check(E, &error.frame(), NoRule);
    let error = icmp_error("10.0.0.5", "192.0.2.1", 3, &udp("192.0.2.1:53", "10.0.0.5:9").bytes());
    host.check(E, &error.frame(), Related);
    let error =
        icmp_error("10.0.0.5", "192.0.2.2", 3, &tcp("192.0.2.2:9", "10.0.0.5:80", "A").bytes());
    host.check(E, &error.frame(), Related);
}

#[test]
fn an_error_goes_to_the_source_of_what_it_quotes() {
    let error = icmp_error("203.0.113.9", "10.0.0.6", 3, &sent().bytes());
    host().check(I, &error.frame(), NoRule);
}

#[test]
fn eight_bytes_of_transport_are_enough() {
    for (quoted, header) in [
        (sent().bytes(), 20),
        (tcp("10.0.0.5:80", "192.0.2.2:9", "A").bytes(), 20),
        (icmp("10.0.0.5", "192.0.2.1", 8, 0, 7).bytes(), 20),
        (sent6().bytes(), 40),
    ] {
        check(&quoted[..header + 8], Related);
        for length in 0..header + 8 {
            check(&quoted[..length], NoRule);
        }
    }
}

#[test]
fn options_and_extension_headers_in_the_quote() {
    check(&sent().options(&[1; 40]).bytes(), Related);
    let chain = |count| (0..count).fold(sent6(), |ip, _| ip.extension(60, vec![0; 8]));
    check(&chain(8).bytes(), Related);
    check(&chain(9).bytes(), NoRule);
    check(&sent6().fragment6(1, 0, false).bytes(), Related);
    let mut bad_header = sent().bytes();
    bad_header[0] = 0x44;
    check(&bad_header, NoRule);
    // Length fields of a quote say nothing: it may have been cut, or changed on its way.
    let mut cut = sent().bytes();
    cut[2..4].copy_from_slice(&[0xff, 0xff]);
    check(&cut, Related);
    let mut other_family = sent().bytes();
    other_family[0] = 0x65;
    host().check(I, &icmp_error("203.0.113.9", "10.0.0.5", 3, &other_family).frame(), NoRule);
}

#[test]
fn fragments_in_the_quote() {
    check(&sent().fragment(1, 0, true).bytes(), Related);
    check(&sent().fragment(1, 1, false).bytes(), NoRule);
    check(&sent6().fragment6(1, 0, true).bytes(), Related);
    check(&sent6().fragment6(1, 1, false).bytes(), NoRule);
    // And an error that is itself a fragment decides nothing by its quote.
    let error = icmp_error("203.0.113.9", "10.0.0.5", 3, &sent().bytes()).fragment(1, 0, true);
    host().check(I, &error.frame(), NoRule);
}

#[test]
fn what_was_allowed_untracked_may_be_quoted() {
    let mut host = Host::new(state(&[(tcp_port(80), "0.0.0.0/0")], &[(ALL, "0.0.0.0/0")]));
    let error = |quoted: Ip| icmp_error("203.0.113.9", "10.0.0.5", 3, &quoted.bytes()).frame();
    host.check(I, &error(tcp("10.0.0.5:80", "192.0.2.7:9", "A")), Related);
    host.check(I, &error(tcp("10.0.0.5:81", "192.0.2.7:9", "A")), NoRule);
    host.check(I, &error(tcp("10.0.0.5:9", "192.0.2.7:80", "A")), NoRule);
}

#[test]
fn not_if_the_flow_is_cut_or_over() {
    let error = icmp_error("203.0.113.9", "10.0.0.5", 3, &sent().bytes()).frame();
    let mut host = host();
    host.now += 31;
    host.check(I, &error, NoRule);
    host.check(E, &sent().frame(), Allowed);
    host.check(I, &error, Related);
    host.apply(|state| state.groups[0].egress.clear());
    host.check(I, &error, Related);
    host.evaluator.flush_denied(host.now);
    host.check(I, &error, NoRule);
}

#[test]
fn else_the_rules_decide_and_without_related_icmp_always() {
    let error = icmp_error("203.0.113.9", "10.0.0.5", 3, &sent().bytes()).frame();
    let forged = icmp_error("203.0.113.9", "10.0.0.5", 3, b"nonsense").frame();
    let mut host = host();
    let states = host.flows().len();
    host.apply(|state| state.groups[0].ingress.push(rule(icmp_type(3), "203.0.113.0/24")));
    host.check(I, &forged, Allowed);
    host.check(I, &error, Related);
    host.apply(|state| state.change_filters(|filter| filter.related_icmp = false));
    host.check(I, &error, Allowed);
    host.apply(|state| drop(state.groups[0].ingress.pop()));
    host.check(I, &error, NoRule);
    assert_eq!(host.flows().len(), states);
}
