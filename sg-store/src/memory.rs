//! A store in memory that plays etcd's rules, for tests.
//!
//! It keeps the state at the last compaction and every event since, and reads old states by playing the
//! events again: slow, and easy to see to be right. Faults can be planted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch as signal;

use crate::{
    error::{Fault, ReadError, TxnError, WatchError},
    id::Revision,
    store::{Batch, BoxFuture, Event, KeyValue, List, Page, Put, Store, Watch},
    txn::{Limits, Op, Txn},
};

/// Keys of a page where the reader has no wish.
const PAGE: usize = 1000;

/// A fault that a test plants: the fate of a later transaction.
#[derive(Clone, Debug)]
pub enum Planted {
    /// It is refused and changes nothing.
    Refused(Fault),
    /// It is made, and nobody can tell.
    UnknownButMade,
    /// It is not made, and nobody can tell.
    UnknownAndLost,
}

/// A store in memory. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    committed: signal::Sender<Revision>,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    revision: Revision,
    compacted: Revision,
    /// The state at `compacted`.
    base: BTreeMap<String, KeyValue>,
    /// Everything that happened after `compacted`.
    events: Vec<Event>,
    present: BTreeMap<String, KeyValue>,
    planted: VecDeque<Planted>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Memory {
    pub fn new(limits: Limits) -> Self {
        let state = State {
            revision: Revision::FIRST,
            compacted: Revision(0),
            base: BTreeMap::new(),
            events: Vec::new(),
            present: BTreeMap::new(),
            planted: VecDeque::new(),
        };
        let (committed, _) = signal::channel(state.revision);
        Self { state: Arc::new(Mutex::new(state)), committed, limits }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn revision(&self) -> Revision {
        self.state().revision
    }

    /// Forgets the events up to and with a revision, and every state before it.
    pub fn compact(&self, revision: Revision) -> Result<(), ReadError> {
        let mut state = self.state();
        state.check(revision)?;
        state.base = state.replay(revision);
        state.compacted = revision;
        state.events.retain(|event| event.revision > revision);
        drop(state);
        // Watchers that are behind are to hear of it.
        self.committed.send_modify(|_| ());
        Ok(())
    }

    /// Decides what becomes of the next transaction for which nothing is planted yet.
    pub fn plant(&self, planted: Planted) {
        self.state().planted.push_back(planted);
    }

    fn commit_now(&self, txn: &Txn) -> Result<Revision, TxnError> {
        let mut state = self.state();
        txn.check(self.limits)?;
        let planted = state.planted.pop_front();
        if let Some(Planted::Refused(fault)) = planted {
            return Err(fault.into());
        }
        for compare in txn.compares() {
            let found = state.present.get(&compare.key).map(|entry| entry.mod_revision);
            if !compare.expected.holds(found) {
                let (key, expected) = (compare.key.clone(), compare.expected);
                return Err(TxnError::Conflict { key, expected, found });
            }
        }
        let unknown = || {
            let (place, reason) = ("memory".to_owned(), "planted by a test".to_owned());
            TxnError::Unknown { place, reason }
        };
        if let Some(Planted::UnknownAndLost) = planted {
            return Err(unknown());
        }
        let revision = state.apply(txn);
        drop(state);
        self.committed.send_replace(revision);
        match planted {
            Some(Planted::UnknownButMade) => Err(unknown()),
            _ => Ok(revision),
        }
    }
}

impl State {
    /// Whether a state can be read.
    fn check(&self, at: Revision) -> Result<(), ReadError> {
        if at > self.revision {
            return Err(ReadError::Future { requested: at, current: self.revision });
        }
        if at < self.compacted {
            return Err(ReadError::Compacted { requested: at, compacted: self.compacted });
        }
        Ok(())
    }

    fn replay(&self, at: Revision) -> BTreeMap<String, KeyValue> {
        let mut state = self.base.clone();
        for event in self.events.iter().filter(|event| event.revision <= at) {
            match &event.put {
                Some(put) => {
                    let entry = KeyValue {
                        key: event.key.clone(),
                        value: put.value.clone(),
                        create_revision: put.create_revision,
                        mod_revision: event.revision,
                    };
                    state.insert(event.key.clone(), entry);
                }
                None => drop(state.remove(&event.key)),
            }
        }
        state
    }

    fn at(
        &self,
        at: Option<Revision>,
    ) -> Result<(BTreeMap<String, KeyValue>, Revision), ReadError> {
        match at {
            None => Ok((self.present.clone(), self.revision)),
            Some(at) => {
                self.check(at)?;
                Ok((self.replay(at), at))
            }
        }
    }

    /// The events of a prefix from a revision on; `None`: nothing has happened since.
    fn since(&self, from: Revision, prefix: &str) -> Result<Option<Batch>, WatchError> {
        let (compacted, through) = (self.compacted, self.revision);
        if from <= compacted {
            return Err(WatchError::Compacted { requested: from, compacted });
        }
        if from > through.next() {
            return Err(WatchError::Future { requested: from, current: through });
        }
        let is_wanted = |event: &&Event| event.revision >= from && event.key.starts_with(prefix);
        let events = self.events.iter().filter(is_wanted).cloned().collect();
        Ok((from <= through).then_some(Batch { events, through }))
    }

    /// Makes a transaction whose compares hold.
    fn apply(&mut self, txn: &Txn) -> Revision {
        let revision = self.revision.next();
        let mut events = Vec::new();
        for op in txn.ops() {
            let key = op.key().to_owned();
            let put = match op {
                Op::Put { value, .. } => {
                    let old = self.present.get(&key);
                    let create_revision = old.map_or(revision, |old| old.create_revision);
                    let (mod_revision, value) = (revision, value.clone());
                    let entry = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision,
                        mod_revision,
                    };
                    self.present.insert(key.clone(), entry);
                    Some(Put { value, create_revision })
                }
                Op::Delete { .. } if self.present.remove(&key).is_none() => continue,
                Op::Delete { .. } => None,
            };
            events.push(Event { key, revision, put });
        }
        if !events.is_empty() {
            self.revision = revision;
            self.events.append(&mut events);
        }
        self.revision
    }
}

