//! The one owner of the desired state. Everything that gives the host other rules is a
//! [`command::Command`]. The owner executes commands one after the other. [`mailbox::Mailbox`] brings
//! them from other tasks.
//!
//! Every change, whatever its source, goes the same way ([`enforce`]): which interfaces are to be
//! filtered -> compile -> write to the journal -> publish -> wait for the disk -> attach new ones ->
//! detach old ones. What has no record
//! in the image in force passes, so detaching after the flip changes nothing for any packet: the
//! flip alone does. New rules attach new interfaces before they are stored, so that one that cannot
//! be had leaves everything as it was, and the flip starts to filter all of them at one instant.

mod attach;
mod attach_limiter;
pub mod batch;
mod cause;
pub mod command;
mod enforce;
pub mod error;
mod explain;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod figures;
mod flows;
mod frame;
mod interface_plan;
pub mod lockout;
pub mod mailbox;
mod prepare;
mod queries;
pub mod revision;
mod run;
mod seed;
mod slots;
mod start;
pub mod state;
#[cfg(test)]
mod tests;
mod upkeep;
mod used_slots;
