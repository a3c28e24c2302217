//! Apply, confirm, roll back: the ways from one revision to another.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sg_policy::{DesiredState, plan, rules::source::Source};
use tracing::{error, info, warn};

use super::{
    Error, Owner, PendingConfirmation, Ruleset, Target, enforce::Cause, load, lockout::Origin,
};
use crate::{
    api::Applied,
    kernel::Kernel,
    observe::ssh_sessions::Located,
    store::{self, Change, Document, NewRevision},
    system::clock::unix_now,
};

/// Longest time that a change may wait for its confirmation, in seconds.
const MAX_CONFIRM: u32 = 86_400;
/// What could not be done is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// A rules file that is valid.
#[derive(Debug)]
pub struct Proposal {
    pub source: Arc<Source>,
    /// The file's name, or `rollback to N`.
    pub origin: String,
    document: Document,
}

impl Proposal {
    pub fn new(source: Arc<Source>, origin: String) -> Self {
        let document = Document::new(Arc::clone(source.text()));
        Self { source, origin, document }
    }

    pub(super) fn revision(&self) -> NewRevision<'_> {
        let Self { source, origin, document } = self;
        let (rules, groups) = (count_rules(source.state()), source.state().groups.len());
        NewRevision { document, origin, rules, groups }
    }
}

impl<D: Kernel> Owner<D> {
    /// Puts `proposal` in force on all interfaces, or changes nothing. `since` is when it was asked
    /// for.
    pub fn apply(
        &mut self,
        proposal: &Proposal,
        confirm: Option<u32>,
        since: Instant,
    ) -> Result<Applied, Error> {
        if confirm.is_some_and(|seconds| !(1..=MAX_CONFIRM).contains(&seconds)) {
            let text = format!("a change can wait 1 to {MAX_CONFIRM} seconds to be confirmed");
            return Err(Error::Request(text));
        }
        self.refuse_while_pending()?;
        if plan::is_same(self.rules(), proposal.source.state()) {
            return Ok(self.applied(false, since));
        }
        let pending = confirm.map(|seconds| PendingConfirmation {
            previous: self.target.active.clone(),
            deadline: self.ticks().after(seconds),
            until: unix_now() + u64::from(seconds),
        });
        let stored = pending.as_ref().map(|pending| store::PendingConfirmation {
            previous: pending.previous.revision,
            deadline: pending.deadline,
            boot_id: self.options.boot_id.clone(),
            until: pending.until,
        });
        let Proposal { source, origin, .. } = proposal;
        let active = Ruleset::new(self.store.next_revision(), Arc::clone(source));
        let revision = active.revision;
        let change = Change::Record { revisions: vec![proposal.revision()], pending: stored };
        self.enforce(Target { active, pending }, Cause::Apply, Some(change))?;
        info!(revision, origin, "applied");
        Ok(self.applied(true, since))
    }

    /// The change that waits stays.
    pub fn confirm(&mut self, since: Instant) -> Result<Applied, Error> {
        self.expire();
        if self.target.pending.is_none() {
            return Err(Error::Conflict("no change waits to be confirmed".to_owned()));
        }
        let target = Target { pending: None, ..self.target.clone() };
        self.enforce(target, Cause::Confirm, Some(Change::Confirm))?;
        info!(revision = self.target.active.revision, "confirmed");
        Ok(self.applied(false, since))
    }

    /// Back to `revision`, or to the one before the present one. A change that waits for its
    /// confirmation is taken back as if it had run out; anything else makes a new revision.
    ///
    /// # Errors
    /// Also where that would lock one of the sessions out.
    pub fn rollback(
        &mut self,
        revision: Option<u64>,
        sessions: &[Located],
        since: Instant,
    ) -> Result<Applied, Error> {
        self.expire();
        if let Some(pending) = &self.target.pending {
            let Ruleset { revision: previous, source, .. } = pending.previous.clone();
            if revision.is_some_and(|revision| revision != previous) {
                self.refuse_while_pending()?;
            }
            self.refuse_lock_out(&source, Origin::Revision(previous), sessions)?;
            self.take_back()?;
            return Ok(self.applied(true, since));
        }
        let ledger = self.store.ledger();
        let Some(revision) = revision.or_else(|| ledger.before_current()) else {
            return Err(Error::Conflict("there is no revision to go back to".to_owned()));
        };
        if ledger.entry(revision).is_none() {
            return Err(Error::Conflict(format!("there is no revision {revision}")));
        }
        let ruleset =
            load(&self.store, revision).map_err(|error| Error::Refused(format!("{error:#}")))?;
        let source = ruleset.source;
        self.refuse_lock_out(&source, Origin::Revision(revision), sessions)?;
        let proposal = Proposal::new(source, format!("rollback to {revision}"));
        self.apply(&proposal, None, since)
    }

    /// Makes a rollback that the data path has done by itself a fact.
    pub(super) fn expire(&mut self) {
        let ticks = self.ticks();
        let due = |pending: &PendingConfirmation| ticks.has_passed(pending.deadline);
        if !self.target.pending.as_ref().is_some_and(due) {
            return;
        }
        let revision = self.target.active.revision;
        match self.take_back() {
            Ok(()) => warn!(revision, "not confirmed in time: rolled back"),
            // The data path is back already, and after a restart the store is read as expired.
            Err(error) => error!(revision, %error, "the rollback cannot be recorded"),
        }
    }

    fn take_back(&mut self) -> Result<(), Error> {
        let Some(pending) = &self.target.pending else { return Ok(()) };
        let target = Target { active: pending.previous.clone(), pending: None };
        self.enforce(target, Cause::Expiry, Some(Change::RollBack))
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
    pub fn follow(&mut self, view: crate::observe::interfaces::View) {
        self.view = view;
        self.settle();
    }

    fn settle(&mut self) {
        if let Err(error) = self.enforce(self.target.clone(), Cause::InterfacesChanged, None) {
            error!(%error, "cannot follow the interfaces");
            self.note_unfiltered(&error.to_string());
            self.unsettled = true;
        }
    }

    fn refuse_while_pending(&mut self) -> Result<(), Error> {
        self.expire();
        if self.target.pending.is_none() {
            return Ok(());
        }
        let revision = self.target.active.revision;
        Err(Error::Conflict(format!(
            "revision {revision} waits to be confirmed; confirm it or roll it back first"
        )))
    }

    pub(super) fn applied(&self, changed: bool, since: Instant) -> Applied {
        let filtered = self.filtered.values();
        Applied {
            revision: self.target.active.revision,
            changed,
            interfaces: filtered
                .filter(|held| held.entry.is_some() && held.attachment.is_ok())
                .count(),
            took_us: u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX),
            superseded_by: None,
            confirm_until: self.target.pending.as_ref().map(|pending| pending.until),
        }
    }
}

pub(super) fn count_rules(rules: &DesiredState) -> usize {
    rules.groups.iter().map(|group| group.ingress.len() + group.egress.len()).sum()
}
