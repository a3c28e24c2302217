//! Observers of the host: interfaces and addresses, sockets, connections, the SSH sessions of operators.
//!
//! Nothing here changes anything, and nothing here knows the rules.

pub mod conntrack;
pub mod devices;
pub mod interfaces;
pub mod opener;
pub mod rtnetlink;
pub mod sockets;
pub mod ssh_sessions;
pub mod tunnels;
