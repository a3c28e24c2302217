//! What an XDP program looks at in the kernel's own context, where it can be had.
//!
//! The kernel function `bpf_cast_to_kern_ctx` (kernel/bpf/helpers.c, from 6.2 on) gives it, without a call:
//! the verifier makes a move of it. Its number differs from kernel to kernel.

/// Offset of `flags` in `struct xdp_buff` (include/net/xdp.h).
pub const XDP_BUFF_FLAGS: u32 = 52;

/// `XDP_FLAGS_HAS_FRAGS`: the frame has more buffers than the linear one.
pub const HAS_FRAGS: u32 = 1;

/// The function's number in the object, which the agent replaces.
pub const CAST: u32 = 0x7367_6374;

/// A call of the function with this number (struct bpf_insn, BPF_PSEUDO_KFUNC_CALL).
pub const fn cast(number: u32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    [0x85, 0x20, 0, 0, a, b, c, d]
}

/// What stands in its place where there is none: `r0 = 0`.
pub const NO_CAST: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];
