//! The interface that both kinds of stores stand behind: the part of etcd 3.4 that is safe there.
//!
//! Async, because etcd answers over the network, and because the embedded store lets waiting
//! transactions share one fdatasync. Futures are boxed, so that a server holds `Arc<dyn Store>`.

use std::{fmt, pin::Pin};

use crate::{
    document::Undecodable,
    error::{Fault, ReadError, TxnError, WatchError},
    id::Revision,
    key::Key,
    objects::{EpochRecord, Object, Stored as _},
    txn::{Limits, Txn},
};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A key with its value at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: String,
    pub value: Vec<u8>,
    /// When the key came to be, after it was absent.
    pub create_revision: Revision,
    pub mod_revision: Revision,
}

/// Asks for one page of the keys with a prefix, in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    pub prefix: String,
    /// Only keys behind this one: [`Page::last`] of the page before.
    pub after: Option<String>,
    /// The state to read. `None`: the newest, read linearizably.
    pub at: Option<Revision>,
    /// Largest number of keys; 0: the store's own. A page ends earlier where it would be too long.
    pub limit: usize,
}

impl List {
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The state that was read.
    pub at: Revision,
    pub entries: Vec<KeyValue>,
    pub has_more: bool,
}

impl Page {
    pub fn last(&self) -> Option<&str> {
        self.entries.last().map(|entry| entry.key.as_str())
    }
}

/// One change of one key. Events of one transaction have one revision, and each key occurs once in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub key: String,
    pub revision: Revision,
    /// `None`: deleted.
    pub put: Option<Put>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub value: Vec<u8>,
    pub create_revision: Revision,
}

/// One delivery of a watch: whole revisions, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// May be empty: then it only says how far the store is.
    pub events: Vec<Event>,
    /// There are no other events, of the prefix, up to this revision.
    pub through: Revision,
}

/// A store of keys and values with a history.
pub trait Store: fmt::Debug + Send + Sync {
    fn limits(&self) -> Limits;

    /// Reads one page.
    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// Reads one key, and says at which revision.
    fn get(
        &self,
        key: String,
        at: Option<Revision>,
    ) -> BoxFuture<'_, Result<(Option<KeyValue>, Revision), ReadError>>;

    /// Makes a transaction and answers when it is durable. Returns the revision that holds it; for one
    /// that changes nothing, the present revision.
    ///
    /// A future that is dropped before its end leaves the outcome unknown.
    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, TxnError>>;

    /// Watches the keys with a prefix, from the events of revision `from` on. `from` may be at most one
    /// above the present revision.
    fn watch(
        &self,
        prefix: String,
        from: Revision,
    ) -> BoxFuture<'_, Result<Box<dyn Watch>, WatchError>>;
}

/// Delivers events. After an error it delivers nothing more.
pub trait Watch: fmt::Debug + Send {
    /// Waits for the next batch. Dropping the future loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, WatchError>>;
}

/// All keys with a prefix at one revision: pages until the last one, or nothing.
pub async fn list_all(
    store: &dyn Store,
    prefix: &str,
    at: Option<Revision>,
) -> Result<(Vec<KeyValue>, Revision), ReadError> {
    let mut list = List { at, ..List::prefix(prefix) };
    let mut entries = Vec::new();
    loop {
        let page = store.list(list.clone()).await?;
        list.at = Some(page.at);
        list.after = page.last().map(ToOwned::to_owned).or(list.after);
        let has_more = page.has_more;
        entries.extend(page.entries);
        if !has_more {
            return Ok((entries, page.at));
        }
    }
}

/// Why a store has no identity that can be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EpochError {
    #[error("there is no epoch: nobody has made a store of ours here")]
    Missing,
    #[error("the epoch: {0}")]
    Undecodable(#[from] Undecodable),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<Fault> for EpochError {
    fn from(fault: Fault) -> Self {
        Self::Read(fault.into())
    }
}

/// The store's identity, with the present revision.
pub async fn epoch(store: &dyn Store) -> Result<(EpochRecord, Revision), EpochError> {
    let (found, revision) = store.get(Key::Epoch.to_string(), None).await?;
    let found = found.ok_or(EpochError::Missing)?;
    let object = Object::decode(&Key::Epoch, &found.value)?;
    let record = EpochRecord::of(&object).cloned().ok_or(EpochError::Missing)?;
    Ok((record, revision))
}
