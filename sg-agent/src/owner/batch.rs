//! Commands that waited together. Each is a revision with an answer of its own, and one by one each waits for
//! the disk. A command that differs in rules alone, and that another one follows, is superseded: it is recorded,
//! but never in force. The last of a batch comes into force. The journal has one record of all.

use sg_policy::plan;
use tracing::info;

use super::{
    cause::Cause,
    command::{Change, Command, Replacement},
    lockout::Origin,
    mailbox::Submission,
    revision::Target,
    state::Owner,
};
use crate::{api::Applied, kernel::Kernel, store};

/// Commands of one record of the journal. The ledger keeps more revisions than that.
const MOST: usize = 50;

impl Submission {
    /// The state that the command brings, if it depends neither on the state before nor on a
    /// revision.
    fn replacement(&self) -> Option<&Replacement> {
        match &self.command.change {
            Change::Replace(next) if self.command.expected_revision.is_none() => Some(next),
            Change::Replace(_) | Change::Edit(_) => None,
        }
    }
}

impl<D: Kernel> Owner<D> {
    /// Executes commands in this order, and answers each.
    pub fn execute_all(&mut self, submissions: Vec<Submission>) {
        let mut batch = Vec::new();
        let mut submissions = submissions.into_iter().peekable();
        while let Some(submission) = submissions.next() {
            let is_followed = submissions.peek().is_some() && batch.len() + 1 < MOST;
            let goes_on = is_followed && self.can_supersede(batch.last(), &submission);
            batch.push(submission);
            if !goes_on {
                self.execute_batch(std::mem::take(&mut batch));
            }
        }
    }

    fn execute_batch(&mut self, batch: Vec<Submission>) {
        match self.execute_together(&batch) {
            Some(applied) => {
                batch
                    .into_iter()
                    .zip(applied)
                    .for_each(|(one, applied)| one.answer.send(Ok(applied)));
            }
            // One by one, each submission gets an error of its own.
            None => batch.into_iter().for_each(|Submission { command, since, answer }| {
                answer.send(self.execute(command, since));
            }),
        }
    }

    /// Returns true if skipping this command is unobservable: it would be executed, no interface would be
    /// filtered otherwise, and no flow would end.
    fn can_supersede(&self, before: Option<&Submission>, submission: &Submission) -> bool {
        let Some(next) = submission.replacement() else { return false };
        let present = match before.map(Submission::replacement) {
            Some(Some(before)) => &before.state,
            Some(None) => return false,
            None => &self.target.active.state,
        };
        let revision = next.revision(self.store.next_revision());
        let Command { actor, confirm, .. } = &submission.command;
        confirm.is_none()
            && actor.guard.sessions.is_empty()
            && self.target.pending.is_none()
            && !self.unsettled
            && !revision.is_cut()
            && revision.state.interfaces == self.rules().interfaces
            && !plan::is_same(present, &revision.state)
            && self.image(&revision, &self.live, self.kernel.now()).is_ok()
    }

    /// Records all commands and puts the last in force; `None` if they cannot be one change.
    fn execute_together(&mut self, batch: &[Submission]) -> Option<Vec<Applied>> {
        let [.., before, last] = batch else { return None };
        let all: Vec<_> = batch.iter().map(Submission::replacement).collect::<Option<_>>()?;
        let next = last.replacement()?;
        let is_plain = last.command.confirm.is_none() && self.target.pending.is_none();
        if !is_plain || plan::is_same(&before.replacement()?.state, &next.state) {
            return None;
        }
        let first = self.store.next_revision();
        let revision = first + batch.len() as u64 - 1;
        let target = Target { active: next.revision(revision), pending: None };
        let prepared = self.prepare(target, Cause::Apply).ok()?;
        self.refuse_unasked(&prepared, Origin::Command, &last.command.actor.guard).ok()?;
        let revisions =
            all.into_iter().zip(batch).map(|(next, one)| next.stored(&one.command.actor)).collect();
        self.enforce(prepared, Some(store::LedgerChange::Record { revisions, pending: None }))
            .ok()?;
        info!(revision, superseded = batch.len() - 1, "applied");
        let applied = (first..=revision).zip(batch).map(|(own, one)| Applied {
            revision: own,
            superseded_by: (own != revision).then_some(revision),
            ..self.applied(true, one.since)
        });
        Some(applied.collect())
    }
}
