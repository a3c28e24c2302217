//! A frame as TC has it.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_skb_load_bytes, bpf_skb_pull_data},
    programs::TcContext,
};

use super::{
    Frame,
    sk_buff::{self, Marks},
};
use crate::{
    global_fns::{sg_segments, sg_walk_skb, sg_was_in_tunnel},
    headers::Chain,
    outcome::Refusal,
};

/// Bytes of a frame that hold its headers, but for long chains of extension headers.
///
/// Pages behind the linear part may be its sender's memory, too (PACKET_TX_RING, vhost-net's zero copy), who
/// can write there after the verdict. The kernel copies headers into the linear part as well, but later.
const HEADERS: u32 = 512;

/// `gso_size` of packets whose segments are a list of their own: SCTP's (include/linux/skbuff.h). The kernel takes it
/// from no sender (`virtio_net_hdr_to_skb`).
const GSO_BY_FRAGS: u32 = 0xffff;

pub(crate) struct SkbFrame(TcContext, Marks);

impl SkbFrame {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        Self(TcContext::new(ctx.skb.skb), Marks::of(ctx))
    }

    /// Only its bytes.
    #[inline(always)]
    pub(crate) fn bare(ctx: &TcContext) -> Self {
        Self(TcContext::new(ctx.skb.skb), Marks::NONE)
    }

    /// Whether the kernel will write or cut something of it.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !self.1.is_unfinished() && !self.is_gso()
    }

    /// The protocol of the frame's payload, as the kernel has it.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> u16 {
        // SAFETY: the context is the program's own.
        u16::from_be(unsafe { (*self.0.skb.skb).protocol } as u16)
    }

    /// Bytes of payload in each segment.
    #[inline(always)]
    pub(crate) fn gso_size(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.0.skb.skb).gso_size }
    }

    /// Whether this is the machine's own copy of its broadcast or multicast. It never was on a
    /// wire, has no Ethernet header (`dev_loopback_xmit`), and was judged on its way out. A
    /// received packet has another type (`eth_type_trans`).
    #[inline(always)]
    pub(crate) fn is_own_copy(&self) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { (*self.0.skb.skb).pkt_type == PACKET_LOOPBACK }
    }
}

/// include/uapi/linux/if_packet.h
const PACKET_LOOPBACK: u32 = 5;

impl Frame for SkbFrame {
    #[inline(always)]
    fn start(&self) -> usize {
        self.0.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.0.data_end()
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.0.skb.skb).ifindex }
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        self.0.len()
    }

    #[inline(always)]
    fn tags(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.0.skb.skb).vlan_present }
    }

    #[inline(always)]
    fn is_gso(&self) -> bool {
        self.gso_size() != 0
    }

    #[inline(always)]
    fn copy(&self, offset: u32, to: *mut c_void, len: u32) -> bool {
        // SAFETY: the caller's buffer has `len` bytes.
        unsafe { bpf_skb_load_bytes(self.0.as_ptr(), offset, to, len) == 0 }
    }

    #[inline(always)]
    fn walk(&self, chain: &mut Chain, end: u32) -> Refusal {
        Refusal::from_number(sg_walk_skb(self.0.skb.skb, (&raw mut *chain).cast(), end))
    }

    #[inline(always)]
    fn unfinished(&self) -> Option<u32> {
        self.1.is_unfinished().then(|| sk_buff::lands(&self.0))
    }

    #[inline(always)]
    fn segments(&self, kind: u32, transport: u32) -> Refusal {
        Refusal::from_number(sg_segments(self.0.skb.skb, kind, transport))
    }

    #[inline(always)]
    fn settle(&self) {
        // Their headers are the kernel's already. Bytes copied to the front would be missing in the first segments.
        if self.gso_size() == GSO_BY_FRAGS {
            return;
        }
        let linear = self.end().wrapping_sub(self.start()) as u32;
        if linear < HEADERS && linear < self.len() {
            let length = if self.len() < HEADERS { self.len() } else { HEADERS };
            // SAFETY: the context is the program's own. Without memory for it the headers are read where
            // they are.
            let _ = unsafe { bpf_skb_pull_data(self.0.skb.skb, length) };
        }
    }

    #[inline(always)]
    fn is_mistaken(&self) -> bool {
        let Some(ethernet) = self.linear::<14>(0) else { return true };
        match ethernet.half(12) {
            // A length (IEEE 802.3): the kernel then looks into the payload.
            0..0x600 => matches!(self.protocol(), 0x0800 | 0x86dd),
            ethertype => ethertype != self.protocol(),
        }
    }

    #[inline(always)]
    fn was_in_tunnel(&self) -> bool {
        self.1.is_of_ipsec() && sg_was_in_tunnel(self.0.skb.skb) != 0
    }
}
