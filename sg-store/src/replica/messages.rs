//! Messages between a replica and whoever drives it.

use std::fmt;

use super::{audit::Audit, changes::Changes};
use crate::{
    id::{EpochId, Revision},
    objects::EpochRecord,
    store::{Batch, Page},
};

/// An event that the driver reports.
#[derive(Clone, Debug)]
pub enum Input {
    /// There is a connection, or a wait is over: begin, or begin again.
    Begin,
    /// The answer to [`Action::ReadEpoch`]: the record, `None` where there is none, and the store's
    /// revision.
    Epoch(Option<EpochRecord>, Revision),
    /// The answer to [`Action::List`].
    Page(Page),
    /// The list cannot go on: its revision was compacted, or the connection is gone.
    ListFailed,
    Batch(Batch),
    /// The watch ended because its next event was compacted.
    Compacted,
    /// The watch ended for another reason.
    WatchFailed,
    /// Keys and revisions of the store, read now and then. Where they contradict the state,
    /// everything is read anew.
    Audit(Audit),
    /// The state of the last [`Action::Publish`] is enforced.
    Published,
    /// The state of the last [`Action::Publish`] was refused: the image does not fit, or the kernel
    /// refuses it. The state before stays enforced.
    NotPublished,
    /// An operator accepts the foreign store with this epoch, although the host holds.
    Accepted(EpochId),
}

/// A task for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the epoch linearizably, with the store's revision.
    ReadEpoch,
    /// Read a page of the VPC's prefix.
    List { at: Option<Revision>, after: Option<String> },
    /// Watch the VPC's prefix.
    Watch { from: Revision },
    /// Have `Replica::snapshot` enforced, as it is before the next step. Answer with
    /// [`Input::Published`] or [`Input::NotPublished`].
    Publish(Changes),
}

/// Why the replica keeps its last state and takes no orders from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The store has no epoch.
    NoEpoch,
    /// The store's epoch neither is ours nor comes after it.
    ForeignStore { ours: EpochId, theirs: EpochId },
    /// The store is at a revision before ours.
    WentBack { ours: Revision, theirs: Revision },
    /// The VPC's record is missing or deleted.
    NoVpc,
    /// The VPC's record was written in another store.
    VpcOfOtherStore { store: EpochId, vpc: EpochId },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEpoch => f.write_str("the store has no epoch; the last state stays"),
            Self::ForeignStore { ours, theirs } => write!(
                f,
                "another store: its epoch {theirs} does not follow ours, {ours}; the last state \
                 stays until an operator accepts it"
            ),
            Self::WentBack { ours, theirs } => write!(
                f,
                "store went back: it is at revision {theirs}, and revision {ours} is known here; \
                 the last state stays"
            ),
            Self::NoVpc => f.write_str("the VPC's record is missing; the last state stays"),
            Self::VpcOfOtherStore { store, vpc } => write!(
                f,
                "the VPC's record is of epoch {vpc}, and the store's is {store}; the last state \
                 stays"
            ),
        }
    }
}
