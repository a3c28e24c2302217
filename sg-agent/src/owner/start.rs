//! Start and end of the owner. The start puts the stored rules in force over an earlier agent's
//! pins.

use std::{cell::RefCell, collections::BTreeMap, time::Instant};

use sg_policy::compile::Image;

use super::{
    attach_limiter::AttachLimiter,
    cause::Cause,
    error::Error,
    figures::Publishing,
    revision::{PendingConfirmation, Stored, Target},
    state::{Options, Owner, ticks},
    used_slots::UsedSlots,
    verification::Verification,
};
use crate::{
    kernel::Kernel,
    observe::interfaces::View,
    store::{self, LedgerChange, Store},
    system::clock::Ticks,
};

impl<D: Kernel> Owner<D> {
    /// Puts the stored rules in force. It takes over the slots of an earlier agent, so flows and
    /// counters stay, and there is no moment without rules.
    ///
    /// # Errors
    /// The rules cannot be compiled or published; the rules in force before stay so.
    pub fn start(
        kernel: D,
        mut store: Store,
        stored: Stored,
        view: View,
        options: Options,
    ) -> Result<Self, Error> {
        if let Some(inherited) = kernel.inherited() {
            store.rise_above(inherited.revision);
        }
        let ticks = ticks(&kernel);
        let target = resume(&mut store, stored, ticks, &options);
        let mut owner = Self {
            kernel,
            store,
            options,
            compiler: RefCell::default(),
            view,
            target: target.clone(),
            filtered: BTreeMap::new(),
            left_out: BTreeMap::new(),
            live: Vec::new(),
            live_fallback: Vec::new(),
            unsettled: false,
            tried: Instant::now(),
            verification: Verification::default(),
            is_other_in_force: false,
            attach_limiter: AttachLimiter::new(),
            used_slots: UsedSlots::default(),
            stopping: false,
            image_in_force: Image { words: Vec::new() },
            publishing: Publishing::default(),
        };
        owner.take_over();
        let prepared = owner.prepare(target, Cause::Start)?;
        owner.enforce(prepared, None)?;
        Ok(owner)
    }

    /// Removes the filter altogether; the agent ends after this.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.kernel.remove(&self.options.bpffs)?;
        tracing::warn!("detached: nothing is filtered any more");
        self.stopping = true;
        Ok(())
    }
}

/// An unconfirmed change goes on waiting until its deadline. Within one boot the deadline counts in
/// ticks; in another boot the wall clock tells the time that is left.
fn resume(store: &mut Store, stored: Stored, ticks: Ticks, options: &Options) -> Target {
    let Stored { current, previous } = stored;
    let (Some(previous), Some(pending)) = (previous, store.ledger().pending.clone()) else {
        return Target { active: current, pending: None };
    };
    let deadline = if pending.boot_id == options.boot_id {
        (!ticks.has_passed(pending.deadline)).then_some(pending.deadline)
    } else {
        store.ledger().seconds_left(options.started_at).map(|left| ticks.after(left))
    };
    let Some(deadline) = deadline else {
        tracing::warn!(
            revision = current.number,
            back_to = previous.number,
            "the change was not confirmed in time and is rolled back"
        );
        note(store.record(LedgerChange::RollBack));
        return Target { active: previous, pending: None };
    };
    if pending.boot_id != options.boot_id {
        let boot_id = options.boot_id.clone();
        note(store.record(LedgerChange::Rearm { deadline, boot_id }));
    }
    let pending = PendingConfirmation { previous, deadline, until: pending.until };
    Target { active: current, pending: Some(pending) }
}

/// A full or read-only disk is no reason to filter nothing: the next start reads the same and does the
/// same.
fn note(recorded: Result<(), store::Error>) {
    if let Err(error) = recorded {
        tracing::error!(%error, "the end of the unconfirmed change is not recorded");
    }
}
