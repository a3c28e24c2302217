//! Commands: every change of the host's rules is one, from any source.

use std::{sync::Arc, time::Instant};

use sg_policy::{DesiredState, edit::Edit, plan, rules::parsed::ParsedRules};
use tracing::info;

use super::{
    cause::Cause,
    error::Error,
    lockout::Origin,
    revision::{PendingConfirmation, Revision, Target, load},
    state::Owner,
    unfiltered::Guard,
};
use crate::{
    api::Applied,
    kernel::Kernel,
    observe::ssh_sessions::Located,
    store::{self, Document, DocumentKind, NewRevision},
    system::clock::unix_now,
};

/// Longest time that a change may wait for its confirmation, in seconds.
const MAX_CONFIRM: u32 = 86_400;

/// The one who gives a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// A file's name, `rollback to N`, or a source's own name. The log and the history show it.
    pub name: String,
    /// Harm that the change must not do.
    pub guard: Guard,
}

/// A change of the desired state: authorised, logged, queued, batched and compared as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub actor: Actor,
    pub change: Change,
    /// Seconds within which somebody has to confirm the change, or it is taken back.
    pub confirm: Option<u32>,
    /// The revision that the change was made for. While another one is in force, the command is refused.
    pub expected_revision: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another state.
    Replace(Replacement),
    /// The state in force with these changes.
    Edit(Vec<Edit>),
}

/// A whole state, with the document that a restart reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    pub state: Arc<DesiredState>,
    /// The rules file, if the state comes from one. The next file is read by its difference.
    pub file: Option<Arc<ParsedRules>>,
    /// For the store.
    document: Document,
}

impl Replacement {
    /// The state that a file says.
    pub fn file(file: Arc<ParsedRules>) -> Self {
        let state = Arc::clone(file.state());
        let document = Document::new(DocumentKind::Rules, Arc::clone(file.text()));
        Self { state, file: Some(file), document }
    }

    /// A state that no file says. The store keeps the state itself: a file has no words for its ids,
    /// accounts and VPCs.
    pub fn state(state: Arc<DesiredState>) -> Self {
        let json = serde_json::to_string(&*state).expect("a state has a JSON form");
        let document = Document::new(DocumentKind::State, json.into());
        Self { state, file: None, document }
    }

    /// As revision `number`.
    pub(super) fn revision(&self, number: u64) -> Revision {
        let (state, file) = (Arc::clone(&self.state), self.file.clone());
        Revision { number, state, file }
    }

    pub(super) fn stored<'s>(&'s self, actor: &'s Actor) -> NewRevision<'s> {
        let (rules, groups) = (count_rules(&self.state), self.state.groups.len());
        NewRevision { document: &self.document, origin: &actor.name, rules, groups }
    }
}

impl<D: Kernel> Owner<D> {
    /// Executes a command as a whole, or changes nothing. `since` is when it was given.
    ///
    /// # Errors
    /// Also if the command would do harm that the actor's guard forbids.
    pub fn execute(&mut self, command: Command, since: Instant) -> Result<Applied, Error> {
        let Command { actor, change, confirm, expected_revision } = command;
        if confirm.is_some_and(|seconds| !(1..=MAX_CONFIRM).contains(&seconds)) {
            let text = format!("a change can wait 1 to {MAX_CONFIRM} seconds to be confirmed");
            return Err(Error::Request(text));
        }
        self.refuse_while_pending()?;
        let present = &self.target.active;
        if let Some(expected) = expected_revision.filter(|expected| *expected != present.number) {
            let text = format!("revision {} is in force, not {expected}", present.number);
            return Err(Error::Conflict(text));
        }
        let next = match change {
            Change::Replace(next) => next,
            Change::Edit(edits) => {
                let edited = present.state.edited(&edits);
                Replacement::state(Arc::new(
                    edited.map_err(|error| Error::Conflict(error.to_string()))?,
                ))
            }
        };
        self.replace(&next, &actor, Origin::Command, confirm, since)
    }

