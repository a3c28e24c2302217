//! Small programs of ours that give a frame another source each time, and then hand it on: to a
//! program that is measured ([`super::stopwatch`]) or to an interface ([`super::generator`]).
//!
//! A source is computed from its number, with two multiplications and no look-up, so that making
//! it puts nothing into the caches that the measured program has to share.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use super::trial::Program;
use crate::bpf::syscall::{self, Mapping, PAGE};

/// Sources there can be: [`Sources::count`] at most.
pub const MOST: u32 = 1 << 29;

/// The senders of a frame's copies. Source number `i` has an address in 64.0.0.0/3, or in the /32
/// of the frame's IPv6 source, and a port from 32768 on. Addresses are scattered and differ from
/// each other.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// 1 to [`MOST`].
    pub count: u32,
    pub order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// 0, 1, 2 … and 0 again after the last.
    InTurn,
    /// Any next; a linear congruential generator's, which needs no helper call.
    Random,
}

/// The next step of a frame with its new source.
pub(super) enum NextAction<'a> {
    TailCall(BorrowedFd<'a>),
    Redirect(u32),
}

/// A loaded program that varies copies of a frame.
#[derive(Debug)]
pub(super) struct Varying {
    pub(super) program: OwnedFd,
    state: Mapping,
    _map: OwnedFd,
}

impl Varying {
    /// `frame` is Ethernet, IP without options or extension headers, and TCP or UDP.
    pub(super) fn load(
        program: Program,
        frame: &[u8],
        sources: Sources,
        next: &NextAction<'_>,
    ) -> io::Result<Self> {
        let map = syscall::create_map("position", PAGE as u32)?;
        let state = Mapping::new(map.as_fd(), 0, PAGE)?;
        let layout = Layout::of(frame).ok_or(io::ErrorKind::InvalidInput)?;
        let code = code(program, &layout, sources, map.as_fd(), next);
        let program = syscall::load_program(program_type(program), &code)?;
        Ok(Self { program, state, _map: map })
    }

    /// Begins again with the first source; of random ones, with those of this seed.
    pub(super) fn restart(&self, seed: u64) {
        // SAFETY: within the mapping; the program is not running now.
        unsafe { self.state.at::<u64>(0).write_volatile(seed) };
    }
}

pub(super) fn program_type(program: Program) -> u32 {
    match program {
        Program::Xdp => syscall::PROG_TYPE_XDP,
        Program::TcIn | Program::TcOut => syscall::PROG_TYPE_SCHED_CLS,
    }
}

/// Offsets in a frame, and one's complement sums (RFC 1071) of what stays the same.
struct Layout {
    ipv4: bool,
    transport: i16,
    /// Offset of the transport header's checksum.
    checksum: i16,
    /// Sum of the IPv4 header without its source.
    ip_sum: i32,
    /// Sum of pseudo header and transport without the source address and port.
    transport_sum: i32,
}

impl Layout {
    fn of(frame: &[u8]) -> Option<Self> {
        const ETHERNET: usize = 14;
        let ipv4 = match frame.get(12..14)? {
            [0x08, 0x00] => true,
            [0x86, 0xdd] => false,
            _ => return None,
        };
        let header = if ipv4 { 20 } else { 40 };
        let (ip, transport) = frame.get(ETHERNET..)?.split_at_checked(header)?;
        let (protocol, length, destination) = match ipv4 {
            true => (ip[9], u16::from_be_bytes([ip[2], ip[3]]) as usize - header, &ip[16..20]),
            false => (ip[6], u16::from_be_bytes([ip[4], ip[5]]) as usize, &ip[24..40]),
        };
        let transport = transport.get(..length)?;
        let checksum = match protocol {
            sg_common::flow::TCP => 16,
            sg_common::flow::UDP => 6,
            _ => return None,
        };
        let blank = |bytes: &[u8], blanks: &[std::ops::Range<usize>]| {
            let mut bytes = bytes.to_vec();
            blanks.iter().for_each(|range| bytes[range.clone()].fill(0));
            sum(&bytes)
        };
        Some(Self {
            ipv4,
            transport: (ETHERNET + header) as i16,
            checksum: (ETHERNET + header + checksum) as i16,
            ip_sum: if ipv4 { blank(ip, &[10..12, 12..16]) } else { 0 },
            transport_sum: blank(transport, &[0..2, checksum..checksum + 2])
                + sum(destination)
                + i32::from(protocol)
                + length as i32
                + if ipv4 { 0 } else { sum(&ip[8..12]) },
        })
    }
}

