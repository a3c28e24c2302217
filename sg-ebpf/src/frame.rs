//! Packet memory. The only file that touches it.
//!
//! Headers are read where they lie, if they lie in the linear part of the packet; where they do not
//! (multi-buffer XDP, skb fragments) a helper copies them out.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_skb_load_bytes, bpf_skb_pull_data, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use sg_common::kernel::{CAST, HAS_FRAGS, XDP_BUFF_FLAGS};

use crate::{
    headers::Chain,
    ip,
    metadata::{self, Marks},
    verifier::opaque,
};

/// Furthest start of a header that is read in place; what lies beyond is copied out. Eight
/// extension headers of full length end before it.
const MAX_OFFSET: u32 = 0x7fff;

/// Bytes of a frame in which headers lie, but for long chains of extension headers.
///
/// Pages behind the linear part may be its sender's memory, too (PACKET_TX_RING, vhost-net's zero copy), who
/// can write there after the verdict. The kernel copies headers into the linear part as well, but later.
const HEADERS: u32 = 512;

/// Room for a header that is not in the linear part.
pub(crate) struct Scratch(MaybeUninit<[u64; 5]>);

impl Scratch {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

/// A header that is known to be there. Numbers are read in network byte order, each at a multiple
/// of its size: the header may have been copied to the stack, where the verifier demands that.
#[derive(Clone, Copy)]
pub(crate) struct View(*const u8);

impl View {
    #[inline(always)]
    pub(crate) fn byte(self, at: usize) -> u8 {
        // SAFETY: `Frame::header` has shown the header to be as long as its caller says, and its
        // callers read within that; the verifier holds them to it.
        unsafe { *self.0.add(at) }
    }

    #[inline(always)]
    pub(crate) fn half(self, at: usize) -> u16 {
        // SAFETY: as above. BPF loads need no alignment; `read_unaligned` would load byte by byte.
        u16::from_be(unsafe { *self.0.add(at).cast() })
    }

    #[inline(always)]
    pub(crate) fn word(self, at: usize) -> u32 {
        // SAFETY: as above.
        u32::from_be(unsafe { *self.0.add(at).cast() })
    }

    #[inline(always)]
    pub(crate) fn long(self, at: usize) -> u64 {
        // SAFETY: as above.
        u64::from_be(unsafe { *self.0.add(at).cast() })
    }

    /// What lies `offset` bytes further on.
    #[inline(always)]
    pub(crate) fn skip(self, offset: usize) -> Self {
        // SAFETY: as above.
        Self(unsafe { self.0.add(offset) })
    }

    /// Two words as one number: for halves of addresses that LLVM would else merge anyway.
    #[inline(always)]
    pub(crate) fn pair(self, at: usize) -> (u64, u64) {
        (self.long(at), self.long(at + 8))
    }
}

/// A packet as a program gets it.
pub(crate) trait Frame {
    fn start(&self) -> usize;
    fn end(&self) -> usize;
    fn ifindex(&self) -> u32;
    /// Length of the whole frame, parts that are not linear included.
    fn len(&self) -> u32;
    /// VLAN tags that were taken off the frame and lie beside it.
    fn tags(&self) -> u32;
    /// Whether this is several packets in one (GSO), whose length field may be 0.
    fn is_gso(&self) -> bool;
    fn copy(&self, offset: u32, to: *mut c_void, len: u32) -> bool;
    /// Walks extension headers, see [`ip`].
    fn walk(&self, chain: &mut Chain, end: u32) -> u32;
    /// Offset at which a checksum is yet to be written, if one is.
    fn unfinished(&self) -> Option<u32>;
    /// Holds what segmentation will do against the headers; 0, or the number of the reason to drop. See
    /// [`metadata::sg_segments`].
    fn segments(&self, kind: u32, transport: u32) -> u32;
    /// Has headers that do not lie in the linear part copied there, where the sender cannot change them any
    /// more. Views of the frame end with it.
    fn settle(&self);
    /// Whether the kernel takes an Ethernet frame for something else than its type says.
    fn is_mistaken(&self) -> bool;
    /// Whether it was judged on this interface before, in an IPsec tunnel.
    fn was_in_tunnel(&self) -> bool;

    /// The `N` bytes at `offset`, if they lie in the linear part.
    #[inline(always)]
    fn linear<const N: usize>(&self, offset: u32) -> Option<View> {
        if offset > MAX_OFFSET {
            return None;
        }
        let at = opaque(self.start() + offset as usize);
        (at + N <= self.end()).then_some(View(at as *const u8))
    }

