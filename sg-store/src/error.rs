//! Errors of stores. An outcome that is unknown is never an error that says "refused".

use std::{io, path::PathBuf, sync::Arc};

use crate::{expected::Expected, id::Revision};

/// The store cannot do what it is asked to. Nothing was changed by it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    #[error("{file}: there is no store")]
    Missing { file: PathBuf },
    #[error("{file}: there is a store already")]
    Exists { file: PathBuf },
    #[error("{file}: another process has the store open")]
    InUse { file: PathBuf },
    #[error("{file}: the disk is full")]
    Full { file: PathBuf },
    #[error("{file}: the store can only be read: {source}")]
    ReadOnly { file: PathBuf, source: Arc<io::Error> },
    #[error("{file}: the store is damaged: {reason}")]
    Damaged { file: PathBuf, reason: String },
    #[error("{file}: the store has format {found}, and this version knows formats up to {known}")]
    Newer { file: PathBuf, found: u64, known: u64 },
    #[error("{file}: {source}")]
    Io { file: PathBuf, source: Arc<io::Error> },
    /// An earlier write ended in a way that nobody can tell. Only a restart reads the disk anew.
    #[error("{file}: closed since a write whose outcome is unknown: {reason}")]
    Closed { file: PathBuf, reason: String },
    #[error("{server} cannot be reached: {reason}")]
    Unreachable { server: String, reason: String },
}

/// Why a transaction was not made, or why nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TxnError {
    /// Somebody else has changed a key that the transaction compares. Read again and decide anew.
    #[error("{key}: expected {expected}, found {}", Found(*.found))]
    Conflict { key: String, expected: Expected, found: Option<Revision> },
    /// Larger than the store takes.
    #[error("the transaction has {found} {what}, and the store takes {limit}")]
    TooLarge { what: &'static str, found: usize, limit: usize },
    /// The store cannot be written. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// The transaction may have been made, or may be made yet.
    #[error("{place}: the outcome is unknown: {reason}")]
    Unknown { place: String, reason: String },
}

/// Why a read gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// States before `compacted` are gone.
    #[error("revision {requested} was compacted: the store keeps those from {compacted} on")]
    Compacted { requested: Revision, compacted: Revision },
    /// The store has not been there yet: it went back, or it is another one.
    #[error("revision {requested} is to come: the store is at {current}")]
    Future { requested: Revision, current: Revision },
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a watch ended, or did not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// Events up to and with `compacted` are gone: list at `compacted` or later, and watch from there.
    #[error("events of revision {requested} were compacted: the store has those after {compacted}")]
    Compacted { requested: Revision, compacted: Revision },
    /// As in [`ReadError::Future`].
    #[error("revision {requested} is to come: the store is at {current}")]
    Future { requested: Revision, current: Revision },
    #[error(transparent)]
    Fault(#[from] Fault),
}

struct Found(Option<Revision>);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(revision) => write!(f, "revision {revision}"),
            None => f.write_str("no such key"),
        }
    }
}
