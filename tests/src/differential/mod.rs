//! Differential tests: the loaded programs against the reference evaluator, verdict, reason, counters
//! and flows, packet by packet.
//!
//! Nothing is attached: frames go in by BPF_PROG_TEST_RUN, in a network namespace that has just the
//! interfaces that the rules are for. A [`Case`] is a start and steps; a seed makes one; the [`Rig`]
//! plays it on both; one that fails is made small and shown.

mod campaign;
mod case;
mod classbench;
mod features;
mod rig;
mod script;
pub mod show;
mod shrink;
mod wire;

pub use campaign::{Campaign, fewer};
pub use case::{
    Case, Kind, MAX_LINEAR, Step, Via, cuts_case, rules_case, sequence_case, single_case,
    start_case,
};
pub use classbench::classbench_case;
pub use rig::{Mismatch, Rig, Tally};
pub use script::{Message, PSH, Script, everywhere, everywhere_with};
pub use show::case as shown;
pub use shrink::shrink;
pub use wire::over_a_wire;
