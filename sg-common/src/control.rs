//! The one word that says which image is in force.
//!
//! Everything that a packet is judged by hangs below it, so a single store changes all interfaces
//! at the same instant. It also carries the deadline of an unconfirmed change: the data path goes
//! back to the previous image by itself when that has passed, with or without an agent.

use crate::flow::lasts;

/// The most ticks until an unconfirmed change goes back: 86,400 s of ticks that last 32 ms or more.
pub const MAX_CONFIRM: u32 = 1 << 22;

/// Images start at multiples of this many bytes in the arena.
pub const IMAGE_ALIGN: usize = 4096;

/// The root word: `deadline << 32 | fallback << 16 | active`.
///
/// `active` and `fallback` count [`IMAGE_ALIGN`] units from the start of the arena. `deadline` is a
/// [tick](crate::flow::Tick); 0 = none. Word 0 = no image at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Root(pub u64);

impl Root {
    pub const fn new(active: u16, fallback: u16, deadline: u32) -> Self {
        Self((deadline as u64) << 32 | (fallback as u64) << 16 | active as u64)
    }

    pub const fn active(self) -> u16 {
        self.0 as u16
    }

    pub const fn fallback(self) -> u16 {
        (self.0 >> 16) as u16
    }

    pub const fn deadline(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Byte offset in the arena of the image that is in force at `now`.
    #[inline(always)]
    pub const fn in_force(self, now: u32) -> u32 {
        let deadline = self.deadline();
        let unit = if deadline == 0 || lasts(now, deadline, MAX_CONFIRM) {
            self.active()
        } else {
            self.fallback()
        };
        unit as u32 * IMAGE_ALIGN as u32
    }
}

/// The control map: one element, mapped by the agent; one cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Control {
    /// See [`Root`]; written with one 64-bit store.
    pub root: u64,
    /// Added to the clock; 0 outside of tests, which move time on with it.
    pub clock_offset: u32,
    /// Always 0, which the verifier cannot know.
    pub _reserved: u32,
    /// Random keys of the flow tables' hash. They live as long as the tables do.
    pub hash_key: [u32; 12],
}

const _: () = assert!(size_of::<Control>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_it_has_passed_a_deadline_stays_passed_while_ticks_come_round() {
        let unit = |now| Root::new(1, 2, 1000).in_force(now) / IMAGE_ALIGN as u32;
        for (now, expected) in [
            (0, 1),
            (999, 1),
            (1000, 2),
            (1001, 2),
            (1 << 31, 2),
            ((1 << 31) + 1001, 2),
            (3 << 30, 2),
        ] {
            assert_eq!(unit(now), expected, "{now}");
        }
        // The clock comes round before the deadline.
        assert_eq!(unit(u32::MAX - 1000), 1);
        assert_eq!(Root::new(1, 2, 0).in_force(1 << 31), IMAGE_ALIGN as u32);
    }
}
