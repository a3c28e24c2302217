//! Settings that all places of the flow log share.

use sg_api::format::Format;

/// How records are written, wherever they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    pub format: Format,
    pub account: String,
    /// A file that would grow beyond this is put aside.
    pub max_bytes: u64,
    /// Files put aside that are kept.
    pub keep: u32,
}
