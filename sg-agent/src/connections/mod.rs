//! Connections that the kernel knows of, whatever filters them: its own sockets, and its conntrack.
//!
//! A filter that starts on a busy host has seen none of their packets. Both are read by netlink dumps,
//! in a bounded time.

mod conntrack;
mod sockets;

use std::net::SocketAddr;

use sg_common::flow::{TCP, UDP};
pub use sg_datapath::{Phase, netlink::Deadline};

pub use self::{
    conntrack::{Tracked, tracked},
    sockets::{Socket, Sockets, sockets},
};

/// Addresses as packets have them: one of IPv4 that an IPv6 socket uses is one of IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Transport protocols whose sockets are looked at.
const PROTOCOLS: [u8; 2] = [TCP, UDP];
