//! The agent: loads the BPF programs, attaches them, keeps them true to the rules; and the types
//! in which `sgctl` talks to it.

pub mod api;
pub mod datapath;
