//! Frames: bytes in, the fields that rules read out. Link layer and IP; the transport is in
//! [`super::transport`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sg_common::{Family, Reason};

use super::{
    Packet, transport,
    transport::{TCP, Transport},
};

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const MAX_VLAN_TAGS: u32 = 2;
const MAX_EXTENSION_HEADERS: u32 = 8;

/// A frame with well-formed headers.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Ethernet source; `None` on an interface without Ethernet header.
    pub(super) source: Option<[u8; 6]>,
    pub(super) content: Content<'a>,
}

#[derive(Debug)]
pub(super) enum Content<'a> {
    Ip(IpPacket<'a>),
    /// Bytes after the link layer, padding included, not yet checked.
    Arp(&'a [u8]),
    Other(&'a [u8]),
}

impl Content<'_> {
    /// Where the transport header is, or what follows the link layer. `length`: bytes of the frame.
    pub(super) fn offset(&self, length: usize) -> usize {
        match self {
            Self::Ip(ip) => ip.offset,
            Self::Arp(rest) | Self::Other(rest) => length - rest.len(),
        }
    }
}

#[derive(Debug)]
pub(super) struct IpPacket<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) hop_limit: u8,
    pub(super) protocol: u8,
    pub(super) part: Part,
    /// `None` in a later fragment.
    pub(super) transport: Option<Transport<'a>>,
    /// Where that is in the frame.
    pub(super) offset: usize,
}

/// How much of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    First(Datagram),
    Later(Datagram),
}

/// Tells a datagram's fragments from another's, besides the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Datagram {
    pub(super) identification: u32,
    /// IPv4: protocol field. IPv6: next header of the fragment header.
    pub(super) protocol: u8,
}

pub(super) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

/// # Panics
/// When `bytes` ends before `at + N`.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

/// Reads a frame.
///
/// # Errors
/// `malformed`, `too_many_headers` or `fragment_tiny`.
pub(super) fn parse<'a>(packet: &Packet<'a>, ethernet: bool) -> Result<Frame<'a>, Reason> {
    let bytes = packet.frame;
    if !ethernet {
        let content = match bytes.first().map(|first| first >> 4) {
            Some(4) => Content::Ip(ipv4(bytes, packet.gso)?),
            Some(6) => Content::Ip(ipv6(bytes, packet.gso)?),
            _ => return Err(Reason::Malformed),
        };
        return Ok(Frame { source: None, content });
    }
    if bytes.len() < 14 {
        return Err(Reason::Malformed);
    }
    let mut ether_type = u16_at(bytes, 12);
    let mut rest = &bytes[14..];
    let mut tags = u32::from(packet.vlan_offloaded);
    while VLAN.contains(&ether_type) {
        tags += 1;
        if tags > MAX_VLAN_TAGS {
            return Err(Reason::TooManyHeaders);
        }
        if rest.len() < 4 {
            return Err(Reason::Malformed);
        }
        ether_type = u16_at(rest, 2);
        rest = &rest[4..];
    }
    let mut content = match ether_type {
        IPV4 => Content::Ip(ipv4(rest, packet.gso)?),
        IPV6 => Content::Ip(ipv6(rest, packet.gso)?),
        ARP => Content::Arp(rest),
        _ => Content::Other(rest),
    };
    if let Content::Ip(ip) = &mut content {
        ip.offset += bytes.len() - rest.len();
    }
    Ok(Frame { source: Some(array_at(bytes, 6)), content })
}

