//! The owner acts by itself: at deadlines, for second attempts, when interfaces come and go.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{cause::Cause, revision::PendingConfirmation, state::Owner};
use crate::{kernel::Kernel, observe::interfaces::View};

/// How often the kernel is asked about all attached interfaces.
const VERIFY: Duration = Duration::from_secs(10);
/// A failed attempt is repeated after this.
const RETRY: Duration = Duration::from_secs(5);

impl<D: Kernel> Owner<D> {
    /// Records a rollback that the data path has done by itself at the deadline.
    pub(super) fn expire(&mut self) {
        let ticks = self.ticks();
        let due = |pending: &PendingConfirmation| ticks.has_passed(pending.deadline);
        if !self.target.pending.as_ref().is_some_and(due) {
            return;
        }
        let revision = self.target.active.number;
        match self.take_back(None) {
            Ok(()) => warn!(revision, "not confirmed in time: rolled back"),
            // The data path has the rules before already, and a restart takes the stored change as
            // expired.
            Err(error) => error!(revision, %error, "the rollback cannot be recorded"),
        }
    }

    /// Wakes if it is time. Called between messages, so that a stream of questions cannot put it
    /// off.
    pub(super) fn wake_in_time(&mut self) {
        self.expire();
        if self.sleep().is_some_and(|left| left.is_zero()) {
            self.wake();
        }
    }

    /// Does everything that is due: expiry, better hooks, released slots, verification, second
    /// attempts.
    pub(super) fn wake(&mut self) {
        self.expire();
        self.upgrade_hook();
        self.release_in_time();
        self.verify_in_time();
        if self.unsettled {
            self.settle();
        }
        if self.store.is_in_doubt() {
            match self.store.end_doubt() {
                Ok(()) => info!("the change that the disk failed to take is void now"),
                Err(error) => error!(%error, "a change that failed may come back by a restart"),
            }
            self.tried = Instant::now();
        }
    }

    /// How long the owner may sleep.
    pub(super) fn sleep(&self) -> Option<Duration> {
        let deadline = self.target.pending.as_ref().map(|pending| {
            let left = self.ticks().until(pending.deadline);
            // Past due: the rollback could not be recorded.
            if left.is_zero() { RETRY } else { left }
        });
        let rest = [
            self.until_retry(),
            self.next_upgrade_in(),
            self.until_release(),
            self.next_verification_in(),
        ];
        deadline.into_iter().chain(rest.into_iter().flatten()).min()
    }

    /// When something is to be tried again, if anything is.
    fn until_retry(&self) -> Option<Duration> {
        let is_needed = self.unsettled || self.store.is_in_doubt();
        is_needed.then(|| RETRY.saturating_sub(self.tried.elapsed()))
    }

    /// When the kernel is to be asked again.
    pub(super) fn next_verification_in(&self) -> Option<Duration> {
        if self.filtered.is_empty() {
            return None;
        }
        Some(VERIFY.saturating_sub(self.verification.at.elapsed()))
    }

    /// Verifies if it is time, and attaches interfaces anew that are not filtered.
    fn verify_in_time(&mut self) {
        if self.next_verification_in().is_some_and(|left| left.is_zero()) && self.verify() {
            self.settle();
        }
    }

    /// Takes a new view of the interfaces, and changes the filter accordingly.
    pub fn follow(&mut self, view: View) {
        let mut is_doubtful = false;
        for (&ifindex, held) in &mut self.filtered {
            let Some(interface) = view.get(&ifindex) else { continue };
            if interface.generation == held.generation {
                continue;
            }
            is_doubtful = true;
            // A device with our programs on it is the interface that we attached to.
            if self.kernel.is_here(ifindex) {
                held.generation = interface.generation;
            }
        }
        self.view = view;
        self.settle();
        if is_doubtful && self.verify() {
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.tried = Instant::now();
        let target = self.target.clone();
        let prepared = self.prepare(target, Cause::InterfacesChanged);
        let done = prepared.and_then(|prepared| self.enforce(prepared, None));
        if let Err(error) = done {
            error!(%error, "cannot follow the interfaces");
            self.note_unfiltered(&error.to_string());
            self.unsettled = true;
        }
    }
}
