//! What a flow's state says: its idle timeout, by family and protocol; its name; how it was opened.

use sg_common::{
    Direction, Family,
    flow::{State, TCP, Tag, Timeout, UDP, icmp, opening, ports, query_ports, tcp},
    image::service,
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

#[test]
fn the_opening_packet_is_known() {
    for direction in [Direction::Ingress, Direction::Egress] {
        for family in Family::BOTH {
            for code in 0..=State::MAX_QUERY_CODE {
                // A reply has a code of its own, and changes nothing.
                let state = State::of_query(direction, code)
                    .after(icmp(family), direction.reverse(), 0)
                    .after(icmp(family), direction, 0);
                for state in [state, state.cut()] {
                    let ports = query_ports(7, 128, direction);
                    let tag = Tag::new(ports, 3, icmp(family), state);
                    let request = 128 << 8 | u16::from(code);
                    let expected = (direction, service(icmp(family), request));
                    assert_eq!(opening(tag, family), expected, "{family:?} {code}");
                }
            }
            let state = State::opened(direction).after(TCP, direction.reverse(), tcp::FIN);
            let port = if direction == Direction::Ingress { 80 } else { 9 };
            let tag = Tag::new(ports(80, 9), 3, TCP, state);
            assert_eq!(opening(tag, family), (direction, service(TCP, port)));
        }
    }
}
