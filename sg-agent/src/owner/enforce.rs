//! The one way in which anything comes into force. See [`super`] for the order and why.

use std::{collections::BTreeMap, time::Instant};

use sg_common::flow::Tick;
use sg_policy::{
    compile::{Image, Parameters},
    describe,
    model::{DatapathChoice, LiveInterface, OnRevoke},
};
use tracing::{error, info, warn};

use super::{
    Error, InterfaceState, Owner, PendingConfirmation, Revision, Target,
    interface_plan::InterfacePlan,
};
use crate::{
    datapath::{self, AttachMode, Attachment},
    kernel::Kernel,
    store::{self, Change},
};

/// What something is enforced for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Start,
    /// New rules, or earlier ones again, because somebody said so.
    Apply,
    Confirm,
    /// A change that was not confirmed.
    Expiry,
    /// Interfaces or addresses came and went.
    InterfacesChanged,
    /// The same rules with other times in them.
    Flush,
}

impl Cause {
    /// Whether an interface that cannot be attached is a reason to change nothing at all. Only
    /// somebody who is told can do better.
    fn is_strict(self) -> bool {
        self == Self::Apply
    }

    pub(super) fn ends_pickup(self) -> bool {
        matches!(self, Self::Apply | Self::Expiry)
    }
}

/// A target with its images. Nothing of it is in force yet.
pub(super) struct Prepared {
    pub(super) target: Target,
    pub(super) plan: InterfacePlan,
    /// `None`: the image in force is right for the target.
    pub(super) images: Option<Images>,
    cause: Cause,
    live: Vec<LiveInterface>,
    live_fallback: Vec<LiveInterface>,
    began: Instant,
}

/// How interfaces are attached after the attempt, and how to take it back.
#[derive(Debug, Default)]
struct Attempt {
    attachments: BTreeMap<u32, Result<Attachment, String>>,
    /// Interfaces with the choice that they were attached by before.
    undo: Vec<(u32, Option<DatapathChoice>)>,
}

impl<D: Kernel> Owner<D> {
    /// Compiles `target` for the interfaces that are there. Nothing is changed yet.
    ///
    /// # Errors
    /// It does not fit, or, with a strict cause, an interface that it filters gets no slot.
    pub(super) fn prepare(&mut self, target: Target, cause: Cause) -> Result<Prepared, Error> {
        let prepared = self.compile_for(target, cause);
        if prepared.is_err() {
            self.publishing.failures.inc();
        }
        prepared
    }

    fn compile_for(&mut self, target: Target, cause: Cause) -> Result<Prepared, Error> {
        let began = Instant::now();
        self.release_in_time();
        let plan = self.plan_interfaces(&target, cause);
        if cause.is_strict() && !plan.left_out.is_empty() {
            return Err(Error::Refused(self.no_slot()));
        }
        let live = plan.live(&self.view);
        let live_fallback = plan.live_fallback(&self.view);
        let publishes = cause != Cause::InterfacesChanged
            || self.is_other_in_force
            || live != self.live
            || live_fallback != self.live_fallback;
        let images =
            if publishes { Some(self.compile(&target, &live, &live_fallback)?) } else { None };
        Ok(Prepared { target, cause, plan, live, live_fallback, images, began })
    }

