//! Slots whose interfaces are gone. Their flows are forgotten before other interfaces get them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::state::{InterfaceState, Owner};
use crate::kernel::Kernel;

/// Time between two passes over the flow table. A pass takes 10 ms, for however many slots, so
/// interfaces that come and go all the time must not cause one each.
const APART: Duration = Duration::from_millis(250);

impl<D: Kernel> Owner<D> {
    /// Records the slots that no image in force names any more.
    pub(super) fn give_up(&mut self, before: &BTreeMap<u32, InterfaceState>) {
        for (&ifindex, held) in before {
            let still = self.filtered.get(&ifindex).is_some_and(|now| now.slot == held.slot);
            if !still && held.slot < self.options.max_interfaces {
                self.used_slots.slots.insert(held.slot, ifindex);
            }
        }
        self.release_in_time();
    }

    /// Time until slots are to be released, if there are any.
    pub(super) fn until_release(&self) -> Option<Duration> {
        if self.used_slots.slots.is_empty() {
            return None;
        }
        let released = self.used_slots.released.map_or(APART, |released| released.elapsed());
        Some(if self.is_pressing() { Duration::ZERO } else { APART.saturating_sub(released) })
    }

    /// Returns true if a release must not wait: no other slot is free, or an interface has come
    /// whose ifindex a used slot still has. A later agent must not find two slots of one ifindex.
    fn is_pressing(&self) -> bool {
        let used = &self.used_slots.slots;
        used.len() + self.filtered.len() >= usize::from(self.options.max_interfaces)
            || used.values().any(|ifindex| self.view.contains_key(ifindex))
    }

    pub(super) fn release_in_time(&mut self) {
        if self.until_release().is_some_and(|left| left.is_zero()) {
            let slots: Vec<u16> = std::mem::take(&mut self.used_slots.slots).into_keys().collect();
            self.kernel.release(&slots);
            self.used_slots.released = Some(Instant::now());
        }
    }
}
