//! Conditions that transactions depend on.

use std::fmt;

use crate::id::Revision;

/// The condition on a key that a transaction needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Expected {
    Absent,
    Present,
    /// Last changed at this revision.
    At(Revision),
}

impl Expected {
    /// `found`: the key's mod revision.
    pub fn holds(self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::At(revision) => found == Some(revision),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such key"),
            Self::Present => f.write_str("the key"),
            Self::At(revision) => write!(f, "revision {revision}"),
        }
    }
}
