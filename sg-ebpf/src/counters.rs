//! Counting by interface, direction and reason.

use sg_common::{
    Direction, Reason,
    counter::{self, Counter, CounterRow},
};

use crate::maps;

#[inline(always)]
pub(crate) fn count(slot: u16, direction: Direction, reason: Reason, bytes: u32) {
    let row = slot as u32 * size_of::<CounterRow>() as u32;
    let column = counter::index(direction, reason) * size_of::<Counter>();
    let Some(at) = maps::counter(row + column as u32) else { return };
    // SAFETY: points into this CPU's counters, which nothing else writes.
    unsafe {
        (*at)[0] += 1;
        (*at)[1] += bytes as u64;
    }
}