impl Store for Memory {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn list(&self, list: List) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move {
            let (state, at) = self.state().at(list.at)?;
            let limit = if list.limit == 0 { PAGE } else { list.limit };
            let after = list.after.as_deref().unwrap_or_default();
            let is_wanted = |key: &String| {
                key.starts_with(&list.prefix) && (list.after.is_none() || key.as_str() > after)
            };
            let mut wanted = state.into_iter().filter(|(key, _)| is_wanted(key));
            let entries = wanted.by_ref().take(limit).map(|(_, entry)| entry).collect();
            Ok(Page { at, entries, has_more: wanted.next().is_some() })
        })
    }

    fn get(
        &self,
        key: String,
        at: Option<Revision>,
    ) -> BoxFuture<'_, Result<(Option<KeyValue>, Revision), ReadError>> {
        Box::pin(async move {
            let (mut state, at) = self.state().at(at)?;
            Ok((state.remove(&key), at))
        })
    }

    fn commit(&self, txn: Txn) -> BoxFuture<'_, Result<Revision, TxnError>> {
        Box::pin(async move { self.commit_now(&txn) })
    }

    fn watch(
        &self,
        prefix: String,
        from: Revision,
    ) -> BoxFuture<'_, Result<Box<dyn Watch>, WatchError>> {
        Box::pin(async move {
            let committed = self.committed.subscribe();
            self.state().since(from, &prefix)?;
            let watch = MemoryWatch { store: self.clone(), prefix, next: from, committed };
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }
}

#[derive(Debug)]
struct MemoryWatch {
    store: Memory,
    prefix: String,
    /// Events from this revision on are yet to be delivered.
    next: Revision,
    committed: signal::Receiver<Revision>,
}

impl Watch for MemoryWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, WatchError>> {
        Box::pin(async move {
            loop {
                // Before the look at the state, so that a change after it is not missed.
                self.committed.borrow_and_update();
                if let Some(batch) = self.store.state().since(self.next, &self.prefix)? {
                    self.next = batch.through.next();
                    return Ok(batch);
                }
                // It ends with the store only, which this watch keeps.
                let _ = self.committed.changed().await;
            }
        })
    }
}
