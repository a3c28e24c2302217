//! Map memory: what programs and agent share, and what outlives both.

pub mod arena;
pub mod handover;
pub mod layout;
pub mod region;
pub mod resize;
