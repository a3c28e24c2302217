//! Counters of a slot, and how a slot is cleared for its next interface.

use sg_common::{
    counter::{Counter, CounterRow},
    reason::REASONS,
};

use crate::{
    datapath::Datapath,
    error::Error,
    flows::visit::{self, Keep},
};

impl Datapath {
    /// All CPUs together.
    pub fn counters(&self, slot: u16) -> CounterRow {
        let mut sum = CounterRow([Counter::default(); 2 * REASONS]);
        let result = self.each_counter_row(slot, |row| {
            for (sum, counter) in sum.0.iter_mut().zip(row) {
                // SAFETY: within the mapping; the programs write whole words.
                let counter = unsafe { counter.read_volatile() };
                sum.packets += counter.packets;
                sum.bytes += counter.bytes;
            }
        });
        if let Err(error) = result {
            tracing::warn!(slot, %error, "counters could not be read");
        }
        sum
    }

    /// Calls `each` with pointers to the counters of a slot, for one CPU after the other.
    fn each_counter_row(
        &self,
        slot: u16,
        mut each: impl FnMut([*mut Counter; 2 * REASONS]),
    ) -> Result<(), Error> {
        let row = size_of::<CounterRow>();
        let region = &self.maps.counters;
        for cpu_start in (0..region.size).step_by(self.maps.slots * row) {
            let (mapping, at) = region.map(cpu_start + usize::from(slot) * row, row)?;
            each(std::array::from_fn(|i| mapping.at::<Counter>(at + i * size_of::<Counter>())));
        }
        Ok(())
    }

    /// Forgets counters and flows of slots before other interfaces get them: in one pass over the tables,
    /// however many have gone at once.
    pub fn release(&mut self, slots: &[u16]) {
        if slots.is_empty() {
            return;
        }
        let zeroed = slots.iter().try_for_each(|slot| {
            self.each_counter_row(*slot, |row| {
                for counter in row {
                    // SAFETY: within the mapping; no program counts for a slot that is not in use.
                    unsafe { counter.write_volatile(Counter::default()) };
                }
            })
        });
        let forgotten = self.visit(&mut |flow| {
            if slots.contains(&flow.slot) { Keep::No } else { Keep::Yes }
        });
        let fragments = visit::forget_fragments(&self.maps, slots);
        let cleared = zeroed.and(forgotten.map(drop)).and(fragments);
        let noted = || slots.iter().try_for_each(|slot| self.maps.handover.clear(*slot));
        if let Err(error) = cleared.and_then(|()| noted()) {
            tracing::warn!(?slots, %error, "counters and flows could not be cleared");
        }
    }
}
