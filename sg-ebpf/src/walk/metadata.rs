//! The kernel's later changes to a packet, which its sender asks for beside the packet's bytes.
//!
//! A sender can choose it: with a virtio-net header (tap, tun, PACKET_VNET_HDR). The kernel writes a checksum
//! where `csum_start` and `csum_offset` say, and cuts a packet into segments whose headers it writes anew, as
//! `gso_type` says. Neither may touch a byte that the verdict has read.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use sg_common::{
    Family, Reason,
    flow::{TCP, UDP},
    kernel::{access, gso, skb},
};

use crate::{
    context::PacketMeta,
    frame::{
        Frame,
        sk_buff::{place, probe},
        skb::SkbFrame,
    },
    headers::{Ip, Packet, Part},
    net::AddressFamily,
    outcome::Refusal,
};

/// The checksum of a protocol's own in its header, and bytes of that header that the verdict reads.
#[inline(always)]
fn own<N: AddressFamily>(packet: &Packet<N>) -> (u32, u32) {
    /// Far beyond any packet.
    const ALL: u32 = 1 << 24;
    let Ip { chain, .. } = &packet.ip;
    if chain.part == Part::Later {
        return (ALL, 0);
    }
    match chain.protocol {
        TCP => (16, 20),
        UDP => (6, 8),
        // The packet that an error quotes, the address that a neighbour claims.
        protocol if protocol == N::ICMP => {
            let kind = packet.transport.icmp_type();
            (2, if N::is_error(kind) || N::is_claim(kind) { ALL } else { 8 })
        }
        _ => (ALL, 0),
    }
}

/// Bytes that are written of a checksum, at least.
const CHECKSUM: u32 = 2;

/// Whether a checksum will be written over bytes before `read` bytes of the frame, or beyond its end.
#[inline(always)]
pub(crate) fn is_overwritten<F: Frame>(frame: &F, read: u32) -> bool {
    frame.unfinished().is_some_and(|at| at < read || at > frame.len().wrapping_sub(CHECKSUM))
}

/// Bits of `kind` above the protocol.
const FRAGMENT: u32 = 1 << 8;
const IPV6: u32 = 1 << 9;
const ETHERNET: u32 = 1 << 10;

/// Compares the kernel's later changes to a packet with its headers.
#[inline(always)]
pub(crate) fn check<N: AddressFamily, F: Frame>(
    frame: &F,
    meta: &PacketMeta,
    packet: &Packet<N>,
) -> Refusal {
    let chain = &packet.ip.chain;
    if let Some(at) = frame.unfinished() {
        let (own, read) = own(packet);
        if at != chain.transport + own
            && (at < chain.transport + read || at > meta.length.wrapping_sub(CHECKSUM))
        {
            return Refusal::of(Err(Reason::Malformed));
        }
    }
    if !frame.is_gso() {
        return Refusal::NONE;
    }
    let mut kind = chain.protocol as u32;
    if chain.part != Part::Whole {
        kind |= FRAGMENT;
    }
    if matches!(N::FAMILY, Family::V6) {
        kind |= IPV6;
    }
    if meta.ip != 0 {
        kind |= ETHERNET;
    }
    frame.segments(kind, chain.transport)
}

/// Whether segmentation fits the headers: `kind` is the protocol behind `transport` and facts about
/// the packet.
#[inline(always)]
pub(crate) fn segments(ctx: *mut __sk_buff, kind: u32, transport: u32) -> Refusal {
    let fits = fits(ctx, kind, transport);
    Refusal::of(if fits { Ok(()) } else { Err(Reason::Malformed) })
}

#[inline(always)]
fn fits(ctx: *mut __sk_buff, kind: u32, transport: u32) -> bool {
    let frame = SkbFrame::bare(&TcContext::new(ctx));
    let protocol = kind as u8;
    // Without an Ethernet header only the kernel's own field says which protocol it takes the frame
    // for.
    let is_mistaken = match kind & ETHERNET {
        0 => frame.protocol() != if kind & IPV6 != 0 { 0x86dd } else { 0x0800 },
        _ => frame.is_mistaken(),
    };
    if kind & FRAGMENT != 0 || is_mistaken {
        return false;
    }
    // Fragments of a datagram without ports in the first one.
    if protocol == UDP && frame.gso_size() < 8 {
        return false;
    }
    if !matches!(place(skb::ACCESS), access::DIRECT | access::PROBED) {
        return true;
    }
    let at = |offset| ctx as usize + place(offset) as usize;
    let Some(head) = probe::<u64>(at(skb::HEAD)) else { return false };
    let Some(end) = probe::<u32>(at(skb::END)) else { return false };
    let shared = (head as usize).wrapping_add(end as usize + place(skb::GSO_TYPE) as usize);
    let Some(types) = probe::<u32>(shared) else { return false };
    if !is_of(types, protocol, kind & IPV6 != 0) {
        return false;
    }
    let header = match protocol {
        GRE => 4,
        UDP => 8,
        _ => return true,
    };
    if types & gso::TUNNELS & !gso::ESP == 0 {
        return true;
    }
    // The inner headers, which are written anew, too, lie behind the outer one.
    let Some(data) = probe::<u64>(at(skb::HEAD) + size_of::<u64>()) else { return false };
    let Some(inner) = probe::<u64>(at(skb::INNER)) else { return false };
    let first = (data.wrapping_sub(head) as u32).wrapping_add(transport + header);
    let (network, mac) = ((inner >> 16) as u16 as u32, (inner >> 32) as u16 as u32);
    network >= first && mac >= first
}

const GRE: u8 = 47;
const ESP: u8 = 50;
const SCTP: u8 = 132;

/// Whether the outermost of these GSO types is the protocol's.
#[inline(always)]
fn is_of(types: u32, protocol: u8, is_ipv6: bool) -> bool {
    let tunnels = types & gso::TUNNELS;
    if tunnels != 0 {
        let own = match protocol {
            UDP => gso::UDP_TUNNEL | gso::UDP_TUNNEL_CSUM | gso::ESP,
            GRE => gso::GRE | gso::GRE_CSUM,
            ESP => gso::ESP,
            TCP | SCTP => 0,
            _ => gso::IPXIP4 | gso::IPXIP6,
        };
        return tunnels & own != 0;
    }
    let own = match protocol {
        TCP if is_ipv6 => gso::TCPV6,
        TCP => gso::TCPV4,
        UDP => gso::UDP | gso::UDP_L4,
        SCTP => gso::SCTP,
        _ => 0,
    };
    types & gso::KINDS & !own == 0
}
