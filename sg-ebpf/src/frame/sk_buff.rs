//! Members of `struct sk_buff` beside a packet's bytes. The agent has found them in the kernel's types.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_probe_read_kernel, programs::TcContext};
use sg_common::kernel::{CHECKSUM_PARTIAL, access, skb};

use super::kernel_context;
use crate::{
    global_fns::{sg_lands, sg_marks},
    maps::constant,
};

/// Where the kernel has the members that are read here; see [`skb`].
#[unsafe(no_mangle)]
static SKB: [u32; skb::LEN] = [0; skb::LEN];

#[inline(always)]
pub(crate) fn place(of: usize) -> u32 {
    constant(&SKB[of])
}

/// Reads kernel memory; `None` where there is none.
#[inline(always)]
pub(crate) fn probe<T>(at: usize) -> Option<T> {
    // SAFETY: the helper reads valid memory only, and returns an error for other addresses.
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

/// Result of a look at a packet's metadata.
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
#[inline(always)]
pub(crate) fn probed_marks(ctx: *mut __sk_buff) -> u32 {
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

/// [`lands`] where the kernel lets programs read only by a helper.
#[inline(always)]
pub(crate) fn probed_lands(ctx: *mut __sk_buff) -> u32 {
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

/// Returns 1 if a packet was decrypted on its way in, after a program of ours had judged its outer
/// packet.
///
/// `olen` is 0 once the kernel has unpacked it (`xfrm_input`). A packet that a device or GRO
/// decrypts before TC sees it is marked in the first `ovec`.
#[inline(always)]
pub(crate) fn was_in_tunnel(ctx: *mut __sk_buff) -> u32 {
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
