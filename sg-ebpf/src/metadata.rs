//! What the kernel will do to a packet after it was judged, by what lies beside its bytes.
//!
//! A sender can choose it: with a virtio-net header (tap, tun, PACKET_VNET_HDR). The kernel writes a checksum
//! where `csum_start` and `csum_offset` say, and cuts a packet into segments whose headers it writes anew, as
//! `gso_type` says. Neither may touch a byte that the verdict has read.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_probe_read_kernel, programs::TcContext};
use sg_common::{
    Family, Reason,
    flow::{TCP, UDP},
    kernel::{CHECKSUM_PARTIAL, access, gso, skb},
};

use crate::{
    context::Notes,
    frame::{Frame, SkbFrame, kernel_context},
    headers::{Ip, Packet, Part},
    maps::constant,
    net::Net,
};

/// Where the kernel has what is read here; see [`skb`].
#[unsafe(no_mangle)]
static SKB: [u32; skb::LEN] = [0; skb::LEN];

#[inline(always)]
fn place(of: usize) -> u32 {
    constant(&SKB[of])
}

/// Reads kernel memory; `None` where there is none.
#[inline(always)]
fn probe<T>(at: usize) -> Option<T> {
    // SAFETY: the helper reads what is there, or says that nothing is.
    unsafe { bpf_probe_read_kernel(at as *const T) }.ok()
}

/// A value in the kernel's own context.
///
/// # Safety
/// `context` is a `struct sk_buff` with a `T` at `offset`; the verifier holds it to that.
#[inline(always)]
unsafe fn read<T: Copy>(context: usize, offset: u32) -> T {
    // SAFETY: as the caller says.
    unsafe { *((context + offset as usize) as *const T) }
}

/// What a look at a packet says of what lies beside it.
#[derive(Clone, Copy)]
pub(crate) struct Marks(u32);

impl Marks {
    pub(crate) const NONE: Self = Self(0);
    const UNFINISHED: u32 = 1;
    const OF_IPSEC: u32 = 2;

    #[inline(always)]
    pub(crate) fn of(ctx: &TcContext) -> Self {
        let (summed, ipsec) = match place(skb::ACCESS) {
            access::NONE => (0, 0),
            access::PROBED => {
                let found = sg_marks(ctx.skb.skb);
                (found & CHECKSUM_PARTIAL, found >> 2)
            }
            _ => {
                let context = kernel_context(ctx.skb.skb.cast());
                if context == 0 {
                    return Self::NONE;
                }
                // SAFETY: both are bytes of a `struct sk_buff`, by the kernel's own types.
                let (summed, active): (u8, u8) =
                    unsafe { (read(context, place(skb::SUMMED)), active(context)) };
                (
                    summed as u32 >> (place(skb::SUMMED_SHIFT) & 7) & CHECKSUM_PARTIAL,
                    active as u32 >> (place(skb::ACTIVE_SHIFT) & 7) & 1,
                )
            }
        };
        let unfinished = if summed == CHECKSUM_PARTIAL { Self::UNFINISHED } else { 0 };
        Self(unfinished | (ipsec * Self::OF_IPSEC))
    }

    /// Whether a checksum is yet to be written.
    #[inline(always)]
    pub(crate) fn is_unfinished(self) -> bool {
        self.0 & Self::UNFINISHED != 0
    }

    /// Whether IPsec has had to do with it.
    #[inline(always)]
    pub(crate) fn is_of_ipsec(self) -> bool {
        self.0 & Self::OF_IPSEC != 0
    }
}

/// # Safety
/// `context` is a `struct sk_buff`.
#[inline(always)]
unsafe fn active(context: usize) -> u8 {
    match place(skb::ACTIVE) {
        0 => 0,
        // SAFETY: a byte of it, by the kernel's own types.
        offset => unsafe { read(context, offset) },
    }
}

/// `ip_summed`, and above it the bit of IPsec. A program's context is the packet's `struct sk_buff`, which
/// only the verifier does not say: the helper takes any address.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_marks(ctx: *mut __sk_buff) -> u32 {
    let (summed, active) = (place(skb::SUMMED), place(skb::ACTIVE));
    // Next to each other: one call for both.
    let from = if active != 0 && active < summed { active } else { summed };
    let Some(bytes) = probe::<u64>(ctx as usize + from as usize) else { return 0 };
    let bit = |byte: u32, shift| bytes >> (((byte - from) * 8 + place(shift)) & 63);
    let ipsec = if active == 0 { 0 } else { bit(active, skb::ACTIVE_SHIFT) as u32 & 1 };
    (bit(summed, skb::SUMMED_SHIFT) as u32 & CHECKSUM_PARTIAL) | (ipsec << 2)
}

