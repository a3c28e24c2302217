//! How many lanes of a table the flows of one interface take, and how many they may take.
//!
//! A program that gives a lane to a flow counts it for the flow's interface, and no longer for the one
//! that had the lane before. The count is of lanes, not of live flows: a flow that has idled out counts
//! until its lane is taken or the agent frees it. Counts may be off by one for each CPU that opens a flow
//! at this moment. They are signed for the one that reads them, because an agent that died between two
//! steps may have left one too low. The next count of the agent puts it right.

use crate::Family;

/// A table, as an index into [`Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Table {
    Flows4 = 0,
    Flows6 = 1,
    Fragments4 = 2,
    Fragments6 = 3,
}

impl Table {
    pub const ALL: [Self; 4] = [Self::Flows4, Self::Flows6, Self::Fragments4, Self::Fragments6];

    #[inline(always)]
    pub const fn flows(family: Family) -> Self {
        match family {
            Family::V4 => Self::Flows4,
            Family::V6 => Self::Flows6,
        }
    }

    #[inline(always)]
    pub const fn fragments(family: Family) -> Self {
        match family {
            Family::V4 => Self::Fragments4,
            Family::V6 => Self::Fragments6,
        }
    }

    /// Offset in bytes of this table's count in a [`Usage`].
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        self as u32 * size_of::<u32>() as u32
    }
}

/// Lanes that the flows of one slot take, by [`Table`]. A cache line of its own, so that CPUs that open
/// flows of different interfaces do not wait for each other.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Usage(pub [u32; Table::ALL.len()]);

const _: () = assert!(size_of::<Usage>() == 64);

/// The most lanes of a table that one interface may have: a number, or a share of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Allowance(pub u32);

impl Allowance {
    /// A share, in parts of [`Self::WHOLE`].
    const SHARE: u32 = 1 << 31;
    const WHOLE: u32 = 1 << 16;

    /// All of the table.
    pub const ALL: Self = Self::percent(100);
    pub const HALF: Self = Self::percent(50);
    /// The largest number of lanes that can be said.
    pub const MAX_LANES: u32 = Self::SHARE - 1;

    pub const fn percent(percent: u32) -> Self {
        Self(Self::SHARE | (percent * Self::WHOLE / 100))
    }

    /// At most [`Self::MAX_LANES`].
    pub const fn lanes(number: u32) -> Self {
        Self(if number > Self::MAX_LANES { Self::MAX_LANES } else { number })
    }

    /// Lanes of a table that has `lanes`.
    #[inline(always)]
    pub const fn of(self, lanes: u32) -> u32 {
        if self.0 & Self::SHARE == 0 {
            return self.0;
        }
        let parts = (self.0 & !Self::SHARE) as u64;
        (parts * lanes as u64 / Self::WHOLE as u64) as u32
    }

    /// Whether an interface with this count in a table of `lanes` lanes has all that it may have.
    #[inline(always)]
    pub const fn is_used_up(self, count: u32, lanes: u32) -> bool {
        count as i32 >= self.of(lanes) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_a_number_or_a_share() {
        for (allowance, lanes, most) in [
            (Allowance::ALL, 262_144, 262_144),
            (Allowance::HALF, 262_144, 131_072),
            (Allowance::percent(1), 256, 2),
            (Allowance::ALL, 1 << 24, 1 << 24),
            (Allowance::lanes(1000), 262_144, 1000),
            (Allowance::lanes(u32::MAX), 256, Allowance::MAX_LANES),
        ] {
            assert_eq!(allowance.of(lanes), most, "{allowance:?} of {lanes}");
            assert!(!allowance.is_used_up(most - 1, lanes));
            assert!(allowance.is_used_up(most, lanes));
        }
    }

    #[test]
    fn a_count_that_is_too_low_shuts_nobody_out() {
        assert!(!Allowance::HALF.is_used_up(0_u32.wrapping_sub(1), 256));
    }
}
