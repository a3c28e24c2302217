//! The embedded store: one redb file, one process, one fdatasync a change.
//!
//! A thread of its own writes. Transactions that wait while it syncs share the next fdatasync, each with
//! a revision of its own. Reads take place on the caller's thread, a page at a time.
//!
//! redb commits in one phase: pages and a commit slot with their checksums, then one fdatasync. An
//! opening that finds a slot whose pages do not match it takes the slot before. The whole file is
//! verified at each opening.

mod changes;
mod disk;
mod open;
mod reader;
mod settings;
mod shared;
mod tables;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{Arc, RwLock, mpsc},
    thread::JoinHandle,
};

use changes::Origin;
pub use disk::Opener;
pub use redb::StorageBackend;
pub use settings::{History, Options};
use shared::{Job, Shared, State};
use tokio::sync::{oneshot, watch as signal};

use crate::{
    backup::Backup,
    error::{Fault, ReadError, TxnError, WatchError},
    id::{EpochId, Revision},
    store::{Batch, BoxFuture, KeyValue, List, Page, Store, Watch},
    txn::{Limits, Txn},
};

/// The embedded store. Clones are the same store; it is closed with the last one and the last watch.
#[derive(Clone)]
pub struct Embedded(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    /// `None` while it is being closed.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("file", &self.0.shared.file).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The writer ends with its last job. The file is then closed by whoever holds `shared` last.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Embedded {
    /// Makes a store that holds what `first` writes. The file appears whole or not at all.
    pub fn create(file: &Path, options: Options, first: &Txn) -> Result<Self, TxnError> {
        first.check(options.limits)?;
        open::create(file, options, Origin::EMPTY, first)?;
        Ok(Self::open(file, options)?)
    }

    /// Makes a store of a backup, as a new epoch that names the old one. Keys keep their revisions, so
    /// that the oldest claim on an interface stays the oldest.
    pub fn restore(
        file: &Path,
        options: Options,
        backup: &Backup,
        epoch: EpochId,
    ) -> Result<Self, TxnError> {
        let origin = Origin { revision: backup.revision, entries: &backup.entries };
        open::create(file, options, origin, &backup.new_epoch(epoch))?;
        Ok(Self::open(file, options)?)
    }

    /// Opens a store and verifies all of it.
    pub fn open(file: &Path, options: Options) -> Result<Self, Fault> {
        Self::open_on(file, disk::file_opener(file), options)
    }

    /// Opens a store on a disk of the caller's, which `opener` opens whenever it is needed. `file` is its
    /// name in errors.
    pub fn open_on(file: &Path, opener: Opener, options: Options) -> Result<Self, Fault> {
        let disk_fault = disk::Recorder::default();
        let opened = open::open(file, &opener, &disk_fault, &options)?;
        let (committed, _) = signal::channel(opened.revision);
        let shared = Arc::new(Shared {
            file: file.to_owned(),
            options,
            state: RwLock::new(State::Open(opened.database)),
            committed,
            opener,
            disk_fault,
        });
        let (jobs, waiting) = mpsc::channel();
        let writing = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("sg-store".to_owned())
            .spawn(move || writer::run(&writing, &waiting));
        let writer = spawned.map_err(|error| open::io_fault(file, error))?;
        Ok(Self(Arc::new(Handle { shared, jobs: Some(jobs), writer: Some(writer) })))
    }

    /// The newest durable revision.
    pub fn revision(&self) -> Revision {
        *self.0.shared.committed.borrow()
    }

    /// Forgets the events up to and with a revision, and every state before it.
    pub async fn compact(&self, revision: Revision) -> Result<(), ReadError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Compact(revision, reply));
        answer.await.unwrap_or_else(|_| Err(self.0.shared.ended().into()))
    }

    fn submit(&self, job: Job) {
        // Where the writer has ended, the job's reply goes with it, and the caller hears of that.
        if let Some(jobs) = &self.0.jobs {
            let _ = jobs.send(job);
        }
    }
}

impl Store for Embedded {
    fn limits(&self) -> Limits {
        self.0.shared.options.limits
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, ReadError>> {
        let shared = &self.0.shared;
        Box::pin(async move {
            shared.read(|reader| match shared.check(reader, list.at) {
                Ok(at) => Ok(Ok(reader.page(&list, at)?)),
                Err(error) => Ok(Err(error)),
            })?
        })
    }

    fn get(
        &self,
        key: String,
        at: Option<Revision>,
    ) -> BoxFuture<'_, Result<(Option<KeyValue>, Revision), ReadError>> {
        let shared = &self.0.shared;
        Box::pin(async move {
            shared.read(|reader| match shared.check(reader, at) {
                Ok(at) => Ok(Ok((reader.get(&key, at)?, at))),
                Err(error) => Ok(Err(error)),
            })?
        })
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, TxnError>> {
        Box::pin(async move {
            txn.check(self.limits())?;
            let (reply, answer) = oneshot::channel();
            self.submit(Job::Commit(txn, reply));
            // A job that nobody answers may have been on its way to the disk.
            answer.await.unwrap_or_else(|_| {
                let place = self.0.shared.file.display().to_string();
                Err(TxnError::Unknown { place, reason: self.0.shared.ended().to_string() })
            })
        })
    }

    fn watch(
        &self,
        prefix: String,
        from: Revision,
    ) -> BoxFuture<'_, Result<Box<dyn Watch>, WatchError>> {
        let shared = &self.0.shared;
        Box::pin(async move {
            let committed = shared.committed.subscribe();
            shared.since(from, &prefix)?;
            let shared = Arc::clone(shared);
            let watch = EmbeddedWatch { shared, prefix, next: from, committed };
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }
}

/// Reads the history whenever something was committed: nothing is queued, so a slow watcher costs
/// nothing and loses nothing before it is compacted away.
struct EmbeddedWatch {
    shared: Arc<Shared>,
    prefix: String,
    /// Events from this revision on are yet to be delivered.
    next: Revision,
    committed: signal::Receiver<Revision>,
}

impl fmt::Debug for EmbeddedWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("EmbeddedWatch");
        shown.field("prefix", &self.prefix).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Watch for EmbeddedWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, WatchError>> {
        Box::pin(async move {
            loop {
                // Before the look at the history, so that a change after it is not missed.
                self.committed.borrow_and_update();
                if let Some(batch) = self.shared.since(self.next, &self.prefix)? {
                    self.next = batch.through.next();
                    return Ok(batch);
                }
                // It ends with `shared` only, which this watch keeps.
                let _ = self.committed.changed().await;
            }
        })
    }
}
