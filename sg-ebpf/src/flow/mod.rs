//! The flow table: looking up, keeping alive, opening, cutting. Layout and life cycle are in
//! [`sg_common::flow`].
//!
//! Lanes are shared by all CPUs without locks. A lane changes its owner only by compare-exchange of
//! its tag to `CLAIMED` and back by a store, when all the rest is written; a reader takes tag,
//! addresses and tag again, so it never acts on half of one flow and half of another. x86 keeps
//! loads and stores in that order. Counts of one flow on two CPUs at once may lose a packet.

pub(crate) mod advance;
pub(crate) mod key;
pub(crate) mod lane;
pub(crate) mod open;
pub(crate) mod usage;
pub(crate) mod verdict;
