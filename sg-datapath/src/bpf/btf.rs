//! Reads from the kernel's types (BTF, Documentation/bpf/btf.rst) where a program's own context has
//! its members, and whether programs may read them.
//!
//! aya reads them, too, but tells nobody the place of a member.

use memchr::memmem;
use sg_common::kernel::{self, XDP_BUFF_FLAGS, access, skb};

use super::syscall;

/// Facts about the kernel that programs get as constants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel {
    /// Number of the kernel's function `bpf_cast_to_kern_ctx` (kernel/bpf/helpers.c; from 6.2 on).
    /// `None` if the flags of a `struct xdp_buff` are not where the programs look for them, or if
    /// the kernel has no JIT: it takes no call of a function then.
    pub cast: Option<u32>,
    /// See [`skb`].
    pub skb: [u32; skb::LEN],
}

impl Kernel {
    pub fn ask() -> Self {
        let Ok(btf) = std::fs::read("/sys/kernel/btf/vmlinux") else { return Self::default() };
        let Some(types) = Types::read(&btf) else { return Self::default() };
        let cast = types.cast().filter(|number| gives_xdp_flags(*number));
        let mut skb = types.skb().unwrap_or_default();
        skb[skb::ACCESS] = access_to(&skb, cast);
        Self { cast, skb }
    }
}

/// BPF_LDX of `size` into r1 from `offset` of r0; size as in the instruction.
fn load(size: u64, offset: u32) -> u64 {
    size | 1 << 8 | u64::from(offset) << 16
}

const BYTE: u64 = 0x71;
const WORD: u64 = 0x61;
const LONG: u64 = 0x79;
const EXIT: u64 = 0x95;

/// r0 = the context; r0 = its flags; r0 = XDP_PASS; exit
fn gives_xdp_flags(cast: u32) -> bool {
    let flags = WORD | u64::from(XDP_BUFF_FLAGS) << 16;
    let trial = [u64::from_le_bytes(kernel::cast(cast)), flags, 0xb7 | 2 << 32, EXIT];
    syscall::load_program(syscall::PROG_TYPE_XDP, &trial).is_ok()
}

/// The best way to these places that the kernel takes.
fn access_to(skb: &[u32; skb::LEN], cast: Option<u32>) -> u32 {
    if skb[skb::CSUM] == 0 {
        return access::NONE;
    }
    let direct = cast.is_some_and(|cast| {
        let trial = [
            u64::from_le_bytes(kernel::cast(cast)),
            load(BYTE, skb[skb::SUMMED]),
            load(BYTE, skb[skb::ACTIVE]),
            load(WORD, skb[skb::CSUM]),
            load(LONG, skb[skb::HEAD]),
            load(LONG, skb[skb::HEAD] + 8),
            0xb7,
            EXIT,
        ];
        let mut trial = trial.to_vec();
        if skb[skb::ACTIVE] == 0 {
            trial.remove(2);
        }
        syscall::load_program(syscall::PROG_TYPE_SCHED_CLS, &trial).is_ok()
    });
    // r3 = r1 + an offset; r1 = r10 - 8; r2 = 8; bpf_probe_read_kernel; r0 = 0; exit
    let trial = [
        0xbf | 3 << 8 | 1 << 12,
        0x07 | 3 << 8 | u64::from(skb[skb::CSUM]) << 32,
        0xbf | 1 << 8 | 10 << 12,
        0x07 | 1 << 8 | 0xffff_fff8 << 32,
        0xb7 | 2 << 8 | 8 << 32,
        0x85 | 113 << 32,
        0xb7,
        EXIT,
    ];
    let probed = syscall::load_program(syscall::PROG_TYPE_SCHED_CLS, &trial).is_ok();
    match (direct, probed) {
        (true, true) => access::DIRECT,
        (true, false) => access::DIRECT_ONLY,
        (false, true) => access::PROBED,
        (false, false) => access::NONE,
    }
}

const MAGIC: u32 = 0xeb9f;

/// Kinds, as in include/uapi/linux/btf.h.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC: u32 = 12;

/// Bytes of a member of a structure: name, type, offset in bits.
const MEMBER: usize = 12;

struct Type<'b> {
    kind: u32,
    /// Place of its name.
    name: u32,
    /// The type's data behind its header; its form depends on the kind.
    more: &'b [u8],
}

/// All types of a kernel; they count from 1, 0 is void.
struct Types<'b> {
    types: Vec<Type<'b>>,
    strings: &'b [u8],
}