/// Offset in the frame at which the checksum is to be written: beyond any frame if before its start.
#[inline(always)]
pub(crate) fn lands(ctx: &TcContext) -> u32 {
    if place(skb::ACCESS) == access::PROBED {
        return sg_lands(ctx.skb.skb);
    }
    let context = kernel_context(ctx.skb.skb.cast());
    if context == 0 {
        return u32::MAX;
    }
    // SAFETY: members of a `struct sk_buff`, by the kernel's own types.
    unsafe {
        let head = place(skb::HEAD);
        from_start(
            read(context, place(skb::CSUM)),
            read(context, head),
            read(context, head + size_of::<u64>() as u32),
        )
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_lands(ctx: *mut __sk_buff) -> u32 {
    let at = |offset| ctx as usize + place(offset) as usize;
    let Some(csum) = probe::<u32>(at(skb::CSUM)) else { return u32::MAX };
    let Some(head) = probe::<u64>(at(skb::HEAD)) else { return u32::MAX };
    let Some(data) = probe::<u64>(at(skb::HEAD) + size_of::<u64>()) else { return u32::MAX };
    from_start(csum, head, data)
}

/// `csum_start` counts from `head`, `csum_offset` from there.
#[inline(always)]
fn from_start(csum: u32, head: u64, data: u64) -> u32 {
    (csum & 0xffff).wrapping_add(csum >> 16).wrapping_sub(data.wrapping_sub(head) as u32)
}

/// The checksum of a protocol's own in its header, and bytes of that header that the verdict reads.
#[inline(always)]
fn own<N: Net>(packet: &Packet<N>) -> (u32, u32) {
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

/// Holds what the kernel will do to a packet against its headers; 0, or the number of the reason to drop.
#[inline(always)]
pub(crate) fn check<N: Net, F: Frame>(frame: &F, notes: &Notes, packet: &Packet<N>) -> u32 {
    let chain = &packet.ip.chain;
    if let Some(at) = frame.unfinished() {
        let (own, read) = own(packet);
        if at != chain.transport + own
            && (at < chain.transport + read || at > notes.length.wrapping_sub(CHECKSUM))
        {
            return Reason::Malformed as u32;
        }
    }
    if !frame.is_gso() {
        return 0;
    }
    let mut kind = chain.protocol as u32;
    if chain.part != Part::Whole {
        kind |= FRAGMENT;
    }
    if matches!(N::FAMILY, Family::V6) {
        kind |= IPV6;
    }
    if notes.ip != 0 {
        kind |= ETHERNET;
    }
    frame.segments(kind, chain.transport)
}

/// Whether segmentation fits the headers: `kind` is the protocol behind `transport` and what is known of
/// the packet. 0, or the number of the reason to drop. Global: few packets come here, and the verifier checks it
/// once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_segments(ctx: *mut __sk_buff, kind: u32, transport: u32) -> u32 {
    let fits = fits(ctx, kind, transport);
    if fits { 0 } else { Reason::Malformed as u32 }
}

#[inline(always)]
fn fits(ctx: *mut __sk_buff, kind: u32, transport: u32) -> bool {
    let frame = SkbFrame::bare(&TcContext::new(ctx));
    let protocol = kind as u8;
    // Without an Ethernet header nothing else says what the kernel takes it for.
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

/// Whether a packet was decrypted on the way in after a program of ours had judged what it came in; 1 if so.
///
/// `olen` is 0 once the kernel has unpacked it (`xfrm_input`). What a device or GRO decrypts before TC
/// sees it is marked in the first `ovec`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_was_in_tunnel(ctx: *mut __sk_buff) -> u32 {
    if !matches!(place(skb::ACCESS), access::DIRECT | access::PROBED) {
        return 0;
    }
    let extensions = ctx as usize + place(skb::EXTENSIONS) as usize;
    let Some(extensions) = probe::<u64>(extensions) else { return 0 };
    let extensions = extensions as usize;
    let Some(offset) = probe::<u8>(extensions.wrapping_add(place(skb::SEC_PATH) as usize)) else {
        return 0;
    };
    // In units of 8 bytes.
    let path = extensions.wrapping_add(offset as usize * 8);
    let Some(olen) = probe::<u32>(path.wrapping_add(place(skb::OLEN) as usize)) else { return 0 };
    let flags = path.wrapping_add(place(skb::OFFLOAD_FLAGS) as usize);
    let Some(flags) = probe::<u32>(flags) else { return 0 };
    ((olen | flags) == 0) as u32
}
