//! Which interfaces are to be filtered, under which number, by which entry.

use std::collections::{BTreeMap, BTreeSet};

use sg_common::flow::Tick;
use sg_policy::model::{DatapathChoice, LiveInterface};

use super::{Filtered, Owner, Target, enforce::Cause};
use crate::{datapath::InheritedInterface, kernel::Kernel, observe::interfaces::View};

/// An interface that is to be filtered.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) slot: u16,
    pub(super) pickup_until: Tick,
    pub(super) choice: DatapathChoice,
    pub(super) entry: Option<usize>,
    fallback_entry: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Situation {
    pub(super) wanted: BTreeMap<u32, Wanted>,
    /// Interfaces for which there is no slot.
    pub(super) left_out: BTreeSet<u32>,
}

impl Situation {
    /// What the image of the active rules is compiled for.
    pub(super) fn live(&self, view: &View) -> Vec<LiveInterface> {
        self.collect(view, |wanted| wanted.entry)
    }

    /// What the image to fall back to is compiled for.
    pub(super) fn live_fallback(&self, view: &View) -> Vec<LiveInterface> {
        self.collect(view, |wanted| wanted.fallback_entry)
    }

    fn collect(&self, view: &View, entry: fn(&Wanted) -> Option<usize>) -> Vec<LiveInterface> {
        let live = self.wanted.iter().filter_map(|(&ifindex, wanted)| {
            let link = view.get(&ifindex)?;
            Some(LiveInterface {
                slot: wanted.slot,
                ifindex,
                entry: entry(wanted)?,
                addresses: link.addresses.iter().copied().collect(),
                ethernet: link.ethernet,
                pickup_until: wanted.pickup_until,
            })
        });
        live.collect()
    }
}

impl<D: Kernel> Owner<D> {
    /// Interfaces that match an entry of the active rules, or of those to fall back to: these must
    /// be attached already when the data path falls back by itself.
    pub(super) fn situation(&self, target: &Target, cause: Cause) -> Situation {
        let mut situation = Situation::default();
        let mut taken: BTreeSet<u16> = self.filtered.values().map(|held| held.slot).collect();
        for (&ifindex, link) in &self.view {
            let entry = target.active.rules.entry_for(&link.name);
            let previous = target.outstanding.as_ref().map(|out| &out.previous.rules);
            let fallback_entry = previous.and_then(|rules| rules.entry_for(&link.name));
            let rules = entry.map(|at| &target.active.rules.interfaces[at]);
            let Some(rules) = rules.or_else(|| Some(&previous?.interfaces[fallback_entry?])) else {
                continue;
            };
            let kept = self.kept(ifindex, link.generation);
            let (slot, pickup_until) = match kept {
                Some(kept) if cause.ends_pickup() => (kept.slot, 0),
                Some(kept) => (kept.slot, kept.pickup_until),
                None => {
                    let is_free = |slot: &u16| !taken.contains(slot) && !self.used.contains(*slot);
                    let free = (0..self.options.max_interfaces).find(is_free);
                    let Some(slot) = free else {
                        situation.left_out.insert(ifindex);
                        continue;
                    };
                    taken.insert(slot);
                    (slot, self.pickup(rules.tracking.pickup))
                }
            };
            let choice = rules.datapath;
            situation
                .wanted
                .insert(ifindex, Wanted { slot, pickup_until, choice, entry, fallback_entry });
        }
        situation
    }

    pub(super) fn kept(&self, ifindex: u32, generation: u64) -> Option<&Filtered> {
        self.filtered.get(&ifindex).filter(|held| held.generation == generation)
    }

    /// When the pickup of an interface that is filtered from now on ends.
    pub(super) fn pickup(&self, seconds: u32) -> Tick {
        if seconds == 0 { 0 } else { self.ticks().after(seconds) }
    }

    /// Gives interfaces that an earlier agent filtered the slots they had. Those that are gone, or
    /// beyond the limit now, are given up with the first publish.
    pub(super) fn take_over(&mut self) {
        let inherited = self.dataplane.inherited();
        let interfaces =
            inherited.map(|inherited| inherited.interfaces.clone()).unwrap_or_default();
        for InheritedInterface { slot, ifindex, pickup_until } in interfaces {
            let link = self.view.get(&ifindex);
            let fits = slot < self.options.max_interfaces;
            let held = Filtered {
                name: link.map(|link| link.name.clone()).unwrap_or_default(),
                // 0 is no interface's generation: this one is not kept.
                generation: link.filter(|_| fits).map_or(0, |link| link.generation),
                slot,
                pickup_until,
                choice: DatapathChoice::Auto,
                entry: None,
                ethernet: true,
                attachment: Err("not yet attached".to_owned()),
            };
            // One agent died while it gave an interface that came again its new slot.
            if let Some(earlier) = self.filtered.insert(ifindex, held) {
                self.dataplane.release(&[earlier.slot]);
            }
        }
    }
}