impl<'b> Types<'b> {
    /// Reads `btf`, which has the kernel's byte order. `None` where it is not understood.
    fn read(btf: &'b [u8]) -> Option<Self> {
        if word(btf, 0)? & 0xffff != MAGIC {
            return None;
        }
        let (mut rest, strings) = (section(btf, 8)?, section(btf, 16)?);
        let mut types = vec![Type { kind: 0, name: 0, more: &[] }];
        while !rest.is_empty() {
            types.push(next(&mut rest)?);
        }
        Some(Self { types, strings })
    }

    /// Place of a name.
    fn name(&self, wanted: &str) -> Option<u32> {
        let wanted = [b"\0", wanted.as_bytes(), b"\0"].concat();
        Some(memmem::find(self.strings, &wanted)? as u32 + 1)
    }

    fn number(&self, kind: u32, name: &str) -> Option<usize> {
        let name = self.name(name)?;
        self.types.iter().position(|one| (one.kind, one.name) == (kind, name))
    }

    /// Bits to a member of a structure.
    fn bits(&self, structure: &str, member: &str) -> Option<u32> {
        let number = self.number(STRUCT, structure)?;
        offset(&self.types, number, self.name(member)?, 1)
    }

    /// Bytes to it.
    fn bytes(&self, structure: &str, member: &str) -> Option<u32> {
        self.bits(structure, member).filter(|bits| bits % 8 == 0).map(|bits| bits / 8)
    }

    /// The value with this name in an enumeration.
    fn value(&self, enumeration: &str, name: &str) -> Option<u32> {
        let name = self.name(name)?;
        let values = &self.types[self.number(ENUM, enumeration)?].more;
        values
            .chunks_exact(8)
            .find_map(|value| (word(value, 0)? == name).then(|| word(value, 4))?)
    }

    /// Number of [`kernel::CAST`] here.
    fn cast(&self) -> Option<u32> {
        let number = self.number(FUNC, "bpf_cast_to_kern_ctx")?;
        (self.bytes("xdp_buff", "flags")? == XDP_BUFF_FLAGS).then_some(number as u32)
    }

    /// Where programs find the members of a packet's `struct sk_buff` that they read.
    fn skb(&self) -> Option<[u32; skb::LEN]> {
        let place = |member| self.bytes("sk_buff", member);
        let mut skb = [0; skb::LEN];
        let summed = self.bits("sk_buff", "ip_summed")?;
        (skb[skb::SUMMED], skb[skb::SUMMED_SHIFT]) = (summed / 8, summed % 8);
        skb[skb::CSUM] = place("csum_start")?;
        skb[skb::HEAD] = place("head")?;
        skb[skb::END] = place("end")?;
        skb[skb::GSO_TYPE] = self.bytes("skb_shared_info", "gso_type")?;
        skb[skb::INNER] = place("inner_transport_header")?;
        let as_expected = place("csum_offset")? == skb[skb::CSUM] + 2
            && place("data")? == skb[skb::HEAD] + 8
            && place("inner_network_header")? == skb[skb::INNER] + 2
            && place("inner_mac_header")? == skb[skb::INNER] + 4
            && skb[skb::SUMMED_SHIFT] <= 6;
        if !as_expected {
            return None;
        }
        // A kernel without IPsec has none of these.
        let _ = self.ipsec(&mut skb);
        Some(skb)
    }

    fn ipsec(&self, skb: &mut [u32; skb::LEN]) -> Option<()> {
        let active = self.bytes("sk_buff", "active_extensions")?;
        let number = self.value("skb_ext_id", "SKB_EXT_SEC_PATH")?;
        let extensions = self.bytes("sk_buff", "extensions")?;
        let offsets = self.bytes("skb_ext", "offset")?;
        let olen = self.bytes("sec_path", "olen")?;
        let flags = self.bytes("sec_path", "ovec")? + self.bytes("xfrm_offload", "flags")?;
        // One look of eight bytes has both.
        if number > 7 || active.abs_diff(skb[skb::SUMMED]) > 7 {
            return None;
        }
        skb[skb::EXTENSIONS] = extensions;
        skb[skb::SEC_PATH] = offsets + number;
        skb[skb::OLEN] = olen;
        skb[skb::OFFLOAD_FLAGS] = flags;
        skb[skb::ACTIVE_SHIFT] = number;
        skb[skb::ACTIVE] = active;
        Some(())
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// The section whose offset from the header's end, and length, the header has at `at`.
fn section(btf: &[u8], at: usize) -> Option<&[u8]> {
    let start = (word(btf, 4)? as usize).checked_add(word(btf, at)? as usize)?;
    btf.get(start..start.checked_add(word(btf, at + 4)? as usize)?)
}

/// Takes the first type off.
fn next<'b>(types: &mut &'b [u8]) -> Option<Type<'b>> {
    let (name, info) = (word(types, 0)?, word(types, 4)?);
    let (kind, count) = (info >> 24 & 31, info as usize & 0xffff);
    let more = match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // FUNC_PROTO
        ENUM | 13 => count * 8,
        // DATASEC, ENUM64
        STRUCT | UNION | 15 | 19 => count * MEMBER,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    };
    let (_, rest) = types.split_at_checked(12)?;
    let (more, rest) = rest.split_at_checked(more)?;
    *types = rest;
    Some(Type { kind, name, more })
}

