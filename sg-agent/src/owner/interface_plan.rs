//! Which interfaces are to be filtered, under which number, by which entry.

use std::collections::{BTreeMap, BTreeSet};

use sg_common::flow::Tick;
use sg_policy::model::{DatapathChoice, LiveInterface};

use super::{
    cause::Cause,
    revision::Target,
    state::{InterfaceState, Owner},
};
use crate::{
    datapath::InheritedInterface,
    kernel::Kernel,
    observe::interfaces::{DeviceKind, View},
};

/// An interface that is to be filtered.
#[derive(Clone, Debug)]
pub(super) struct PlannedInterface {
    pub(super) slot: u16,
    pub(super) pickup_until: Tick,
    pub(super) choice: DatapathChoice,
    pub(super) entry: Option<usize>,
    fallback_entry: Option<usize>,
    /// Why no program sees its packets, if so.
    pub(super) unseen: Option<&'static str>,
    /// Whether a pattern chose it, so that nobody may have meant it in particular.
    is_by_glob: bool,
}

impl PlannedInterface {
    /// Whether the rules may well be right although the interface cannot be filtered.
    pub(super) fn is_inevitable(&self) -> bool {
        self.unseen.is_some() && self.is_by_glob
    }
}

#[derive(Debug, Default)]
pub(super) struct InterfacePlan {
    pub(super) interfaces: BTreeMap<u32, PlannedInterface>,
    /// Interfaces for which there is no slot.
    pub(super) left_out: BTreeSet<u32>,
}

impl InterfacePlan {
    /// The interfaces that the image of the active rules is compiled for.
    pub(super) fn live(&self, view: &View) -> Vec<LiveInterface> {
        self.collect(view, |planned| planned.entry)
    }

    /// The interfaces that the image to fall back to is compiled for.
    pub(super) fn live_fallback(&self, view: &View) -> Vec<LiveInterface> {
        self.collect(view, |planned| planned.fallback_entry)
    }

    fn collect(
        &self,
        view: &View,
        entry: fn(&PlannedInterface) -> Option<usize>,
    ) -> Vec<LiveInterface> {
        let live = self.interfaces.iter().filter_map(|(&ifindex, planned)| {
            let interface = view.get(&ifindex)?;
            Some(LiveInterface {
                slot: planned.slot,
                ifindex,
                entry: entry(planned)?,
                addresses: interface.addresses.iter().copied().collect(),
                ethernet: interface.device.ethernet,
                delivers: interface.device.kind == DeviceKind::TapOfLower,
                pickup_until: planned.pickup_until,
            })
        });
        live.collect()
    }
}

impl<D: Kernel> Owner<D> {
    /// Interfaces that match an entry of the active rules, or of those to fall back to: these must
    /// be attached already when the data path falls back by itself.
    pub(super) fn plan_interfaces(&self, target: &Target, cause: Cause) -> InterfacePlan {
        let mut plan = InterfacePlan::default();
        let mut taken: BTreeSet<u16> = self.filtered.values().map(|held| held.slot).collect();
        for (&ifindex, interface) in &self.view {
            let entry = target.active.state.entry_for(&interface.device.name);
            let previous = target.pending.as_ref().map(|pending| &pending.previous.state);
            let fallback_entry = previous.and_then(|rules| rules.entry_for(&interface.device.name));
            let rules = entry.map(|at| &target.active.state.interfaces[at]);
            let Some(rules) = rules.or_else(|| Some(&previous?.interfaces[fallback_entry?])) else {
                continue;
            };
            let kept = self.kept(ifindex, interface.generation);
            let (slot, pickup_until) = match kept {
                Some(kept) if cause.ends_pickup() => (kept.slot, 0),
                Some(kept) => (kept.slot, kept.pickup_until),
                None => {
                    let is_free =
                        |slot: &u16| !taken.contains(slot) && !self.used_slots.contains(*slot);
                    let free = (0..self.options.max_interfaces).find(is_free);
                    let Some(slot) = free else {
                        plan.left_out.insert(ifindex);
                        continue;
                    };
                    taken.insert(slot);
                    (slot, self.pickup(rules.tracking.pickup))
                }
            };
            let planned = PlannedInterface {
                slot,
                pickup_until,
                choice: rules.datapath,
                entry,
                fallback_entry,
                unseen: interface.device.kind.unseen(),
                is_by_glob: rules.is_glob(),
            };
            plan.interfaces.insert(ifindex, planned);
        }
        plan
    }

    pub(super) fn kept(&self, ifindex: u32, generation: u64) -> Option<&InterfaceState> {
        self.filtered.get(&ifindex).filter(|held| held.generation == generation)
    }

    /// When the pickup of an interface that is filtered from now on ends.
    pub(super) fn pickup(&self, seconds: u32) -> Tick {
        if seconds == 0 { 0 } else { self.ticks().after(seconds) }
    }

    /// Gives interfaces that an earlier agent filtered the slots they had. The first publish gives
    /// up slots of interfaces that are gone, or beyond the limit now. It also gives up slots of
    /// interfaces that the kernel does not know as filtered. Such an interface is a new one with an
    /// old number, or was not filtered for a time.
    pub(super) fn take_over(&mut self) {
        let inherited = self.kernel.inherited();
        let interfaces =
            inherited.map(|inherited| inherited.interfaces.clone()).unwrap_or_default();
        for InheritedInterface { slot, ifindex, pickup_until } in interfaces {
            let interface = self.view.get(&ifindex);
            let is_kept = slot < self.options.max_interfaces && self.kernel.is_here(ifindex);
            let held = InterfaceState {
                name: interface.map(|interface| interface.device.name.clone()).unwrap_or_default(),
                // 0 is no interface's generation: this one is not kept.
                generation: interface
                    .filter(|_| is_kept)
                    .map_or(0, |interface| interface.generation),
                slot,
                pickup_until,
                choice: DatapathChoice::Auto,
                entry: None,
                ethernet: true,
                attachment: Err("not yet attached".to_owned()),
            };
            // One agent died while it gave an interface that came again its new slot.
            if let Some(earlier) = self.filtered.insert(ifindex, held) {
                self.kernel.release(&[earlier.slot]);
            }
        }
    }
}
