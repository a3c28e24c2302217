//! Builds the packet that `sgctl explain` asks about: a minimal valid one, padded for the probe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sg_common::{
    Direction,
    flow::{ICMP, ICMPV6, TCP, UDP, tcp},
    probe::MIN_FRAME,
};

/// The packet in question.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub direction: Direction,
    /// IANA number.
    pub protocol: u8,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// TCP, UDP: the port. ICMP: the identifier.
    pub sport: u16,
    pub dport: u16,
    pub icmp_type: u8,
    pub icmp_code: u8,
    /// Ethernet source address; `None`: the interface has no Ethernet header.
    pub ethernet: Option<[u8; 6]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("source and destination are of different address families")]
    MixedFamilies,
    #[error("{0} is an IPv6 extension header, not a protocol")]
    ExtensionHeader(u8),
}

/// The frame. TCP is an opening SYN; on a flow that is tracked that is a packet of the flow.
pub fn build(packet: &Packet) -> Result<Vec<u8>, Error> {
    let mut frame = Vec::with_capacity(2 * MIN_FRAME);
    match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            ethernet(&mut frame, packet, 0x0800);
            ipv4(&mut frame, packet, src, dst);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            if matches!(packet.protocol, 0 | 43 | 44 | 51 | 60) {
                return Err(Error::ExtensionHeader(packet.protocol));
            }
            ethernet(&mut frame, packet, 0x86dd);
            ipv6(&mut frame, packet, src, dst);
        }
        _ => return Err(Error::MixedFamilies),
    }
    if frame.len() < MIN_FRAME {
        frame.resize(MIN_FRAME, 0);
    }
    Ok(frame)
}

fn ethernet(frame: &mut Vec<u8>, packet: &Packet, ethertype: u16) {
    if let Some(source) = packet.ethernet {
        frame.extend([0; 6]);
        frame.extend(source);
        frame.extend(ethertype.to_be_bytes());
    }
}

fn ipv4(frame: &mut Vec<u8>, packet: &Packet, src: Ipv4Addr, dst: Ipv4Addr) {
    let sum = sum(&src.octets()) + sum(&dst.octets());
    let payload = payload(packet, sum);
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length(20 + payload.len()));
    header[8] = 64;
    header[9] = packet.protocol;
    header[12..16].copy_from_slice(&src.octets());
    header[16..20].copy_from_slice(&dst.octets());
    let checksum = fold(self::sum(&header));
    header[10..12].copy_from_slice(&checksum);
    frame.extend(header);
    frame.extend(payload);
}

fn ipv6(frame: &mut Vec<u8>, packet: &Packet, src: Ipv6Addr, dst: Ipv6Addr) {
    let payload = payload(packet, sum(&src.octets()) + sum(&dst.octets()));
    let neighbour_discovery = packet.protocol == ICMPV6 && (133..=137).contains(&packet.icmp_type);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length(payload.len()));
    // RFC 4861, section 7.1: neighbour discovery that passed a router is not valid.
    frame.extend([packet.protocol, if neighbour_discovery { 255 } else { 64 }]);
    frame.extend(src.octets());
    frame.extend(dst.octets());
    frame.extend(payload);
}

/// `addresses` is their part of the checksum.
fn payload(packet: &Packet, addresses: u32) -> Vec<u8> {
    let ipv6 = packet.src.is_ipv6();
    let (mut bytes, checksum_at, pseudo_header) = match packet.protocol {
        TCP => (tcp_syn(packet), 16, true),
        UDP => (udp(packet), 6, true),
        ICMP if !ipv6 => (icmp(packet), 2, false),
        ICMPV6 if ipv6 => (icmpv6(packet), 2, true),
        _ => return vec![0; 8],
    };
    let mut total = sum(&bytes);
    if pseudo_header {
        total += addresses + u32::from(packet.protocol) + sum(&length(bytes.len()));
    }
    bytes[checksum_at..checksum_at + 2].copy_from_slice(&fold(total));
    bytes
}

