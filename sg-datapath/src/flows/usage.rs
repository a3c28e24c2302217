//! How many lanes the flows of each interface take, as the programs count them in the map `USAGE`.
//!
//! Who takes a lane or frees one counts it, as [`sg_common::usage`] says.

use std::sync::atomic::{AtomicU32, Ordering};

use sg_common::{
    flow::{State, Tag},
    usage::{Table, Usage},
};

use crate::{bpf::syscall::Mapping, error::Error, maps::region::Region};

/// The mapped counts.
pub(crate) struct UsageRows {
    mapping: Mapping,
    rows: usize,
}

impl UsageRows {
    pub(crate) fn map(region: &Region) -> Result<Self, Error> {
        let (mapping, _) = region.map(0, region.size)?;
        Ok(Self { mapping, rows: region.size / size_of::<Usage>() })
    }

    /// The count of a slot that there is.
    fn count(&self, slot: u16, table: Table) -> Option<&AtomicU32> {
        let slot = usize::from(slot);
        let at = slot * size_of::<Usage>() + table.offset() as usize;
        // SAFETY: aligned shared memory within the mapping, which lives as long as the reference.
        (slot < self.rows).then(|| unsafe { AtomicU32::from_ptr(self.mapping.at(at)) })
    }

    pub(crate) fn get(&self, slot: u16, table: Table) -> u32 {
        self.count(slot, table).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The counts of all slots.
    pub(crate) fn all(&self, table: Table) -> Vec<u32> {
        (0..self.rows).map(|slot| self.get(slot as u16, table)).collect()
    }

    /// A lane has become `now`'s, which was `before`'s.
    pub(crate) fn move_lane(&self, table: Table, before: Tag, now: Tag) {
        self.free_lane(table, before);
        self.add(now.owner(), table, 1);
    }

    /// A lane that was `before`'s is free.
    pub(crate) fn free_lane(&self, table: Table, before: Tag) {
        if before.state() != State::FREE {
            self.add(before.owner(), table, -1);
        }
    }

    pub(crate) fn add(&self, slot: u16, table: Table, number: i32) {
        if let Some(count) = self.count(slot, table) {
            count.fetch_add(number as u32, Ordering::Relaxed);
        }
    }
}
