//! What the kernel's types (BTF, Documentation/bpf/btf.rst) say of an XDP program's own context.
//!
//! aya reads them, too, but tells nobody the place of a member.

use memchr::memmem;
use sg_common::kernel::{self, XDP_BUFF_FLAGS};

use super::syscall;

/// Number of the kernel's function `bpf_cast_to_kern_ctx` (kernel/bpf/helpers.c; from 6.2 on), if the
/// flags of a `struct xdp_buff` are where the programs look for them, and if they may: a kernel without
/// its JIT takes no call of a function.
pub fn cast_to_kern_ctx() -> Option<u32> {
    let number = find(&std::fs::read("/sys/kernel/btf/vmlinux").ok()?)?;
    // r0 = the context; r0 = its flags; r0 = XDP_PASS; exit
    let flags = 0x61 | u64::from(XDP_BUFF_FLAGS) << 16;
    let trial = [u64::from_le_bytes(kernel::cast(number)), flags, 0xb7 | 2 << 32, 0x95];
    syscall::load_program(syscall::PROG_TYPE_XDP, &trial).ok()?;
    Some(number)
}

const MAGIC: u32 = 0xeb9f;

/// Kinds, as in include/uapi/linux/btf.h.
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FUNC: u32 = 12;

/// Bytes of a member of a structure: name, type, offset in bits.
const MEMBER: usize = 12;

struct Type<'b> {
    kind: u32,
    /// Place of its name.
    name: u32,
    /// What the kind has besides.
    more: &'b [u8],
}

/// In `btf`, which has the kernel's byte order. `None` also where it is not understood.
fn find(btf: &[u8]) -> Option<u32> {
    if word(btf, 0)? & 0xffff != MAGIC {
        return None;
    }
    let (mut rest, strings) = (section(btf, 8)?, section(btf, 16)?);
    let name = |wanted: &str| {
        let wanted = [b"\0", wanted.as_bytes(), b"\0"].concat();
        Some(memmem::find(strings, &wanted)? as u32 + 1)
    };
    let (cast, buff, flags) = (name("bpf_cast_to_kern_ctx")?, name("xdp_buff")?, name("flags")?);
    // Types count from 1; 0 is void.
    let mut types = vec![Type { kind: 0, name: 0, more: &[] }];
    while !rest.is_empty() {
        types.push(next(&mut rest)?);
    }
    let number = |kind, name| types.iter().position(|one| (one.kind, one.name) == (kind, name));
    let place = offset(&types, number(STRUCT, buff)?, flags, 1)?;
    (place == XDP_BUFF_FLAGS * u8::BITS).then_some(number(FUNC, cast)? as u32)
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
        // ENUM, FUNC_PROTO
        6 | 13 => count * 8,
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
        let inner = (name == 0 && depth < 4).then_some(word(member, 4)? as usize)?;
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

    /// 1: a word; 2: what has `flags` at `at` bytes; 3: `xdp_buff`, with 2 at byte 48; 4: a function type;
    /// 5: the function.
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
        assert_eq!(cast_to_kern_ctx().is_some(), is_there);
    }
}
