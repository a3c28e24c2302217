//! The objects of a store at one revision, decoded. Decisions are made over it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::{Deref, RangeBounds},
    sync::Arc,
};

use sg_policy::id::{AccountId, GroupId, VpcId};

use crate::{
    document::Undecodable,
    error::ReadError,
    id::{InterfaceId, RegionName, Revision, SubnetId},
    key::Key,
    objects::{NetworkInterface, Object, SecurityGroup, Stored, Subnet, Vpc},
    store::{Event, KeyValue, List, Store},
};

/// An object with the revisions of its key.
#[derive(Debug, PartialEq, Eq)]
pub struct Versioned<'s, T> {
    pub object: &'s T,
    pub create_revision: Revision,
    pub mod_revision: Revision,
}

impl<T> Clone for Versioned<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Versioned<'_, T> {}

impl<T> Deref for Versioned<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object
    }
}

/// A document that cannot be used. The object is what it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} at revision {mod_revision}: {reason}; {}", if *.has_older { "its last good state stays" } else { "there is no earlier state" })]
pub struct Unusable {
    pub key: String,
    pub mod_revision: Revision,
    pub reason: Undecodable,
    /// Whether an earlier state of the object is still there.
    pub has_older: bool,
}

/// Decoded objects. Keys of kinds that this version does not know are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    revision: Revision,
    entries: BTreeMap<Key, Entry>,
    unusable: BTreeMap<Key, Unusable>,
    // Requests name these by their id alone.
    groups: HashMap<GroupId, VpcId>,
    interfaces: HashMap<InterfaceId, VpcId>,
    subnets: HashMap<SubnetId, (AccountId, RegionName)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    object: Arc<Object>,
    create_revision: Revision,
    mod_revision: Revision,
}

impl Snapshot {
    /// Makes a snapshot from a complete list.
    pub fn of(entries: impl IntoIterator<Item = KeyValue>, revision: Revision) -> Self {
        let mut snapshot = Self::default();
        for entry in entries {
            let KeyValue { key, value, create_revision, mod_revision } = entry;
            snapshot.put(&key, &value, create_revision, mod_revision);
        }
        snapshot.revision = revision;
        snapshot
    }

    /// Reads all keys with a prefix at one revision, a page at a time.
    pub async fn load(
        store: &dyn Store,
        prefix: &str,
        at: Option<Revision>,
    ) -> Result<Self, ReadError> {
        let mut snapshot = Self::default();
        let mut list = List { at, ..List::prefix(prefix) };
        loop {
            let page = store.list(list.clone()).await?;
            list.at = Some(page.at);
            for entry in &page.entries {
                let (create_revision, mod_revision) = (entry.create_revision, entry.mod_revision);
                snapshot.put(&entry.key, &entry.value, create_revision, mod_revision);
            }
            if !page.has_more {
                snapshot.revision = page.at;
                return Ok(snapshot);
            }
            list.after = page.last().map(ToOwned::to_owned).or(list.after);
        }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Says that there is nothing more up to a revision.
    pub fn advance(&mut self, through: Revision) {
        self.revision = self.revision.max(through);
    }

    /// Takes an event in. Events come in the order of their revisions.
    pub fn apply(&mut self, event: &Event) {
        match &event.put {
            Some(put) => self.put(&event.key, &put.value, put.create_revision, event.revision),
            None => self.delete(&event.key),
        }
        self.advance(event.revision);
    }

    /// Takes a document in. One that cannot be used leaves the object as it was.
    pub fn put(
        &mut self,
        key: &str,
        value: &[u8],
        create_revision: Revision,
        mod_revision: Revision,
    ) {
        let Ok(key) = key.parse::<Key>() else { return };
        match Object::decode(&key, value) {
            Ok(object) => {
                self.unusable.remove(&key);
                self.index(&key);
                let object = Arc::new(object);
                self.entries.insert(key, Entry { object, create_revision, mod_revision });
            }
            Err(reason) => {
                let has_older = self.entries.contains_key(&key);
                let text = key.to_string();
                let unusable = Unusable { key: text, mod_revision, reason, has_older };
                self.unusable.insert(key, unusable);
            }
        }
    }

    pub fn delete(&mut self, key: &str) {
        let Ok(key) = key.parse::<Key>() else { return };
        self.unusable.remove(&key);
        self.entries.remove(&key);
        match &key {
            Key::Group(vpc, id) if self.groups.get(id) == Some(vpc) => {
                self.groups.remove(id);
            }
            Key::Interface(vpc, id) if self.interfaces.get(id) == Some(vpc) => {
                self.interfaces.remove(id);
            }
            Key::Subnet(_, _, id) => {
                self.subnets.remove(id);
            }
            _ => (),
        }
    }

    fn index(&mut self, key: &Key) {
        match key {
            Key::Group(vpc, id) => {
                self.groups.insert(*id, *vpc);
            }
            Key::Interface(vpc, id) => {
                self.interfaces.insert(*id, *vpc);
            }
            Key::Subnet(account, region, id) => {
                self.subnets.insert(*id, (*account, region.clone()));
            }
            _ => (),
        }
    }

    /// Keeps, of objects whose documents cannot be used, what an earlier state had.
    pub(crate) fn keep_good(&mut self, earlier: &Self) {
        for (key, unusable) in &mut self.unusable {
            if let Some(entry) = earlier.entries.get(key) {
                unusable.has_older = true;
                self.entries.insert(key.clone(), entry.clone());
            }
        }
        let kept: Vec<Key> = self.unusable.keys().cloned().collect();
        for key in kept.iter().filter(|key| earlier.entries.contains_key(*key)) {
            self.index(key);
        }
    }

    /// The object under a key, of any kind.
    pub(crate) fn get_any(&self, key: &Key) -> Option<Versioned<'_, Object>> {
        let Entry { object, create_revision, mod_revision } = self.entries.get(key)?;
        let (create_revision, mod_revision) = (*create_revision, *mod_revision);
        Some(Versioned { object: &**object, create_revision, mod_revision })
    }

