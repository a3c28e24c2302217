//! Hooks of interfaces: which one it is to be, ours on it, whether the kernel confirms them, and those of others.

pub mod clsact;
pub mod device;
mod evidence;
pub mod foreign;
pub mod hook;
mod inventory;
pub mod links;
mod verify;
