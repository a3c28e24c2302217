//! Numbers of formats, and the place where one part of the directory goes on after the other.

use serde::{Deserialize, Serialize};

/// Number of the state directory's format. It rises when an agent that does not know a change would
/// misread the directory. Fields that an older agent may leave out do not raise it. Format 1 had no
/// journal.
pub(super) const FORMAT: u32 = 2;

/// The format before, of a directory whose journal says nothing that state.json does not.
pub(super) const WITHOUT_JOURNAL: u32 = 1;

/// Where the journal goes on after what state.json holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Segments before this one are not needed any more.
    pub(super) segment: u64,
    /// Records up to this one are in state.json.
    pub(super) sequence: u64,
}
