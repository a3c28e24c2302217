//! The process and its host: heap, clocks, lock, log, signs of life.

pub mod allocator;
pub mod clock;
pub mod lock;
pub mod watchdog;
