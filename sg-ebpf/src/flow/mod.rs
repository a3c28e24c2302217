//! The flow table: looking up, keeping alive, opening, cutting. Layout and life cycle are in
//! [`sg_common::flow`].
//!
//! All CPUs share the lanes without locks. A CPU claims a lane by compare-exchange of its tag to
//! `CLAIMED`, writes the new flow, and stores the new tag last. A reader loads the tag, the
//! addresses and the tag again, so it never acts on half of one flow and half of another. x86 keeps
//! loads and stores in that order. Counts of one flow on two CPUs at once may lose a packet.

pub(crate) mod advance;
pub(crate) mod key;
pub(crate) mod lane;
pub(crate) mod open;
pub(crate) mod pickup;
pub(crate) mod usage;
pub(crate) mod verdict;
