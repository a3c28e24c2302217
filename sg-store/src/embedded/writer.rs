//! The thread that writes. It takes all jobs that wait, makes one commit of them, then answers.

use std::{
    io,
    sync::{PoisonError, mpsc},
};

use redb::Database;
use tokio::sync::oneshot;

use super::{
    changes::Writer,
    disk::Failed,
    open,
    shared::{Job, Shared, State},
    tables::Error,
};
use crate::{
    error::{Fault, ReadError, TxnError},
    id::Revision,
};

/// Jobs that share one fdatasync at most, so that the first of them does not wait long.
const AT_ONCE: usize = 64;

/// Runs until nobody can send a job any more.
pub(super) fn run(shared: &Shared, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(AT_ONCE - 1));
        take(shared, batch);
    }
}

/// Answers that wait for the disk.
enum Answer {
    Commit(oneshot::Sender<Result<Revision, TxnError>>, Result<Revision, TxnError>),
    Compact(oneshot::Sender<Result<(), ReadError>>, Result<(), ReadError>),
}

impl Answer {
    /// The answer of a commit that became durable.
    fn send(self) {
        // Somebody who does not wait any more does not want to know.
        match self {
            Self::Commit(reply, result) => drop(reply.send(result)),
            Self::Compact(reply, result) => drop(reply.send(result)),
        }
    }

    fn refuse(self, fault: &Fault) {
        match self {
            Self::Commit(reply, _) => drop(reply.send(Err(fault.clone().into()))),
            Self::Compact(reply, _) => drop(reply.send(Err(fault.clone().into()))),
        }
    }

    fn unknown(self, fault: &Fault) {
        match self {
            // A refused transaction, too: the writes that it lost against may not be there.
            Self::Commit(reply, _) => {
                let (place, reason) = ("the embedded store".to_owned(), fault.to_string());
                drop(reply.send(Err(TxnError::Unknown { place, reason })));
            }
            Self::Compact(reply, _) => drop(reply.send(Err(fault.clone().into()))),
        }
    }
}

fn take(shared: &Shared, batch: Vec<Job>) {
    let mut answers = Vec::new();
    let result = {
        let state = shared.state.read().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(database) => write(shared, database, batch, &mut answers),
            State::Closed(fault) => {
                let fault = fault.clone();
                drop(state);
                return batch.into_iter().for_each(|job| unanswered(job).refuse(&fault));
            }
        }
    };
    match result {
        Ok(revision) => {
            shared.committed.send_replace(revision);
            answers.into_iter().for_each(Answer::send);
        }
        Err(error) => recover(shared, error, answers),
    }
}

/// Makes the jobs in one commit. Each has its answer in `answers`, also where this fails.
fn write(
    shared: &Shared,
    database: &Database,
    batch: Vec<Job>,
    answers: &mut Vec<Answer>,
) -> Result<Revision, Error> {
    let mut jobs = batch.into_iter();
    let made = (|| {
        let transaction = database.begin_write()?;
        let mut writer = Writer::begin(&transaction)?;
        for job in jobs.by_ref() {
            apply(shared, &mut writer, job, answers)?;
        }
        let revision = writer.head().revision;
        // A batch of conflicts is no reason to write.
        if writer.finish()? {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(revision)
    })();
    answers.extend(jobs.map(unanswered));
    made
}

fn apply(
    shared: &Shared,
    writer: &mut Writer<'_>,
    job: Job,
    answers: &mut Vec<Answer>,
) -> Result<(), Error> {
    let head = writer.head();
    // The answer is there before anything can fail, or nobody would hear of the job.
    match job {
        Job::Commit(txn, reply) => {
            answers.push(Answer::Commit(reply, Ok(head.revision)));
            let made = writer.apply(&txn, shared.options.history)?;
            if let Some(Answer::Commit(_, answer)) = answers.last_mut() {
                *answer = made;
            }
        }
        Job::Compact(requested, reply) if requested > head.revision => {
            let current = head.revision;
            answers.push(Answer::Compact(reply, Err(ReadError::Future { requested, current })));
        }
        Job::Compact(requested, reply) => {
            answers.push(Answer::Compact(reply, Ok(())));
            writer.compact(requested)?;
        }
    }
    Ok(())
}

fn unanswered(job: Job) -> Answer {
    match job {
        Job::Commit(_, reply) => Answer::Commit(reply, Ok(Revision(0))),
        Job::Compact(_, reply) => Answer::Compact(reply, Ok(())),
    }
}

/// After a commit that failed: closes the file and opens it anew, which tells whether the commit is
/// there. Where nobody can tell, the store stays closed until the process starts again.
fn recover(shared: &Shared, error: Error, answers: Vec<Answer>) {
    let failure = shared.disk_fault.take();
    let is_sync = matches!(failure, Some((Failed::Sync, _)));
    let fault = match failure {
        Some((_, error)) => open::io_fault(&shared.file, io::Error::new(error.kind(), error)),
        None => open::fault(&shared.file, error),
    };
    let closed = |reason: &Fault| {
        let (file, reason) = (shared.file.clone(), reason.to_string());
        State::Closed(Fault::Closed { file, reason })
    };
    let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
    // The file has to be closed before it can be locked again.
    *state = closed(&fault);
    let is_absent = !is_sync && {
        let before = *shared.committed.borrow();
        match open::open(&shared.file, &shared.opener, &shared.disk_fault, &shared.options) {
            Ok(opened) if opened.revision == before && shared.disk_fault.take().is_none() => {
                *state = State::Open(opened.database);
                true
            }
            Ok(_) => false,
            Err(again) => {
                *state = closed(&again);
                false
            }
        }
    };
    drop(state);
    if is_absent {
        answers.into_iter().for_each(|answer| answer.refuse(&fault));
    } else {
        answers.into_iter().for_each(|answer| answer.unknown(&fault));
        // Watches are to hear that nothing comes any more.
        shared.committed.send_modify(|_| ());
    }
}
