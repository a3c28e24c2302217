//! Writes whole files behind the journal, by a thread of its own: nobody waits for it.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    Error, JOURNAL, LEDGER, REVISIONS,
    disk::Disk,
    format::{FORMAT, Position, WITHOUT_JOURNAL},
    journal,
    ledger::{Ledger, Written},
    write_error,
};

/// Changes that come within this time are written together.
const PAUSE: Duration = Duration::from_secs(1);
/// A write that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

const SUFFIX: &str = ".new";

/// Texts by revision, each with the sequence number of its record.
pub(super) type Texts = BTreeMap<u64, (u64, Arc<str>)>;

/// A moment's state, to be written as whole files.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    pub(super) ledger: Ledger,
    /// `None`: the journal is not needed any more.
    pub(super) position: Option<Position>,
}

impl Checkpoint {
    /// Writes documents, then the ledger, then removes files that nobody needs. If it is cut short
    /// anywhere, state and journal together still have everything.
    fn write(&self, disk: &dyn Disk, root: &Path, texts: &Texts) -> Result<(), Error> {
        let revisions = root.join(REVISIONS);
        for (&revision, (_, text)) in texts {
            // One that was dropped meanwhile needs no file.
            let Some(entry) = self.ledger.entry(revision) else { continue };
            replace(disk, &revisions, &entry.file_name(), text.as_bytes())?;
        }
        if !texts.is_empty() {
            sync(disk, &revisions)?;
        }
        let format = if self.position.is_some() { FORMAT } else { WITHOUT_JOURNAL };
        let ledger = Written { format, journal: self.position, ledger: &self.ledger };
        let json = serde_json::to_vec_pretty(&ledger)
            .map_err(|error| Error::Write { path: root.join(LEDGER), source: error.into() })?;
        replace(disk, root, LEDGER, &json)?;
        sync(disk, root)?;
        self.prune(disk, root);
        Ok(())
    }

    /// Best effort: what stays is not read, and removed by a later checkpoint.
    fn prune(&self, disk: &dyn Disk, root: &Path) {
        let (revisions, journal) = (root.join(REVISIONS), root.join(JOURNAL));
        let names = disk.list(&revisions).unwrap_or_default();
        let dropped = names.iter().filter(|name| {
            let number = name.strip_suffix(".toml").or_else(|| name.strip_suffix(".json"));
            let revision = number.and_then(|number| number.parse().ok());
            revision.is_some_and(|revision| self.ledger.entry(revision).is_none())
        });
        let segments = journal::segments(disk, &journal).unwrap_or_default();
        let needed = self.position.map_or(u64::MAX, |position| position.segment);
        let old = segments.into_iter().filter(|&segment| segment < needed);
        let old = old.map(|segment| journal.join(segment.to_string()));
        for path in dropped.map(|name| revisions.join(name)).chain(old) {
            if let Err(error) = disk.remove(&path) {
                tracing::debug!(path = %path.display(), %error, "an old file stays");
            }
        }
    }
}

/// Replaces a file as a whole. Its name is on the disk once the directory is synced.
fn replace(disk: &dyn Disk, directory: &Path, name: &str, content: &[u8]) -> Result<(), Error> {
    let (path, new) = (directory.join(name), directory.join(format!(".{name}{SUFFIX}")));
    let write = || {
        let mut file = disk.create(&new)?;
        file.write_at(0, content)?;
        file.sync_data()?;
        disk.rename(&new, &path)
    };
    write().map_err(|source| {
        // Best effort: a file that is left is never read, and removed by the next start.
        let _ = disk.remove(&new);
        write_error(path.clone(), source)
    })
}

pub(super) fn sync(disk: &dyn Disk, directory: &Path) -> Result<(), Error> {
    disk.sync_directory(directory).map_err(|source| write_error(directory.to_owned(), source))
}

