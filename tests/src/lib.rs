//! The harness of the end-to-end tests and of the demo: real network namespaces, the real agent
//! and `sgctl`, real sockets. Needs root and the binaries in `SG_BIN_DIR`; `cargo xtask test` sees
//! to both.
//!
//! Nothing has to be cleaned up by anyone. Each test has its own mount namespace ([`sandbox`]),
//! which holds its network namespaces, bpffs and files. Its agents die with it. The kernel
//! therefore takes everything back even after a SIGKILL.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::probe::PATIENCE;

pub mod agent;
pub mod counters;
pub mod ctl;
pub mod differential;
pub mod document;
pub mod guide;
pub mod netns;
pub mod outside;
pub mod probe;
pub mod sandbox;
pub mod server;
pub mod tools;
pub mod topology;
pub mod world;

pub use agent::Agent;
pub use counters::Counts;
pub use ctl::{Ctl, Ran};
pub use guide::Guide;
pub use netns::NetNs;
pub use server::Server;
pub use topology::{Addresses, FAMILIES, Role, Topology, V4, V6};
pub use world::{Datapath, World};

/// Waits for the agent to follow what the kernel has told it; panics if it does not.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// One test body, four tests: each role with each data path; `with` another world than a plain one.
///
/// ```text
/// matrix! {
///     with World::routed;
///     /// What holds.
///     fn name(world) { … }
/// }
/// ```
#[macro_export]
macro_rules! matrix {
    (with $new:path; $($(#[$meta:meta])* fn $name:ident($world:ident) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            fn body($world: &mut $crate::World) $body

            #[test]
            fn host_xdp() {
                body(&mut $new($crate::Role::Host, $crate::Datapath::Xdp));
            }

            #[test]
            fn host_tc() {
                body(&mut $new($crate::Role::Host, $crate::Datapath::Tc));
            }

            #[test]
            fn port_xdp() {
                body(&mut $new($crate::Role::Port, $crate::Datapath::Xdp));
            }

            #[test]
            fn port_tc() {
                body(&mut $new($crate::Role::Port, $crate::Datapath::Tc));
            }
        }
    )+};
    ($($tests:tt)+) => { $crate::matrix! { with $crate::World::new; $($tests)+ } };
}

/// One test body, two tests: port role with each data path.
#[macro_export]
macro_rules! ports {
    ($($(#[$meta:meta])* fn $name:ident($world:ident) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            fn body($world: &mut $crate::World) $body

            #[test]
            fn xdp() {
                body(&mut $crate::World::new($crate::Role::Port, $crate::Datapath::Xdp));
            }

            #[test]
            fn tc() {
                body(&mut $crate::World::new($crate::Role::Port, $crate::Datapath::Tc));
            }
        }
    )+};
}
