//! Request and response types, written by `cargo xtask models`. See `xtask/models/README.md`.

pub mod ec2;
pub mod sts;
