//! Frames byte by byte, for what no kernel would send.

use std::net::{IpAddr, Ipv6Addr};

use sg_common::flow::tcp;

pub type Mac = [u8; 6];

pub const BROADCAST: Mac = [0xff; 6];

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

/// Source and destination of packets.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub source: IpAddr,
    pub destination: IpAddr,
}

/// Sequence number of crafted segments with SYN.
pub const ISN: u32 = 1000;

/// The numbers of a TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub sequence: u32,
    pub acknowledges: u32,
}

impl Numbers {
    /// The numbers of a segment in a handshake, or after it.
    pub fn of(flags: u8) -> Self {
        Self {
            sequence: if flags & tcp::SYN != 0 { ISN } else { ISN + 1 },
            acknowledges: if flags & tcp::ACK != 0 { ISN + 1 } else { 0 },
        }
    }
}

impl Path {
    /// A whole packet. Hop limit 255, as neighbour discovery wants it.
    pub fn packet(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        self.headed(protocol, 0, 0, payload)
    }

    /// A fragment; `offset` is in bytes.
    pub fn fragment(
        &self,
        protocol: u8,
        identification: u16,
        offset: u16,
        more: bool,
        payload: &[u8],
    ) -> Vec<u8> {
        assert_eq!(offset % 8, 0, "offsets are in units of 8 bytes");
        if self.source.is_ipv4() {
            let field = (offset / 8) | (u16::from(more) << 13);
            return self.headed(protocol, identification, field, payload);
        }
        let mut header = vec![protocol, 0];
        header.extend((offset | u16::from(more)).to_be_bytes());
        header.extend(u32::from(identification).to_be_bytes());
        header.extend(payload);
        self.packet(FRAGMENT, &header)
    }

    fn headed(&self, protocol: u8, identification: u16, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let length = |header: usize| u16::try_from(header + payload.len()).expect("it fits");
        let mut packet = Vec::new();
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                packet.extend([0x45, 0]);
                packet.extend(length(20).to_be_bytes());
                packet.extend(identification.to_be_bytes());
                packet.extend(fragment.to_be_bytes());
                packet.extend([255, protocol, 0, 0]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                let sum = checksum(&packet);
                packet[10..12].copy_from_slice(&sum);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                packet.extend([0x60, 0, 0, 0]);
                packet.extend(length(0).to_be_bytes());
                packet.extend([protocol, 255]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
            }
            _ => panic!("two families: {self:?}"),
        }
        packet.extend(payload);
        packet
    }

    /// A UDP datagram to be put into packets.
    pub fn udp(&self, source: u16, destination: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(8 + data.len()).expect("it fits");
        let mut datagram = Vec::new();
        for field in [source, destination, length, 0] {
            datagram.extend(field.to_be_bytes());
        }
        datagram.extend(data);
        self.summed(UDP, datagram, 6)
    }

    /// A TCP SYN, without options.
    pub fn syn(&self, source: u16, destination: u16) -> Vec<u8> {
        self.tcp(source, destination, tcp::SYN)
    }

    /// A TCP segment without options and data, with numbers that belong to a handshake.
    pub fn tcp(&self, source: u16, destination: u16, flags: u8) -> Vec<u8> {
        self.segment((source, destination), flags, Numbers::of(flags), b"")
    }

    /// A TCP segment without options.
    pub fn segment(
        &self,
        (source, destination): (u16, u16),
        flags: u8,
        numbers: Numbers,
        data: &[u8],
    ) -> Vec<u8> {
        let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        segment.extend(numbers.sequence.to_be_bytes());
        segment.extend(numbers.acknowledges.to_be_bytes());
        let offset_and_flags = 0x5000 | u16::from(flags);
        for field in [offset_and_flags, 1024, 0, 0] {
            segment.extend(field.to_be_bytes());
        }
        segment.extend(data);
        self.summed(TCP, segment, 16)
    }

    /// A message of the family's ICMP; `rest` is what follows the checksum.
    pub fn icmp(&self, kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, 0];
        message.extend(rest);
        self.summed(self.icmp_protocol(), message, 2)
    }

    /// The protocol number of the family's ICMP.
    pub fn icmp_protocol(&self) -> u8 {
        if self.source.is_ipv4() { ICMP } else { ICMPV6 }
    }

    /// Fills in the checksum at `at`, over the pseudo header too except for ICMP (RFC 792).
    fn summed(&self, protocol: u8, mut message: Vec<u8>, at: usize) -> Vec<u8> {
        let mut covered = Vec::new();
        if protocol != ICMP {
            for address in [self.source, self.destination] {
                match address {
                    IpAddr::V4(address) => covered.extend(address.octets()),
                    IpAddr::V6(address) => covered.extend(address.octets()),
                }
            }
            covered.extend((message.len() as u32).to_be_bytes());
            covered.extend([0, 0, 0, protocol]);
        }
        covered.extend(&message);
        message[at..at + 2].copy_from_slice(&checksum(&covered));
        message
    }
}

/// IPv6 extension headers of these kinds, 8 bytes each, before `payload`: the kind of the first
/// and all bytes. A fragment header makes an atomic fragment.
pub fn extended(kinds: &[u8], protocol: u8, payload: &[u8]) -> (u8, Vec<u8>) {
    let mut next = protocol;
    let mut bytes = payload.to_vec();
    for &kind in kinds.iter().rev() {
        let header = match kind {
            // RFC 4302 counts in units of 4 bytes, less 2; one of 8 bytes has no digest.
            AUTHENTICATION | FRAGMENT => [next, 0, 0, 0, 0, 0, 0, 0],
            // A PadN option of 4 bytes; to routing, type 1 with no segments left.
            _ => [next, 0, 1, if kind == 43 { 0 } else { 4 }, 0, 0, 0, 0],
        };
        bytes.splice(0..0, header);
        next = kind;
    }
    (next, bytes)
}

/// An Ethernet frame around a packet, of the type that the packet's version asks for.
pub fn frame(source: Mac, destination: Mac, packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    ethernet(source, destination, ethertype, packet)
}

pub fn ethernet(source: Mac, destination: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &ethertype.to_be_bytes(), payload].concat()
}

/// The frame with VLAN tags of these types, the outermost first.
pub fn tagged(tags: &[u16], frame: &[u8]) -> Vec<u8> {
    let tags: Vec<u8> = tags.iter().flat_map(|tag| [(tag >> 8) as u8, *tag as u8, 0, 7]).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

/// An ARP message (RFC 826); 1 asks, 2 answers.
pub fn arp(operation: u8, sender: (Mac, IpAddr), target: (Mac, IpAddr)) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation];
    for (mac, address) in [sender, target] {
        let IpAddr::V4(address) = address else { panic!("ARP is for IPv4") };
        message.extend(mac);
        message.extend(address.octets());
    }
    message
}

/// The link-local address that follows from a MAC address (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    eui64([0xfe80, 0, 0, 0], mac)
}

/// The address that follows from a network and a MAC address.
pub fn eui64(network: [u16; 4], mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    let [n0, n1, n2, n3] = network;
    Ipv6Addr::new(n0, n1, n2, n3, ((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}
