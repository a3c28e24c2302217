//! Puts prepared targets in force; nothing else does. See [`super`] for the order and why.

use std::{collections::BTreeMap, time::Instant};

use tracing::{error, warn};

use super::{
    attach::Attempt,
    cause::Cause,
    error::Error,
    interface_plan::InterfacePlan,
    prepare::{Images, Prepared},
    state::{InterfaceState, Owner},
};
use crate::{
    datapath,
    kernel::Kernel,
    store::{self, LedgerChange},
};

impl<D: Kernel> Owner<D> {
    /// Puts a prepared target in force, and stores `change` if there is one. On error everything is
    /// as it was.
    pub(super) fn enforce(
        &mut self,
        prepared: Prepared,
        change: Option<LedgerChange<'_>>,
    ) -> Result<(), Error> {
        let done = self.put_in_force(prepared, change);
        if done.is_err() {
            self.publishing.failures.inc();
        }
        done
    }

    fn put_in_force(
        &mut self,
        prepared: Prepared,
        change: Option<LedgerChange<'_>>,
    ) -> Result<(), Error> {
        let Prepared { target, cause, plan, live, live_fallback, images, began } = prepared;
        let publishes = images.is_some();
        let newcomers = self.newcomers(&target, &plan, cause);
        // With a strict cause, an interface that cannot be attached refuses the change before
        // anything has changed.
        let attempt = if cause.is_strict() { Some(self.attach(&plan, cause)?) } else { None };
        if let Some(mut images) = images {
            let seeded = self.seed(&newcomers, &images.active);
            if let Err(error) = self.commit(change, &mut images) {
                if seeded > 0 {
                    self.forget(&newcomers);
                }
                if let Some(attempt) = &attempt {
                    self.undo(attempt);
                }
                return Err(error);
            }
            self.publishing.done(began);
            self.is_other_in_force = false;
            self.image_in_force = images.active;
            self.target = target;
            self.live = live;
            self.live_fallback = live_fallback;
        }
        let attempt = match attempt {
            Some(attempt) => attempt,
            None => self.attach(&plan, cause)?,
        };
        if publishes {
            // Adopt connections that opened between the first look and the flip.
            self.seed(&newcomers, &self.image_in_force);
        }
        self.settled(&plan, attempt);
        Ok(())
    }

    /// Writes the change to the journal, flips, and waits until the disk has it. The filter does
    /// not wait for the disk, but the answer does. If the disk fails, the rules before come back
    /// into force.
    ///
    /// While the owner compiles, attaches and writes, flows go on by the rules before. Cutting
    /// therefore counts from the flip. The new rules judge every flow that was last seen up to the
    /// tick after now, since the flip may come within it. They judge flows that they opened
    /// themselves in that tick once more, which changes nothing.
    fn commit(
        &mut self,
        change: Option<LedgerChange<'_>>,
        images: &mut Images,
    ) -> Result<(), Error> {
        let appended = change.map(|change| self.store.append(change)).transpose()?;
        images.active.set_cut_since(self.kernel.now().wrapping_add(1));
        if let Err(error) = publish(&mut self.kernel, images) {
            if let Some(appended) = appended {
                self.store.abandon(appended)?;
            }
            return Err(match error {
                datapath::Error::TooLarge(what) => Error::Refused(what),
                error => Error::Datapath(error),
            });
        }
        let Some(appended) = appended else { return Ok(()) };
        self.store.commit(appended).map_err(|error| self.flip_back(error))
    }

    /// Puts the rules before in force again, after the disk failed to take the change.
    fn flip_back(&mut self, error: store::Error) -> Error {
        let images = self.compile(&self.target, &self.live, &self.live_fallback);
        let flipped = images.and_then(|mut images| {
            images.active.set_cut_since(self.kernel.now().wrapping_add(1));
            publish(&mut self.kernel, &images).map_err(Error::Datapath)
        });
        let Err(also) = flipped else { return error.into() };
        self.is_other_in_force = true;
        self.unsettled = true;
        Error::Conflict(format!(
            "{error}; the new rules are in force until the rules before can be put back: {also}"
        ))
    }

    /// Records the attached interfaces after the flip, and detaches those that are not filtered any
    /// more.
    fn settled(&mut self, plan: &InterfacePlan, mut attempt: Attempt) {
        let mut filtered = BTreeMap::new();
        for (&ifindex, planned) in &plan.interfaces {
            let Some(interface) = self.view.get(&ifindex) else { continue };
            let missing = || Err("not attached".to_owned());
            let held = InterfaceState {
                name: interface.device.name.clone(),
                generation: interface.generation,
                slot: planned.slot,
                pickup_until: planned.pickup_until,
                choice: planned.choice,
                entry: planned.entry,
                ethernet: interface.device.ethernet,
                attachment: attempt.attachments.remove(&ifindex).unwrap_or_else(missing),
            };
            filtered.insert(ifindex, held);
        }
        let before = std::mem::replace(&mut self.filtered, filtered);
        let named = self.filtered.iter().filter(|(_, held)| held.attachment.is_ok());
        let named = named.map(|(&ifindex, held)| (held.slot, ifindex, held.name.to_string()));
        self.options.names.set(named);
        self.tried = Instant::now();
        self.unsettled = !plan.left_out.is_empty()
            || self.filtered.values().any(|held| held.attachment.is_err());
        self.detach_unwanted();
        self.give_up(&before);
        self.note_left_out(plan);
        self.note_named_otherwise();
    }

    fn detach_unwanted(&mut self) {
        for ifindex in self.kernel.attached() {
            if self.filtered.contains_key(&ifindex) {
                continue;
            }
            if let Some(interface) = self.view.get(&ifindex) {
                warn!(interface = %interface.device.name, "no entry matches it any more: it is no longer filtered");
            }
            if let Err(error) = self.kernel.detach(ifindex) {
                error!(ifindex, %error, "cannot be detached");
                self.unsettled = true;
            }
        }
    }

    fn note_left_out(&mut self, plan: &InterfacePlan) {
        let reason = self.no_slot();
        for ifindex in &plan.left_out {
            if !self.left_out.contains_key(ifindex)
                && let Some(interface) = self.view.get(ifindex)
            {
                error!(interface = %interface.device.name, "is NOT filtered: {reason}");
            }
        }
        let all = plan.left_out.iter().map(|&ifindex| (ifindex, reason.clone()));
        self.left_out = all.collect();
    }

    /// `status` shows interfaces that have come meanwhile, with the reason.
    pub(super) fn note_unfiltered(&mut self, reason: &str) {
        for &ifindex in
            self.plan_interfaces(&self.target, Cause::InterfacesChanged).interfaces.keys()
        {
            if !self.filtered.contains_key(&ifindex) {
                self.left_out.insert(ifindex, reason.to_owned());
            }
        }
    }
}

fn publish(kernel: &mut impl Kernel, images: &Images) -> Result<(), datapath::Error> {
    match &images.fallback {
        Some((fallback, deadline)) => kernel.publish_until(&images.active, fallback, *deadline),
        None => kernel.publish(&images.active),
    }
}
