//! Observers of the host: interfaces and addresses, sockets, connections, the SSH sessions of operators.
//!
//! Nothing here changes anything, and nothing here knows the rules.

pub mod conntrack;
mod decode;
pub mod devices;
pub mod interfaces;
pub mod name;
pub mod opener;
pub mod routes;
pub mod rtnetlink;
pub mod sockets;
pub mod ssh_sessions;
pub mod tunnels;
