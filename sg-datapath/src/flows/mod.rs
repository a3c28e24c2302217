//! The flow table as the agent sees it.

pub mod adopt;
pub mod census;
pub mod entry;
pub mod expire;
pub mod judge;
pub mod lane;
pub mod phase;
pub mod revoke;
pub mod table;
pub mod usage;
pub mod visit;
