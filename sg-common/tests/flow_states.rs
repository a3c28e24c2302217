//! A flow's state: its idle timeout by family and protocol, its name, how it was opened.

use sg_common::{
    Direction, Family,
    flow::{
        AT_ONCE, State, TCP, Tag, Timeout, UDP, icmp, is_over, opening, ports, query_ports, tcp,
        volume,
    },
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
    let answered = opened.after(TCP, Direction::Egress, tcp::SYN | tcp::ACK, false);
    let established = answered.after(TCP, Direction::Ingress, tcp::ACK, true);
    for family in Family::BOTH {
        assert_eq!(opened.name(family, TCP), "new");
        assert_eq!(answered.name(family, TCP), "replied");
        assert_eq!(established.name(family, TCP), "established");
        for (flags, name) in [(tcp::FIN, "closing"), (tcp::RST, "reset")] {
            let ending = established.after(TCP, Direction::Egress, flags, false);
            assert_eq!(ending.name(family, TCP), name);
        }
        let refused = opened.after(TCP, Direction::Egress, tcp::RST | tcp::ACK, false);
        assert_eq!(refused.name(family, TCP), "ended");
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
                    .after(icmp(family), direction.reverse(), 0, false)
                    .after(icmp(family), direction, 0, false);
                for state in [state, state.cut()] {
                    let ports = query_ports(7, 128, direction);
                    let tag = Tag::new(ports, 3, icmp(family), state);
                    let request = 128 << 8 | u16::from(code);
                    let expected = (direction, service(icmp(family), request));
                    assert_eq!(opening(tag, family), expected, "{family:?} {code}");
                }
            }
            let state = State::opened(direction).after(TCP, direction.reverse(), tcp::FIN, false);
            let port = if direction == Direction::Ingress { 80 } else { 9 };
            let tag = Tag::new(ports(80, 9), 3, TCP, state);
            assert_eq!(opening(tag, family), (direction, service(TCP, port)));
        }
    }
}

/// The quick answer is never wrong when it says that nothing changes.
#[test]
fn what_is_settled_changes_nothing() {
    let flags = (0..=u8::MAX).filter(|flags| flags & !(tcp::MASK | tcp::DATA) == 0);
    for flags in flags {
        for state in (0..=u8::MAX).map(State).filter(|state| state.is_live()) {
            for protocol in [TCP, UDP, 1, 58, 47] {
                for direction in Direction::BOTH {
                    if state.is_settled(protocol, direction, flags) {
                        for acknowledges in [false, true] {
                            let after = state.after(protocol, direction, flags, acknowledges);
                            assert_eq!(after, state, "{protocol} {direction:?} {flags:x}");
                        }
                    }
                }
            }
        }
    }
    let established = State::established(Direction::Ingress);
    for direction in Direction::BOTH {
        assert!(established.is_settled(TCP, direction, tcp::ACK | tcp::DATA));
    }
}

#[test]
fn nothing_is_within_a_timeout_that_is_over_at_once() {
    for idle in [0, 1, 15, 16, 17, 1 << 20, u32::MAX - 15, u32::MAX] {
        let is_ahead_of_all = idle == 0_u32.wrapping_sub(16);
        assert_eq!(is_over(idle, 0, AT_ONCE), !is_ahead_of_all, "{idle}");
    }
}

/// While TCP is half-open, a number stands in the volume.
#[test]
fn volumes_of_half_open_connections() {
    let opened = State::opened(Direction::Ingress);
    let half = Tag::new(0, 0, TCP, opened);
    assert_eq!(volume(half, 3, 0xffff_fffe_0000_0096), (3, 150));
    let whole = Tag::new(0, 0, TCP, State::established(Direction::Ingress));
    assert_eq!(volume(whole, 3, 0x0001_fffe_0000_0096), (1 << 32 | 3, 0xfffe_0000_0096));
    assert_eq!(volume(Tag::new(0, 0, UDP, opened), 3, 1 << 40 | 150), (3, 1 << 40 | 150));
}
