//! A packet's headers as they were read: what steps, rules and flows want of them.

use core::mem::MaybeUninit;

use sg_common::{
    Direction,
    flow::{TCP, tcp},
    image,
};

use crate::{net::AddressFamily, verifier::opaque, words};

/// The headers of a packet, which are in order.
#[repr(C)]
pub(crate) struct Packet<N: AddressFamily> {
    pub(crate) ip: Ip<N::Address>,
    pub(crate) transport: Transport,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    Whole,
    /// The first fragment: the transport header is here.
    First,
    /// A later fragment.
    Later,
}

/// An IP packet whose lengths are in order.
#[derive(Clone, Copy)]
pub(crate) struct Ip<A> {
    pub(crate) source: A,
    pub(crate) destination: A,
    pub(crate) chain: Chain,
    /// Offset of the packet's end in the frame.
    pub(crate) end: u32,
}

/// Where the headers of an IP packet lead.
#[derive(Clone, Copy)]
pub(crate) struct Chain {
    /// Protocol of the header at `transport`.
    pub(crate) protocol: u8,
    pub(crate) part: Part,
    /// The protocol that the datagram's fragments name, with their identification.
    pub(crate) fragment_protocol: u8,
    /// The IP header's. It stands here because this structure has a byte to spare.
    pub(crate) hop_limit: u8,
    pub(crate) identification: u32,
    /// Offset of the transport header in the frame.
    pub(crate) transport: u32,
}

/// Fields of a transport header that the rules and the flow table use.
#[derive(Clone, Copy, Default)]
pub(crate) struct Transport {
    /// TCP, UDP: ports. ICMP: type and code as `type << 8 | code`, and the identifier.
    pub(crate) source: u16,
    pub(crate) destination: u16,
    /// TCP: the sequence number of a segment with SYN, the acknowledgement number of others.
    pub(crate) number: u32,
    /// With [`tcp::DATA`] in the place of PSH.
    pub(crate) tcp_flags: u8,
}

impl Transport {
    /// Ports without the rest: another protocol than TCP, or a TCP header that is cut off behind
    /// them.
    #[inline(always)]
    pub(crate) fn of(source: u16, destination: u16) -> Self {
        Self { source, destination, number: 0, tcp_flags: 0 }
    }

    /// Both numbers in registers; see [`crate::net::AddressFamily::loaded`].
    #[inline(always)]
    pub(crate) fn loaded(&self) -> (u16, u16) {
        (opaque(self.source as usize) as u16, opaque(self.destination as usize) as u16)
    }

    /// The instance's port and the peer's.
    #[inline(always)]
    pub(crate) fn ports(&self, direction: Direction) -> (u16, u16) {
        let (source, destination) = self.loaded();
        match direction {
            Direction::Ingress => (destination, source),
            Direction::Egress => (source, destination),
        }
    }

    #[inline(always)]
    pub(crate) fn icmp_type(&self) -> u8 {
        (self.source >> 8) as u8
    }

    #[inline(always)]
    pub(crate) fn icmp_code(&self) -> u8 {
        self.source as u8
    }

    #[inline(always)]
    pub(crate) fn identifier(&self) -> u16 {
        self.destination
    }
}

impl<N: AddressFamily> Packet<N> {
    /// Headers without anything in them.
    #[inline(always)]
    pub(crate) fn empty(place: &mut MaybeUninit<Self>) -> &mut Self {
        // SAFETY: numbers only; 0 is `Part::Whole`.
        unsafe { words::zero(place) }
    }

    /// Whether it is TCP that opens nothing.
    #[inline(always)]
    pub(crate) fn is_mid_stream(&self) -> bool {
        self.ip.chain.protocol == TCP && !tcp::opens(self.transport.tcp_flags)
    }

    /// Whether it is TCP that opens a connection.
    #[inline(always)]
    pub(crate) fn is_opening(&self) -> bool {
        self.ip.chain.protocol == TCP && tcp::opens(self.transport.tcp_flags)
    }

    /// The service that the packet goes to, as rules name it.
    #[inline(always)]
    pub(crate) fn service(&self) -> u32 {
        let (source, destination) = self.transport.loaded();
        let protocol = self.ip.chain.protocol;
        image::service(protocol, if protocol == N::ICMP { source } else { destination })
    }
}
