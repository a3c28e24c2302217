//! The audit: keys and revisions, without values, against what is here. Stores have lost events
//! (etcd-io/etcd#17529, #18089), and a replica that follows events alone would never know.

use std::collections::BTreeMap;

use crate::{id::Revision, key::Key, snapshot::Snapshot};

/// Keys with their revisions, at one revision of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub at: Revision,
    pub keys: Vec<(String, Revision)>,
}

impl Audit {
    /// Returns true if the snapshot lacks an event. A change after the audit's revision, or after
    /// the snapshot's, proves nothing.
    pub(super) fn contradicts(&self, snapshot: &Snapshot) -> bool {
        let here = snapshot.revision();
        let known = |(key, revision): &(String, Revision)| Some((key.parse().ok()?, *revision));
        let there: BTreeMap<Key, Revision> = self.keys.iter().filter_map(known).collect();
        let is_missing = there.iter().any(|(key, revision)| match snapshot.newest_revision(key) {
            Some(ours) => ours < *revision && *revision <= here,
            // The key may be newer than the snapshot, or deleted between audit and snapshot.
            None => here <= self.at && *revision <= here,
        });
        // An object of the snapshot exists at every revision from its own to `here`.
        let is_left_over = self.at <= here
            && snapshot
                .iter()
                .any(|(key, object)| object.mod_revision <= self.at && !there.contains_key(key));
        is_missing || is_left_over
    }
}
