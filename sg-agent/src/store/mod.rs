//! The state directory: the rules last applied, the revisions before, an unconfirmed change.
//!
//! ```text
//! journal/N            what has changed since state.json was written (see [`journal`])
//! state.json           the ledger, and the place in the journal that it was written at
//! revisions/N.toml     the rules file of revision N as it was applied
//! revisions/N.json     the state of revision N, where no file says it
//! .state.json.new, revisions/.N.toml.new, revisions/.N.json.new  files on their way
//! ```
//!
//! A change is one record in the journal and one fdatasync. Whole files are written behind it
//! ([`behind`]). Until they are there, nothing in the journal that they need is removed.
//!
//! Each start writes the journal's content out and begins a new segment, because a record may be in
//! the kernel's memory and not on the disk. state.json has format 2 from then on. An agent that was
//! ended well leaves format 1 and an empty journal, so an older agent can go on.

mod behind;
mod disk;
#[cfg(test)]
mod faults;
mod format;
mod journal;
mod ledger;
mod record;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use behind::{Checkpoint, Texts, WriteBehind, clean};
use disk::{Disk, OsDisk};
use format::{FORMAT, Position};
use journal::{Journal, Replay};
pub use ledger::{DocumentKind, Ledger, LedgerEntry, PendingConfirmation};
use ledger::{Format, Journaled};
use record::{Body, Difference, Recorded};
use sg_common::flow::Tick;
use sha2::{Digest as _, Sha256};

const LEDGER: &str = "state.json";
const REVISIONS: &str = "revisions";
const JOURNAL: &str = "journal";
/// A thousand small changes.
const SEGMENT_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "cannot write {}: {source}; make room there: until then rules stay as they are",
        path.display()
    )]
    Full { path: PathBuf, source: io::Error },
    /// The change is neither done nor refused.
    #[error(
        "cannot write {}: {source}. The rules before are in force. The disk does not take the note \
         that the change is void either: until it does, a restart may bring the change back",
        path.display()
    )]
    Undecided { path: PathBuf, source: io::Error },
    /// The file was damaged; nothing is guessed from it.
    #[error(
        "{} is corrupted: {what}; what is pinned goes on filtering. Put the directory back from a \
         backup, or move it away and apply the rules anew",
        path.display()
    )]
    Corrupted { path: PathBuf, what: String },
    #[error(
        "{} was written by a newer sg-agent (format {format}; this one reads {FORMAT}): install that \
         version again, or move the directory away and apply the rules anew", path.display()
    )]
    Newer { path: PathBuf, format: u32 },
    #[error("there is no revision {0}")]
    NoSuchRevision(u64),
}

/// The text that a revision is kept as. Its SHA-256 takes as long as a small change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    kind: DocumentKind,
    text: Arc<str>,
    sha256: String,
}

impl Document {
    pub fn new(kind: DocumentKind, text: Arc<str>) -> Self {
        Self { kind, sha256: sha256(text.as_bytes()), text }
    }

    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

/// A revision about to be made durable.
#[derive(Debug)]
pub struct NewRevision<'a> {
    pub document: &'a Document,
    /// The file's name, or `rollback to N`.
    pub origin: &'a str,
    pub rules: usize,
    pub groups: usize,
}

/// A change of the state to be made.
#[derive(Debug)]
pub enum LedgerChange<'a> {
    /// New revisions, the last of them the current one.
    Record { revisions: Vec<NewRevision<'a>>, pending: Option<PendingConfirmation> },
    /// The current revision needs no confirmation any more.
    Confirm,
    /// The unconfirmed revision is taken back. No change where none is unconfirmed.
    RollBack,
    /// The current revision goes on waiting for its confirmation, by another boot's ticks.
    Rearm { deadline: Tick, boot_id: String },
}

/// Texts with their revisions.
type Numbered = Vec<(u64, Arc<str>)>;

