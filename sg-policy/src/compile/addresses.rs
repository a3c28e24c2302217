//! Maps from addresses to numbers, of which stretches can be written anew.

use std::{collections::BTreeMap, ops::Bound};

use sg_common::{Family, interval::Ref};

use super::layout::{Boundary, Layout, Parts, Width};

/// First address of a stretch and one past its last; `None` = it has every address that follows.
pub(super) type Stretch = (u128, Option<u128>);

/// The map of numbers that change at some addresses, and are 0 before the first of them.
#[derive(Debug)]
pub(super) struct AddressMap {
    family: Family,
    pub(super) root: Ref,
    /// Changes that it was written for as a whole.
    changes: usize,
}

impl AddressMap {
    pub(super) fn new(family: Family) -> Self {
        Self { family, root: Ref::leaf(0), changes: 0 }
    }

    /// Writes it for `changes`, which differ from the last ones in `stretches` (where one ends, too).
    pub(super) fn update(
        &mut self,
        layout: &mut Layout,
        changes: &BTreeMap<u128, u32>,
        stretches: &[Stretch],
    ) {
        if stretches.is_empty() || self.patch(layout, changes, stretches).is_some() {
            return;
        }
        let all = changes.iter().map(|(at, number)| (*at, *number));
        let boundaries = boundaries(layout, self.family, 0, all);
        self.root = layout.open_map(width(self.family), Ref::leaf(0), boundaries);
        self.changes = changes.len();
    }

    /// `None`: it has to be written as a whole, and nothing is changed.
    fn patch(
        &self,
        layout: &mut Layout,
        changes: &BTreeMap<u128, u32>,
        stretches: &[Stretch],
    ) -> Option<()> {
        // Its parts would become too long, or are mostly to be written anyway.
        if changes.len() > self.changes * 2 {
            return None;
        }
        let whole = layout.parts(width(self.family), self.root)?;
        let mut stale = BTreeMap::new();
        for (start, end) in stretches {
            let (start, end) = (self.key(*start), self.key((*end)?));
            let (mut parts, mut range) = (whole, whole.range(start, end)?);
            // Rewrite as few parts as possible: while one part that is a table itself holds the
            // whole range, go down to its parts.
            while range.start() == range.end()
                && let Some(inner) = layout.parts_within(&parts, *range.start())
                && let Some(within) = inner.range(start, end)
            {
                (parts, range) = (inner, within);
            }
            stale.extend(range.map(|part| ((parts.refs, part), parts)));
            if stale.len() as u64 > whole.count / 4 {
                return None;
            }
        }
        for ((_, part), parts) in stale {
            self.rewrite(layout, &parts, part, changes);
        }
        Some(())
    }

    fn rewrite(
        &self,
        layout: &mut Layout,
        parts: &Parts,
        part: u64,
        changes: &BTreeMap<u128, u32>,
    ) {
        let start = self.address(parts.start(part));
        let end =
            parts.end(part).map_or(Bound::Unbounded, |end| Bound::Excluded(self.address(end)));
        let before = changes.range(..start).next_back().map_or(0, |(_, number)| *number);
        let within = changes.range((Bound::Included(start), end));
        let within = within.map(|(at, number)| (*at, *number));
        let mut boundaries = boundaries(layout, self.family, before, within);
        boundaries.retain(|(key, _)| parts.holding(*key) == Some(part));
        layout.rewrite(parts, part, Ref::leaf(before), boundaries);
    }

    /// The map's key of an address: all 32 bits of IPv4, the high 64 of IPv6.
    fn key(&self, address: u128) -> u64 {
        match self.family {
            Family::V4 => address as u64,
            Family::V6 => (address >> 64) as u64,
        }
    }

    fn address(&self, key: u64) -> u128 {
        match self.family {
            Family::V4 => u128::from(key),
            Family::V6 => u128::from(key) << 64,
        }
    }
}

fn width(family: Family) -> Width {
    match family {
        Family::V4 => Width::Narrow,
        Family::V6 => Width::Wide,
    }
}

/// Writes a map that stays as it is.
pub(super) fn write_map(layout: &mut Layout, family: Family, changes: &[(u128, u32)]) -> Ref {
    let boundaries = boundaries(layout, family, 0, changes.iter().copied());
    layout.map(width(family), Ref::leaf(0), boundaries)
}

/// `changes` for a table, with `before` in front of them.
fn boundaries(
    layout: &mut Layout,
    family: Family,
    before: u32,
    changes: impl Iterator<Item = (u128, u32)>,
) -> Vec<Boundary> {
    match family {
        Family::V4 => changes.map(|(at, value)| (at as u64, Ref::leaf(value))).collect(),
        Family::V6 => of_halves(layout, before, &changes.collect::<Vec<_>>()),
    }
}

/// Boundaries of the high halves, which lead to maps of the low halves where those differ.
fn of_halves(layout: &mut Layout, before: u32, changes: &[(u128, u32)]) -> Vec<Boundary> {
    let mut high_boundaries = Vec::new();
    let mut value = before;
    for same in changes.chunk_by(|a, b| a.0 >> 64 == b.0 >> 64) {
        let high = (same[0].0 >> 64) as u64;
        let last = same[same.len() - 1].1;
        let mut low: Vec<_> =
            same.iter().map(|(at, value)| (*at as u64, Ref::leaf(*value))).collect();
        if low[0].0 == 0 {
            value = low.remove(0).1.value();
        }
        let map = layout.map(Width::Wide, Ref::leaf(value), low);
        high_boundaries.push((high, map));
        if !map.is_leaf()
            && let Some(next) = high.checked_add(1)
        {
            high_boundaries.push((next, Ref::leaf(last)));
        }
        value = last;
    }
    // A map of low halves and the next one's start may fall on one key: the later one counts.
    high_boundaries.chunk_by(|a, b| a.0 == b.0).map(|same| same[same.len() - 1]).collect()
}
