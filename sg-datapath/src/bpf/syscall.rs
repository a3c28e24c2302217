//! bpf(2), for operations that aya does not have: maps of one large element with mmap, links by
//! ifindex with pins of our own, link updates, test runs. Layouts are those of
//! include/uapi/linux/bpf.h.

use std::{
    ffi::CString,
    io,
    mem::size_of,
    os::fd::{AsFd as _, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::retry;

pub(crate) const MAP_CREATE: u32 = 0;
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
pub(crate) const PROG_TEST_RUN: u32 = 10;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

const MAP_TYPE_ARRAY: u32 = 2;
pub const PROG_TYPE_SCHED_CLS: u32 = 3;
pub const PROG_TYPE_XDP: u32 = 6;
const F_MMAPABLE: u32 = 1 << 10;
/// XDP: takes frames of several buffers. Only such a program may tail-call ours.
const F_XDP_HAS_FRAGS: u32 = 1 << 5;
/// Attach before all others.
const F_BEFORE: u32 = 1 << 3;

/// Where a link attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachType {
    Xdp = 37,
    TcxIngress = 46,
    TcxEgress = 47,
}

/// XDP in the driver, never the slow generic mode.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The largest attribute used, padded: the kernel accepts longer ones whose rest is zero.
#[repr(C, align(8))]
pub(crate) struct Attr(pub(crate) [u32; 32]);

impl Attr {
    pub(crate) fn new() -> Self {
        Self([0; 32])
    }

    pub(crate) fn set(mut self, at: usize, value: u32) -> Self {
        self.0[at] = value;
        self
    }

    /// A 64-bit field at the word offset `at`.
    pub(crate) fn set_long(mut self, at: usize, value: u64) -> Self {
        self.0[at] = value as u32;
        self.0[at + 1] = (value >> 32) as u32;
        self
    }

    pub(crate) fn call(&mut self, command: u32, words: usize) -> io::Result<i32> {
        // SAFETY: the attribute is valid for `words` words, and pointers in it are to live memory
        // of the callers.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, command, self.0.as_mut_ptr(), words * size_of::<u32>())
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
    }

    pub(crate) fn call_for_fd(&mut self, command: u32, words: usize) -> io::Result<OwnedFd> {
        let fd = self.call(command, words)?;
        // SAFETY: the kernel has just given us this descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Creates an array map with one element of `size` bytes that can be mapped.
pub fn create_map(name: &str, size: u32) -> io::Result<OwnedFd> {
    let mut attr = Attr::new()
        .set(0, MAP_TYPE_ARRAY)
        .set(1, size_of::<u32>() as u32)
        .set(2, size)
        .set(3, 1)
        .set(4, F_MMAPABLE);
    // map_name at byte 28: up to 15 bytes.
    for (i, byte) in name.bytes().take(15).enumerate() {
        attr.0[7 + i / 4] |= u32::from(byte) << (i % 4 * 8);
    }
    attr.call_for_fd(MAP_CREATE, 11)
}

/// Size of a map's elements in bytes.
pub fn map_value_size(map: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(info::<10>(map)?[3])
}

/// First words of an object's info.
fn info<const N: usize>(object: BorrowedFd<'_>) -> io::Result<[u32; N]> {
    let mut info = [0u32; N];
    let mut attr = Attr::new()
        .set(0, object.as_raw_fd() as u32)
        .set(1, size_of_val(&info) as u32)
        .set_long(2, info.as_mut_ptr() as u64);
    attr.call(OBJ_GET_INFO_BY_FD, 4)?;
    Ok(info)
}

/// An XDP or TCX link.
#[derive(Clone, Copy, Debug)]
pub struct LinkInfo {
    pub id: u32,
    pub program: u32,
    /// In the device's own network namespace; `None` when the device is gone.
    pub ifindex: Option<u32>,
}

pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // struct bpf_link_info: type, id, prog_id, padding, then xdp.ifindex or tcx.ifindex.
    let info = info::<8>(link)?;
    Ok(LinkInfo { id: info[1], program: info[2], ifindex: (info[4] != 0).then_some(info[4]) })
}

/// A loaded program's number in the kernel.
pub fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    // struct bpf_prog_info: type, id.
    Ok(info::<2>(program)?[1])
}

/// Name of a program, which may be empty.
pub fn program_name(id: u32) -> io::Result<String> {
    let program = Attr::new().set(0, id).call_for_fd(PROG_GET_FD_BY_ID, 3)?;
    // The name is at byte 64 of struct bpf_prog_info: 16 bytes, terminated.
    let info = info::<20>(program.as_fd())?;
    let bytes = info[16..].iter().flat_map(|word| word.to_ne_bytes());
    let name: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// A program on a TCX hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcxProgram {
    pub program: u32,
    /// 0: attached without a link.
    pub link: u32,
}

/// The programs on a TCX hook of an interface of this network namespace, in the order that they
/// run.
pub fn tcx_programs(ifindex: u32, attach: AttachType) -> io::Result<Vec<TcxProgram>> {
    /// As many as the kernel runs there (BPF_MPROG_MAX).
    const MOST: usize = 64;
    let (mut programs, mut links) = ([0u32; MOST], [0u32; MOST]);
    let mut attr = Attr::new()
        .set(0, ifindex)
        .set(1, attach as u32)
        .set_long(4, programs.as_mut_ptr() as u64)
        .set(6, MOST as u32)
        .set_long(10, links.as_mut_ptr() as u64);
    attr.call(PROG_QUERY, 16)?;
    let count = (attr.0[6] as usize).min(MOST);
    let found = programs.into_iter().zip(links).take(count);
    Ok(found.map(|(program, link)| TcxProgram { program, link }).collect())
}

fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

pub fn pin(object: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
    let at = path(at)?;
    Attr::new()
        .set_long(0, at.as_ptr() as u64)
        .set(2, object.as_raw_fd() as u32)
        .call(OBJ_PIN, 4)
        .map(drop)
}

pub fn get_pinned(at: &Path) -> io::Result<OwnedFd> {
    let at = path(at)?;
    Attr::new().set_long(0, at.as_ptr() as u64).call_for_fd(OBJ_GET, 4)
}

/// Attaches a program to an interface, before all others.
pub fn create_link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach: AttachType,
) -> io::Result<OwnedFd> {
    let flags = match attach {
        AttachType::Xdp => XDP_FLAGS_DRV_MODE,
        AttachType::TcxIngress | AttachType::TcxEgress => F_BEFORE,
    };
    link(program, ifindex, attach, flags)
}

