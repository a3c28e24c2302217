//! clsact filters, for kernels before TCX (6.6): a rtnetlink message each.
//!
//! Filters are no links: they stay when the agent goes, and are known by priority and handle.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use super::inventory;

/// Our filters' priority: ahead of the others.
const PRIORITY: u32 = 1;
/// Our filters' handle, so that one is replaced rather than a second one added.
const HANDLE: u32 = 0x7367;
const NAME: &CStr = c"sg";
const ETH_P_ALL: u16 = 0x0003;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// The program's return value is the verdict.
const DIRECT_ACTION: u32 = 1;

/// Which way, from the kernel's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Receives,
    Sends,
}

impl Side {
    fn parent(self) -> u32 {
        match self {
            Self::Receives => 0xffff_fff2,
            Self::Sends => 0xffff_fff3,
        }
    }
}

/// A message under construction: nlmsghdr, tcmsg, attributes.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, ifindex: u32, handle: u32, parent: u32, info: u32) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([0; 4]);
        for word in [ifindex, handle, parent, info] {
            bytes.extend(word.to_ne_bytes());
        }
        Self(bytes)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend((value.len() as u16 + 4).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Sends the message and waits for the kernel's answer.
    fn send(mut self) -> io::Result<()> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        let socket = open()?;
        let mut answer = [0u8; 4096];
        // SAFETY: both buffers are valid for their lengths.
        let received = unsafe {
            if libc::send(socket.as_raw_fd(), self.0.as_ptr().cast(), self.0.len(), 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
        };
        if received < 20 {
            return Err(io::Error::last_os_error());
        }
        // nlmsghdr (16 bytes), then nlmsgerr.error.
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    // SAFETY: plain socket call.
    let socket = unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE)
    };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// A clsact qdisc, and whether it is new: one that is there already stays.
pub fn ensure_qdisc(ifindex: u32) -> io::Result<bool> {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let message = Message::new(RTM_NEWQDISC, flags, ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0)
        .attribute(TCA_KIND, b"clsact\0");
    match message.send() {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Removes a clsact qdisc with all that is in it.
pub fn remove_qdisc(ifindex: u32) -> io::Result<()> {
    let message = Message::new(RTM_DELQDISC, 0, ifindex, CLSACT_HANDLE, TC_H_CLSACT, 0);
    or_gone(message.attribute(TCA_KIND, b"clsact\0").send())
}

/// Priority and protocol as a filter message has them.
fn info() -> u32 {
    PRIORITY << 16 | u32::from(ETH_P_ALL.to_be())
}

/// Puts `program` in our filter's place, or adds it.
pub fn replace_filter(ifindex: u32, side: Side, program: BorrowedFd<'_>) -> io::Result<()> {
    let options = Message(Vec::new())
        .attribute(TCA_BPF_FD, &(program.as_raw_fd() as u32).to_ne_bytes())
        .attribute(TCA_BPF_NAME, NAME.to_bytes_with_nul())
        .attribute(TCA_BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    Message::new(RTM_NEWTFILTER, flags, ifindex, HANDLE, side.parent(), info())
        .attribute(TCA_KIND, b"bpf\0")
        .attribute(TCA_OPTIONS, &options.0)
        .send()
}

/// Number of the program that our filter runs; `None`: the filter is not there.
pub fn program_of_filter(ifindex: u32, side: Side) -> io::Result<Option<u32>> {
    let filters = inventory::filters(ifindex, side.parent())?;
    let ours = filters.iter().find(|filter| {
        (filter.priority, filter.handle) == (PRIORITY, HANDLE)
            && filter.name.as_bytes() == NAME.to_bytes()
    });
    Ok(ours.map(|filter| filter.program))
}

/// Removes our filter; no error if there is none, or no interface.
pub fn remove_filter(ifindex: u32, side: Side) -> io::Result<()> {
    let message = Message::new(RTM_DELTFILTER, 0, ifindex, HANDLE, side.parent(), info())
        .attribute(TCA_KIND, b"bpf\0");
    or_gone(message.send())
}

fn or_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENODEV | libc::EINVAL | libc::EOPNOTSUPP)
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}
