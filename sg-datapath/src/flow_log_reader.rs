//! The flow log's view of the data path, on a thread of its own. It reads the rings of events, the
//! flow table, and the number of packets that found no room in the rings. It never waits for the
//! owner, and the owner never waits for it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use sg_common::{
    Direction,
    counter::{Counter, CounterRow, not_logged},
    event::{Event, Head, RINGS, heads_size},
    flow::Tag,
};

use crate::{
    bpf::syscall::Mapping,
    error::Error,
    flows::{entry::FlowEntry, lane::LaneNumber, visit},
    maps::{layout::Maps, region::Region},
};

#[derive(Debug)]
pub struct FlowLogReader {
    rings: Mapping,
    cpus: usize,
    /// Length of a ring.
    slots: u32,
    flows4: Region,
    flows6: Region,
    counters: Region,
    /// Rows of counters for one CPU.
    rows: usize,
}

/// Packets and bytes by direction.
pub type NotLogged = [Counter; 2];

impl FlowLogReader {
    pub(crate) fn open(maps: &Maps) -> Result<Self, Error> {
        let copy = |region: &Region| {
            region.try_clone().map_err(|error| {
                Error::kernel(format!("duplicating {}", region.pin.display()), error)
            })
        };
        let (rings, _) = maps.events.map(0, maps.events.size)?;
        let reader = Self {
            rings,
            cpus: maps.cpus,
            slots: maps.event_slots as u32,
            flows4: copy(&maps.flows4)?,
            flows6: copy(&maps.flows6)?,
            counters: copy(&maps.counters)?,
            rows: maps.slots,
        };
        // Discard events left by an earlier agent: we cannot date them.
        reader.drain(&mut |_| {});
        Ok(reader)
    }

    /// Hands on the events of the rings and makes room. Returns true if a ring was full, so that
    /// packets may have found no room.
    pub fn drain(&self, each: &mut dyn FnMut(&Event)) -> bool {
        let mut full = false;
        for ring in 0..self.cpus * RINGS {
            let head = self.rings.at::<Head>(ring * size_of::<Head>());
            // SAFETY: aligned shared memory within the mapping, which outlives both.
            let (written, read) = unsafe {
                (
                    AtomicU32::from_ptr(&raw mut (*head).written),
                    AtomicU32::from_ptr(&raw mut (*head).read),
                )
            };
            let (from, to) = (read.load(Ordering::Relaxed), written.load(Ordering::Acquire));
            let waiting = to.wrapping_sub(from).min(self.slots);
            full |= waiting == self.slots;
            for index in 0..waiting {
                let slot = from.wrapping_add(index) & (self.slots - 1);
                let at = ring * self.slots as usize + slot as usize;
                let at = heads_size(self.cpus) + at * size_of::<Event>();
                // SAFETY: within the mapping; the program writes it again only when it is read.
                each(&unsafe { self.rings.at::<Event>(at).read_volatile() });
            }
            read.store(to, Ordering::Release);
        }
        full
    }

    /// Calls `each` with every flow, expired ones included, and the number of its lane.
    pub fn for_each_flow(
        &self,
        each: &mut dyn FnMut(LaneNumber, Tag, &FlowEntry),
    ) -> Result<(), Error> {
        visit::each(&self.flows4, &self.flows6, each)
    }

    /// Packets that found no room in the rings, by slot, all told.
    pub fn not_logged(&self, slots: &[u16]) -> Result<BTreeMap<u16, NotLogged>, Error> {
        let row = size_of::<CounterRow>();
        let Some(last) = slots.iter().max() else { return Ok(BTreeMap::new()) };
        let rows = (usize::from(*last) + 1).min(self.rows);
        let mut sums: BTreeMap<u16, NotLogged> =
            slots.iter().map(|slot| (*slot, NotLogged::default())).collect();
        for start in (0..self.counters.size).step_by(self.rows * row) {
            let (mapping, at) = self.counters.map(start, rows * row)?;
            for (slot, sum) in &mut sums {
                if usize::from(*slot) >= rows {
                    continue;
                }
                for direction in Direction::BOTH {
                    let index = not_logged(direction) * size_of::<Counter>();
                    let counter = mapping.at::<Counter>(at + usize::from(*slot) * row + index);
                    // SAFETY: within the mapping; the programs write whole words.
                    let counter = unsafe { counter.read_volatile() };
                    sum[direction as usize].packets += counter.packets;
                    sum[direction as usize].bytes += counter.bytes;
                }
            }
        }
        Ok(sums)
    }
}