pub(crate) fn link(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach: AttachType,
    flags: u32,
) -> io::Result<OwnedFd> {
    Attr::new()
        .set(0, program.as_raw_fd() as u32)
        .set(1, ifindex)
        .set(2, attach as u32)
        .set(3, flags)
        .call_for_fd(LINK_CREATE, 8)
}

/// Puts another program in a link's place, without a packet between them.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    Attr::new()
        .set(0, link.as_raw_fd() as u32)
        .set(1, program.as_raw_fd() as u32)
        .call(LINK_UPDATE, 4)
        .map(drop)
}

/// Takes a link's program off its interface, now: a link whose last pin goes ends some time after.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    Attr::new().set(0, link.as_raw_fd() as u32).call(LINK_DETACH, 1).map(drop)
}

/// Result of a test run of an XDP program.
#[derive(Debug)]
pub struct TestRun {
    pub retval: u32,
    /// Metadata and packet as the program left them.
    pub data: Vec<u8>,
}

/// Runs an XDP program once on `data`, whose first `meta` bytes are metadata.
pub fn test_run_xdp(program: BorrowedFd<'_>, data: &[u8], meta: u32) -> io::Result<TestRun> {
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let mut context = [meta, data.len() as u32, 0, 0, 0, 0u32];
    let mut out = vec![0u8; data.len()];
    let mut attr = Attr::new()
        .set(0, program.as_raw_fd() as u32)
        .set(2, data.len() as u32)
        .set(3, out.len() as u32)
        .set_long(4, data.as_ptr() as u64)
        .set_long(6, out.as_mut_ptr() as u64)
        .set(8, 1);
    if meta > 0 {
        attr = attr.set(10, size_of_val(&context) as u32).set_long(12, context.as_mut_ptr() as u64);
    }
    attr.call(PROG_TEST_RUN, 20)?;
    Ok(TestRun { retval: attr.0[1], data: out })
}

/// Loads a program of plain instructions.
pub fn load_program(program_type: u32, instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attr = Attr::new()
        .set(0, program_type)
        .set(1, instructions.len() as u32)
        .set_long(2, instructions.as_ptr() as u64)
        .set_long(4, license.as_ptr() as u64)
        .set(11, if program_type == PROG_TYPE_XDP { F_XDP_HAS_FRAGS } else { 0 })
        // As aya loads ours; a tail call between different ones is refused.
        .set(17, if program_type == PROG_TYPE_XDP { AttachType::Xdp as u32 } else { 0 });
    retry::load(|| attr.call_for_fd(PROG_LOAD, 18))
}

/// Part of a map's element in our memory.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: plain shared memory; all access is by volatile or atomic operations on raw pointers.
unsafe impl Send for Mapping {}

/// Mappings start at multiples of this.
pub const PAGE: usize = 4096;

impl Mapping {
    /// Maps `len` bytes of the element from `offset`, a multiple of [`PAGE`].
    pub fn new(map: BorrowedFd<'_>, offset: usize, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping of our own, at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), len })
    }

    /// Pointer to a `T` at `offset` bytes.
    pub fn at<T>(&self, offset: usize) -> *mut T {
        assert!(
            offset + size_of::<T>() <= self.len && offset.is_multiple_of(align_of::<T>()),
            "offset {offset} in a mapping of {} bytes",
            self.len
        );
        // SAFETY: within the mapping, as just checked.
        unsafe { self.start.add(offset).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nobody keeps pointers into it.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Waits until every program run that began before has ended.
///
/// `MEMBARRIER_CMD_GLOBAL` is synchronize_rcu() (kernel/sched/membarrier.c). Where it is not to be
/// had (nohz_full), a second is waited, far longer than a program can run.
pub fn wait_for_programs() {
    const CMD_GLOBAL: i32 = 1;
    // SAFETY: the call takes no pointers.
    if unsafe { libc::syscall(libc::SYS_membarrier, CMD_GLOBAL, 0, 0) } != 0 {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
