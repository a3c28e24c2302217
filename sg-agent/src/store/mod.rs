//! The state directory: the rules last applied, the revisions before, an unconfirmed change.
//!
//! ```text
//! state.json           the ledger; replaced as a whole, last
//! revisions/N.toml     the rules file of revision N as it was applied
//! revisions/.N.toml.new  one on its way; N is no revision
//! ```
//!
//! A revision counts only once the ledger names it, so a crash between the two files leaves the
//! old state; the stray file is overwritten by the next change of that number.

mod files;
mod ledger;
mod staged;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use ledger::{Entry, Ledger, Pending};
use ledger::{FORMAT, Format, Written};
use sg_common::flow::Tick;
pub use staged::Staged;
use staged::{clean, digest, file_name};

const LEDGER: &str = "state.json";
const REVISIONS: &str = "revisions";

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
    /// Not what was written; nothing is guessed from it.
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

/// A change about to be made durable.
#[derive(Debug)]
pub struct NewRevision<'a> {
    pub file: Staged,
    /// The file's name, or `rollback to N`.
    pub origin: &'a str,
    pub rules: usize,
    pub groups: usize,
}

#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    ledger: Ledger,
}

impl Store {
    /// Reads the ledger; an empty directory is a host where nothing was ever applied.
    ///
    /// # Errors
    /// The directory cannot be read, or its ledger is not whole.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let revisions = directory.join(REVISIONS);
        std::fs::create_dir_all(&revisions)
            .map_err(|source| Error::Write { path: revisions.clone(), source })?;
        clean(&revisions);
        let path = directory.join(LEDGER);
        let ledger = match std::fs::read(&path) {
            Ok(text) => read(path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ledger::default(),
            Err(source) => return Err(Error::Read { path, source }),
        };
        Ok(Self { directory: directory.to_owned(), ledger })
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

    /// The rules file of a revision.
    pub fn text(&self, revision: u64) -> Result<String, Error> {
        let entry = self.ledger.entry(revision).ok_or(Error::NoSuchRevision(revision))?;
        let path = self.revision_path(revision);
        let text =
            std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        if digest(&text) != entry.sha256 {
            let what = "it is not the file that was applied (SHA-256 differs)".to_owned();
            return Err(Error::Corrupted { path, what });
        }
        String::from_utf8(text).map_err(|error| Error::Corrupted { path, what: error.to_string() })
    }

    /// Where [`Staged`] files go.
    pub fn revisions(&self) -> PathBuf {
        self.directory.join(REVISIONS)
    }

    /// Makes new revisions, the last of them the current one, durably.
    pub fn record(
        &mut self,
        new: Vec<NewRevision<'_>>,
        pending: Option<&Pending>,
    ) -> Result<(), Error> {
        let entry = |(revision, new): (u64, NewRevision<'_>)| {
            Ok(Entry {
                revision,
                applied_at: crate::clock::unix_now(),
                rules: new.rules,
                groups: new.groups,
                origin: new.origin.to_owned(),
                sha256: new.file.finish(revision)?,
                rolled_back: false,
            })
        };
        let new = (self.next_revision()..).zip(new);
        let entries = new.map(entry).collect::<Result<Vec<_>, _>>()?;
        let revisions = self.revisions();
        files::sync(&revisions).map_err(|source| write_error(revisions, source))?;
        self.change(|ledger| {
            entries.into_iter().for_each(|entry| ledger.record(entry, pending.cloned()));
        })
    }

    /// The current revision needs no confirmation any more.
    pub fn confirm(&mut self) -> Result<(), Error> {
        self.change(|ledger| ledger.pending = None)
    }

    /// The current revision goes on waiting for its confirmation, by another boot's ticks.
    pub fn rearm(&mut self, deadline: Tick, boot_id: &str) -> Result<(), Error> {
        self.change(|ledger| {
            if let Some(pending) = &mut ledger.pending {
                pending.deadline = deadline;
                boot_id.clone_into(&mut pending.boot_id);
            }
        })
    }

    /// The unconfirmed revision is taken back. No change where none is unconfirmed.
    pub fn roll_back(&mut self) -> Result<(), Error> {
        self.change(Ledger::roll_back)
    }

    /// Back to an earlier ledger, after what it was changed for failed. Numbers stay used.
    pub fn restore(&mut self, before: Ledger) -> Result<(), Error> {
        let last = self.ledger.last;
        self.change(|ledger| *ledger = Ledger { last, ..before })
    }

    fn change(&mut self, change: impl FnOnce(&mut Ledger)) -> Result<(), Error> {
        let mut ledger = self.ledger.clone();
        change(&mut ledger);
        let path = self.directory.join(LEDGER);
        let text = serde_json::to_vec_pretty(&Written { format: FORMAT, ledger: &ledger })
            .map_err(|error| Error::Write { path: path.clone(), source: error.into() })?;
        files::replace(&self.directory, LEDGER, &text)
            .map_err(|source| write_error(path, source))?;
        let dropped = std::mem::replace(&mut self.ledger, ledger);
        self.prune(&dropped);
        Ok(())
    }

    /// Removes the files of revisions that the ledger has dropped.
    fn prune(&self, before: &Ledger) {
        for old in &before.revisions {
            if self.ledger.entry(old.revision).is_none() {
                let path = self.revision_path(old.revision);
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::debug!(path = %path.display(), %error, "old revision stays");
                }
            }
        }
    }

    fn revision_path(&self, revision: u64) -> PathBuf {
        self.directory.join(REVISIONS).join(file_name(revision))
    }
}

fn read(path: PathBuf, text: &[u8]) -> Result<Ledger, Error> {
    let corrupted =
        |path, error: serde_json::Error| Error::Corrupted { path, what: error.to_string() };
    match serde_json::from_slice(text) {
        Ok(Format { format }) if format > FORMAT => Err(Error::Newer { path, format }),
        Ok(_) => serde_json::from_slice(text).map_err(|error| corrupted(path, error)),
        Err(error) => Err(corrupted(path, error)),
    }
}

/// A disk without room is something that people can do something about.
fn write_error(path: PathBuf, source: io::Error) -> Error {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    match source.kind() {
        StorageFull | QuotaExceeded => Error::Full { path, source },
        _ => Error::Write { path, source },
    }
}
