//! Connections that the kernel knows of, whatever filters them: its own sockets, and its conntrack.
//!
//! A filter that starts on a busy host has seen none of their packets. Both are read by netlink dumps,
//! in a bounded time.

mod conntrack;
mod sockets;

pub use sg_datapath::{Phase, netlink::Deadline};

pub use self::{
    conntrack::{Tracked, tracked},
    sockets::{Socket, Sockets, sockets},
};