/// Bits to the member called `wanted`, in structures and unions without a name, too, `depth` of them.
fn offset(types: &[Type<'_>], number: usize, wanted: u32, depth: u32) -> Option<u32> {
    let of = types.get(number).filter(|of| matches!(of.kind, STRUCT | UNION))?;
    of.more.chunks_exact(MEMBER).find_map(|member| {
        // The upper byte is the width of a bit field, where there are any.
        let (name, at) = (word(member, 0)?, word(member, 8)? & 0xff_ffff);
        if name == wanted {
            return Some(at);
        }
        let inner = (name == 0 && depth < 8).then_some(word(member, 4)? as usize)?;
        Some(at + offset(types, inner, wanted, depth + 1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sections of a BTF of these types and strings.
    fn btf(types: &[u32], strings: &str) -> Vec<u8> {
        let size = size_of_val(types) as u32;
        let head = [MAGIC | 1 << 16, 24, 0, size, size, strings.len() as u32];
        let words = head.iter().chain(types).flat_map(|word| word.to_ne_bytes());
        words.chain(strings.bytes()).collect()
    }

    /// Types of a kernel. 1: a word; 2: a struct with `flags` at `at` bytes; 3: `xdp_buff`, with 2
    /// at byte 48; 4: a function type; 5: the function.
    fn kernel(at: u32) -> Vec<u8> {
        let strings = "\0xdp_buff\0flags\0bpf_cast_to_kern_ctx\0";
        let types = [
            [0, 1 << 24, 4, 32].as_slice(),
            &[0, STRUCT << 24 | 1, 8, 10, 1, at * 8],
            &[1, STRUCT << 24 | 1, 56, 0, 2, 48 * 8],
            &[0, 13 << 24 | 1, 1, 0, 1],
            &[16, FUNC << 24, 4],
        ];
        btf(&types.concat(), strings)
    }

    fn find(btf: &[u8]) -> Option<u32> {
        Types::read(btf)?.cast()
    }

    #[test]
    fn a_function_counts_where_flags_are_in_their_place() {
        assert_eq!(find(&kernel(4)), Some(5));
        assert_eq!(find(&kernel(0)), None);
    }

    #[test]
    fn what_is_cut_short_is_no_answer() {
        let whole = kernel(4);
        assert!((0..whole.len()).all(|length| find(&whole[..length]).is_none()));
    }

    /// With its JIT, as every kernel that sg is tested on.
    #[test]
    fn this_kernel_has_it() {
        let known = std::fs::read_to_string("/proc/kallsyms").expect("proc is mounted");
        let is_there = known.lines().any(|line| line.ends_with(" bpf_cast_to_kern_ctx"));
        let kernel = Kernel::ask();
        assert_eq!(kernel.cast.is_some(), is_there);
        let way = if is_there { access::DIRECT } else { access::PROBED };
        assert_eq!(kernel.skb[skb::ACCESS], way, "{kernel:?}");
    }

    /// `next` and `prev` are first, and the members that we read lie behind the 48 bytes of `cb`.
    #[test]
    fn this_kernel_has_the_members() {
        let btf = std::fs::read("/sys/kernel/btf/vmlinux").expect("types");
        let found = Types::read(&btf).and_then(|types| types.skb()).expect("as expected");
        let members = [skb::SUMMED, skb::CSUM, skb::HEAD, skb::END, skb::INNER];
        assert!(members.iter().all(|member| (88..256).contains(&found[*member])), "{found:?}");
    }
}
