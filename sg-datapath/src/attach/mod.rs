//! Hooks of interfaces: the choice of a hook, our programs on it, the kernel's confirmation, and
//! programs of others.

pub mod clsact;
pub mod device;
mod evidence;
pub mod foreign;
pub mod hook;
mod inventory;
pub mod links;
mod verify;
