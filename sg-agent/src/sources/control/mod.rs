//! A control plane as the source of this host's rules: the pure part, from the objects of a store to the
//! desired state. Nothing connects to a server yet.
//!
//! ```text
//! snapshot ─> claims: which network interface is which device ─> past: devices that were bound before
//!          └──────────────────────────> desired: the state of this host <─────────────┘
//! ```

pub mod claims;
pub mod desired;
pub mod past;
#[cfg(test)]
mod samples;
