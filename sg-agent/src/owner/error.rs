//! Why the owner did not do something.

use crate::{datapath, store};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question or request makes no sense.
    #[error("{0}")]
    Request(String),
    /// The present state does not admit it.
    #[error("{0}")]
    Conflict(String),
    /// The rules are right but do not fit or cannot be had on this host. The old ones are in force.
    #[error("{0}; nothing was changed")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Datapath(#[from] datapath::Error),
}