/// Removes files that a crash has left half written.
pub(super) fn clean(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let names = disk.list(directory)?;
    for name in names.iter().filter(|name| name.starts_with('.') && name.ends_with(SUFFIX)) {
        disk.remove(&directory.join(name))?;
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Queue {
    /// The newest one: it says all that the ones before would have said.
    next: Option<Checkpoint>,
    /// Texts that are in no file yet.
    texts: Texts,
    is_ending: bool,
}

/// The checkpoint that is to be written, and the thread that does.
#[derive(Debug)]
pub(super) struct WriteBehind {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    queue: Arc<(Mutex<Queue>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl WriteBehind {
    pub(super) fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root, queue: Arc::default(), thread: None }
    }

    /// Has a checkpoint written instead of the one that waits, with these texts.
    pub(super) fn put(&self, checkpoint: Checkpoint, texts: Texts) {
        let mut queue = self.queue();
        queue.texts.extend(texts);
        queue.texts.retain(|&revision, _| checkpoint.ledger.entry(revision).is_some());
        queue.next = Some(checkpoint);
        self.queue.1.notify_all();
    }

    /// The text of a revision that is in no file yet.
    pub(super) fn text(&self, revision: u64) -> Option<Arc<str>> {
        self.queue().texts.get(&revision).map(|(_, text)| Arc::clone(text))
    }

    /// Writes at once what waits.
    pub(super) fn write(&self) -> Result<(), Error> {
        write_next(&*self.disk, &self.root, &self.queue.0)
    }

    /// Writes from now on whenever something waits.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let (disk, root) = (Arc::clone(&self.disk), self.root.clone());
            let queue = Arc::clone(&self.queue);
            let run = move || run(&*disk, &root, &queue);
            self.thread = Some(thread::Builder::new().name("store".to_owned()).spawn(run)?);
        }
        Ok(())
    }

    /// Ends as a death of the process would have it.
    #[cfg(any(test, feature = "fake"))]
    pub(super) fn die(&mut self) {
        self.queue().next = None;
        self.end();
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.queue().is_ending = true;
            self.queue.1.notify_all();
            // A panic there has been told, and the journal has all.
            let _ = thread.join();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue.0)
    }
}

impl Drop for WriteBehind {
    /// Writes what waits, so that an agent that was stopped well leaves whole files.
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(disk: &dyn Disk, root: &Path, (queue, changed): &(Mutex<Queue>, Condvar)) {
    let mut told = String::new();
    let mut pause = PAUSE;
    loop {
        let waits = |queue: &mut Queue| queue.next.is_none() && !queue.is_ending;
        let waited = changed.wait_while(lock(queue), waits).unwrap_or_else(PoisonError::into_inner);
        let is_open = |queue: &mut Queue| !queue.is_ending;
        let (waited, _) = changed
            .wait_timeout_while(waited, pause, is_open)
            .unwrap_or_else(PoisonError::into_inner);
        let is_ending = waited.is_ending;
        drop(waited);
        match write_next(disk, root, queue) {
            Ok(()) => (pause, told) = (PAUSE, String::new()),
            Err(error) => {
                let error = match error {
                    Error::Full { path, source } => Error::Write { path, source }.to_string(),
                    error => error.to_string(),
                };
                if error != told {
                    tracing::warn!("{error}; the journal has all of it, and this is tried again");
                }
                (pause, told) = (RETRY, error);
            }
        }
        if is_ending {
            return;
        }
    }
}

fn write_next(disk: &dyn Disk, root: &Path, queue: &Mutex<Queue>) -> Result<(), Error> {
    let (checkpoint, texts) = {
        let mut queue = lock(queue);
        let Some(checkpoint) = queue.next.take() else { return Ok(()) };
        (checkpoint, queue.texts.clone())
    };
    let result = checkpoint.write(disk, root, &texts);
    let mut queue = lock(queue);
    match result {
        Ok(()) => {
            let in_files =
                |sequence| checkpoint.position.is_none_or(|position| sequence <= position.sequence);
            queue.texts.retain(|_, (sequence, _)| !in_files(*sequence));
        }
        // One that has come meanwhile says more.
        Err(_) if queue.next.is_none() => queue.next = Some(checkpoint),
        Err(_) => {}
    }
    result
}
