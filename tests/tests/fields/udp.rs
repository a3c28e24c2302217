//! UDP: length and checksum (RFC 768).

use sg_common::Reason::{Malformed, NoRule};

use crate::{
    row::{Frame, Opens},
    table::check,
    way::{UDP53, WAYS, Way, rules},
};

fn datagram(way: Way, data: usize) -> Frame {
    let mut payload = vec![0, 9, 0, 53];
    payload.extend(u16::try_from(8 + data).expect("short").to_be_bytes());
    payload.extend(vec![0; 2 + data]);
    let ip = way.ip(17, &payload);
    sg_policy::reference::frames::Ip { flow: (17, 9, 53), ..ip }.into()
}

#[test]
fn length() {
    let mut rows = vec![];
    for way in WAYS {
        for data in [0, 1, 7, 500] {
            let exact = u16::try_from(8 + data).expect("short");
            for length in [0, 1, 7, 8, exact - 1, exact, exact + 1, 0x0800, 0x7fff, 0xffff] {
                let frame = datagram(way, data).set(way.payload() + 4, length.to_be_bytes());
                let good = (8..=exact).contains(&length);
                rows.push(way.row(frame.clone(), if good { Opens } else { Malformed.into() }));
                // Padding is no part of the packet.
                let padded = frame.pad(64);
                rows.push(way.row(padded, if good { Opens } else { Malformed.into() }));
            }
        }
        for length in 0..8 {
            rows.push(way.row(way.udp(9, 53).slice(0, length), Malformed));
        }
        rows.push(way.row(way.udp(9, 54), NoRule));
    }
    check(&rules(&[UDP53]), &rows);
}

#[test]
fn checksum() {
    let mut rows = vec![];
    for way in WAYS {
        for sum in [0, 1, 0xff00, 0xffff_u16] {
            let frame = datagram(way, 4).set(way.payload() + 6, sum.to_be_bytes());
            rows.push(way.row(frame, Opens));
        }
    }
    check(&rules(&[UDP53]), &rows);
}
