//! The one owner of the desired state. Everything that gives the host other rules is a
//! [`command::Command`]. The owner executes commands one after the other. [`mailbox::Mailbox`] brings
//! them from other tasks.
//!
//! Every change goes one way, whatever its source:
//!
//! 1. [`interface_plan`] says which interfaces are to be filtered.
//! 2. [`prepare`] compiles the image for them. Nothing has changed yet.
//! 3. [`lockout`] asks that image about the SSH sessions of the change's author.
//! 4. [`enforce`] attaches new interfaces, writes to the journal, publishes, and waits for the
//!    disk.
//! 5. It detaches interfaces that are not filtered any more.
//!
//! An interface without a record in the image in force passes everything. Attaching and detaching
//! therefore change nothing for any packet. The flip alone does, for all interfaces at one instant.
//! New interfaces are attached before anything is stored, because one that cannot be attached
//! refuses the change.

mod attach;
mod attach_limiter;
pub mod batch;
mod carriers;
mod cause;
pub mod command;
mod enforce;
pub mod error;
mod explain;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod figures;
mod flows;
pub mod flows_part;
mod frame;
mod interface_plan;
pub mod lockout;
pub mod mailbox;
mod older_connections;
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
pub mod unfiltered;
mod upkeep;
mod used_slots;
pub mod verification;
mod verify;
mod warnings;
