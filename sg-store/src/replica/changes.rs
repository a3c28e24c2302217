//! Keys that differ between two states.

use std::collections::BTreeSet;

use crate::{key::Key, snapshot::Snapshot, store::Event};

/// Keys whose objects may differ from what is enforced. Whether one was put or deleted, the snapshot says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(BTreeSet<Key>);

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.0.contains(key)
    }

    /// Keys of kinds that this version does not know change nothing.
    pub(super) fn add(&mut self, event: &Event) {
        self.0.extend(event.key.parse::<Key>());
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Values are compared, and revisions, too: the order of claims hangs on them.
    pub(super) fn add_difference(&mut self, old: &Snapshot, new: &Snapshot) {
        let differing = new
            .iter()
            .filter(|(key, object)| old.get_any(key).is_none_or(|before| before != *object));
        self.0.extend(differing.map(|(key, _)| key.clone()));
        let gone = old.iter().filter(|(key, _)| new.get_any(key).is_none());
        self.0.extend(gone.map(|(key, _)| key.clone()));
    }
}
