//! Counting by interface, direction and reason.

use sg_common::{
    Direction, Reason,
    counter::{self, Counter, CounterRow},
};

use crate::maps;

#[inline(always)]
pub(crate) fn count(slot: u16, direction: Direction, reason: Reason, bytes: u32) {
    add(slot, counter::index(direction, reason), bytes);
}

/// A packet that was to be an event, and there was no room for it.
#[inline(always)]
pub(crate) fn not_logged(slot: u16, direction: Direction, bytes: u32) {
    add(slot, counter::not_logged(direction), bytes);
}

#[inline(always)]
fn add(slot: u16, index: usize, bytes: u32) {
    let row = slot as u32 * size_of::<CounterRow>() as u32;
    let column = index * size_of::<Counter>();
    let Some(at) = maps::counter(row + column as u32) else { return };
    // SAFETY: points into this CPU's counters, which nothing else writes.
    unsafe {
        (*at)[0] += 1;
        (*at)[1] += bytes as u64;
    }
}
