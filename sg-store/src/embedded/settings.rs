//! Settings.

use crate::txn::Limits;

/// Settings of the embedded store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub limits: Limits,
    /// Bytes of redb's page cache. The kernel caches the file, too.
    pub cache: usize,
    pub history: History,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), cache: 4 << 20, history: History::default() }
    }
}

/// How many events the store keeps for watchers and for reads of old states. Each transaction that goes
/// beyond compacts a little, in its own commit.
#[derive(Clone, Copy, Debug)]
pub struct History {
    pub revisions: u64,
    /// Keys and values of the events, in bytes.
    pub bytes: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { revisions: 10_000, bytes: 32 << 20 }
    }
}