fn ipv4(bytes: &[u8], gso: bool) -> Result<IpPacket<'_>, Reason> {
    if bytes.len() < 20 || bytes[0] >> 4 != 4 {
        return Err(Reason::Malformed);
    }
    let header = usize::from(bytes[0] & 15) * 4;
    let total = match usize::from(u16_at(bytes, 2)) {
        0 if gso => bytes.len(),
        total => total,
    };
    if header < 20 || total < header || total > bytes.len() {
        return Err(Reason::Malformed);
    }
    let payload = &bytes[header..total];
    let protocol = bytes[9];
    let datagram = Datagram { identification: u16_at(bytes, 4).into(), protocol };
    let more = bytes[6] & 0x20 != 0;
    let offset = u16_at(bytes, 6) & 0x1fff;
    let part = part(datagram, offset, more, payload.len())?;
    Ok(IpPacket {
        source: Ipv4Addr::from(array_at::<4>(bytes, 12)).into(),
        destination: Ipv4Addr::from(array_at::<4>(bytes, 16)).into(),
        hop_limit: bytes[8],
        protocol,
        part,
        transport: transport::parse(Family::V4, protocol, part, payload)?,
        offset: header,
    })
}

/// `offset` in units of 8 bytes.
fn part(datagram: Datagram, offset: u16, more: bool, payload: usize) -> Result<Part, Reason> {
    if offset == 0 && !more {
        return Ok(Part::Whole);
    }
    if usize::from(offset) * 8 + payload > 65535 {
        return Err(Reason::Malformed);
    }
    // It could overwrite the first one's flags (RFC 3128).
    if datagram.protocol == TCP && offset == 1 {
        return Err(Reason::FragmentTiny);
    }
    Ok(if offset == 0 { Part::First(datagram) } else { Part::Later(datagram) })
}

fn ipv6(bytes: &[u8], gso: bool) -> Result<IpPacket<'_>, Reason> {
    if bytes.len() < 40 || bytes[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let length = match usize::from(u16_at(bytes, 4)) {
        0 if gso => bytes.len() - 40,
        length => length,
    };
    if 40 + length > bytes.len() {
        return Err(Reason::Malformed);
    }
    let walked = walk(bytes[6], &bytes[40..40 + length])?;
    let Walked { protocol, part, payload } = walked;
    Ok(IpPacket {
        source: Ipv6Addr::from(array_at::<16>(bytes, 8)).into(),
        destination: Ipv6Addr::from(array_at::<16>(bytes, 24)).into(),
        hop_limit: bytes[7],
        protocol,
        part,
        transport: transport::parse(Family::V6, protocol, part, payload)?,
        offset: 40 + length - payload.len(),
    })
}

/// Where a walk over IPv6 extension headers ended.
pub(super) struct Walked<'a> {
    pub(super) protocol: u8,
    pub(super) part: Part,
    pub(super) payload: &'a [u8],
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Walks the extension headers that start with `next` at the start of `rest`.
pub(super) fn walk(mut next: u8, mut rest: &[u8]) -> Result<Walked<'_>, Reason> {
    let mut part = Part::Whole;
    let mut headers = 0;
    while matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
        headers += 1;
        if headers > MAX_EXTENSION_HEADERS {
            return Err(Reason::TooManyHeaders);
        }
        let does_not_fit = match part {
            Part::Whole => Reason::Malformed,
            Part::First(_) | Part::Later(_) => Reason::FragmentTiny,
        };
        if rest.len() < 8 {
            return Err(does_not_fit);
        }
        let length = match next {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(rest[1]) + 2) * 4,
            _ => (usize::from(rest[1]) + 1) * 8,
        };
        if rest.len() < length {
            return Err(does_not_fit);
        }
        let (header, after) = rest.split_at(length);
        if next == FRAGMENT {
            let datagram = Datagram { identification: u32_at(header, 4), protocol: header[0] };
            let offset = u16_at(header, 2) >> 3;
            let more = header[3] & 1 != 0;
            match self::part(datagram, offset, more, after.len())? {
                // Atomic (RFC 6946).
                Part::Whole => {}
                first @ Part::First(_) => part = first,
                later @ Part::Later(_) => {
                    return Ok(Walked { protocol: header[0], part: later, payload: after });
                }
            }
        }
        next = header[0];
        rest = after;
    }
    Ok(Walked { protocol: next, part, payload: rest })
}
