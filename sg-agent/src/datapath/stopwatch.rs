//! What a program costs: test runs (BPF_PROG_TEST_RUN) that give it another packet each time. For
//! the tests and the bench.
//!
//! The kernel repeats a test run with one and the same frame, whose rules and flows would soon be in
//! the innermost cache. So a small program of ours goes first: it writes random addresses and ports
//! into the frame and tail-calls the program that is measured.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use sg_common::Family;

use super::{Datapath, sys, trial::Program};

/// A program behind one that varies the packets.
#[derive(Debug)]
pub struct Stopwatch {
    varying: OwnedFd,
    /// Keeps the program that is called.
    _calls: OwnedFd,
    program: Program,
    ifindex: u32,
    frame: Vec<u8>,
}

impl Datapath {
    /// A program that is to judge copies of `frame` (no VLAN tags, no options) on an interface, with
    /// random sources and ports: any in 11.0.0.0 to 138.255.255.255, any second half of the first 64
    /// bits.
    ///
    /// # Errors
    /// What the kernel says to the program in front.
    pub fn stopwatch(
        &self,
        program: Program,
        family: Family,
        ifindex: u32,
        frame: &[u8],
    ) -> io::Result<Stopwatch> {
        let measured = match program {
            Program::Xdp => self.programs.xdp(),
            Program::TcIn => self.programs.tc_in(),
            Program::TcOut => self.programs.tc_out(),
        };
        Stopwatch::new(measured, program, family, ifindex, frame)
    }

    /// The same of a program that does nothing, for what the measuring itself costs.
    ///
    /// # Errors
    /// As above.
    pub fn stopwatch_of_nothing(
        &self,
        program: Program,
        family: Family,
        ifindex: u32,
        frame: &[u8],
    ) -> io::Result<Stopwatch> {
        // r0 = 1; exit
        let nothing = sys::load_program(program_type(program), &[0xb7 | 1 << 32, 0x95])?;
        Stopwatch::new(nothing.as_fd(), program, family, ifindex, frame)
    }
}

impl Stopwatch {
    fn new(
        measured: BorrowedFd<'_>,
        program: Program,
        family: Family,
        ifindex: u32,
        frame: &[u8],
    ) -> io::Result<Self> {
        let calls = sys::create_program_array(measured)?;
        let code = varying(program, family, calls.as_fd());
        let varying = sys::load_program(program_type(program), &code)?;
        Ok(Self { varying, _calls: calls, program, ifindex, frame: frame.to_vec() })
    }

    /// Nanoseconds that a packet took, as the kernel measured it over `packets` of them.
    ///
    /// # Errors
    /// What the kernel does not take.
    pub fn run(&self, packets: u32) -> io::Result<u32> {
        let (varying, frame) = (self.varying.as_fd(), &self.frame[..]);
        match self.program {
            Program::Xdp => sys::time_xdp(varying, frame, self.ifindex, packets),
            Program::TcIn | Program::TcOut => sys::time_skb(varying, frame, self.ifindex, packets),
        }
    }
}

fn program_type(program: Program) -> u32 {
    match program {
        Program::Xdp => sys::PROG_TYPE_XDP,
        Program::TcIn | Program::TcOut => sys::PROG_TYPE_SCHED_CLS,
    }
}

/// One instruction (include/uapi/linux/bpf.h, struct bpf_insn).
const fn instruction(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

fn varying(program: Program, family: Family, calls: BorrowedFd<'_>) -> Vec<u64> {
    use std::os::fd::AsRawFd;

    use instruction as i;
    // Registers: 6 the context, 7 the frame.
    const MOVE: u8 = 0xbf;
    const MOVE_NUMBER: u8 = 0xb7;
    const ADD_NUMBER: u8 = 0x07;
    const AND_NUMBER: u8 = 0x57;
    const LOAD_WORD: u8 = 0x61;
    const STORE_WORD: u8 = 0x63;
    const STORE_BYTE: u8 = 0x73;
    const LOAD_LONG: u8 = 0x18;
    const JUMP_GREATER: u8 = 0x2d;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const GET_PRANDOM_U32: i32 = 7;
    const TAIL_CALL: i32 = 12;
    const PSEUDO_MAP_FD: u8 = 1;

    // struct xdp_md and struct __sk_buff: data, data_end.
    let (data, data_end) = match program {
        Program::Xdp => (0, 4),
        Program::TcIn | Program::TcOut => (76, 80),
    };
    // Behind the Ethernet header: the source address (of IPv6, its second word), the ports.
    let (address, ports) = match family {
        Family::V4 => (14 + 12, 14 + 20),
        Family::V6 => (14 + 8 + 4, 14 + 40),
    };
    let mut code = vec![
        i(MOVE, 6, 1, 0, 0),
        i(LOAD_WORD, 7, 6, data, 0),
        i(LOAD_WORD, 8, 6, data_end, 0),
        i(MOVE, 2, 7, 0, 0),
        i(ADD_NUMBER, 2, 0, 0, i32::from(ports) + 4),
    ];
    let mut rest = vec![
        i(CALL, 0, 0, 0, GET_PRANDOM_U32),
        i(STORE_WORD, 7, 0, ports, 0),
        i(CALL, 0, 0, 0, GET_PRANDOM_U32),
        i(STORE_WORD, 7, 0, address, 0),
    ];
    if family == Family::V4 {
        rest.extend([
            i(AND_NUMBER, 0, 0, 0, 0x7f),
            i(ADD_NUMBER, 0, 0, 0, 11),
            i(STORE_BYTE, 7, 0, address, 0),
        ]);
    }
    rest.extend([
        i(MOVE, 1, 6, 0, 0),
        i(LOAD_LONG, 2, PSEUDO_MAP_FD, 0, calls.as_raw_fd()),
        0,
        i(MOVE_NUMBER, 3, 0, 0, 0),
        i(CALL, 0, 0, 0, TAIL_CALL),
    ]);
    code.push(i(JUMP_GREATER, 2, 8, rest.len() as i16, 0));
    code.append(&mut rest);
    code.extend([i(MOVE_NUMBER, 0, 0, 0, 0), i(EXIT, 0, 0, 0, 0)]);
    code
}