/// A change in the journal that may not be on the disk yet. Ends by [`Store::commit`] or
/// [`Store::abandon`].
#[derive(Debug)]
#[must_use]
pub struct Appended {
    ledger: Ledger,
    texts: Numbered,
    written: journal::Written,
}

#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    ledger: Ledger,
    journal: Journal,
    behind: WriteBehind,
    /// The text that was recorded last: the next one is much like it.
    recorded: Option<(u64, Arc<str>)>,
    is_prepared: bool,
    /// Whether a thread writes whole files.
    has_thread: bool,
}

impl Store {
    /// Reads the state and writes nothing; an empty directory is a host where nothing was ever applied.
    ///
    /// # Errors
    /// The directory cannot be read, or a file in it is not whole.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let mut store = Self::open_on(Arc::new(OsDisk), directory, SEGMENT_BYTES)?;
        store.has_thread = true;
        Ok(store)
    }

    /// On a disk that may be told to fail; whole files are written when the test says so.
    #[cfg(test)]
    pub(crate) fn simulated(disk: &simulated::Simulated) -> Self {
        Self::open_on(Arc::new(disk.clone()), Path::new("/state"), SEGMENT_BYTES)
            .expect("a whole state directory")
    }

    fn open_on(disk: Arc<dyn Disk>, directory: &Path, segment_bytes: u64) -> Result<Self, Error> {
        let path = directory.join(LEDGER);
        let (ledger, position) = match disk.read(&path) {
            Ok(text) => read(&path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (Ledger::default(), Some(Position::default()))
            }
            Err(source) => return Err(Error::Read { path, source }),
        };
        let journal_path = directory.join(JOURNAL);
        let replay = journal::replay(&*disk, &journal_path, position)?;
        let journal = Journal::new(Arc::clone(&disk), journal_path, segment_bytes, &replay);
        let behind = WriteBehind::new(Arc::clone(&disk), directory.to_owned());
        let mut store = Self {
            disk,
            directory: directory.to_owned(),
            ledger,
            journal,
            behind,
            recorded: None,
            is_prepared: false,
            has_thread: false,
        };
        store.replay(replay)?;
        Ok(store)
    }

    /// Adds the journal's records to the ledger.
    fn replay(&mut self, replay: Replay) -> Result<(), Error> {
        let first = replay.sequence + 1 - replay.records.len() as u64;
        let mut texts = Texts::new();
        for (sequence, (path, payload)) in (first..).zip(replay.records) {
            let corrupted = |what| Error::Corrupted { path: path.clone(), what };
            let (body, mut text) = record::read_payload(&payload).map_err(corrupted)?;
            let Body::Record { revisions, pending } = body else {
                body.apply(&mut self.ledger);
                continue;
            };
            for Recorded { entry, text: difference } in revisions {
                let revision = entry.revision;
                let base = match difference.base {
                    0 => Arc::from(""),
                    base => match texts.get(&base) {
                        Some((_, text)) => Arc::clone(text),
                        None => self.text_of(base)?,
                    },
                };
                let whole = difference.apply(base.as_bytes(), &mut text);
                let whole = whole.filter(|whole| sha256(whole) == entry.sha256);
                let Some(Ok(whole)) = whole.map(String::from_utf8) else {
                    let what = format!("the text of revision {revision} is not what was applied");
                    return Err(corrupted(what));
                };
                self.ledger.record(entry, pending.clone());
                texts.insert(revision, (sequence, whole.into()));
            }
        }
        self.behind.put(self.checkpoint(Some(self.journal.position())), texts);
        Ok(())
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The number that the next change gets.
    pub fn next_revision(&self) -> u64 {
        self.ledger.last + 1
    }

    /// Numbers from here on are above `revision`: the kernel may know of more than a state directory
    /// that was put back from a backup.
    pub fn rise_above(&mut self, revision: u64) {
        self.ledger.last = self.ledger.last.max(revision);
    }

    /// The document of a revision.
    pub fn document(&self, revision: u64) -> Result<Document, Error> {
        let LedgerEntry { document, sha256, .. } =
            self.ledger.entry(revision).ok_or(Error::NoSuchRevision(revision))?;
        let text = self.text_of(revision)?;
        Ok(Document { kind: *document, text, sha256: sha256.clone() })
    }

    #[cfg(test)]
    pub fn text(&self, revision: u64) -> Result<String, Error> {
        self.text_of(revision).map(|text| text.as_ref().to_owned())
    }

    fn text_of(&self, revision: u64) -> Result<Arc<str>, Error> {
        let entry = self.ledger.entry(revision).ok_or(Error::NoSuchRevision(revision))?;
        if let Some(text) = self.behind.text(revision) {
            return Ok(text);
        }
        let path = self.directory.join(REVISIONS).join(entry.file_name());
        let text = match self.disk.read(&path) {
            Ok(text) => text,
            Err(source) => return Err(Error::Read { path, source }),
        };
        if sha256(&text) != entry.sha256 {
            let what = "it is not the file that was applied (SHA-256 differs)".to_owned();
            return Err(Error::Corrupted { path, what });
        }
        match String::from_utf8(text) {
            Ok(text) => Ok(text.into()),
            Err(error) => Err(Error::Corrupted { path, what: error.to_string() }),
        }
    }

    /// Writes the journal's content out and begins a segment. Done once, by the first change at the
    /// latest. A start does it so that the first change takes one fdatasync, too.
    pub fn prepare(&mut self) -> Result<(), Error> {
        if self.is_prepared {
            return Ok(());
        }
        for name in [REVISIONS, JOURNAL] {
            let path = self.directory.join(name);
            self.disk.create_directory(&path).map_err(|source| write_error(path, source))?;
        }
        for path in [self.directory.join(REVISIONS), self.directory.clone()] {
            clean(&*self.disk, &path).map_err(|source| write_error(path, source))?;
        }
        // The ledger first: segments that it does not need may have records that the disk lacks.
        self.behind.put(self.checkpoint(Some(self.journal.position())), Texts::new());
        self.behind.write()?;
        self.journal.begin_segment()?;
        if self.has_thread {
            let thread = self.behind.start();
            thread.map_err(|source| write_error(self.directory.clone(), source))?;
        }
        self.is_prepared = true;
        Ok(())
    }

    /// Writes a change to the journal. It counts once it is committed.
    ///
    /// # Errors
    /// Nothing has changed, or [`Error::Undecided`].
    pub fn append(&mut self, change: LedgerChange<'_>) -> Result<Appended, Error> {
        self.prepare()?;
        let (body, text, texts) = self.body(change);
        let payload = record::payload(&body, &text)
            .map_err(|error| write_error(self.directory.join(JOURNAL), error))?;
        let written = self.journal.append(&payload)?;
        let mut ledger = self.ledger.clone();
        body.apply(&mut ledger);
        Ok(Appended { ledger, texts, written })
    }

    /// Makes a change durable: it takes one fdatasync.
    ///
    /// # Errors
    /// The change is void, or [`Error::Undecided`].
    pub fn commit(&mut self, appended: Appended) -> Result<(), Error> {
        let Appended { ledger, texts, written } = appended;
        let sequence = written.sequence;
        // The number of a change that failed is not used again.
        self.ledger.last = ledger.last;
        self.journal.commit(written)?;
        self.ledger = ledger;
        if let Some(last) = texts.last() {
            self.recorded = Some(last.clone());
        }
        let texts = texts.into_iter().map(|(revision, text)| (revision, (sequence, text)));
        let checkpoint = self.checkpoint(Some(self.journal.position()));
        self.behind.put(checkpoint, texts.collect());
        Ok(())
    }

    /// Makes an appended change void.
    ///
    /// # Errors
    /// [`Error::Undecided`].
    pub fn abandon(&mut self, appended: Appended) -> Result<(), Error> {
        self.ledger.last = appended.ledger.last;
        self.journal.abandon(appended.written)
    }

    /// Makes a change durable for which nothing else has to be done.
    pub fn record(&mut self, change: LedgerChange<'_>) -> Result<(), Error> {
        let appended = self.append(change)?;
        self.commit(appended)
    }

    /// Whether a change that failed may come back by a restart.
    pub fn is_in_doubt(&self) -> bool {
        self.journal.is_in_doubt()
    }

    /// Tries to end that doubt.
    pub fn end_doubt(&mut self) -> Result<(), Error> {
        self.journal.begin_segment()
    }

    fn checkpoint(&self, position: Option<Position>) -> Checkpoint {
        Checkpoint { ledger: self.ledger.clone(), position }
    }

    /// A change as the journal keeps it, the bytes of its texts, and the texts.
    fn body(&self, change: LedgerChange<'_>) -> (Body, Vec<u8>, Numbered) {
        let (revisions, pending) = match change {
            LedgerChange::Record { revisions, pending } => (revisions, pending),
            LedgerChange::Confirm => return (Body::Confirm, Vec::new(), Vec::new()),
            LedgerChange::RollBack => return (Body::RollBack, Vec::new(), Vec::new()),
            LedgerChange::Rearm { deadline, boot_id } => {
                return (Body::Rearm { deadline, boot_id }, Vec::new(), Vec::new());
            }
        };
        let mut base = self.base();
        let (mut recorded, mut bytes, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for (revision, new) in (self.next_revision()..).zip(revisions) {
            let Document { kind, text, sha256 } = new.document.clone();
            let (difference, between) = Difference::between(base.0, &base.1, &text);
            let entry = LedgerEntry {
                revision,
                applied_at: crate::system::clock::unix_now(),
                rules: new.rules,
                groups: new.groups,
                origin: new.origin.to_owned(),
                sha256,
                document: kind,
                rolled_back: false,
            };
            recorded.push(Recorded { entry, text: difference });
            bytes.extend(between);
            base = (revision, Arc::clone(&text));
            texts.push((revision, text));
        }
        (Body::Record { revisions: recorded, pending }, bytes, texts)
    }

    /// The current revision and its text; the empty text where it cannot be had.
    fn base(&self) -> (u64, Arc<str>) {
        let current = self.ledger.current;
        let recorded = self.recorded.as_ref().filter(|(revision, _)| *revision == current);
        let text = match recorded {
            Some((_, text)) => Ok(Arc::clone(text)),
            None => self.text_of(current),
        };
        text.map_or_else(|_| (0, "".into()), |text| (current, text))
    }

    /// Leaves all as a death of the process would.
    #[cfg(any(test, feature = "fake"))]
    pub fn die(&mut self) {
        self.behind.die();
        self.is_prepared = false;
    }
}

impl Drop for Store {
    /// Leaves all in whole files, which agents without a journal read, too.
    fn drop(&mut self) {
        if self.is_prepared && self.has_thread {
            self.behind.put(self.checkpoint(None), Texts::new());
        }
    }
}

/// The ledger, and where the journal goes on, if that is of use.
fn read(path: &Path, text: &[u8]) -> Result<(Ledger, Option<Position>), Error> {
    let read = || {
        let Format { format } = serde_json::from_slice(text)?;
        if format > FORMAT {
            return Ok(Err(Error::Newer { path: path.to_owned(), format }));
        }
        let ledger = serde_json::from_slice(text)?;
        let position = if format < FORMAT {
            None
        } else {
            Some(serde_json::from_slice::<Journaled>(text)?.journal)
        };
        Ok(Ok((ledger, position)))
    };
    read().unwrap_or_else(|error: serde_json::Error| {
        Err(Error::Corrupted { path: path.to_owned(), what: error.to_string() })
    })
}

/// A disk without room is something that people can do something about.
fn write_error(path: PathBuf, source: io::Error) -> Error {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    match source.kind() {
        StorageFull | QuotaExceeded => Error::Full { path, source },
        _ => Error::Write { path, source },
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").expect("a string takes all");
    }
    hex
}