    /// Puts in force what is prepared, durably where there is a `change` to store. On error everything is
    /// as it was.
    pub(super) fn enforce(
        &mut self,
        prepared: Prepared,
        change: Option<Change<'_>>,
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
        change: Option<Change<'_>>,
    ) -> Result<(), Error> {
        let Prepared { target, cause, plan, live, live_fallback, images, began } = prepared;
        let publishes = images.is_some();
        let newcomers = self.newcomers(&target, &plan, cause);
        // Somebody who asked hears that an interface cannot be had before anything has changed.
        let attempt = if cause.is_strict() { Some(self.attach(&plan, cause)?) } else { None };
        if let Some(mut images) = images {
            let cuts = target.active.is_cut();
            let seeded = self.seed(&newcomers, &images.active);
            if let Err(error) = self.commit(change, &mut images, cuts) {
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
            // Connections that opened between the first look and the filter.
            self.seed(&newcomers, &self.image_in_force);
        }
        self.settled(&plan, attempt);
        Ok(())
    }

    /// Writes the change to the journal, flips, and waits until the disk has it. The filter does not wait
    /// for the disk, but the answer does. Where the disk fails, the rules before come back into force.
    ///
    /// Compiling, attaching and writing take their time, and flows move on meanwhile by the rules
    /// before: rules that cut do so from the flip on. From the tick after now, in which the flip may
    /// come; to hold what was opened by these very rules against them once more changes nothing.
    fn commit(
        &mut self,
        change: Option<Change<'_>>,
        images: &mut Images,
        cuts: bool,
    ) -> Result<(), Error> {
        let appended = change.map(|change| self.store.append(change)).transpose()?;
        if cuts {
            images.active.recheck_since(self.kernel.now().wrapping_add(1));
        }
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

    /// Puts in force again what was, after the disk did not take the change.
    fn flip_back(&mut self, error: store::Error) -> Error {
        let images = self.compile(&self.target, &self.live, &self.live_fallback);
        let flipped = images.and_then(|mut images| {
            if self.target.active.is_cut() {
                images.active.recheck_since(self.kernel.now().wrapping_add(1));
            }
            publish(&mut self.kernel, &images).map_err(Error::Datapath)
        });
        let Err(also) = flipped else { return error.into() };
        self.is_other_in_force = true;
        self.unsettled = true;
        Error::Conflict(format!(
            "{error}; the new rules are in force until the rules before can be put back: {also}"
        ))
    }

    fn compile(
        &self,
        target: &Target,
        live: &[LiveInterface],
        live_fallback: &[LiveInterface],
    ) -> Result<Images, Error> {
        let active = self.image(&target.active, live, self.kernel.now())?;
        let fallback = match &target.pending {
            // The fallback's rules count from the moment at which they are in force again.
            Some(PendingConfirmation { previous, deadline, .. }) => {
                Some((self.image(previous, live_fallback, *deadline)?, *deadline))
            }
            None => None,
        };
        Ok(Images { active, fallback })
    }

    /// Where the rules cut, what was there at `since` is held against them.
    pub(super) fn image(
        &self,
        revision: &Revision,
        live: &[LiveInterface],
        since: Tick,
    ) -> Result<Image, Error> {
        let parameters = Parameters {
            ticks_per_1000s: self.kernel.ticks_per_1000s(),
            revision: revision.number,
            recheck_since: revision.is_cut().then_some(since),
        };
        let compiler = &mut self.compiler.borrow_mut();
        (self.options.compile)(compiler, &revision.state, live, &parameters)
            .map_err(|error| Error::Refused(error.to_string()))
    }

    /// Attaches what is not attached yet as it should be. Where the image in force has no record of
    /// an interface, that changes nothing for its packets.
    ///
    /// # Errors
    /// With a strict cause, the interface that cannot be attached; nothing is attached then.
    fn attach(&mut self, plan: &InterfacePlan, cause: Cause) -> Result<Attempt, Error> {
        let mut attempt = Attempt::default();
        for (&ifindex, planned) in &plan.interfaces {
            let Some(interface) = self.view.get(&ifindex) else { continue };
            let (name, held) =
                (interface.name.clone(), self.kept(ifindex, interface.generation).cloned());
            let before = held.as_ref().filter(|held| held.attachment.is_ok());
            if let Some(before) = before.filter(|before| before.choice == planned.choice) {
                attempt.attachments.insert(ifindex, before.attachment.clone());
                continue;
            }
            let was_a_problem = held.is_some() && before.is_none();
            let result = match self.attach_one(ifindex, &name, planned.choice, held.is_some()) {
                Ok(attachment) => {
                    info!(interface = %name, hook = ?attachment.hook, "filtered: {}", attachment.reason);
                    attempt.undo.push((ifindex, before.map(|before| before.choice)));
                    Ok(attachment)
                }
                Err(error) if !self.kernel.exists(ifindex) => {
                    warn!(interface = %name, "gone before it could be filtered");
                    Err(error.to_string())
                }
                // One that was a problem before the change must not stand in its way.
                Err(error) if cause.is_strict() && !was_a_problem => {
                    attempt.undo.push((ifindex, before.map(|before| before.choice)));
                    self.undo(&attempt);
                    return Err(Error::Refused(format!("cannot filter {name}: {error}")));
                }
                Err(error) => {
                    let reason = error.to_string();
                    if held.and_then(|held| held.attachment.err()).as_ref() != Some(&reason) {
                        error!(interface = %name, "is NOT filtered: {reason}");
                    }
                    Err(reason)
                }
            };
            attempt.attachments.insert(ifindex, result);
        }
        Ok(attempt)
    }

    fn attach_one(
        &mut self,
        ifindex: u32,
        name: &str,
        choice: DatapathChoice,
        is_kept: bool,
    ) -> Result<Attachment, datapath::Error> {
        if !is_kept && self.filtered.contains_key(&ifindex) {
            // Links of an earlier interface of this number would pass for this one's.
            self.kernel.detach(ifindex)?;
        }
        let mode = self.attach_limiter.take(Instant::now());
        self.kernel.attach(ifindex, name, choice, mode)
    }

    fn undo(&mut self, attempt: &Attempt) {
        for &(ifindex, choice) in attempt.undo.iter().rev() {
            let name =
                self.view.get(&ifindex).map(|interface| interface.name.clone()).unwrap_or_default();
            let undone = match choice {
                Some(choice) => {
                    self.kernel.attach(ifindex, &name, choice, AttachMode::Preferred).map(drop)
                }
                None => self.kernel.detach(ifindex),
            };
            if let Err(error) = undone {
                error!(interface = %name, %error, "cannot be put back as it was attached");
            }
        }
    }

    /// Takes in what the flip has made true, and clears away what is not used any more.
    fn settled(&mut self, plan: &InterfacePlan, mut attempt: Attempt) {
        let mut filtered = BTreeMap::new();
        for (&ifindex, planned) in &plan.interfaces {
            let Some(interface) = self.view.get(&ifindex) else { continue };
            let missing = || Err("not attached".to_owned());
            let held = InterfaceState {
                name: interface.name.clone(),
                generation: interface.generation,
                slot: planned.slot,
                pickup_until: planned.pickup_until,
                choice: planned.choice,
                entry: planned.entry,
                ethernet: interface.ethernet,
                attachment: attempt.attachments.remove(&ifindex).unwrap_or_else(missing),
            };
            filtered.insert(ifindex, held);
        }
        let before = std::mem::replace(&mut self.filtered, filtered);
        let named = self.filtered.iter().filter(|(_, held)| held.attachment.is_ok());
        let named = named.map(|(&ifindex, held)| (held.slot, ifindex, held.name.as_str()));
        self.options.names.set(named);
        self.unsettled = !plan.left_out.is_empty()
            || self.filtered.values().any(|held| held.attachment.is_err());
        self.detach_unwanted();
        self.give_up(&before);
        self.note_left_out(plan);
    }

    fn detach_unwanted(&mut self) {
        for ifindex in self.kernel.attached() {
            if self.filtered.contains_key(&ifindex) {
                continue;
            }
            if let Some(interface) = self.view.get(&ifindex) {
                warn!(interface = %interface.name, "no entry matches it any more: it is no longer filtered");
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
                error!(interface = %interface.name, "is NOT filtered: {reason}");
            }
        }
        let all = plan.left_out.iter().map(|&ifindex| (ifindex, reason.clone()));
        self.left_out = all.collect();
    }

    /// `status` shows what has come meanwhile, with the reason.
    pub(super) fn note_unfiltered(&mut self, reason: &str) {
        for &ifindex in
            self.plan_interfaces(&self.target, Cause::InterfacesChanged).interfaces.keys()
        {
            if !self.filtered.contains_key(&ifindex) {
                self.left_out.insert(ifindex, reason.to_owned());
            }
        }
    }

    fn no_slot(&self) -> String {
        let interfaces = usize::from(self.options.max_interfaces);
        let interfaces = describe::count(interfaces, "interface", "interfaces");
        format!("no more than {interfaces} can be filtered at once (max-interfaces)")
    }
}

pub(super) struct Images {
    pub(super) active: Image,
    fallback: Option<(Image, Tick)>,
}

fn publish(kernel: &mut impl Kernel, images: &Images) -> Result<(), datapath::Error> {
    match &images.fallback {
        Some((fallback, deadline)) => kernel.publish_until(&images.active, fallback, *deadline),
        None => kernel.publish(&images.active),
    }
}

impl Revision {
    /// With "cut", every image has the flows that were there before it held against its rules. That
    /// costs each of them one more look at the rules, and no source of change can be forgotten.
    pub(super) fn is_cut(&self) -> bool {
        self.state.settings.on_revoke == OnRevoke::Cut
    }
}
