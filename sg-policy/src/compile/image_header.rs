//! The start of an image: header, hash of interface indexes, space for the interfaces' records.

use sg_common::image::{self, MAX_PROBES, header, record};

use super::{CompileError, check_size, layout::Layout};
use crate::model::LiveInterface;

#[derive(Debug)]
pub(super) struct ImageHeader {
    hash: Hash,
    pub(super) slots: usize,
}

/// Words of an image that are reserved for its header, its hash and its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    hash: usize,
    /// Word offset of the first record.
    pub(super) records: usize,
    slots: usize,
}

impl ImageHeader {
    pub(super) fn of(live: &[LiveInterface]) -> Result<Self, CompileError> {
        let slots = live.iter().map(|interface| usize::from(interface.slot) + 1).max().unwrap_or(0);
        Ok(Self { hash: Hash::of(live)?, slots })
    }

    /// Reserves words at the start of an image, for as many interfaces as its hash is meant for.
    pub(super) fn reserve(&self, layout: &mut Layout) -> Reserved {
        layout.words.resize(header::LEN as usize, 0);
        let slots = self.slots.max(self.hash.entries.len() / 2);
        let hash = self.hash.entries.len();
        layout.reserve(hash * 2, 1);
        let records = layout.reserve(slots * record::LEN as usize, record::LEN as usize);
        Reserved { hash, records, slots }
    }

    pub(super) fn fits(&self, reserved: &Reserved) -> bool {
        self.hash.entries.len() == reserved.hash && self.slots <= reserved.slots
    }

    /// Writes the hash, and the header's fields about hash and records; clears all other reserved
    /// words.
    pub(super) fn write(&self, words: &mut [u32], reserved: &Reserved) {
        words[..reserved.records + reserved.slots * record::LEN as usize].fill(0);
        for (index, (ifindex, slot)) in self.hash.entries.iter().enumerate() {
            let at = header::LEN as usize + index * 2;
            words[at] = *ifindex;
            words[at + 1] = *slot;
        }
        words[header::HASH_MASK as usize] = self.hash.mask;
        words[header::SLOTS as usize] = self.slots as u32;
        words[header::RECORDS as usize] = reserved.records as u32;
    }
}

/// ifindex -> slot, with every interface within [`MAX_PROBES`] of its home.
#[derive(Debug)]
struct Hash {
    mask: u32,
    entries: Vec<(u32, u32)>,
}

impl Hash {
    fn of(live: &[LiveInterface]) -> Result<Self, CompileError> {
        let mut size = (live.len() * 2).next_power_of_two().max(4);
        loop {
            if let Some(hash) = Self::with_size(live, size) {
                return Ok(hash);
            }
            size *= 2;
            // Someone chose the interfaces' indexes so that they collide.
            check_size(size * 2)?;
        }
    }

    fn with_size(live: &[LiveInterface], size: usize) -> Option<Self> {
        let mask = size as u32 - 1;
        let mut entries = vec![(0, 0); size + MAX_PROBES as usize];
        for interface in live {
            let home = image::hash_ifindex(interface.ifindex, mask) as usize;
            let free = (home..home + MAX_PROBES as usize).find(|at| entries[*at].0 == 0)?;
            entries[free] = (interface.ifindex, u32::from(interface.slot));
        }
        Some(Self { mask, entries })
    }
}
