//! IPv6 extension headers: kinds, lengths, number (RFC 8200, 4302).

use sg_common::Reason::{Malformed, NoRule, TooManyHeaders};
use sg_policy::reference::frames::Ip;

use crate::{
    row::{Frame, Opens, Outcome},
    table::check,
    way::{TCP80, UDP53, V6, Way, rules},
};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const KINDS: [u8; 5] = [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION];

fn syn(way: Way) -> Ip {
    way.tcp(9, 80, "S")
}

/// Eight bytes, which every kind can have; a fragment header makes an atomic fragment.
fn shortest(ip: Ip, kind: u8) -> Ip {
    ip.extension(kind, vec![0; 8])
}

fn with_length(way: Way, kind: u8, field: u8, bytes: usize) -> Frame {
    let mut header = vec![0; bytes];
    header[1] = field;
    syn(way).extension(kind, header).into()
}

#[test]
fn number_of_headers() {
    let mut rows = vec![];
    for way in V6 {
        for kind in KINDS {
            for count in 0..=12 {
                let chain = |ip: Ip| (0..count).fold(ip, |ip, _| shortest(ip, kind));
                let fits = |outcome: Outcome| {
                    if count <= 8 { outcome } else { TooManyHeaders.into() }
                };
                rows.push(way.row(chain(syn(way)), fits(Opens)));
                rows.push(way.row(chain(way.tcp(9, 81, "S")), fits(NoRule.into())));
                rows.push(way.row(chain(way.udp(9, 53)), fits(Opens)));
                // No next header (59) is a protocol.
                rows.push(way.row(chain(way.ip(59, &[])), fits(Opens)));
            }
        }
        // All kinds, twice in every order that a rotation makes.
        for first in 0..KINDS.len() {
            let chain = |count: usize| {
                (0..count).fold(syn(way), |ip, at| shortest(ip, KINDS[(first + at) % KINDS.len()]))
            };
            rows.push(way.row(chain(5), Opens));
            rows.push(way.row(chain(8), Opens));
            rows.push(way.row(chain(9), TooManyHeaders));
        }
    }
    check(&rules(&[TCP80, UDP53, "protocol = 59"]), &rows);
}

#[test]
fn length() {
    let mut rows = vec![];
    for way in V6 {
        for kind in [HOP_BY_HOP, ROUTING, DESTINATION] {
            for field in [0, 1, 2, 30, 127, 128, 255] {
                let bytes = (usize::from(field) + 1) * 8;
                rows.push(way.row(with_length(way, kind, field, bytes), Opens));
            }
            // As far as the end of the packet, with no TCP left; and beyond.
            rows.push(way.row(with_length(way, kind, 1, 8), Malformed));
            rows.push(way.row(with_length(way, kind, 2, 8), Malformed));
            rows.push(way.row(with_length(way, kind, 3, 8), Malformed));
            rows.push(way.row(with_length(way, kind, 255, 8), Malformed));
        }
        // In units of four bytes, less two.
        for field in [0, 1, 2, 4, 255] {
            let bytes = (usize::from(field) + 2) * 4;
            rows.push(way.row(with_length(way, AUTHENTICATION, field, bytes), Opens));
        }
        for field in [1, 2, 5, 6, 255] {
            rows.push(way.row(with_length(way, AUTHENTICATION, field, 8), Malformed));
        }
        // A fragment header has no length.
        for field in [1, 255] {
            rows.push(way.row(with_length(way, FRAGMENT, field, 8), Opens));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

/// A header that ends after the packet is malformed, even if the frame goes on.
#[test]
fn cut_short() {
    let mut rows = vec![];
    for way in V6 {
        for kind in KINDS {
            for left in 0..8 {
                let cut = Frame::from(way.ip(kind, &vec![0; left]));
                rows.push(way.row(cut.clone(), Malformed));
                rows.push(way.row(cut.pad(64), Malformed));
                let second = shortest(way.ip(kind, &vec![0; left]), DESTINATION);
                rows.push(way.row(second, Malformed));
            }
        }
    }
    check(&rules(&[TCP80]), &rows);
}

/// Headers that the walk passes over, and headers that end it.
#[test]
fn kinds() {
    let mut rows = vec![];
    for way in V6 {
        for kind in [41, 50, 59, 135, 139, 140, 253, 254] {
            let open = kind == 50 || kind == 59;
            let expected = |open| if open { Opens } else { NoRule.into() };
            rows.push(way.row(way.ip(kind, &[0; 8]), expected(open)));
            rows.push(way.row(shortest(way.ip(kind, &[0; 8]), DESTINATION), expected(open)));
            // The walk does not see headers behind this one.
            let hidden = shortest(syn(way), kind);
            rows.push(way.row(Ip { flow: (kind, 0, 0), ..hidden }, expected(open)));
        }
    }
    check(&rules(&[TCP80, "protocol = 50", "protocol = 59"]), &rows);
}
