//! Slots that no interface has any more, and whose flows are not forgotten yet.

use std::{collections::BTreeMap, time::Instant};

#[derive(Debug, Default)]
pub(super) struct UsedSlots {
    /// Ifindexes by slot.
    pub(super) slots: BTreeMap<u16, u32>,
    pub(super) released: Option<Instant>,
}

impl UsedSlots {
    pub(super) fn contains(&self, slot: u16) -> bool {
        self.slots.contains_key(&slot)
    }
}
