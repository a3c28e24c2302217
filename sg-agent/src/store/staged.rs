//! A rules file on its way to the disk, while its rules are compiled.

use std::{
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
};

use sha2::{Digest as _, Sha256};

use super::{Error, files, write_error};

/// The file of a revision that no ledger names yet; dropped as such, it is removed again.
#[derive(Debug)]
pub struct Staged {
    pub(super) revision: u64,
    path: PathBuf,
    writing: Option<JoinHandle<Result<String, Error>>>,
}

impl Staged {
    /// Begins to write.
    pub(super) fn new(
        revision: u64,
        directory: PathBuf,
        text: impl AsRef<str> + Send + 'static,
    ) -> Result<Self, Error> {
        let name = file_name(revision);
        let path = directory.join(&name);
        let write = move || write(&directory, &name, text.as_ref());
        let thread = thread::Builder::new().name("store".to_owned()).spawn(write);
        let writing = thread.map_err(|source| write_error(path.clone(), source))?;
        Ok(Self { revision, path, writing: Some(writing) })
    }

    /// Waits until the file would survive a crash; its SHA-256.
    pub(super) fn finish(mut self) -> Result<String, Error> {
        let writing = self.writing.take().expect("nothing else takes it");
        writing.join().expect("writing a file does not panic")
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(writing) = self.writing.take() {
            // Best effort, both: what is left over is overwritten by the next change and never read.
            let _ = writing.join();
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Name of a revision's rules file.
pub(super) fn file_name(revision: u64) -> String {
    format!("{revision}.toml")
}

fn write(directory: &Path, name: &str, text: &str) -> Result<String, Error> {
    files::replace(directory, name, text.as_bytes())
        .map_err(|source| write_error(directory.join(name), source))?;
    Ok(digest(text.as_bytes()))
}

pub(super) fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
