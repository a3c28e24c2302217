//! Fields that programs read in the kernel's own context, where the kernel gives it.
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

/// The instruction for kernels without that function: `r0 = 0`.
pub const NO_CAST: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

/// Where a TC program finds the members of a `struct sk_buff` that it reads: indices into its
/// constant `SKB`. Offsets are in bytes; the agent takes them from the kernel's types (BTF).
pub mod skb {
    /// How it reads, see [`super::access`].
    pub const ACCESS: usize = 0;
    /// The byte with `ip_summed`, and the shift to it.
    pub const SUMMED: usize = 1;
    pub const SUMMED_SHIFT: usize = 2;
    /// `csum_start`, then `csum_offset`: 16 bits each.
    pub const CSUM: usize = 3;
    /// `head`, then `data`: pointers.
    pub const HEAD: usize = 4;
    /// `end`, as an offset from `head`: 32 bits.
    pub const END: usize = 5;
    /// `gso_type` in `struct skb_shared_info`.
    pub const GSO_TYPE: usize = 6;
    /// `inner_transport_header`, `inner_network_header`, `inner_mac_header`: 16 bits each.
    pub const INNER: usize = 7;
    /// The byte `active_extensions`, and the shift to the bit of IPsec's; 0: the kernel has none.
    pub const ACTIVE: usize = 8;
    pub const ACTIVE_SHIFT: usize = 9;
    /// The pointer `extensions`.
    pub const EXTENSIONS: usize = 10;
    /// The byte in `struct skb_ext` that says where the `struct sec_path` is.
    pub const SEC_PATH: usize = 11;
    /// `olen` of a `struct sec_path`.
    pub const OLEN: usize = 12;
    /// `flags` of its first `struct xfrm_offload`.
    pub const OFFLOAD_FLAGS: usize = 13;

    pub const LEN: usize = 14;
}

/// Values of [`skb::ACCESS`].
pub mod access {
    /// The kernel allows no way.
    pub const NONE: u32 = 0;
    /// In place, by the kernel's own context; what few packets need, by `bpf_probe_read_kernel`.
    pub const DIRECT: u32 = 1;
    /// All of it by `bpf_probe_read_kernel`: Linux 6.1.
    pub const PROBED: u32 = 2;
    /// By the kernel's own context only, because lockdown forbids the helper.
    pub const DIRECT_ONLY: u32 = 3;
}

/// `CHECKSUM_PARTIAL` (include/linux/skbuff.h): the kernel or the device has yet to write a checksum.
pub const CHECKSUM_PARTIAL: u32 = 3;

/// Bits of `gso_type` (include/linux/skbuff.h), the same in every kernel from 4.18 on.
pub mod gso {
    pub const TCPV4: u32 = 1 << 0;
    pub const TCPV6: u32 = 1 << 4;
    pub const FCOE: u32 = 1 << 5;
    pub const GRE: u32 = 1 << 6;
    pub const GRE_CSUM: u32 = 1 << 7;
    pub const IPXIP4: u32 = 1 << 8;
    pub const IPXIP6: u32 = 1 << 9;
    pub const UDP_TUNNEL: u32 = 1 << 10;
    pub const UDP_TUNNEL_CSUM: u32 = 1 << 11;
    pub const SCTP: u32 = 1 << 14;
    pub const ESP: u32 = 1 << 15;
    /// A datagram that is to be fragmented.
    pub const UDP: u32 = 1 << 16;
    /// A datagram that is to become several.
    pub const UDP_L4: u32 = 1 << 17;

    /// Kinds of a packet's innermost segments.
    pub const KINDS: u32 = TCPV4 | TCPV6 | FCOE | SCTP | UDP | UDP_L4;
    /// Kinds of tunnels around the segments.
    pub const TUNNELS: u32 = GRE | GRE_CSUM | IPXIP4 | IPXIP6 | UDP_TUNNEL | UDP_TUNNEL_CSUM | ESP;
}
