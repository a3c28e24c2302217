//! Packet memory. The only folder that touches it.
//!
//! Headers are read where they lie, if they lie in the linear part of the packet; where they do not
//! (multi-buffer XDP, skb fragments) a helper copies them out.

use core::{arch::asm, ffi::c_void, mem::MaybeUninit};

use sg_common::kernel::CAST;

use crate::{headers::Chain, outcome::Refusal, verifier::opaque};

pub(crate) mod sk_buff;
pub(crate) mod skb;
pub(crate) mod xdp;

/// Furthest start of a header that is read in place; what lies beyond is copied out. Eight
/// extension headers of full length end before it.
const MAX_OFFSET: u32 = 0x7fff;

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

    /// The place `offset` bytes further on.
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
    /// Walks extension headers, see [`crate::global_fns::sg_walk_xdp`].
    fn walk(&self, chain: &mut Chain, end: u32) -> Refusal;
    /// Offset at which a checksum is yet to be written, if one is.
    fn unfinished(&self) -> Option<u32>;
    /// Holds what segmentation will do against the headers. See
    /// [`crate::global_fns::sg_segments`].
    fn segments(&self, kind: u32, transport: u32) -> Refusal;
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
