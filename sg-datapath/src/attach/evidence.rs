//! Whether a link or filter of ours is on the device that has a number in this network namespace now.
//!
//! A number alone proves nothing: a new device may have an old one's, and a link follows its device into another
//! namespace, where that may keep its number. The hook is found by namespace and number, and it names the
//! link that is on it. A link lives as long as its device, so it is also what tells a device from a later one.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use super::{
    clsact::{self, Side},
    inventory::xdp_programs_of,
};
use crate::bpf::syscall::{self, AttachType, LinkInfo};

/// Programs that the kernel shows on XDP, by interface: of one, or of all.
pub type XdpPrograms = [(u32, u32)];

/// Where a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// On the device that has the number here.
    Here,
    /// Its device is gone, or it was taken off.
    Detached,
    /// On a device with another number.
    On(u32),
    /// On a device with this number in another network namespace.
    Elsewhere,
}

/// Where a link is that was made for interface `ifindex`.
pub fn find(link: LinkInfo, ifindex: u32, attach: AttachType) -> io::Result<Found> {
    match link.ifindex {
        None => return Ok(Found::Detached),
        Some(other) if other != ifindex => return Ok(Found::On(other)),
        Some(_) => {}
    }
    let is_here = match attach {
        AttachType::Xdp => runs_xdp(&xdp_programs_of(ifindex)?, ifindex, link.program),
        AttachType::TcxIngress | AttachType::TcxEgress => {
            syscall::tcx_programs(ifindex, attach)?.iter().any(|found| found.link == link.id)
        }
    };
    Ok(if is_here { Found::Here } else { Found::Elsewhere })
}

pub fn runs_xdp(programs: &XdpPrograms, ifindex: u32, program: u32) -> bool {
    programs.contains(&(ifindex, program))
}

/// Whether a link is on the device that has `ifindex` here. No, where the kernel does not answer.
pub fn is_here(link: BorrowedFd<'_>, ifindex: u32, attach: AttachType) -> bool {
    syscall::link_info(link).and_then(|link| find(link, ifindex, attach)).ok() == Some(Found::Here)
}

/// The same of a pinned link.
pub fn pin_is_here(pin: &Path, ifindex: u32, attach: AttachType) -> bool {
    syscall::get_pinned(pin).is_ok_and(|link| is_here(link.as_fd(), ifindex, attach))
}

/// Whether an interface has a clsact filter of ours.
pub fn has_our_filter(ifindex: u32) -> bool {
    [Side::Receives, Side::Sends]
        .into_iter()
        .any(|side| clsact::program_of_filter(ifindex, side).is_ok_and(|found| found.is_some()))
}
