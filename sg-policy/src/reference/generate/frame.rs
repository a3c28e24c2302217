//! Random frames, plausible or hostile.

use std::net::IpAddr;

use rand::{Rng, RngExt as _};
use sg_common::Direction;

use super::{one_in, pick, shape::Shape, state::edges};
use crate::model::{DesiredState, LiveInterface};

/// BPF_PROG_TEST_RUN takes none that is shorter.
const MIN_FRAME: usize = 14;

const SPECIAL: [&str; 18] = [
    "169.254.169.254",
    "169.254.169.253",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.169.252",
    "224.0.0.22",
    "255.255.255.255",
    "0.0.0.0",
    "127.0.0.1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd00:ec2::255",
    "ff02::1",
    "ff02::16",
    "fe80::1",
    "fe80::ff:fe00:0",
    "fe80::ff:fe00:1",
    "::",
];

/// A frame of at least 14 bytes that is likely to be interesting on `live` under `state`. For an
/// interface without Ethernet header it starts with the IP header.
pub fn random_frame(
    rng: &mut dyn Rng,
    state: &DesiredState,
    live: &LiveInterface,
) -> (Direction, Vec<u8>) {
    let direction = pick(rng, &Direction::BOTH);
    let frame = if live.ethernet && one_in(rng, 16) {
        not_ip(rng, state, live)
    } else {
        let shape = random_shape(rng, state, live, direction);
        dress(rng, state, live, &shape)
    };
    (direction, frame)
}

/// A packet between the instance and a peer, as the rules of `state` may know them, or an error
/// about one.
pub(super) fn random_shape(
    rng: &mut dyn Rng,
    state: &DesiredState,
    live: &LiveInterface,
    direction: Direction,
) -> Shape {
    let remote = remote(rng, state, live);
    let local = local(rng, state, live, remote.is_ipv4());
    let (src, dst) = match direction {
        Direction::Ingress => (remote, local),
        Direction::Egress => (local, remote),
    };
    if one_in(rng, 16) {
        return Shape::random(rng, dst, src).error(rng);
    }
    Shape::random(rng, src, dst)
}

fn remote(rng: &mut dyn Rng, state: &DesiredState, live: &LiveInterface) -> IpAddr {
    let candidates: Vec<IpAddr> = match rng.random_range(0..8) {
        0..=3 => edges(state),
        4..=5 => {
            let entries = state.interfaces.iter().flat_map(|entry| &entry.addresses);
            entries.chain(&live.addresses).copied().collect()
        }
        6 => SPECIAL.iter().map(|address| address.parse().expect("an address")).collect(),
        _ => vec![],
    };
    if candidates.is_empty() {
        return if rng.random() {
            IpAddr::V4(rng.random::<u32>().into())
        } else {
            IpAddr::V6(rng.random::<u128>().into())
        };
    }
    pick(rng, &candidates)
}

fn local(rng: &mut dyn Rng, state: &DesiredState, live: &LiveInterface, v4: bool) -> IpAddr {
    let entry = &state.interfaces[live.entry];
    let own = entry.addresses.iter().chain(&live.addresses).copied();
    let own: Vec<IpAddr> = own.filter(|address| address.is_ipv4() == v4).collect();
    let special = SPECIAL.iter().map(|address| address.parse().expect("an address"));
    let special: Vec<IpAddr> = special.filter(|address: &IpAddr| address.is_ipv4() == v4).collect();
    if own.is_empty() || one_in(rng, 6) { pick(rng, &special) } else { pick(rng, &own) }
}

/// The packet as a frame of the interface, now and then tagged, cut, or with a byte changed.
pub(super) fn dress(
    rng: &mut dyn Rng,
    state: &DesiredState,
    live: &LiveInterface,
    shape: &Shape,
) -> Vec<u8> {
    let packet = ip_packet(rng, shape);
    let headers = if shape.src.is_ipv4() { 20 } else { 40 };
    let mut frame = if live.ethernet {
        let ether_type = if shape.src.is_ipv4() { 0x0800 } else { 0x86dd };
        ethernet(rng, state, live, ether_type, &packet)
    } else {
        packet
    };
    match rng.random_range(0..20) {
        0 => frame.truncate(rng.random_range(0..=frame.len())),
        1..=2 => {
            // In the headers, where it hurts.
            let end = frame.len().min(14 + headers + 20);
            let at = rng.random_range(0..end);
            frame[at] = pick(rng, &[0, 1, 0x0f, 0x44, 0x45, 0x60, 0x7f, 0xff]);
        }
        3..=4 => frame.extend(vec![0; rng.random_range(1..40)]),
        _ => {}
    }
    frame.resize(frame.len().max(MIN_FRAME), 0);
    frame
}

