//! The store behind the settings: so far the embedded one.

use std::{path::PathBuf, sync::Arc};

use sg_store::{
    Fault, Store, Txn, TxnError,
    embedded::{Embedded, Options},
};

use crate::settings::{Settings, StoreKind};

/// Name of the file in the state directory.
const FILE: &str = "store.redb";

/// A store, unless another process has it.
#[derive(Debug)]
pub enum Opened {
    Store(Arc<dyn Store>),
    InUse,
}

fn file(settings: &Settings) -> PathBuf {
    let StoreKind::Redb = settings.store;
    settings.state_dir.join(FILE)
}

/// # Errors
/// There is a store already.
pub fn refuse_existing(settings: &Settings) -> Result<(), Fault> {
    let file = file(settings);
    if file.exists() { Err(Fault::Exists { file }) } else { Ok(()) }
}

/// Makes a store that begins with a transaction.
pub fn create(settings: &Settings, first: &Txn) -> Result<(), TxnError> {
    Embedded::create(&file(settings), Options::default(), first).map(drop)
}

/// Opens the store.
pub fn open(settings: &Settings) -> Result<Opened, Fault> {
    match Embedded::open(&file(settings), Options::default()) {
        Ok(store) => Ok(Opened::Store(Arc::new(store))),
        Err(Fault::InUse { .. }) => Ok(Opened::InUse),
        Err(fault) => Err(fault),
    }
}
