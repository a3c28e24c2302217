//! The key that a flow is found by.

use core::mem::MaybeUninit;

use sg_common::{
    Direction,
    flow::{Addresses, LANES, State, TCP, Tag, UDP, ports, query_ports},
    usage,
};

use crate::{
    context::RuleContext,
    headers::{Ip, Packet},
    maps::Table,
    net::AddressFamily,
    words,
};

/// The identity of a packet's flow, and the values that a new flow starts with.
#[repr(C)]
pub(crate) struct Key<N: AddressFamily> {
    pub(super) tag: Tag,
    pub(super) hash: u64,
    pub(super) bytes: u32,
    /// Bits of [`kind`].
    pub(super) kind: u32,
    pub(crate) addresses: N::Addresses,
}

pub(super) mod kind {
    /// The key names a datagram's fragments, not a flow.
    pub(crate) const FRAGMENTS: u32 = 1;
    /// The packet is a reply to an ICMP query, so it opens no flow.
    pub(crate) const REPLY: u32 = 2;
    /// The packet is ICMP that is neither query nor reply, so it has no flow.
    pub(crate) const UNTRACKED: u32 = 4;
}

impl<N: AddressFamily> Key<N> {
    /// A key of zeros, to be written over.
    #[inline(always)]
    pub(crate) fn empty(place: &mut MaybeUninit<Self>) -> &mut Self {
        // SAFETY: numbers only.
        unsafe { words::zero(place) }
    }

    /// The key of a packet that goes in `direction`.
    #[inline(always)]
    pub(crate) fn of(
        context: &RuleContext<'_>,
        direction: Direction,
        packet: &Packet<N>,
        bytes: u32,
    ) -> Self {
        let Packet { ip, transport } = packet;
        let protocol = ip.chain.protocol;
        let mut kind = 0;
        let ports = if protocol == TCP || protocol == UDP {
            let (local, remote) = transport.ports(direction);
            ports(local, remote)
        } else if protocol == N::ICMP {
            match N::query(transport.icmp_type()) {
                Some((request, true)) if transport.icmp_code() <= State::MAX_QUERY_CODE => {
                    query_ports(transport.identifier(), request, direction)
                }
                Some((request, false)) => {
                    kind = kind::REPLY;
                    query_ports(transport.identifier(), request, direction.reverse())
                }
                _ => {
                    kind = kind::UNTRACKED;
                    0
                }
            }
        } else {
            0
        };
        let (local, remote) = N::sides(direction, ip.source, ip.destination);
        let tag = Tag::new(ports, context.slot, protocol, State::FREE);
        Self::new(context, tag, N::addresses(local, remote), kind, bytes)
    }

    /// The key of a datagram's fragments, and the verdict on the first.
    #[inline(always)]
    pub(crate) fn of_fragments(context: &RuleContext<'_>, ip: &Ip<N::Address>) -> Self {
        let chain = &ip.chain;
        let (local, remote) = N::sides(context.direction, ip.source, ip.destination);
        // The direction is part of the key: each side counts its own identifications.
        let slot = context.slot | (context.direction as u16) << 15;
        let tag = Tag::new(chain.identification, slot, chain.fragment_protocol, State::FREE);
        Self::new(context, tag, N::addresses(local, remote), kind::FRAGMENTS, 0)
    }

    /// The key of the answers that a call of an exempt service waits for, from an address and port. It has the
    /// form of a key of fragments that the instance sends, with a protocol number that is reserved.
    #[inline(always)]
    pub(crate) fn of_answers(context: &RuleContext<'_>, packet: &Packet<N>) -> Self {
        const RESERVED: u8 = 255;
        let Packet { ip, transport } = packet;
        let (local, remote) = N::sides(context.direction, ip.source, ip.destination);
        let (_, port) = transport.ports(context.direction);
        let service = (ip.chain.protocol as u32) << 16 | port as u32;
        let slot = context.slot | (Direction::Egress as u16) << 15;
        let tag = Tag::new(service, slot, RESERVED, State::FREE);
        Self::new(context, tag, N::addresses(local, remote), kind::FRAGMENTS, 0)
    }

    #[inline(always)]
    fn new(
        context: &RuleContext<'_>,
        tag: Tag,
        addresses: N::Addresses,
        kind: u32,
        bytes: u32,
    ) -> Self {
        let hash = addresses.hash(tag.0, &context.rules.image.control().hash_key);
        Self { tag, hash, bytes, kind, addresses }
    }

    /// The peer's address.
    #[inline(always)]
    pub(crate) fn remote(&self) -> N::Address {
        N::remote(&self.addresses)
    }

    #[inline(always)]
    pub(crate) fn may_open(&self) -> bool {
        self.kind & (kind::REPLY | kind::UNTRACKED) == 0
    }

    #[inline(always)]
    pub(crate) fn is_tracked(&self) -> bool {
        self.kind & kind::UNTRACKED == 0
    }

    /// The state in which the flow starts.
    #[inline(always)]
    pub(crate) fn set_state(&mut self, state: State) {
        self.tag = self.tag.with_state(state);
    }

    #[inline(always)]
    pub(super) fn table(&self) -> Table<N::Addresses> {
        if self.kind & kind::FRAGMENTS != 0 { N::fragments() } else { N::flows() }
    }

    /// The number of the key's table, a [`usage::Table`].
    #[inline(always)]
    pub(super) fn table_number(&self) -> u32 {
        const { assert!(kind::FRAGMENTS == 1 && usage::Table::Fragments4 as u32 == 2) };
        usage::Table::flows(N::FAMILY) as u32 + ((self.kind & kind::FRAGMENTS) << 1)
    }

    /// One of the eight lanes that the flow may be in: the hash that names its bucket, and its
    /// number in the bucket.
    #[inline(always)]
    pub(super) fn lane(&self, choice: u64) -> (u32, usize) {
        let half = (choice / LANES as u64) & 1;
        ((self.hash >> (half * 32)) as u32, choice as usize & (LANES - 1))
    }

    /// The two hashes that name buckets.
    #[inline(always)]
    pub(super) fn choices(&self) -> [u32; 2] {
        [self.hash as u32, (self.hash >> 32) as u32]
    }
}
