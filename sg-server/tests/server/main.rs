//! The built server, driven over its sockets.

mod api;
mod crash;
mod harness;
mod local;
mod refused;