    /// Objects whose newest document cannot be used.
    pub fn unusable(&self) -> impl Iterator<Item = &Unusable> {
        self.unusable.values()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The object under a key, where it is of kind `T`.
    pub fn get<T: Stored>(&self, key: &Key) -> Option<Versioned<'_, T>> {
        self.entries.get(key).and_then(versioned)
    }

    /// The revision of a key, for compares.
    pub fn mod_revision(&self, key: &Key) -> Option<Revision> {
        self.entries.get(key).map(|entry| entry.mod_revision)
    }

    /// All objects of a kind, in the order of their keys.
    pub fn all<T: Stored>(&self) -> impl Iterator<Item = Versioned<'_, T>> {
        self.entries.range(T::lowest_key()..).map_while(|(_, entry)| versioned(entry))
    }

    /// The objects of a kind within a range of keys.
    pub fn range<T: Stored>(
        &self,
        keys: impl RangeBounds<Key>,
    ) -> impl Iterator<Item = Versioned<'_, T>> {
        self.entries.range(keys).filter_map(|(_, entry)| versioned(entry))
    }

    /// The revision of a key's newest document, whether it can be used or not.
    pub(crate) fn newest_revision(&self, key: &Key) -> Option<Revision> {
        let unusable = self.unusable.get(key).map(|unusable| unusable.mod_revision);
        unusable.max(self.mod_revision(key))
    }

    /// Every object with its key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Versioned<'_, Object>)> {
        self.entries.iter().map(|(key, entry)| {
            let Entry { object, create_revision, mod_revision } = entry;
            let (create_revision, mod_revision) = (*create_revision, *mod_revision);
            (key, Versioned { object: &**object, create_revision, mod_revision })
        })
    }

    pub fn vpc(&self, id: VpcId) -> Option<Versioned<'_, Vpc>> {
        self.get(&Key::Vpc(id))
    }

    pub fn group(&self, id: GroupId) -> Option<Versioned<'_, SecurityGroup>> {
        self.get(&Key::Group(*self.groups.get(&id)?, id))
    }

    pub fn interface(&self, id: InterfaceId) -> Option<Versioned<'_, NetworkInterface>> {
        self.get(&Key::Interface(*self.interfaces.get(&id)?, id))
    }

    pub fn subnet(&self, id: SubnetId) -> Option<Versioned<'_, Subnet>> {
        let (account, region) = self.subnets.get(&id)?;
        self.get(&Key::Subnet(*account, region.clone(), id))
    }

    pub fn groups_of(&self, vpc: VpcId) -> impl Iterator<Item = Versioned<'_, SecurityGroup>> {
        self.range(Key::Group(vpc, GroupId(0))..=Key::Group(vpc, GroupId(u128::MAX)))
    }

    pub fn interfaces_of(
        &self,
        vpc: VpcId,
    ) -> impl Iterator<Item = Versioned<'_, NetworkInterface>> {
        let first = Key::Interface(vpc, InterfaceId(0));
        self.range(first..=Key::Interface(vpc, InterfaceId(u128::MAX)))
    }
}

fn versioned<T: Stored>(entry: &Entry) -> Option<Versioned<'_, T>> {
    let Entry { object, create_revision, mod_revision } = entry;
    let (create_revision, mod_revision) = (*create_revision, *mod_revision);
    T::of(object).map(|object| Versioned { object, create_revision, mod_revision })
}

#[cfg(test)]
mod tests;
