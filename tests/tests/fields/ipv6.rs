//! The IPv6 header, field by field (RFC 8200).

use sg_common::{
    Direction::{Egress as E, Ingress as I},
    Reason::{Malformed, NoRule, SourceCheck},
};
use sg_policy::reference::frames::tcp;

use crate::{
    row::{Frame, Opens, Outcome, row},
    table::check,
    way::{ETH, TCP80, V6, Way, at, rules},
};

/// 20 bytes of payload.
fn syn(way: Way) -> Frame {
    way.tcp(9, 80, "S").into()
}

fn good(holds: bool) -> Outcome {
    if holds { Opens } else { Malformed.into() }
}

#[test]
fn version() {
    let mut rows = vec![];
    for way in V6 {
        for version in 0..16_u8 {
            let frame = syn(way).set(ETH, [version << 4]);
            rows.push(way.row(frame, good(version == 6)));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

#[test]
fn payload_length() {
    let mut rows = vec![];
    for way in V6 {
        let length = |frame: Frame, length: u16| frame.set(ETH + 4, length.to_be_bytes());
        for (bytes, ok) in [(0, false), (1, false), (19, false), (20, true), (21, false)] {
            rows.push(way.row(length(syn(way), bytes), good(ok)));
        }
        for bytes in [40, 60, 0x1400, 0x7fff, 0xffff] {
            rows.push(way.row(length(syn(way), bytes), Malformed));
        }
        for (bytes, ok) in [(0, false), (19, false), (20, true), (26, true), (27, false)] {
            rows.push(way.row(length(syn(way).pad(6), bytes), good(ok)));
        }
        for (bytes, ok) in [(0, true), (1, false)] {
            rows.push(way.row(length(way.ip(47, &[]).into(), bytes), good(ok)));
        }
    }
    check(&rules(&[TCP80, "protocol = 47"]), &rows);
}

/// Traffic class, flow label and hop limit decide nothing.
#[test]
fn what_does_not_matter() {
    let mut rows = vec![];
    for way in V6 {
        for value in [0, 1, 0x7f, 0xff] {
            for at in [2, 3, 7] {
                rows.push(way.row(syn(way).set(ETH + at, [value]), Opens));
            }
        }
        rows.push(way.row(syn(way).set(ETH, [0x6f, 0xff]), Opens));
    }
    check(&rules(&[TCP80]), &rows);
}

#[test]
fn addresses() {
    let to = |src: &str, dst: &str| tcp(&at(src, 9), &at(dst, 80), "S");
    let mut rows = vec![];
    for (peer, open) in [
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", false),
        ("2001:db8::", true),
        ("2001:db8::1", true),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db9::", false),
        ("fd00::5", false),
        ("::", false),
        ("::1", false),
        ("::ffff:192.0.2.1", false),
        ("fe80::1", false),
        ("ff02::1", false),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
    ] {
        let expected = if open { Opens } else { NoRule.into() };
        rows.push(row(I, to(peer, "fd00::5"), expected));
        rows.push(row(E, to("fd00::5", peer), expected));
    }
    for other in ["fd00::4", "fd00::6", "::", "::1", "ff02::1", "fd00:0:0:1::5"] {
        rows.push(row(I, to("2001:db8::1", other), Opens));
        rows.push(row(E, to(other, "2001:db8::1"), Opens).host());
        rows.push(row(E, to(other, "2001:db8::1"), SourceCheck).port());
    }
    rows.push(row(I, to("fd00::5", "2001:db8::1"), NoRule));
    rows.push(row(E, to("2001:db8::1", "fd00::5"), NoRule).host());
    check(&rules(&[TCP80]), &rows);
}
