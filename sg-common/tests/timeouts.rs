//! Which idle timeout a flow has, by family and protocol.

use sg_common::{
    Direction, Family,
    flow::{State, TCP, Timeout, UDP, icmp, tcp},
};

#[test]
fn only_the_familys_own_icmp_has_the_timeout_of_icmp() {
    let state = State::opened(Direction::Egress);
    for (family, own, other) in [(Family::V4, 1, 58), (Family::V6, 58, 1)] {
        assert_eq!(icmp(family), own);
        assert_eq!(state.timeout(family, own), Timeout::Icmp);
        for protocol in [other, 0, 2, 47, 132, 255] {
            assert_eq!(state.timeout(family, protocol), Timeout::Other, "{family:?} {protocol}");
        }
        assert_eq!(state.timeout(family, TCP), Timeout::TcpOpening);
        assert_eq!(state.timeout(family, UDP), Timeout::Udp);
    }
}

#[test]
fn names_follow_the_state() {
    let opened = State::opened(Direction::Ingress);
    let answered = opened.after(TCP, Direction::Egress, tcp::SYN | tcp::ACK);
    let established = answered.after(TCP, Direction::Ingress, tcp::ACK);
    for family in Family::BOTH {
        assert_eq!(opened.name(family, TCP), "new");
        assert_eq!(answered.name(family, TCP), "replied");
        assert_eq!(established.name(family, TCP), "established");
        assert_eq!(
            established.after(TCP, Direction::Egress, tcp::FIN).name(family, TCP),
            "closing"
        );
        assert_eq!(established.after(TCP, Direction::Egress, tcp::RST).name(family, TCP), "reset");
        assert_eq!(established.cut().name(family, TCP), "cut");
    }
}
