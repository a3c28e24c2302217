//! TCP: data offset, flags, and what does not matter (RFC 9293).

use sg_common::Reason::{Malformed, NoRule, NotSyn};

use crate::{
    row::{Frame, Opens},
    table::check,
    way::{TCP80, WAYS, Way, rules},
};

fn with_data(way: Way, bytes: usize) -> Frame {
    let mut ip = way.tcp(9, 80, "S");
    ip.payload.extend(vec![1; bytes]);
    ip.into()
}

#[test]
fn data_offset() {
    let mut rows = vec![];
    for way in WAYS {
        for words in 0..16_u8 {
            // Up to 60 bytes of header, in packets of 20, 59, 60 and 1000.
            for data in [0, 39, 40, 980] {
                let length = usize::from(words) * 4;
                let frame = with_data(way, data).set(way.payload() + 12, [words << 4]);
                let good = words >= 5 && length <= 20 + data;
                rows.push(way.row(frame.clone(), if good { Opens } else { Malformed.into() }));
                // Padding is no part of the packet.
                let padded = frame.pad(60);
                rows.push(way.row(padded, if good { Opens } else { Malformed.into() }));
            }
        }
        for length in 0..20 {
            rows.push(way.row(way.tcp(9, 80, "S").slice(0, length), Malformed));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

/// Only SYN without ACK, RST and FIN opens, whatever else is set.
#[test]
fn flags() {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let mut rows = vec![];
    for way in WAYS {
        for flags in 0..=255 {
            let open = Frame::from(way.tcp(9, 80, "")).set(way.payload() + 13, [flags]);
            let opens = flags & (FIN | SYN | RST | ACK) == SYN;
            rows.push(way.row(open, if opens { Opens } else { NotSyn.into() }));
            let closed = Frame::from(way.tcp(9, 81, "")).set(way.payload() + 13, [flags]);
            rows.push(way.row(closed, NoRule));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

/// Sequence and acknowledgement numbers, reserved bits, window, checksum, urgent pointer.
#[test]
fn what_does_not_matter() {
    let mut rows = vec![];
    for way in WAYS {
        for at in [4, 7, 8, 11, 14, 15, 16, 17, 18, 19] {
            for value in [0, 0x7f, 0xff] {
                rows.push(way.row(with_data(way, 4).set(way.payload() + at, [value]), Opens));
            }
        }
        rows.push(way.row(with_data(way, 4).set(way.payload() + 12, [0x5f]), Opens));
    }
    check(&rules(&[TCP80]), &rows);
}
