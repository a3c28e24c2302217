//! The IPv4 header, field by field (RFC 791).

use sg_common::{
    Direction::{Egress as E, Ingress as I},
    Reason::{Malformed, NoRule, Rule, SourceCheck},
};

use crate::{
    row::{Frame, Opens, Outcome, row},
    table::check,
    way::{ETH, TCP80, UDP53, V4, Way, at, rules},
};
use sg_policy::reference::frames::tcp;

/// 40 bytes of IP.
fn syn(way: Way) -> Frame {
    way.tcp(9, 80, "S").into()
}

fn good(holds: bool) -> Outcome {
    if holds { Opens } else { Malformed.into() }
}

#[test]
fn version() {
    let mut rows = vec![];
    for way in V4 {
        for version in 0..16_u8 {
            let frame = syn(way).set(ETH, [version << 4 | 5]);
            rows.push(way.row(frame, good(version == 4)).ethernet_only());
            // Without an Ethernet header the version says what follows.
            if version != 6 {
                rows.push(way.row(syn(way).set(ETH, [version << 4 | 5]), good(version == 4)));
            }
        }
    }
    check(&rules(&[TCP80]), &rows);
}

#[test]
fn header_length() {
    let mut rows = vec![];
    for way in V4 {
        // From six words on, TCP's header is cut short by the total length.
        for words in 0..16_u8 {
            rows.push(way.row(syn(way).set(ETH, [0x40 | words]), good(words == 5)));
        }
        for words in 6..16_u16 {
            let options = vec![1; usize::from(words - 5) * 4];
            let long = || Frame::from(way.tcp(9, 80, "S").options(&options));
            rows.push(way.row(long(), Opens));
            // A total length of the header alone, and below it.
            let total = |total: u16| long().set(ETH + 2, total.to_be_bytes());
            rows.push(way.row(total(words * 4), Malformed));
            rows.push(way.row(total(words * 4 - 1), Malformed));
            rows.push(way.row(total(words * 4 + 19), Malformed));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

#[test]
fn options() {
    let mut rows = vec![];
    for way in V4 {
        for length in (4..=40).step_by(4) {
            // They look like ports that are open; the ports are behind them.
            let mut options = [0, 9, 0, 80].repeat(length / 4);
            let closed = way.tcp(9, 81, "S").options(&options);
            rows.push(way.row(closed, NoRule));
            rows.push(way.row(way.tcp(9, 80, "S").options(&options), Opens));
            rows.push(way.row(way.udp(9, 53).options(&options), Opens));
            options.fill(0);
            rows.push(way.row(way.udp(80, 54).options(&options), NoRule));
        }
        // Source routes, record route, timestamps, router alert.
        for kind in [7, 68, 131, 137, 148, 130] {
            let option = [kind, 8, 4, 0, 0, 0, 0, 0];
            rows.push(way.row(way.tcp(9, 80, "S").options(&option), Opens));
        }
        // The length of an option is not looked at.
        rows.push(way.row(way.tcp(9, 80, "S").options(&[7, 255, 4, 0]), Opens));
        rows.push(way.row(way.tcp(9, 80, "S").options(&[7, 0, 4, 0]), Opens));
    }
    check(&rules(&[TCP80, UDP53]), &rows);
}

#[test]
fn total_length() {
    const GRE: &str = "protocol = 47";
    let mut rows = vec![];
    for way in V4 {
        let total = |frame: Frame, total: u16| frame.set(ETH + 2, total.to_be_bytes());
        for (length, ok) in [
            (0, false),
            (1, false),
            (19, false),
            (20, false),
            (39, false),
            (40, true),
            (41, false),
            (255, false),
            (0x2800, false),
            (0xffff, false),
        ] {
            rows.push(way.row(total(syn(way), length), good(ok)));
        }
        // Padding after the packet is ignored; with it, the length may be longer.
        for (length, ok) in [(0, false), (39, false), (40, true), (46, true), (47, false)] {
            rows.push(way.row(total(syn(way).pad(6), length), good(ok)));
        }
        for (length, ok) in [(0, false), (19, false), (20, true), (21, false)] {
            rows.push(way.row(total(way.ip(47, &[]).into(), length), good(ok)));
        }
    }
    check(&rules(&[TCP80, GRE]), &rows);
}

/// Type of service, identification, "don't fragment", the reserved bit, time to live and checksum
/// decide nothing.
#[test]
fn what_does_not_matter() {
    let mut rows = vec![];
    for way in V4 {
        for value in [0, 1, 0x7f, 0xff] {
            for at in [1, 4, 5, 8, 10, 11] {
                rows.push(way.row(syn(way).set(ETH + at, [value]), Opens));
            }
        }
        for flags in [0x40, 0x80, 0xc0] {
            rows.push(way.row(syn(way).set(ETH + 6, [flags]), Opens));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

/// The peer decides: the source of what comes in, the destination of what goes out.
#[test]
fn addresses() {
    let to = |src: &str, dst: &str| tcp(&at(src, 9), &at(dst, 80), "S");
    let mut rows = vec![];
    for (peer, open) in [
        ("192.0.1.255", false),
        ("192.0.2.0", true),
        ("192.0.2.1", true),
        ("192.0.2.255", true),
        ("192.0.3.0", false),
        ("10.0.0.5", false),
        ("0.0.0.0", false),
        ("127.0.0.1", false),
        ("224.0.0.1", false),
        ("255.255.255.255", false),
    ] {
        let expected = if open { Opens } else { NoRule.into() };
        rows.push(row(I, to(peer, "10.0.0.5"), expected));
        rows.push(row(E, to("10.0.0.5", peer), expected));
    }
    for other in ["10.0.0.4", "10.0.0.6", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        rows.push(row(I, to("192.0.2.1", other), Opens));
        rows.push(row(E, to(other, "192.0.2.1"), Opens).host());
        rows.push(row(E, to(other, "192.0.2.1"), SourceCheck).port());
    }
    // Rules match the far end's address, never the instance's own.
    rows.push(row(I, to("10.0.0.5", "192.0.2.1"), NoRule));
    rows.push(row(E, to("192.0.2.1", "10.0.0.5"), NoRule).host());
    check(&rules(&[TCP80]), &rows);
}

/// The number decides what the bytes behind the header are.
#[test]
fn protocol() {
    let mut rows = vec![];
    for way in V4 {
        for (number, expected) in
            [(6, Opens), (17, NoRule.into()), (47, NoRule.into()), (132, NoRule.into())]
        {
            // Eight bytes for the length of UDP.
            let frame = syn(way).set(way.payload() + 4, [0, 8]).set(ETH + 9, [number]);
            rows.push(way.row(frame, expected));
        }
        // An ICMP message of an unknown type.
        rows.push(way.row(syn(way).set(ETH + 9, [1]).set(way.payload(), [77]), Rule));
    }
    check(&rules(&[TCP80, r#"protocol = "icmp""#]), &rows);
}
