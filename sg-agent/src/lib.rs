//! The agent: loads the BPF programs, attaches them, keeps them true to the rules; and the types
//! in which `sgctl` talks to it.

pub mod agent;
pub mod api;
pub mod clock;
pub mod config;
pub mod connections;
pub mod datapath;
pub mod dataplane;
pub mod frame;
pub mod links;
pub mod lock;
pub mod log;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod netlink;
pub mod owner;
pub mod server;
pub mod session;
pub mod store;
pub mod watchdog;
