//! The owner acts by itself: at deadlines, for second attempts, when interfaces come and go.

use std::time::Duration;

use tracing::{error, info, warn};

use super::{cause::Cause, revision::PendingConfirmation, state::Owner};
use crate::{kernel::Kernel, observe::interfaces::View};

/// A failed attempt is repeated after this.
const RETRY: Duration = Duration::from_secs(5);

impl<D: Kernel> Owner<D> {
    /// Makes a rollback that the data path has done by itself a fact.
    pub(super) fn expire(&mut self) {
        let ticks = self.ticks();
        let due = |pending: &PendingConfirmation| ticks.has_passed(pending.deadline);
        if !self.target.pending.as_ref().is_some_and(due) {
            return;
        }
        let revision = self.target.active.number;
        match self.take_back(None) {
            Ok(()) => warn!(revision, "not confirmed in time: rolled back"),
            // The data path is back already, and after a restart the store is read as expired.
            Err(error) => error!(revision, %error, "the rollback cannot be recorded"),
        }
    }

    /// Tries again what could not be done, or what time has brought about.
    pub(super) fn wake(&mut self) {
        self.expire();
        self.upgrade_hook();
        self.release_in_time();
        if self.unsettled {
            self.settle();
        }
        if self.store.is_in_doubt() {
            match self.store.end_doubt() {
                Ok(()) => info!("the change that the disk failed to take is void now"),
                Err(error) => error!(%error, "a change that failed may come back by a restart"),
            }
        }
    }

    /// How long the owner may sleep.
    pub(super) fn sleep(&self) -> Option<Duration> {
        let retry = (self.unsettled || self.store.is_in_doubt()).then_some(RETRY);
        let deadline = self.target.pending.as_ref().map(|pending| {
            let left = self.ticks().until(pending.deadline);
            // Past due: the rollback could not be recorded.
            if left.is_zero() { RETRY } else { left }
        });
        let rest = [self.next_upgrade_in(), self.until_release()].into_iter().flatten();
        retry.into_iter().chain(deadline).chain(rest).min()
    }

    /// Takes in how the interfaces are now.
    pub fn follow(&mut self, view: View) {
        self.view = view;
        self.settle();
    }

    fn settle(&mut self) {
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