fn ethernet(
    rng: &mut dyn Rng,
    state: &DesiredState,
    live: &LiveInterface,
    ether_type: u16,
    payload: &[u8],
) -> Vec<u8> {
    let own = state.interfaces[live.entry].mac.unwrap_or([2, 0, 0, 0, 0, 9]);
    let source = if one_in(rng, 8) { [2, 9, 9, 9, 9, 9] } else { own };
    let mut frame = [[0x02, 0, 0, 0, 0, 1], source].concat();
    let tags = if one_in(rng, 6) { rng.random_range(1..=3) } else { 0 };
    for _ in 0..tags {
        // Now and then one that is none of ours.
        let tpid = if one_in(rng, 16) { 0x9100 } else { pick(rng, &[0x8100_u16, 0x88a8]) };
        frame.extend(tpid.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

fn not_ip(rng: &mut dyn Rng, state: &DesiredState, live: &LiveInterface) -> Vec<u8> {
    let entry = &state.interfaces[live.entry];
    let ether_type = pick(rng, &[0x0806, 0x0806, 0x88cc, 0x8809, 38, 0x0800, 0x86dd]);
    let mut payload = vec![0, 1, 8, 0, 6, 4, 0, 1];
    payload.extend(entry.mac.unwrap_or([2, 0, 0, 0, 0, 9]));
    let sender = match local(rng, state, live, true) {
        IpAddr::V4(sender) => sender,
        IpAddr::V6(_) => unreachable!("an IPv4 address was asked for"),
    };
    payload.extend(sender.octets());
    payload.extend([0; 10]);
    if one_in(rng, 4) {
        payload.truncate(rng.random_range(0..=payload.len()));
    }
    ethernet(rng, state, live, ether_type, &payload)
}

/// IP headers around a payload: options, extension headers, fragments, wrong lengths.
pub(super) fn ip_packet(rng: &mut dyn Rng, shape: &Shape) -> Vec<u8> {
    match (shape.src, shape.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let options = if one_in(rng, 6) { rng.random_range(1..=10) } else { 0 };
            let (fragment, payload) = fragment(rng, &shape.payload);
            let header = 20 + options * 4;
            let total = length(rng, header + payload.len());
            let mut packet = vec![0x40 | u8::try_from(header / 4).expect("15 at most"), 0];
            packet.extend(total.to_be_bytes());
            packet.extend([0, rng.random_range(0..3)]);
            let more = u16::from(fragment.more) << 13;
            packet.extend((fragment.offset | more | ignored_bits(rng)).to_be_bytes());
            packet.extend([shape.hop_limit, shape.protocol, 0, 0]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            packet.extend(vec![1; options * 4]);
            packet.extend(payload);
            packet
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (next, payload) = extensions(rng, shape);
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend(length(rng, payload.len()).to_be_bytes());
            packet.extend([next, shape.hop_limit]);
            packet.extend(src.octets());
            packet.extend(dst.octets());
            packet.extend(payload);
            packet
        }
        _ => unreachable!("both addresses are of one family"),
    }
}

/// "Don't fragment" and the reserved bit of IPv4, which change nothing.
fn ignored_bits(rng: &mut dyn Rng) -> u16 {
    pick(rng, &[0, 0, 0x4000, 0x4000, 0x8000, 0xc000])
}

/// A length field, nearly always right.
fn length(rng: &mut dyn Rng, right: usize) -> u16 {
    let right = u16::try_from(right).expect("frames are short");
    match rng.random_range(0..60) {
        0 => right.wrapping_add(1),
        1 => right.saturating_sub(rng.random_range(1..=20)),
        2 => pick(rng, &[0, 19, 20, u16::MAX]),
        _ => right,
    }
}

#[derive(Clone, Copy)]
struct Fragment {
    /// In units of 8 bytes.
    offset: u16,
    more: bool,
}

/// Which fragment to send of a payload; nearly always it is whole.
fn fragment(rng: &mut dyn Rng, payload: &[u8]) -> (Fragment, Vec<u8>) {
    let whole = Fragment { offset: 0, more: false };
    if !one_in(rng, 6) {
        return (whole, payload.to_vec());
    }
    if rng.random() {
        let length = rng.random_range(0..=payload.len());
        let kept = if one_in(rng, 3) { &payload[..length] } else { payload };
        return (Fragment { more: true, ..whole }, kept.to_vec());
    }
    let offset = pick(rng, &[1, 2, 3, 185, 8191]);
    (Fragment { offset, more: rng.random() }, payload.to_vec())
}

/// 0 to 10 extension headers before the payload: the first one's number, and all bytes.
fn extensions(rng: &mut dyn Rng, shape: &Shape) -> (u8, Vec<u8>) {
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    let count = if one_in(rng, 3) { rng.random_range(1..=10) } else { 0 };
    let (mut next, mut bytes) = (shape.protocol, shape.payload.clone());
    let with_fragment = one_in(rng, 5);
    for i in 0..count + usize::from(with_fragment) {
        let kind = if with_fragment && (i == 0 || one_in(rng, 12)) {
            FRAGMENT
        } else {
            pick(rng, &[0, 43, 60, AUTHENTICATION])
        };
        let mut header = vec![next, 0, 0, 0, 0, 0, 0, 0];
        match kind {
            FRAGMENT => {
                let (fragment, kept) = fragment_or_atomic(rng, &bytes);
                // The two bits between are reserved (RFC 8200).
                let reserved = pick(rng, &[0, 0, 0b010, 0b110]);
                let field = fragment.offset << 3 | reserved | u16::from(fragment.more);
                header[2..4].copy_from_slice(&field.to_be_bytes());
                header[7] = rng.random_range(0..3);
                bytes = kept;
            }
            AUTHENTICATION if rng.random() => {
                header[1] = 4;
                header.extend([0; 16]);
            }
            AUTHENTICATION => {}
            _ if one_in(rng, 4) => {
                header[1] = 1;
                header.extend([0; 8]);
            }
            // Beyond the packet.
            _ if one_in(rng, 24) => header[1] = 255,
            _ => {}
        }
        header.extend(bytes);
        bytes = header;
        next = kind;
    }
    (next, bytes)
}

fn fragment_or_atomic(rng: &mut dyn Rng, bytes: &[u8]) -> (Fragment, Vec<u8>) {
    if one_in(rng, 4) {
        return (Fragment { offset: 0, more: false }, bytes.to_vec());
    }
    let offset = pick(rng, &[0, 0, 1, 2, 185, 8191]);
    let more = offset == 0 || rng.random();
    let kept = if one_in(rng, 4) { rng.random_range(0..=bytes.len()) } else { bytes.len() };
    (Fragment { offset, more }, bytes[..kept].to_vec())
}
