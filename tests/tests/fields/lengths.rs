//! Frames cut short, padded, of jumbo size, and of many segments.

use sg_common::Reason::{Malformed, NoRule};
use sg_policy::reference::frames::Ip;

use crate::{
    row::{Frame, Opens, Outcome},
    table::check,
    way::{ETH, TCP80, UDP53, WAYS, Way, rules},
};

const ALL: [&str; 4] =
    [TCP80, UDP53, r#"protocol = "icmp", type = 8"#, r#"protocol = "icmpv6", type = 128"#];

fn packets(way: Way) -> [Ip; 4] {
    let echo = way.icmp(if way.is_v4() { 8 } else { 128 }, 0);
    [way.tcp(9, 80, "S"), way.udp(9, 53), echo, way.tcp(9, 80, "SP")]
}

#[test]
fn cut_at_every_byte() {
    let mut rows = vec![];
    for way in WAYS {
        for ip in packets(way) {
            for ip in [ip.clone(), with_more_headers(way, ip)] {
                let whole = Frame::from(ip);
                rows.push(way.row(whole.clone(), Opens));
                for length in 14..whole.len() {
                    rows.push(way.row(whole.clone().cut(length), Malformed));
                }
            }
        }
    }
    check(&rules(&ALL), &rows);
}

fn with_more_headers(way: Way, ip: Ip) -> Ip {
    if way.is_v4() {
        return ip.options(&[1; 12]);
    }
    ip.extension(51, vec![0; 8])
        .fragment6(7, 0, false)
        .extension(0, vec![0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

#[test]
fn padding() {
    let mut rows = vec![];
    for way in WAYS {
        for ip in packets(way) {
            for bytes in [1, 2, 3, 6, 18, 46, 1000, 3000] {
                rows.push(way.row(Frame::from(ip.clone()).pad(bytes), Opens));
            }
        }
        // No padding makes up for what a packet lacks.
        rows.push(way.row(Frame::from(way.tcp(9, 80, "S").slice(0, 19)).pad(100), Malformed));
    }
    check(&rules(&ALL), &rows);
}

/// As long as the frame with its Ethernet header.
fn long(way: Way, port: u16, length: usize) -> Frame {
    let mut ip = way.tcp(9, port, "S");
    ip.payload.resize(length - way.payload(), 0x55);
    ip.into()
}

/// Also such as take several buffers.
#[test]
fn sizes() {
    let mut rows = vec![];
    for way in WAYS {
        for length in [590, 1500, 1514, 2048, 3500, 4096, 5000, 8192, 9001, 9015] {
            rows.push(way.row(long(way, 80, length), Opens));
            rows.push(way.row(long(way, 81, length), NoRule));
            // One byte more than there is.
            let field = if way.is_v4() { ETH + 2 } else { ETH + 4 };
            let from = if way.is_v4() { ETH } else { ETH + 40 };
            let more = u16::try_from(length - from + 1).expect("a jumbo frame");
            rows.push(way.row(long(way, 80, length).set(field, more.to_be_bytes()), Malformed));
        }
        // Headers that fill more than the first buffer.
        let mut ip = way.tcp(9, 80, "S");
        if !way.is_v4() {
            for _ in 0..4 {
                ip = ip.extension(60, [&[0, 255][..], &[0; 2046]].concat());
            }
            rows.push(way.row(ip.clone(), Opens));
            rows.push(way.row(ip.slice(0, 8191), Malformed));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

/// A packet of many segments may have the length 0, whose end is then the frame's (BIG TCP). Any other
/// wrong length is malformed, and without segments so is 0.
#[test]
fn gso() {
    let mut rows = vec![];
    for way in WAYS {
        let field = if way.is_v4() { ETH + 2 } else { ETH + 4 };
        let with = |frame: Frame, length: u16| frame.set(field, length.to_be_bytes());
        for size in [60, 1514, 3400] {
            let frame = || long(way, 80, size.max(way.payload() + 20));
            rows.push(way.row(frame(), Opens).gso());
            rows.push(way.row(with(frame(), 0), Opens).gso());
            rows.push(way.row(with(frame(), 0), Malformed));
            for wrong in [1, 19, 0xffff] {
                rows.push(way.row(with(frame(), wrong), Malformed).gso());
            }
            let closed: Outcome = NoRule.into();
            rows.push(way.row(with(long(way, 81, size.max(way.payload() + 20)), 0), closed).gso());
        }
        // Too short for the header behind it.
        let short = Frame::from(way.tcp(9, 80, "S").slice(0, 19));
        rows.push(way.row(with(short, 0), Malformed).gso());
    }
    check(&rules(&[TCP80]), &rows);
}
