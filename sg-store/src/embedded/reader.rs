//! Reads of one durable state with its history.

use redb::{AccessGuard, Database, ReadOnlyTable, ReadableDatabase as _};

use super::tables::{Error, Head, LOG, NUMBERS, Result, VERSIONS, Version, newest};
use crate::{
    id::Revision,
    store::{Batch, Event, KeyValue, List, Page, Put},
};

/// A page ends where it has this many bytes of keys and values, or this many keys.
const PAGE_BYTES: usize = 1 << 20;
const PAGE_KEYS: usize = 1000;
/// Reads one durable state with its history.
pub(super) struct Reader {
    versions: ReadOnlyTable<(&'static str, u64), &'static [u8]>,
    log: ReadOnlyTable<(u64, u32), &'static str>,
    head: Head,
}

impl Reader {
    pub(super) fn begin(database: &Database) -> Result<Self> {
        let transaction = database.begin_read()?;
        let head = Head::read(&transaction.open_table(NUMBERS)?)?;
        let (versions, log) = (transaction.open_table(VERSIONS)?, transaction.open_table(LOG)?);
        Ok(Self { versions, log, head })
    }

    pub(super) fn revision(&self) -> Revision {
        self.head.revision
    }

    pub(super) fn compacted(&self) -> Revision {
        self.head.compacted
    }

    pub(super) fn get(&self, key: &str, at: Revision) -> Result<Option<KeyValue>> {
        match newest(&self.versions, key, at)? {
            Some((revision, version)) => entry(key, revision, version.value()),
            None => Ok(None),
        }
    }

    pub(super) fn page(&self, list: &List, at: Revision) -> Result<Page> {
        let limit = if list.limit == 0 { PAGE_KEYS } else { list.limit };
        let after = list.after.as_deref().filter(|after| *after >= list.prefix.as_str());
        // Behind every version of `after`, or before the first key with the prefix.
        let start = match after {
            Some(after) => (after, u64::MAX),
            None => (list.prefix.as_str(), 0),
        };
        let mut page = Page { at, entries: Vec::new(), has_more: false };
        let mut bytes = 0;
        let mut add = |key: &str, revision, version: &[u8]| {
            let Some(entry) = entry(key, revision, version)? else { return Ok(true) };
            if page.entries.len() == limit || bytes >= PAGE_BYTES {
                page.has_more = true;
                return Ok(false);
            }
            bytes += entry.key.len() + entry.value.len();
            page.entries.push(entry);
            Ok::<bool, Error>(true)
        };
        // The newest version so far of the key that the walk is at.
        let mut newest: Option<(String, Revision, AccessGuard<'_, &'static [u8]>)> = None;
        for version in self.versions.range(start..)? {
            let (key, version) = version?;
            let (key, revision) = key.value();
            if !key.starts_with(&list.prefix) {
                break;
            }
            if Some(key) == after || Revision(revision) > at {
                continue;
            }
            match &mut newest {
                Some((of, newest, bytes)) if of == key => {
                    (*newest, *bytes) = (Revision(revision), version);
                }
                _ => {
                    let next = (key.to_owned(), Revision(revision), version);
                    if let Some((key, revision, version)) = newest.replace(next)
                        && !add(&key, revision, version.value())?
                    {
                        newest = None;
                        break;
                    }
                }
            }
        }
        if let Some((key, revision, version)) = newest {
            add(&key, revision, version.value())?;
        }
        Ok(page)
    }

    /// Events from a revision on that the store has: whole revisions, as many as a batch takes.
    pub(super) fn events(&self, from: Revision, prefix: &str) -> Result<Batch> {
        let mut batch = Batch { events: Vec::new(), through: self.head.revision };
        let mut bytes = 0;
        for line in self.log.range((from.0, 0)..)? {
            let (place, key) = line?;
            let revision = Revision(place.value().0);
            let is_new = batch.events.last().is_none_or(|event: &Event| event.revision < revision);
            if is_new && (bytes >= PAGE_BYTES || batch.events.len() >= PAGE_KEYS) {
                batch.through = Revision(revision.0 - 1);
                break;
            }
            let key = key.value();
            if !key.starts_with(prefix) {
                continue;
            }
            let version = self.versions.get((key, revision.0))?;
            let missing = || Error::Content(format!("{key} has no version of revision {revision}"));
            let version = version.ok_or_else(missing)?;
            let put = match Version::decode(version.value())? {
                Version::Deleted => None,
                Version::Put { create_revision, value } => {
                    Some(Put { value: value.to_vec(), create_revision })
                }
            };
            bytes += key.len() + version.value().len();
            batch.events.push(Event { key: key.to_owned(), revision, put });
        }
        Ok(batch)
    }
}

fn entry(key: &str, mod_revision: Revision, version: &[u8]) -> Result<Option<KeyValue>> {
    Ok(match Version::decode(version)? {
        Version::Deleted => None,
        Version::Put { create_revision, value } => {
            let (key, value) = (key.to_owned(), value.to_vec());
            Some(KeyValue { key, value, create_revision, mod_revision })
        }
    })
}
