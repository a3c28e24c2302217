//! A rules file on its way to the disk, while its rules are compiled.

use std::{
    path::PathBuf,
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
        path: PathBuf,
        text: impl AsRef<str> + Send + 'static,
    ) -> Result<Self, Error> {
        let to = path.clone();
        let write = move || write(&to, text.as_ref());
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

fn write(path: &std::path::Path, text: &str) -> Result<String, Error> {
    let written = match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(directory), Some(name)) => files::replace(directory, name, text.as_bytes()),
        _ => Err(std::io::ErrorKind::InvalidFilename.into()),
    };
    written.map_err(|source| write_error(path.to_owned(), source))?;
    Ok(digest(text.as_bytes()))
}

pub(super) fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
