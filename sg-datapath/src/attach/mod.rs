//! Hooks of interfaces: which one it is to be, ours on it, and those of others.

pub mod clsact;
pub mod device;
pub mod foreign;
pub mod hook;
pub mod links;
