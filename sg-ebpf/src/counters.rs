//! Counting by interface, direction and reason.

use sg_common::{
    Direction,
    counter::{self, Counter, CounterRow},
    reason::REASONS,
};

use crate::{maps, outcome::Outcome, verifier::opaque};

/// An interface's counters on this CPU, which nothing else writes.
#[derive(Clone, Copy)]
pub(crate) struct Row(*mut u8);

impl Row {
    #[inline(always)]
    pub(crate) fn of(slot: u16) -> Self {
        Self(maps::counters(slot as u32 * size_of::<CounterRow>() as u32))
    }

    #[inline(always)]
    pub(crate) fn count(self, direction: Direction, outcome: Outcome, bytes: u32) {
        self.add(counter::index_of(direction, outcome.0), bytes);
    }

    /// A packet that was to be an event, and there was no room for it.
    #[inline(always)]
    pub(crate) fn not_logged(self, direction: Direction, bytes: u32) {
        self.add(counter::not_logged(direction), bytes);
    }

    #[inline(always)]
    fn add(self, index: usize, bytes: u32) {
        // It is within a row, which the verifier does not know.
        let column = (opaque(index) & (2 * REASONS - 1)) * size_of::<Counter>();
        // SAFETY: a row has as many counters.
        unsafe {
            let at = self.0.add(column).cast::<[u64; 2]>();
            (*at)[0] += 1;
            (*at)[1] += bytes as u64;
        }
    }
}