    /// The `N` bytes at `offset`, if the frame has them.
    #[inline(always)]
    fn header<const N: usize>(&self, offset: u32, scratch: &mut Scratch) -> Option<View> {
        const { assert!(N <= size_of::<Scratch>()) };
        if let Some(view) = self.linear::<N>(offset) {
            return Some(view);
        }
        self.copied::<N>(offset, scratch)
    }

    /// The same in any case copied: one way for the verifier to follow instead of two.
    #[inline(always)]
    fn copied<const N: usize>(&self, offset: u32, scratch: &mut Scratch) -> Option<View> {
        let to = scratch.0.as_mut_ptr();
        self.copy(offset, to.cast(), N as u32).then_some(View(to.cast()))
    }
}

pub(crate) struct XdpFrame(XdpContext);

impl XdpFrame {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self(XdpContext::new(ctx.ctx))
    }

    /// Whether the frame is known to have no further buffers: a look at a flag saves the call of a helper.
    #[inline(always)]
    fn is_linear(&self) -> bool {
        let buff = kernel_context(self.0.ctx.cast());
        // SAFETY: the kernel's `struct xdp_buff`, as the agent has made sure.
        buff != 0 && unsafe { *((buff + XDP_BUFF_FLAGS as usize) as *const u32) } & HAS_FRAGS == 0
    }
}

/// The kernel's own context: its address, to the verifier a trusted pointer; 0 where there is none to be
/// had.
#[inline(always)]
pub(crate) fn kernel_context(ctx: *mut c_void) -> usize {
    let context: usize;
    // SAFETY: as for a call: the context in, a pointer or 0 out, all other scratch registers lost.
    unsafe {
        asm!(
            ".byte 0x85, 0x20, 0, 0",
            ".long {cast}",
            cast = const CAST,
            inout("r1") ctx => _,
            lateout("r0") context,
            lateout("r2") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(readonly, nostack),
        );
    }
    context
}

impl Frame for XdpFrame {
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
        self.0.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn len(&self) -> u32 {
        if self.is_linear() {
            return (self.end() - self.start()) as u32;
        }
        // SAFETY: the context is the program's own.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) as u32 }
    }

    #[inline(always)]
    fn tags(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn is_gso(&self) -> bool {
        false
    }

    #[inline(always)]
    fn copy(&self, offset: u32, to: *mut c_void, len: u32) -> bool {
        // SAFETY: the caller's buffer has `len` bytes.
        unsafe { bpf_xdp_load_bytes(self.0.ctx, offset, to, len) == 0 }
    }

    #[inline(always)]
    fn walk(&self, chain: &mut Chain, end: u32) -> u32 {
        ip::sg_walk_xdp(self.0.ctx, (&raw mut *chain).cast(), end)
    }

    /// XDP cannot see it; see docs/hosts.md.
    #[inline(always)]
    fn unfinished(&self) -> Option<u32> {
        None
    }

    #[inline(always)]
    fn segments(&self, _: u32, _: u32) -> u32 {
        0
    }

    /// Its buffers are the kernel's or the driver's.
    #[inline(always)]
    fn settle(&self) {}

    #[inline(always)]
    fn is_mistaken(&self) -> bool {
        false
    }

    /// What IPsec decrypts does not come back to XDP.
    #[inline(always)]
    fn was_in_tunnel(&self) -> bool {
        false
    }
}

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

    /// The kernel's own word for what the frame carries.
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

    /// A copy of what this machine sends to many, itself among them, made for itself. It never was
    /// on a wire, has no Ethernet header (`dev_loopback_xmit`), and was judged on its way out; what is
    /// received has another type (`eth_type_trans`).
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
    fn walk(&self, chain: &mut Chain, end: u32) -> u32 {
        ip::sg_walk_skb(self.0.skb.skb, (&raw mut *chain).cast(), end)
    }

    #[inline(always)]
    fn unfinished(&self) -> Option<u32> {
        self.1.is_unfinished().then(|| metadata::lands(&self.0))
    }

    #[inline(always)]
    fn segments(&self, kind: u32, transport: u32) -> u32 {
        metadata::sg_segments(self.0.skb.skb, kind, transport)
    }

    #[inline(always)]
    fn settle(&self) {
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
        self.1.is_of_ipsec() && metadata::sg_was_in_tunnel(self.0.skb.skb) != 0
    }
}
