//! bpf(2) for tests and bench: runs of a program on frames (BPF_PROG_TEST_RUN), tail calls, and links
//! behind all others.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

use crate::bpf::syscall::{self, AttachType, Attr, MAP_CREATE, PROG_TEST_RUN};

const MAP_UPDATE_ELEM: u32 = 2;
const MAP_TYPE_PROG_ARRAY: u32 = 3;
/// A test run whose frames are real.
const F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;

/// A test run's result and frame.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    pub returned: u32,
    /// Whether it is, byte by byte, what it was.
    pub is_untouched: bool,
}

/// Runs an XDP program once on a frame of an interface. With `linear`, that many bytes are in the
/// linear part and the rest in fragments.
pub fn run_xdp(
    program: BorrowedFd<'_>,
    frame: &[u8],
    ifindex: u32,
    linear: Option<u32>,
) -> io::Result<Ran> {
    let end = linear.unwrap_or(frame.len() as u32);
    run(program, frame, &xdp_context(end, ifindex), 1)
}

/// Runs a TC program once on a frame of an interface.
pub fn run_skb(program: BorrowedFd<'_>, frame: &[u8], ifindex: u32, gso: bool) -> io::Result<Ran> {
    run(program, frame, &skb_context(ifindex, gso), 1)
}

/// Runs an XDP program many times on one frame of an interface, which it may change.
pub fn repeat_xdp(
    program: BorrowedFd<'_>,
    frame: &[u8],
    ifindex: u32,
    times: u32,
) -> io::Result<()> {
    run(program, frame, &xdp_context(frame.len() as u32, ifindex), times).map(drop)
}

/// The same for a TC program.
pub fn repeat_skb(
    program: BorrowedFd<'_>,
    frame: &[u8],
    ifindex: u32,
    times: u32,
) -> io::Result<()> {
    run(program, frame, &skb_context(ifindex, false), times).map(drop)
}

/// Runs an XDP program on that many frames that are real: what it redirects is sent. Nanoseconds that
/// each took, receiver included where that is a veth.
pub fn send_live(program: BorrowedFd<'_>, frame: &[u8], packets: u32) -> io::Result<u32> {
    /// At once, before those who receive them take their turn: a NAPI poll's worth.
    const BATCH: u32 = 64;
    let mut attr = Attr::new()
        .set(0, program.as_raw_fd() as u32)
        .set(2, frame.len() as u32)
        .set_long(4, frame.as_ptr() as u64)
        .set(8, packets)
        .set(16, F_TEST_XDP_LIVE_FRAMES)
        .set(18, BATCH);
    attr.call(PROG_TEST_RUN, 20)?;
    Ok(attr.0[9])
}

/// struct xdp_md, as above.
fn xdp_context(end: u32, ifindex: u32) -> [u32; 6] {
    [0, end, 0, ifindex, 0, 0]
}

/// struct __sk_buff: ifindex at byte 40, gso_size at 176.
fn skb_context(ifindex: u32, gso: bool) -> [u32; 48] {
    let mut context = [0u32; 48];
    context[10] = ifindex;
    context[44] = if gso { 1000 } else { 0 };
    context
}

/// BPF_PROG_TEST_RUN; the frame comes back as the program left it (bpf_test_finish in net/bpf/test_run.c).
fn run(program: BorrowedFd<'_>, frame: &[u8], context: &[u32], times: u32) -> io::Result<Ran> {
    let mut out = vec![0; frame.len()];
    let mut attr = Attr::new()
        .set(0, program.as_raw_fd() as u32)
        .set(2, frame.len() as u32)
        .set(3, out.len() as u32)
        .set_long(4, frame.as_ptr() as u64)
        .set_long(6, out.as_mut_ptr() as u64)
        .set(8, times)
        .set(10, size_of_val(context) as u32)
        .set_long(12, context.as_ptr() as u64);
    attr.call(PROG_TEST_RUN, 20)?;
    let is_untouched = attr.0[3] as usize == frame.len() && out == frame;
    Ok(Ran { returned: attr.0[1], is_untouched })
}

/// A map for tail calls, with this program at its index 0.
pub fn create_program_array(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let word = size_of::<u32>() as u32;
    let mut attr = Attr::new().set(0, MAP_TYPE_PROG_ARRAY).set(1, word).set(2, word).set(3, 1);
    let map = attr.call_for_fd(MAP_CREATE, 11)?;
    let (index, value) = (0u32, program.as_raw_fd() as u32);
    Attr::new()
        .set(0, map.as_raw_fd() as u32)
        .set_long(2, &raw const index as u64)
        .set_long(4, &raw const value as u64)
        .call(MAP_UPDATE_ELEM, 8)?;
    Ok(map)
}

/// Attaches a TC program to an interface, behind all others.
pub fn create_last_link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach: AttachType,
) -> io::Result<OwnedFd> {
    syscall::link(program, ifindex, attach, 0)
}