fn sum(bytes: &[u8]) -> i32 {
    let words = bytes.chunks(2).map(|pair| [pair[0], pair.get(1).copied().unwrap_or(0)]);
    words.map(|word| i32::from(u16::from_be_bytes(word))).sum()
}

/// One instruction (include/uapi/linux/bpf.h, struct bpf_insn).
pub(super) const fn instruction(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

fn code(
    program: Program,
    layout: &Layout,
    sources: Sources,
    state: BorrowedFd<'_>,
    next: &NextAction<'_>,
) -> Vec<u64> {
    use instruction as i;
    // Registers: 6 the context, 7 the frame, 9 the position.
    const MOVE: u8 = 0xbf;
    const MOVE_NUMBER: u8 = 0xb7;
    const ADD: u8 = 0x0f;
    const ADD_NUMBER: u8 = 0x07;
    const AND_NUMBER: u8 = 0x57;
    const OR_NUMBER: u8 = 0x47;
    const XOR_NUMBER: u8 = 0xa7;
    const MULTIPLY: u8 = 0x2f;
    const MULTIPLY32_NUMBER: u8 = 0x24;
    const SHIFT_RIGHT: u8 = 0x77;
    const TO_BIG_ENDIAN: u8 = 0xdc;
    const LOAD_WORD: u8 = 0x61;
    const LOAD_LONG: u8 = 0x79;
    const STORE_HALF: u8 = 0x6b;
    const STORE_WORD: u8 = 0x63;
    const STORE_LONG: u8 = 0x7b;
    const NUMBER: u8 = 0x18;
    const JUMP_GREATER: u8 = 0x2d;
    const JUMP_LESS_NUMBER: u8 = 0xa5;
    const JUMP_NOT_EQUAL_NUMBER: u8 = 0x55;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const TAIL_CALL: i32 = 12;
    const REDIRECT: i32 = 23;
    const PSEUDO_MAP_FD: u8 = 1;
    const PSEUDO_MAP_VALUE: u8 = 2;
    /// Knuth's MMIX.
    const FACTOR: u64 = 6_364_136_223_846_793_005;
    const INCREMENT: u64 = 1_442_695_040_888_963_407;
    /// Odd, so that multiplying by it scatters numbers and brings no two together.
    const SCATTER: i32 = 0x9e37_79b1_u32.cast_signed();

    let long = |register, number: u64| {
        [i(NUMBER, register, 0, 0, number as u32 as i32), (number >> 32) << 32]
    };
    // Carries come back in (RFC 1071), then the complement; 0 would say that there is no checksum.
    let checksum = |register: u8, offset: i16| {
        let carry = [
            i(MOVE, 2, register, 0, 0),
            i(SHIFT_RIGHT, 2, 0, 0, 16),
            i(AND_NUMBER, register, 0, 0, 0xffff),
            i(ADD, register, 2, 0, 0),
        ];
        let mut code = [carry, carry].concat();
        code.extend([
            i(XOR_NUMBER, register, 0, 0, 0xffff),
            i(JUMP_NOT_EQUAL_NUMBER, register, 0, 1, 0),
            i(MOVE_NUMBER, register, 0, 0, 0xffff),
            i(TO_BIG_ENDIAN, register, 0, 0, 16),
            i(STORE_HALF, 7, register, offset, 0),
        ]);
        code
    };
    // Adds the halves of a 32-bit word to a sum.
    let add_halves = |sum: u8, word: u8| {
        [
            i(MOVE, 2, word, 0, 0),
            i(SHIFT_RIGHT, 2, 0, 0, 16),
            i(ADD, sum, 2, 0, 0),
            i(MOVE, 2, word, 0, 0),
            i(AND_NUMBER, 2, 0, 0, 0xffff),
            i(ADD, sum, 2, 0, 0),
        ]
    };

    // struct xdp_md and struct __sk_buff: data, data_end.
    let (data, data_end) = match program {
        Program::Xdp => (0, 4),
        Program::TcIn | Program::TcOut => (76, 80),
    };
    let mut rest =
        vec![i(NUMBER, 9, PSEUDO_MAP_VALUE, 0, state.as_raw_fd()), 0, i(LOAD_LONG, 1, 9, 0, 0)];
    // 1: the source's number.
    match sources.order {
        Order::InTurn => rest.extend([
            i(MOVE, 2, 1, 0, 0),
            i(ADD_NUMBER, 2, 0, 0, 1),
            i(JUMP_LESS_NUMBER, 2, 0, 1, sources.count as i32),
            i(MOVE_NUMBER, 2, 0, 0, 0),
            i(STORE_LONG, 9, 2, 0, 0),
        ]),
        Order::Random => {
            rest.extend(long(2, FACTOR));
            rest.push(i(MULTIPLY, 1, 2, 0, 0));
            rest.extend(long(2, INCREMENT));
            rest.extend([
                i(ADD, 1, 2, 0, 0),
                i(STORE_LONG, 9, 1, 0, 0),
                i(SHIFT_RIGHT, 1, 0, 0, 32),
                i(MOVE_NUMBER, 2, 0, 0, sources.count as i32),
                i(MULTIPLY, 1, 2, 0, 0),
                i(SHIFT_RIGHT, 1, 0, 0, 32),
            ]);
        }
    }
    // 8: the address, or its second word; 5: the port; 4: the transport's sum.
    rest.extend([
        i(MOVE, 8, 1, 0, 0),
        i(MULTIPLY32_NUMBER, 8, 0, 0, SCATTER),
        i(MOVE, 5, 8, 0, 0),
        i(SHIFT_RIGHT, 5, 0, 0, 13),
        i(AND_NUMBER, 5, 0, 0, 0x7fff),
        i(OR_NUMBER, 5, 0, 0, 0x8000),
        i(MOVE_NUMBER, 4, 0, 0, layout.transport_sum),
        i(ADD, 4, 5, 0, 0),
    ]);
    if layout.ipv4 {
        rest.extend([
            i(AND_NUMBER, 8, 0, 0, 0x1fff_ffff),
            i(OR_NUMBER, 8, 0, 0, 0x4000_0000),
            i(MOVE_NUMBER, 3, 0, 0, layout.ip_sum),
        ]);
        rest.extend(add_halves(3, 8));
        rest.extend(add_halves(4, 8));
        rest.extend(checksum(3, 14 + 10));
    } else {
        // The low half: the second word again, then the number.
        rest.extend(add_halves(4, 8));
        rest.extend(add_halves(4, 8));
        rest.extend(add_halves(4, 1));
        rest.extend([i(TO_BIG_ENDIAN, 1, 0, 0, 32), i(STORE_WORD, 7, 1, 14 + 8 + 12, 0)]);
    }
    rest.extend(checksum(4, layout.checksum));
    rest.push(i(TO_BIG_ENDIAN, 8, 0, 0, 32));
    if layout.ipv4 {
        rest.push(i(STORE_WORD, 7, 8, 14 + 12, 0));
    } else {
        rest.extend([i(STORE_WORD, 7, 8, 14 + 8 + 4, 0), i(STORE_WORD, 7, 8, 14 + 8 + 8, 0)]);
    }
    rest.extend([i(TO_BIG_ENDIAN, 5, 0, 0, 16), i(STORE_HALF, 7, 5, layout.transport, 0)]);
    match next {
        NextAction::TailCall(calls) => rest.extend([
            i(MOVE, 1, 6, 0, 0),
            i(NUMBER, 2, PSEUDO_MAP_FD, 0, calls.as_raw_fd()),
            0,
            i(MOVE_NUMBER, 3, 0, 0, 0),
            i(CALL, 0, 0, 0, TAIL_CALL),
        ]),
        NextAction::Redirect(ifindex) => rest.extend([
            i(MOVE_NUMBER, 1, 0, 0, ifindex.cast_signed()),
            i(MOVE_NUMBER, 2, 0, 0, 0),
            i(CALL, 0, 0, 0, REDIRECT),
            i(EXIT, 0, 0, 0, 0),
        ]),
    }
    let needed = i32::from(layout.checksum.max(layout.transport)) + 2;
    let mut code = vec![
        i(MOVE, 6, 1, 0, 0),
        i(LOAD_WORD, 7, 6, data, 0),
        i(LOAD_WORD, 8, 6, data_end, 0),
        i(MOVE, 2, 7, 0, 0),
        i(ADD_NUMBER, 2, 0, 0, needed),
        i(JUMP_GREATER, 2, 8, rest.len() as i16, 0),
    ];
    code.append(&mut rest);
    code.extend([i(MOVE_NUMBER, 0, 0, 0, 0), i(EXIT, 0, 0, 0, 0)]);
    code
}