fn tcp_syn(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[0..2].copy_from_slice(&packet.sport.to_be_bytes());
    bytes[2..4].copy_from_slice(&packet.dport.to_be_bytes());
    bytes[12] = 5 << 4;
    bytes[13] = tcp::SYN;
    bytes[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    bytes
}

fn udp(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes[0..2].copy_from_slice(&packet.sport.to_be_bytes());
    bytes[2..4].copy_from_slice(&packet.dport.to_be_bytes());
    bytes[4..6].copy_from_slice(&length(8));
    bytes
}

fn icmp(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![0; 8];
    bytes[0] = packet.icmp_type;
    bytes[1] = packet.icmp_code;
    bytes[4..6].copy_from_slice(&packet.sport.to_be_bytes());
    bytes
}

/// Neighbour discovery has a target, without which it would be malformed: in a solicitation the one
/// that is asked for, in an advertisement the sender.
fn icmpv6(packet: &Packet) -> Vec<u8> {
    let mut bytes = icmp(packet);
    let target = match packet.icmp_type {
        133..=135 | 137 => packet.dst,
        136 => packet.src,
        _ => return bytes,
    };
    bytes[4..8].fill(0);
    if let IpAddr::V6(target) = target {
        bytes.extend(target.octets());
    }
    bytes
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// Sum of 16-bit words (RFC 1071); all lengths here are even.
fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum()
}

fn fold(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(protocol: u8, src: &str, dst: &str) -> Packet {
        Packet {
            direction: Direction::Ingress,
            protocol,
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
            sport: 0x1234,
            dport: 443,
            icmp_type: 8,
            icmp_code: 0,
            ethernet: Some([2, 0, 0, 0, 0, 5]),
        }
    }

    /// A checksum over data that holds its own checksum folds to zero.
    fn checks(bytes: &[u8], pseudo_header: u32) -> bool {
        fold(sum(bytes) + pseudo_header) == [0, 0]
    }

    #[test]
    fn tcp_over_ipv4_is_a_valid_syn() {
        let frame = build(&packet(TCP, "192.0.2.1", "198.51.100.2")).unwrap();
        assert_eq!(frame.len(), MIN_FRAME);
        assert_eq!(frame[6..14], [2, 0, 0, 0, 0, 5, 0x08, 0x00]);
        let ip = &frame[14..];
        assert_eq!((ip[0], ip[9], u16::from_be_bytes([ip[2], ip[3]])), (0x45, TCP, 40));
        assert!(checks(&ip[..20], 0));
        let tcp = &ip[20..40];
        assert_eq!(tcp[0..4], [0x12, 0x34, 443u16.to_be_bytes()[0], 443u16.to_be_bytes()[1]]);
        assert_eq!((tcp[12], tcp[13]), (0x50, tcp::SYN));
        assert!(checks(tcp, sum(&ip[12..20]) + 6 + 20));
    }

    #[test]
    fn udp_over_ipv6_without_ethernet_starts_with_the_ip_header() {
        let packet = Packet { ethernet: None, ..packet(UDP, "2001:db8::1", "2001:db8::2") };
        let frame = build(&packet).unwrap();
        assert_eq!(frame.len(), MIN_FRAME);
        assert_eq!(frame[0] >> 4, 6);
        assert_eq!((frame[5], frame[6], frame[7]), (8, UDP, 64));
        assert!(checks(&frame[40..48], sum(&frame[8..40]) + 17 + 8));
    }

    #[test]
    fn echo_requests_carry_the_identifier() {
        let v4 = build(&packet(ICMP, "192.0.2.1", "192.0.2.2")).unwrap();
        assert_eq!(v4[34..40], [8, 0, v4[36], v4[37], 0x12, 0x34]);
        assert!(checks(&v4[34..42], 0));
        let asked = Packet { icmp_type: 128, ..packet(ICMPV6, "fd00::1", "fd00::2") };
        let v6 = build(&asked).unwrap();
        assert_eq!((v6[54], v6[58], v6[59]), (128, 0x12, 0x34));
        assert!(checks(&v6[54..62], sum(&v6[22..54]) + 58 + 8));
    }

    #[test]
    fn neighbour_discovery_is_whole() {
        let asked = Packet { icmp_type: 136, ..packet(ICMPV6, "fd00::1", "fd00::2") };
        let frame = build(&asked).unwrap();
        assert_eq!((frame[14 + 5], frame[14 + 7]), (24, 255));
        assert_eq!(frame[62..78], "fd00::1".parse::<Ipv6Addr>().unwrap().octets());
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let mixed = build(&packet(TCP, "192.0.2.1", "fd00::2"));
        assert_eq!(mixed, Err(Error::MixedFamilies));
        let header = build(&packet(44, "fd00::1", "fd00::2"));
        assert_eq!(header, Err(Error::ExtensionHeader(44)));
        assert!(build(&packet(44, "192.0.2.1", "192.0.2.2")).is_ok());
    }
}
