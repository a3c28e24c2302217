//! The state of the control plane: objects, their keys, transactions with compare-and-swap,
//! watches, and the replica that follows a store.
//!
//! `sg-server` writes through [`Store`], whichever backend is behind it. The interface is the part of
//! etcd 3.4 that both backends have: read at a revision, one transaction, watch from a revision.
//!
//! Knows nothing of EC2 requests, IAM rules and HTTP.

pub mod backup;
pub mod document;
#[cfg(feature = "redb")]
pub mod embedded;
pub mod error;
mod expected;
pub mod id;
pub mod key;
#[cfg(feature = "memory")]
pub mod memory;
pub mod objects;
pub mod replica;
pub mod snapshot;
pub mod store;
pub mod txn;

pub use error::{Fault, ReadError, TxnError, WatchError};
pub use id::{EpochId, HostName, InstanceId, InterfaceId, RegionName, Revision, SubnetId};
pub use key::{Index, Key};
pub use objects::{Object, Stored};
pub use replica::Replica;
pub use snapshot::{Snapshot, Versioned};
pub use store::{Batch, Event, KeyValue, List, Page, Store, Watch};
pub use txn::{Compare, Expected, Limits, Op, Txn};
