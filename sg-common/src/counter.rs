//! Packets and bytes by interface, direction and reason.
//!
//! One plain array for all CPUs, so that counting needs no helper call and no atomic: row
//! `cpu * slots + slot` is written by that CPU alone. User space maps it and adds up.

use crate::{Direction, Reason, reason::REASONS};

/// Packets and bytes (frame length, link layer included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    pub packets: u64,
    pub bytes: u64,
}

/// The counters of one interface on one CPU.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CounterRow(pub [Counter; 2 * REASONS]);

/// Where in a [`CounterRow`] a packet is counted.
#[inline(always)]
pub const fn index(direction: Direction, reason: Reason) -> usize {
    index_of(direction, reason as u32)
}

/// The same for a reason's number.
#[inline(always)]
pub const fn index_of(direction: Direction, reason: u32) -> usize {
    direction as usize * REASONS + reason as usize
}

/// Where packets are counted that were to be logged and were not: no reason has number 0.
#[inline(always)]
pub const fn not_logged(direction: Direction) -> usize {
    index_of(direction, 0)
}

const _: () = assert!(size_of::<CounterRow>() == 1024);
