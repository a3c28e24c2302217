//! Packets before they become frames, so that replies and errors can be made of them.

use std::net::IpAddr;

use rand::{Rng, RngExt as _};

use super::{one_in, pick, state::PORTS};

/// An IP packet: addresses, and a payload with its protocol.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    pub(super) payload: Vec<u8>,
}

const QUERIES_V4: [(u8, u8); 5] = [(8, 0), (13, 14), (15, 16), (17, 18), (42, 43)];
const QUERIES_V6: [(u8, u8); 3] = [(128, 129), (139, 140), (160, 161)];

impl Shape {
    /// Some plausible packet between these addresses.
    pub(super) fn random(rng: &mut dyn Rng, src: IpAddr, dst: IpAddr) -> Self {
        let v4 = src.is_ipv4();
        let hop_limit = pick(rng, &[64, 255, 1]);
        let icmp_number = if v4 { 1 } else { 58 };
        let (protocol, payload) = match rng.random_range(0..16) {
            0..=4 => {
                let (from, to) = (port(rng), port(rng));
                (6, tcp(rng, from, to))
            }
            5..=8 => {
                let (from, to) = (port(rng), port(rng));
                (17, udp(rng, from, to))
            }
            9 => {
                let pairs: &[(u16, u16)] =
                    &[(67, 68), (68, 67), (546, 547), (547, 546), (1067, 68), (1547, 546)];
                let (from, to) = pick(rng, pairs);
                (17, udp(rng, from, to))
            }
            10..=11 => (icmp_number, query(rng, v4)),
            // ND, MLD and all other types; also in the wrong family.
            12 => {
                let kind = rng.random_range(129..=144);
                let mut message = icmp(rng, kind);
                let target = if rng.random() { src } else { dst };
                if let IpAddr::V6(target) = target {
                    message.extend(target.octets());
                }
                (icmp_number, message)
            }
            13 => {
                let kind = rng.random();
                (icmp_number, icmp(rng, kind))
            }
            14 => (pick(rng, &[1, 58]), query(rng, !v4)),
            _ => {
                let length = rng.random_range(0..40);
                let rules = super::state::PROTOCOLS;
                let protocol = if one_in(rng, 3) { rng.random() } else { pick(rng, &rules) };
                (protocol, (0..length).map(|_| rng.random()).collect())
            }
        };
        Self { src, dst, protocol, hop_limit, payload }
    }

    /// A packet that the receiver may answer with.
    pub(super) fn reply(&self, rng: &mut dyn Rng) -> Self {
        let mut reply = self.back();
        match (self.protocol, self.payload.len()) {
            (6, 20..) => {
                let (from, to) = self.ports();
                reply.payload = tcp(rng, to, from);
                if self.payload[13] == SYN && !one_in(rng, 4) {
                    reply.payload[13] = SYN | ACK;
                }
            }
            (17, 8..) => {
                let (from, to) = self.ports();
                reply.payload = udp(rng, to, from);
            }
            (1 | 58, 8..) => {
                let queries: &[(u8, u8)] =
                    if self.src.is_ipv4() { &QUERIES_V4 } else { &QUERIES_V6 };
                let kind = &mut reply.payload[0];
                if let Some((_, answer)) = queries.iter().find(|(request, _)| request == kind) {
                    *kind = *answer;
                }
            }
            _ => {}
        }
        reply
    }

    /// The sender's next packet.
    pub(super) fn next(&self, rng: &mut dyn Rng) -> Self {
        let mut next = self.clone();
        if self.protocol == 6 && self.payload.len() >= 20 {
            next.payload[13] = if one_in(rng, 3) { ACK } else { flags(rng) };
        }
        next
    }

    /// An ICMP error about it, from its receiver or from a router.
    pub(super) fn error(&self, rng: &mut dyn Rng) -> Self {
        let mut error = self.back();
        let kind = if self.src.is_ipv4() {
            error.protocol = 1;
            pick(rng, &[3, 11, 12, 5])
        } else {
            error.protocol = 58;
            pick(rng, &[1, 2, 3, 4, 127])
        };
        if one_in(rng, 8) {
            error.dst = self.dst;
        }
        let mut quoted = super::frame::ip_packet(rng, self);
        if one_in(rng, 3) {
            quoted.truncate(rng.random_range(0..=quoted.len()));
        }
        error.payload = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        error.payload.extend(quoted);
        error
    }

    fn back(&self) -> Self {
        Self { src: self.dst, dst: self.src, ..self.clone() }
    }

    fn ports(&self) -> (u16, u16) {
        let at = |i: usize| u16::from_be_bytes([self.payload[i], self.payload[i + 1]]);
        (at(0), at(2))
    }
}

/// At an edge of a rule's range, or beside it.
fn port(rng: &mut dyn Rng) -> u16 {
    let port = pick(rng, &PORTS);
    match rng.random_range(0..6) {
        0 => port.wrapping_add(1),
        1 => port.wrapping_sub(1),
        2 => rng.random(),
        _ => port,
    }
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

fn flags(rng: &mut dyn Rng) -> u8 {
    match rng.random_range(0..12) {
        0..=4 => SYN,
        5 => SYN | ACK,
        6..=8 => ACK,
        9 => FIN | ACK,
        10 => RST,
        _ => rng.random(),
    }
}

fn tcp(rng: &mut dyn Rng, from: u16, to: u16) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    // Mostly numbers that belong to one handshake; else at the edges of what ends it, or anything.
    let sequence: u32 = pick(rng, &[1000, 1000, 1000, 90_000, u32::MAX]);
    let acknowledges: u32 =
        pick(rng, &[1001, 1001, 1001, 1001, 1000, 66_535, 66_536, 90_001, 0, 65_534]);
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledges.to_be_bytes());
    segment.extend([5 << 4, flags(rng), 0, 0, 0, 0, 0, 0]);
    if one_in(rng, 4) {
        segment[12] = 8 << 4;
        segment.extend([1; 12]);
    }
    segment.extend(vec![0; rng.random_range(0..16)]);
    segment
}

fn udp(rng: &mut dyn Rng, from: u16, to: u16) -> Vec<u8> {
    let data = rng.random_range(0..16);
    let length: u16 = 8 + data;
    let mut datagram = [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes()].concat();
    datagram.extend(vec![0; 2 + usize::from(data)]);
    datagram
}

fn icmp(rng: &mut dyn Rng, kind: u8) -> Vec<u8> {
    let code = if one_in(rng, 3) { pick(rng, &[0, 1, 2, 3, 15, 16, 255]) } else { 0 };
    // Few identifiers, so that they meet.
    vec![kind, code, 0, 0, 0, rng.random_range(0..3), 0, 0]
}

fn query(rng: &mut dyn Rng, v4: bool) -> Vec<u8> {
    let (request, reply) = if v4 { pick(rng, &QUERIES_V4) } else { pick(rng, &QUERIES_V6) };
    let kind = if one_in(rng, 3) { reply } else { request };
    icmp(rng, kind)
}
