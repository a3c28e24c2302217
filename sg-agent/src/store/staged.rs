//! A rules file on its way to the disk, while it is read and its rules are compiled.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use sha2::{Digest as _, Sha256};

use super::{Error, files, write_error};

/// A rules file that no ledger names yet; dropped as such, it is removed again.
#[derive(Debug)]
pub struct Staged {
    directory: PathBuf,
    /// Where it is meanwhile.
    name: String,
    text: Arc<str>,
    writing: Option<JoinHandle<Result<(), Error>>>,
    end: Arc<Mutex<End>>,
}

/// Which came first: the file is written, or nobody wants it any more. The second one removes it, so
/// that nobody waits for a disk to give something up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Written,
    GivenUp,
}

/// What names begin and end with meanwhile.
const PREFIX: &str = ".";
const SUFFIX: &str = ".toml.new";

/// Tells those apart that are written at the same time.
static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Staged {
    /// Begins to write `text` to a file in `directory`, the one of revisions.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn begin(directory: &Path, text: Arc<str>) -> Result<Self, Error> {
        let name = format!("{PREFIX}{}{SUFFIX}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = directory.join(&name);
        let end = Arc::<Mutex<End>>::default();
        let write = {
            let (path, text, end) = (path.clone(), Arc::clone(&text), Arc::clone(&end));
            move || {
                let written = files::write(&path, text.as_bytes());
                if reach(&end, End::Written) == End::GivenUp {
                    remove(&path);
                }
                written.map_err(|source| write_error(path, source))
            }
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(write);
        let writing = thread.map_err(|source| write_error(path, source))?;
        let (directory, writing) = (directory.to_owned(), Some(writing));
        Ok(Self { directory, name, text, writing, end })
    }

    /// Waits until the file is on the disk, and makes it the one of `revision`; its SHA-256. The
    /// directory is not on the disk yet.
    pub(super) fn finish(mut self, revision: u64) -> Result<String, Error> {
        let digest = digest(self.text.as_bytes());
        let writing = self.writing.take().expect("nothing else takes it");
        let written = writing.join().expect("writing a file does not panic");
        let (from, to) = (self.path(), self.directory.join(file_name(revision)));
        let named =
            written.and_then(|()| fs::rename(from, &to).map_err(|source| write_error(to, source)));
        if named.is_err() {
            remove(&self.path());
        }
        named.map(|()| digest)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.writing.take().is_some() && reach(&self.end, End::GivenUp) == End::Written {
            remove(&self.path());
        }
    }
}

/// The end before.
fn reach(end: &Mutex<End>, new: End) -> End {
    let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut *end, new)
}

fn remove(path: &Path) {
    // Best effort: what is left over is never read, and removed by the next start.
    let _ = fs::remove_file(path);
}

/// Removes what a crash has left.
pub(super) fn clean(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            // Best effort, as in a directory that cannot be written to.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Name of a revision's rules file.
pub(super) fn file_name(revision: u64) -> String {
    format!("{revision}.toml")
}

pub(super) fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
