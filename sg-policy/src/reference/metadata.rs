//! The kernel's later changes to a packet: its sender asked for them beside the packet's bytes.

use std::net::IpAddr;

use sg_common::Reason;

use super::{
    Packet,
    packet::{Content, Frame, IpPacket, Part},
    transport::{TCP, Transport, UDP},
};

/// The sender's wishes beside a frame's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Where a checksum is yet to be written, from the frame's start.
    pub unfinished: Option<u32>,
    /// How the packet is to be cut, where [`Packet::gso`] says that it is.
    pub segments: Option<Segments>,
}

/// How the kernel cuts a GSO packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    pub kind: Kind,
    /// Bytes of each one's payload.
    pub size: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP in IPv4.
    Tcp4,
    /// TCP in IPv6.
    Tcp6,
    /// Datagrams (USO).
    Udp,
    /// Fragments of a datagram (UFO).
    UdpFragments,
}

/// # Errors
/// `malformed`.
pub(super) fn check(
    packet: &Packet<'_>,
    beside: &Metadata,
    frame: &Frame<'_>,
) -> Result<(), Reason> {
    let offset = frame.content.offset(packet.frame.len());
    let harmless = match beside.unfinished {
        None => true,
        Some(at) => is_harmless(at as usize, offset, packet.frame.len(), &frame.content),
    };
    let fits = !packet.gso
        || match &frame.content {
            Content::Ip(ip) => fits(ip, beside.segments),
            Content::Arp(_) => false,
            Content::Other(_) => true,
        };
    if harmless && fits { Ok(()) } else { Err(Reason::Malformed) }
}

/// Whether a checksum of two bytes at `at` changes no byte that a verdict reads.
fn is_harmless(at: usize, offset: usize, length: usize, content: &Content<'_>) -> bool {
    let (own, looked_at) = match content {
        Content::Arp(_) => (None, 28),
        Content::Other(_) => (None, 0),
        Content::Ip(ip) => match &ip.transport {
            None | Some(Transport::Other(_)) => (None, 0),
            Some(Transport::Tcp { .. }) => (Some(16), 20),
            Some(Transport::Udp { .. }) => (Some(6), 8),
            Some(Transport::Icmp(icmp)) => match icmp.kind {
                // The packet that an error is about.
                3 | 11 | 12 => (Some(2), usize::MAX),
                _ => (Some(2), 8),
            },
            Some(Transport::Icmpv6(icmp)) => match icmp.kind {
                // The same, and the address that a neighbour claims.
                1..=4 | 135 | 136 => (Some(2), usize::MAX),
                _ => (Some(2), 8),
            },
        },
    };
    let is_own = own.is_some_and(|own| at == offset + own);
    let is_beyond = at >= offset.saturating_add(looked_at);
    is_own || (is_beyond && at + 2 <= length)
}

/// Whether the packet can be cut like that. Unknown metadata contradict nothing.
fn fits(ip: &IpPacket<'_>, segments: Option<Segments>) -> bool {
    if ip.part != Part::Whole {
        return false;
    }
    let Some(Segments { kind, size }) = segments else { return true };
    match (kind, ip.source, ip.protocol) {
        (Kind::Tcp4, IpAddr::V4(_), TCP) | (Kind::Tcp6, IpAddr::V6(_), TCP) => true,
        // The first fragment has to have the ports.
        (Kind::Udp | Kind::UdpFragments, _, UDP) => size >= 8,
        _ => false,
    }
}
