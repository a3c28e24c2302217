//! Applies that came together. Each is a revision with an answer of its own. But where one differs from what
//! is in force in rules alone, and another follows it already, it is recorded and passed over: what is in
//! force is the last of a row, and the journal has one record of all. One by one, each waits for the disk.

use std::{fmt, sync::Arc, time::Instant};

use sg_policy::{DesiredState, plan};
use tracing::info;

use super::{Error, Owner, Ruleset, Target, change::Proposal, enforce::Cause, lockout::Origin};
use crate::{api::Applied, kernel::Kernel, observe::ssh_sessions::Located, store};

/// As many take up one record of the journal. The ledger keeps more.
const MOST: usize = 50;

/// What somebody wants to be in force.
#[derive(Debug)]
pub struct Request {
    pub proposal: Proposal,
    pub confirm: Option<u32>,
    pub sessions: Vec<Located>,
    pub since: Instant,
}

impl Request {
    fn rules(&self) -> &DesiredState {
        self.proposal.source.state()
    }
}

/// A request, and who waits for what comes of it.
pub struct Change {
    pub request: Request,
    pub answer: Box<dyn FnOnce(Result<Applied, Error>) + Send>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<D: Kernel> Owner<D> {
    /// In this order.
    pub fn apply_all(&mut self, changes: Vec<Change>) {
        let mut row = Vec::new();
        let mut changes = changes.into_iter().peekable();
        while let Some(change) = changes.next() {
            let is_followed = changes.peek().is_some() && row.len() + 1 < MOST;
            let goes_on = is_followed && self.may_pass_over(row.last(), &change.request);
            row.push(change);
            if !goes_on {
                self.apply_row(std::mem::take(&mut row));
            }
        }
    }

    fn apply_row(&mut self, row: Vec<Change>) {
        match self.apply_together(&row) {
            Some(applied) => {
                row.into_iter()
                    .zip(applied)
                    .for_each(|(change, applied)| (change.answer)(Ok(applied)));
            }
            // Each hears what is wrong with its own.
            None => row
                .into_iter()
                .for_each(|Change { request, answer }| answer(self.apply_one(request))),
        }
    }

    fn apply_one(&mut self, request: Request) -> Result<Applied, Error> {
        let Request { proposal, confirm, sessions, since } = request;
        self.refuse_lock_out(&proposal.source, Origin::File, &sessions)?;
        self.apply(&proposal, confirm, since)
    }

    /// Whether nobody could tell that it was not in force for a moment: it would be taken, no interface would
    /// be filtered otherwise, and no flow end.
    fn may_pass_over(&self, before: Option<&Change>, request: &Request) -> bool {
        let present = before.map_or(self.rules(), |before| before.request.rules());
        let source = Arc::clone(&request.proposal.source);
        let ruleset = Ruleset::new(self.store.next_revision(), source);
        request.confirm.is_none()
            && request.sessions.is_empty()
            && self.target.pending.is_none()
            && !self.unsettled
            && !ruleset.is_cut()
            && ruleset.rules.interfaces == self.rules().interfaces
            && !plan::is_same(present, &ruleset.rules)
            && self.image(&ruleset, &self.live, self.dataplane.now()).is_ok()
    }

    /// Records all and puts the last in force; `None` where that is not to be done in one go.
    fn apply_together(&mut self, row: &[Change]) -> Option<Vec<Applied>> {
        let [.., before, Change { request: last, .. }] = row else { return None };
        let is_plain = last.confirm.is_none() && self.target.pending.is_none();
        if !is_plain || plan::is_same(before.request.rules(), last.rules()) {
            return None;
        }
        self.refuse_lock_out(&last.proposal.source, Origin::File, &last.sessions).ok()?;
        let first = self.store.next_revision();
        let revisions = row.iter().map(|change| change.request.proposal.revision()).collect();
        let revision = first + row.len() as u64 - 1;
        let active = Ruleset::new(revision, Arc::clone(&last.proposal.source));
        let target = Target { active, pending: None };
        let change = store::Change::Record { revisions, pending: None };
        self.enforce(target, Cause::Apply, Some(change)).ok()?;
        info!(revision, passed_over = row.len() - 1, "applied");
        let applied = (first..=revision).zip(row).map(|(own, change)| Applied {
            revision: own,
            superseded_by: (own != revision).then_some(revision),
            ..self.applied(true, change.request.since)
        });
        Some(applied.collect())
    }
}
