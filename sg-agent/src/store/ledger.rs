//! Which revision is in force, which one it may fall back to, and what there was before.

use serde::{Deserialize, Serialize};
use sg_common::flow::Tick;

use super::format::Position;

/// Revisions kept for `history` and `rollback`.
pub(super) const KEPT: usize = 100;

/// The ledger as a file.
#[derive(Debug, Serialize)]
pub(super) struct Written<'a> {
    pub(super) format: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) journal: Option<Position>,
    #[serde(flatten)]
    pub(super) ledger: &'a Ledger,
}

/// The one field that all formats have, but for the first.
#[derive(Debug, Deserialize)]
pub(super) struct Format {
    #[serde(default)]
    pub(super) format: u32,
}

/// The journal's place in the ledger's file.
#[derive(Debug, Deserialize)]
pub(super) struct Journaled {
    pub(super) journal: Position,
}

/// Which revisions there are. The journal holds what has changed since its file was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Highest number ever given out. Numbers only rise, also past changes that were undone.
    pub last: u64,
    /// In force; 0 = nothing was ever applied.
    pub current: u64,
    /// Set while `current` waits for its confirmation.
    pub pending: Option<PendingConfirmation>,
    /// By rising number.
    pub revisions: Vec<LedgerEntry>,
}

/// An unconfirmed change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingConfirmation {
    /// In force again unless the change is confirmed; 0 = nothing.
    pub previous: u64,
    /// The deadline as the data path carries it. It says more than the wall clock, which may be
    /// set, but only during the same boot.
    pub deadline: Tick,
    pub boot_id: String,
    /// The deadline for people, Unix time in seconds.
    pub until: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub revision: u64,
    /// Unix time in seconds.
    pub applied_at: u64,
    pub rules: usize,
    pub groups: usize,
    pub origin: String,
    /// Digest of the document, in hex.
    pub sha256: String,
    #[serde(default, skip_serializing_if = "DocumentKind::is_rules")]
    pub document: DocumentKind,
    #[serde(default)]
    pub rolled_back: bool,
}

/// Kinds of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// A rules file.
    #[default]
    Rules,
    /// The state itself as JSON.
    State,
}

impl DocumentKind {
    fn is_rules(&self) -> bool {
        *self == Self::Rules
    }
}

impl LedgerEntry {
    /// Name of the document's file.
    pub(super) fn file_name(&self) -> String {
        let extension = match self.document {
            DocumentKind::Rules => "toml",
            DocumentKind::State => "json",
        };
        format!("{}.{extension}", self.revision)
    }
}

impl Ledger {
    pub fn entry(&self, revision: u64) -> Option<&LedgerEntry> {
        self.revisions.iter().find(|entry| entry.revision == revision)
    }

    /// The revision that a rollback without a number goes to.
    pub fn before_current(&self) -> Option<u64> {
        let earlier = |entry: &&LedgerEntry| entry.revision < self.current && !entry.rolled_back;
        self.revisions.iter().rev().find(earlier).map(|entry| entry.revision)
    }

    /// Seconds that the unconfirmed change has left by a wall clock that says `now`. `None`: it has run
    /// out, or the clock is before the change, so that nobody knows how long ago that was.
    pub fn seconds_left(&self, now: u64) -> Option<u32> {
        let until = self.pending.as_ref()?.until;
        let applied_at = self.entry(self.current)?.applied_at;
        if !(applied_at..until).contains(&now) {
            return None;
        }
        u32::try_from(until - now).ok()
    }

    /// Makes `entry` the revision in force.
    pub(super) fn record(&mut self, entry: LedgerEntry, pending: Option<PendingConfirmation>) {
        self.last = entry.revision;
        self.current = entry.revision;
        self.pending = pending;
        self.revisions.push(entry);
        let keep = [Some(self.current), self.pending.as_ref().map(|pending| pending.previous)];
        while self.revisions.len() > KEPT {
            let oldest = self.revisions.iter().position(|old| !keep.contains(&Some(old.revision)));
            let Some(oldest) = oldest else { break };
            self.revisions.remove(oldest);
        }
    }

    /// Makes the previous revision the one in force again.
    pub(super) fn roll_back(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        let undone = self.current;
        self.current = pending.previous;
        for entry in &mut self.revisions {
            entry.rolled_back |= entry.revision == undone;
        }
    }
}
