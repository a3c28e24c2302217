//! Records on their way to the writer.

use super::file::Kind;

/// A record that no transaction holds.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) owner: String,
    pub(super) kind: Kind,
    pub(super) text: String,
}
