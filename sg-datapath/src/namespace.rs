//! Which network namespace pins are for. Interfaces have numbers, and every namespace has a number 2.

use std::{
    io,
    net::UdpSocket,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use crate::{attach::links, error::Error, maps::handover};

const SO_NETNS_COOKIE: libc::c_int = 71;

/// The number that the kernel gives this network namespace, once in a boot; 0 where it gives none.
pub fn cookie() -> u64 {
    ask().unwrap_or_else(|error| {
        tracing::debug!(%error, "the network namespace has no cookie");
        0
    })
}

fn ask() -> io::Result<u64> {
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let (mut cookie, mut length) = (0u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: both pointers are valid, and the kernel writes no more than the length says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Folders, of all ABIs, whose namespace is gone with all its devices.
///
/// # Errors
/// The pins in one of the folders filter interfaces of another namespace.
pub fn abandoned(dirs: &[PathBuf], ours: u64) -> Result<Vec<PathBuf>, Error> {
    let mut abandoned = Vec::new();
    for dir in dirs {
        let theirs = handover::namespace_of(&dir.join("maps"))?;
        let links = links::survey(&dir.join("links"));
        let is_another = theirs != 0 && ours != 0 && theirs != ours;
        // One whose agent did not note its namespace: a device of ours is proof that it is ours, too.
        let may_be_another = theirs == 0 && links.here == 0;
        if links.alive > 0 && (is_another || may_be_another) {
            return Err(refusal(dir));
        }
        if is_another {
            abandoned.push(dir.clone());
        }
    }
    Ok(abandoned)
}

fn refusal(dir: &Path) -> Error {
    let bpffs = dir.parent().unwrap_or(dir).display();
    Error::Other(format!(
        "what is pinned in {bpffs} filters interfaces of another network namespace: give this agent a \
         --bpffs of its own, or end that filter by `sg-agent detach --bpffs {bpffs}`"
    ))
}
