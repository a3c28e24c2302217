//! The state that handles, watches and the writer share, and reads of it.

use std::{
    path::PathBuf,
    sync::{PoisonError, RwLock},
};

use redb::Database;
use tokio::sync::{oneshot, watch as signal};

use super::{
    disk::{Opener, Recorder},
    open,
    reader::Reader,
    settings::Options,
    tables,
};
use crate::{
    error::{Fault, ReadError, TxnError, WatchError},
    id::Revision,
    store::Batch,
    txn::Txn,
};

/// Known to readers, watches and the writer.
pub(super) struct Shared {
    pub(super) file: PathBuf,
    pub(super) options: Options,
    pub(super) state: RwLock<State>,
    pub(super) committed: signal::Sender<Revision>,
    pub(super) opener: Opener,
    /// The first fault of the disk since the last look.
    pub(super) disk_fault: Recorder,
}

pub(super) enum State {
    Open(Database),
    /// Nothing can be read or written any more.
    Closed(Fault),
}

pub(super) enum Job {
    Commit(Txn, oneshot::Sender<Result<Revision, TxnError>>),
    Compact(Revision, oneshot::Sender<Result<(), ReadError>>),
}

impl Shared {
    /// Runs a read on the database.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, tables::Error>,
    ) -> Result<T, Fault> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(database) => Reader::begin(database)
                .and_then(|reader| read(&reader))
                .map_err(|error| open::fault(&self.file, error)),
            State::Closed(fault) => Err(fault.clone()),
        }
    }

    /// Why the writer has ended.
    pub(super) fn ended(&self) -> Fault {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Closed(fault) => fault.clone(),
            State::Open(_) => {
                let reason = "the writer has ended".to_owned();
                Fault::Closed { file: self.file.clone(), reason }
            }
        }
    }

    /// Whether a state can be read. The newest one is the newest durable one.
    pub(super) fn check(
        &self,
        reader: &Reader,
        at: Option<Revision>,
    ) -> Result<Revision, ReadError> {
        let (compacted, current) = (reader.compacted(), reader.revision());
        match at {
            None => Ok(current),
            Some(requested) if requested > current => Err(ReadError::Future { requested, current }),
            Some(requested) if requested < compacted => {
                Err(ReadError::Compacted { requested, compacted })
            }
            Some(at) => Ok(at),
        }
    }

    /// Events of a prefix from a revision on; `None`: nothing has happened since.
    pub(super) fn since(&self, from: Revision, prefix: &str) -> Result<Option<Batch>, WatchError> {
        self.read(|reader| {
            let (compacted, current) = (reader.compacted(), reader.revision());
            if from <= compacted {
                return Ok(Err(WatchError::Compacted { requested: from, compacted }));
            }
            if from > current.next() {
                return Ok(Err(WatchError::Future { requested: from, current }));
            }
            let batch = (from <= current).then(|| reader.events(from, prefix)).transpose()?;
            Ok(Ok(batch))
        })?
    }
}
