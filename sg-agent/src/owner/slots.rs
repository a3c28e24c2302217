//! Slots whose interfaces are gone. Before others get them, their flows are forgotten.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::state::{InterfaceState, Owner};
use crate::kernel::Kernel;

/// To forget flows is a pass over the whole table, 10 ms, for however many slots. So where interfaces come
/// and go all the time, there are as many passes as this admits.
const APART: Duration = Duration::from_millis(250);

impl<D: Kernel> Owner<D> {
    /// Takes in which slots no image in force names any more.
    pub(super) fn give_up(&mut self, before: &BTreeMap<u32, InterfaceState>) {
        for (&ifindex, held) in before {
            let still = self.filtered.get(&ifindex).is_some_and(|now| now.slot == held.slot);
            if !still && held.slot < self.options.max_interfaces {
                self.used_slots.slots.insert(held.slot, ifindex);
            }
        }
        self.release_in_time();
    }

    /// When slots are to be released, if there are any.
    pub(super) fn until_release(&self) -> Option<Duration> {
        if self.used_slots.slots.is_empty() {
            return None;
        }
        let released = self.used_slots.released.map_or(APART, |released| released.elapsed());
        Some(if self.is_pressing() { Duration::ZERO } else { APART.saturating_sub(released) })
    }

    /// The last slots are wanted; or an interface is there whose number one of them has, too, and an agent
    /// after this one is not to find two.
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
