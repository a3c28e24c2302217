//! A frame as XDP has it.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use sg_common::kernel::{HAS_FRAGS, XDP_BUFF_FLAGS};

use super::{Frame, kernel_context};
use crate::{global_fns::sg_walk_xdp, headers::Chain, outcome::Refusal};

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
    fn walk(&self, chain: &mut Chain, end: u32) -> Refusal {
        Refusal::from_number(sg_walk_xdp(self.0.ctx, (&raw mut *chain).cast(), end))
    }

    /// XDP cannot see it; see docs/hosts.md.
    #[inline(always)]
    fn unfinished(&self) -> Option<u32> {
        None
    }

    #[inline(always)]
    fn segments(&self, _: u32, _: u32) -> Refusal {
        Refusal::NONE
    }

    /// Its buffers are the kernel's or the driver's.
    #[inline(always)]
    fn settle(&self) {}

    #[inline(always)]
    fn is_mistaken(&self) -> bool {
        false
    }

    /// Packets that IPsec decrypts do not come back to XDP.
    #[inline(always)]
    fn was_in_tunnel(&self) -> bool {
        false
    }
}
