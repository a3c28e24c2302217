//! A hot copy of a store at one revision, as one file.
//!
//! The file has a line of JSON for the store, one for each key, and one for the end. The last line
//! has the number of keys and the SHA-256 of all lines before. The file is as secret as the store,
//! and only its owner reads it. The sealing key is not in it.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    error::ReadError,
    id::{Digest, EpochId, Revision},
    key::{Key, ROOT},
    objects::{EpochRecord, Object, Stored as _, Vpc},
    store::{self, EpochError, KeyValue, List, Store},
    txn::Txn,
};

const FORMAT: u64 = 1;

#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{key}: the value is no text")]
    NoText { key: String },
    #[error("{file}: {source}")]
    Io { file: PathBuf, source: Arc<io::Error> },
    #[error("{file}: line {line}: {reason}")]
    Damaged { file: PathBuf, line: usize, reason: String },
    #[error("{file}: the backup has format {found}, and this version knows formats up to {known}")]
    Newer { file: PathBuf, found: u64, known: u64 },
}

#[derive(Serialize, Deserialize)]
struct FirstLine {
    format: u64,
    revision: Revision,
    store: EpochRecord,
}

#[derive(Serialize, Deserialize)]
struct KeyLine {
    key: String,
    create_revision: Revision,
    mod_revision: Revision,
    value: String,
}

#[derive(Serialize, Deserialize)]
struct LastLine {
    keys: usize,
    sha256: Digest,
}

/// A backup, read and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The store that it was made of.
    pub store: EpochRecord,
    pub revision: Revision,
    pub entries: Vec<KeyValue>,
}

/// Writes a backup of the newest state, and returns its revision. The file appears whole or not at all.
pub async fn write(store: &dyn Store, file: &Path) -> Result<Revision, BackupError> {
    let (record, revision) = store::epoch(store).await?;
    let io = |source| io_error(file, source);
    let unfinished = file.with_added_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => (),
    }
    let mut lines = Lines::new(options.open(&unfinished).map_err(io)?);
    lines.add(&FirstLine { format: FORMAT, revision, store: record }).map_err(io)?;
    let mut list = List { at: Some(revision), ..List::prefix(ROOT) };
    loop {
        let page = store.list(list.clone()).await?;
        list.after = page.last().map(ToOwned::to_owned).or(list.after);
        for KeyValue { key, value, create_revision, mod_revision } in page.entries {
            let value = String::from_utf8(value);
            let value = value.map_err(|_| BackupError::NoText { key: key.clone() })?;
            lines.add(&KeyLine { key, create_revision, mod_revision, value }).map_err(io)?;
        }
        if !page.has_more {
            break;
        }
    }
    let last =
        LastLine { keys: lines.count - 1, sha256: Digest(lines.hash.clone().finalize().into()) };
    lines.add(&last).map_err(io)?;
    let written = lines.out.into_inner().map_err(|error| io(error.into_error()))?;
    written.sync_all().map_err(io)?;
    std::fs::rename(&unfinished, file).map_err(io)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(io)?;
    folder.sync_all().map_err(io)?;
    Ok(revision)
}

/// Lines with their hash.
struct Lines {
    out: BufWriter<File>,
    hash: Sha256,
    count: usize,
}

impl Lines {
    fn new(file: File) -> Self {
        Self { out: BufWriter::new(file), hash: Sha256::new(), count: 0 }
    }

    fn add(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.count += 1;
        self.out.write_all(&text)
    }
}

/// Reads a backup and verifies all of it.
pub fn read(file: &Path) -> Result<Backup, BackupError> {
    let io = |source| io_error(file, source);
    let mut input = BufReader::new(File::open(file).map_err(io)?);
    let mut number = 0;
    let damaged =
        |line, reason: String| BackupError::Damaged { file: file.to_owned(), line, reason };
    let mut next = || {
        let mut text = String::new();
        input.read_line(&mut text).map_err(io)?;
        number += 1;
        if !text.ends_with('\n') {
            return Err(damaged(number, "the file ends early".to_owned()));
        }
        Ok((number, text))
    };
    let mut hash = Sha256::new();
    let (_, text) = next()?;
    let no_backup = |error: serde_json::Error| damaged(1, format!("it is no backup: {error}"));
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    let Head { format } = serde_json::from_str(&text).map_err(no_backup)?;
    if format != FORMAT {
        return Err(BackupError::Newer { file: file.to_owned(), found: format, known: FORMAT });
    }
    let first: FirstLine = serde_json::from_str(&text).map_err(no_backup)?;
    hash.update(&text);
    let mut entries = Vec::new();
    let last = loop {
        let (line, text) = next()?;
        if let Ok(last) = serde_json::from_str::<LastLine>(&text) {
            break (line, last);
        }
        let entry: KeyLine =
            serde_json::from_str(&text).map_err(|error| damaged(line, error.to_string()))?;
        hash.update(&text);
        let KeyLine { key, create_revision, mod_revision, value } = entry;
        entries.push(KeyValue { key, value: value.into_bytes(), create_revision, mod_revision });
    };
    let (line, last) = last;
    if last.keys != entries.len() || last.sha256.0 != <[u8; 32]>::from(hash.finalize()) {
        return Err(damaged(
            line,
            "the lines before are not the ones that were written".to_owned(),
        ));
    }
    Ok(Backup { store: first.store, revision: first.revision, entries })
}

fn io_error(file: &Path, source: io::Error) -> BackupError {
    BackupError::Io { file: file.to_owned(), source: Arc::new(source) }
}

impl Backup {
    /// The transaction that makes a new epoch of the restored state: the epoch names the one before, and
    /// every VPC's record carries the new one. Waiters of the old store are gone.
    pub fn new_epoch(&self, epoch: EpochId) -> Txn {
        let mut txn = Txn::new();
        txn.put(&EpochRecord::following(epoch, &self.store));
        for entry in &self.entries {
            match entry.key.parse() {
                Ok(key @ Key::Waiter(..)) => {
                    txn.delete(&key);
                }
                Ok(key @ Key::Vpc(_)) => {
                    // A record of a later version stays as it is; its hosts hold, and say so.
                    let object = Object::decode(&key, &entry.value);
                    if let Some(vpc) = object.as_ref().ok().and_then(Vpc::of) {
                        txn.put(&Vpc { epoch, ..vpc.clone() });
                    }
                }
                _ => (),
            }
        }
        txn
    }
}