    fn replace(
        &mut self,
        next: &Replacement,
        actor: &Actor,
        origin: Origin,
        confirm: Option<u32>,
        since: Instant,
    ) -> Result<Applied, Error> {
        if plan::is_same(self.rules(), &next.state) {
            return Ok(self.applied(false, since));
        }
        let active = next.revision(self.store.next_revision());
        let revision = active.number;
        let pending = confirm.map(|seconds| PendingConfirmation {
            previous: self.target.active.clone(),
            deadline: self.ticks().after(seconds),
            until: unix_now() + u64::from(seconds),
        });
        let stored = pending.as_ref().map(|pending| store::PendingConfirmation {
            previous: pending.previous.number,
            deadline: pending.deadline,
            boot_id: self.options.boot_id.clone(),
            until: pending.until,
        });
        let prepared = self.prepare(Target { active, pending }, Cause::Apply)?;
        self.refuse_unasked(&prepared, origin, &actor.guard)?;
        let record =
            store::LedgerChange::Record { revisions: vec![next.stored(actor)], pending: stored };
        self.enforce(prepared, Some(record))?;
        info!(revision, origin = actor.name, "applied");
        Ok(self.applied(true, since))
    }

    /// The change that waits stays.
    pub fn confirm(&mut self, since: Instant) -> Result<Applied, Error> {
        self.expire();
        if self.target.pending.is_none() {
            return Err(Error::Conflict("no change waits to be confirmed".to_owned()));
        }
        let target = Target { pending: None, ..self.target.clone() };
        let prepared = self.prepare(target, Cause::Confirm)?;
        self.enforce(prepared, Some(store::LedgerChange::Confirm))?;
        info!(revision = self.target.active.number, "confirmed");
        Ok(self.applied(false, since))
    }

    /// Back to `revision`, or to the one before the present one. A change that waits for its
    /// confirmation is taken back as if it had run out; anything else makes a new revision.
    ///
    /// # Errors
    /// Also if that would do harm that `guard` forbids. A change that waits goes back by itself at
    /// its deadline, whatever that filters, so only the guard's sessions count then.
    pub fn roll_back(
        &mut self,
        revision: Option<u64>,
        guard: &Guard,
        since: Instant,
    ) -> Result<Applied, Error> {
        self.expire();
        if let Some(pending) = &self.target.pending {
            let previous = pending.previous.number;
            if revision.is_some_and(|revision| revision != previous) {
                self.refuse_while_pending()?;
            }
            self.take_back(Some(&guard.sessions))?;
            return Ok(self.applied(true, since));
        }
        let ledger = self.store.ledger();
        let Some(revision) = revision.or_else(|| ledger.before_current()) else {
            return Err(Error::Conflict("there is no revision to go back to".to_owned()));
        };
        if ledger.entry(revision).is_none() {
            return Err(Error::Conflict(format!("there is no revision {revision}")));
        }
        let earlier =
            load(&self.store, revision).map_err(|error| Error::Refused(format!("{error:#}")))?;
        let next = match earlier.file {
            Some(file) => Replacement::file(file),
            None => Replacement::state(earlier.state),
        };
        let actor = Actor { name: format!("rollback to {revision}"), guard: guard.clone() };
        self.replace(&next, &actor, Origin::Revision(revision), None, since)
    }

    /// Takes the unconfirmed change back, unless that would lock one of the sessions out.
    pub(super) fn take_back(&mut self, sessions: Option<&[Located]>) -> Result<(), Error> {
        let Some(pending) = &self.target.pending else { return Ok(()) };
        let target = Target { active: pending.previous.clone(), pending: None };
        let origin = Origin::Revision(target.active.number);
        let prepared = self.prepare(target, Cause::Expiry)?;
        if let Some(sessions) = sessions {
            self.refuse_lock_out(&prepared, origin, sessions)?;
        }
        self.enforce(prepared, Some(store::LedgerChange::RollBack))
    }

    fn refuse_while_pending(&mut self) -> Result<(), Error> {
        self.expire();
        if self.target.pending.is_none() {
            return Ok(());
        }
        let revision = self.target.active.number;
        Err(Error::Conflict(format!(
            "revision {revision} waits to be confirmed; confirm it or roll it back first"
        )))
    }

    pub(super) fn applied(&self, changed: bool, since: Instant) -> Applied {
        let filtered = self.filtered.values();
        Applied {
            revision: self.target.active.number,
            changed,
            interfaces: filtered
                .filter(|held| held.entry.is_some() && held.attachment.is_ok())
                .count(),
            took_us: u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX),
            superseded_by: None,
            warnings: if changed { self.warnings() } else { Vec::new() },
            confirm_until: self.target.pending.as_ref().map(|pending| pending.until),
        }
    }
}

pub(super) fn count_rules(rules: &DesiredState) -> usize {
    rules.groups.iter().map(|group| group.ingress.len() + group.egress.len()).sum()
}
