//! Changes of the tables: transactions and compaction.

use redb::{Database, ReadableTable as _, WriteTransaction};

use super::{
    settings::History,
    tables::{FORMAT, Head, LOG, NUMBERS, Result, VERSIONS, Version, newest},
};
use crate::{
    error::TxnError,
    id::Revision,
    store::KeyValue,
    txn::{Op, Txn},
};

/// Revisions that one commit compacts at most.
const COMPACTED_AT_ONCE: u64 = 4;

/// Writes within one transaction of redb, which may hold several of ours.
pub(super) struct Writer<'t> {
    versions: redb::Table<'t, (&'static str, u64), &'static [u8]>,
    log: redb::Table<'t, (u64, u32), &'static str>,
    numbers: redb::Table<'t, &'static str, u64>,
    head: Head,
    before: Option<Head>,
}

impl<'t> Writer<'t> {
    pub(super) fn begin(transaction: &'t WriteTransaction) -> Result<Self> {
        let head = Head::read(&transaction.open_table(NUMBERS)?)?;
        let mut writer = Self::with(transaction, head)?;
        writer.before = Some(head);
        Ok(writer)
    }

    fn with(transaction: &'t WriteTransaction, head: Head) -> Result<Self> {
        Ok(Self {
            versions: transaction.open_table(VERSIONS)?,
            log: transaction.open_table(LOG)?,
            numbers: transaction.open_table(NUMBERS)?,
            head,
            before: None,
        })
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Makes one transaction of ours, or nothing of it.
    pub(super) fn apply(
        &mut self,
        txn: &Txn,
        history: History,
    ) -> Result<std::result::Result<Revision, TxnError>> {
        for compare in txn.compares() {
            let found = self.find(&compare.key)?.map(|(mod_revision, _)| mod_revision);
            if !compare.expected.holds(found) {
                let (key, expected) = (compare.key.clone(), compare.expected);
                return Ok(Err(TxnError::Conflict { key, expected, found }));
            }
        }
        let revision = self.head.revision.next();
        let mut place = 0;
        for op in txn.ops() {
            let key = op.key();
            let found = self.find(key)?;
            let version = match op {
                Op::Put { value, .. } => {
                    let create_revision = found.map_or(revision, |(_, created)| created);
                    Version::Put { create_revision, value }
                }
                Op::Delete { .. } if found.is_none() => continue,
                Op::Delete { .. } => Version::Deleted,
            };
            let version = version.encode();
            self.versions.insert((key, revision.0), &*version)?;
            self.log.insert((revision.0, place), key)?;
            self.head.history_bytes += size(key, &version);
            place += 1;
        }
        if place > 0 {
            self.head.revision = revision;
            self.keep_within(history)?;
        }
        Ok(Ok(self.head.revision))
    }

    /// Mod and create revision of a key that is there.
    fn find(&self, key: &str) -> Result<Option<(Revision, Revision)>> {
        let Some((mod_revision, version)) = newest(&self.versions, key, Revision(u64::MAX))? else {
            return Ok(None);
        };
        Ok(match Version::decode(version.value())? {
            Version::Put { create_revision, .. } => Some((mod_revision, create_revision)),
            Version::Deleted => None,
        })
    }

    fn keep_within(&mut self, history: History) -> Result<()> {
        for _ in 0..COMPACTED_AT_ONCE {
            let Head { revision, compacted, history_bytes, .. } = self.head;
            let is_long = revision.0 - compacted.0 > history.revisions;
            // The newest revision stays in any case, for watchers that are up to date.
            let is_large = history_bytes > history.bytes && compacted.0 + 1 < revision.0;
            if !is_long && !is_large {
                break;
            }
            self.compact_next()?;
        }
        Ok(())
    }

    /// Compacts at a revision that is there.
    pub(super) fn compact(&mut self, revision: Revision) -> Result<()> {
        while self.head.compacted < revision {
            self.compact_next()?;
        }
        Ok(())
    }

    /// Compacts one revision more.
    fn compact_next(&mut self) -> Result<()> {
        let revision = self.head.compacted.next();
        let range = (revision.0, 0)..=(revision.0, u32::MAX);
        let lines = self.log.range(range)?.map(|line| {
            let (place, key) = line?;
            Ok((place.value(), key.value().to_owned()))
        });
        for (place, key) in lines.collect::<Result<Vec<_>>>()? {
            self.log.remove(place)?;
            let before = Revision(revision.0 - 1);
            let older = newest(&self.versions, &key, before)?.map(|(older, _)| older);
            if let Some(older) = older {
                self.versions.remove((key.as_str(), older.0))?;
            }
            let (bytes, is_deleted) = match self.versions.get((key.as_str(), revision.0))? {
                Some(version) => (
                    size(&key, version.value()),
                    matches!(Version::decode(version.value())?, Version::Deleted),
                ),
                None => (0, false),
            };
            if is_deleted {
                self.versions.remove((key.as_str(), revision.0))?;
            }
            self.head.history_bytes = self.head.history_bytes.saturating_sub(bytes);
        }
        self.head.compacted = revision;
        Ok(())
    }

    /// Writes the numbers; whether there is anything to commit.
    pub(super) fn finish(mut self) -> Result<bool> {
        let Head { format, revision, compacted, history_bytes } = self.head;
        if self.before == Some(self.head) {
            return Ok(false);
        }
        let numbers = [
            ("format", format),
            ("revision", revision.0),
            ("compacted", compacted.0),
            ("history_bytes", history_bytes),
        ];
        for (name, number) in numbers {
            self.numbers.insert(name, number)?;
        }
        Ok(true)
    }
}

fn size(key: &str, version: &[u8]) -> u64 {
    (key.len() + version.len()) as u64
}

/// The state that a new store begins with, and the history of which is compacted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'o> {
    pub(super) revision: Revision,
    pub(super) entries: &'o [KeyValue],
}

impl Origin<'_> {
    pub(super) const EMPTY: Self = Self { revision: Revision::FIRST, entries: &[] };
}

/// Fills a new file.
pub(super) fn make(
    database: &Database,
    origin: Origin<'_>,
    first: &Txn,
    history: History,
) -> Result<std::result::Result<(), TxnError>> {
    let transaction = database.begin_write()?;
    let Origin { revision, entries } = origin;
    // Nothing can be read of the time before a state that came from elsewhere.
    let compacted = if entries.is_empty() { Revision(0) } else { revision };
    let head = Head { format: FORMAT, revision, compacted, history_bytes: 0 };
    let mut writer = Writer::with(&transaction, head)?;
    for entry in entries {
        let KeyValue { key, value, create_revision, mod_revision } = entry;
        let version = Version::Put { create_revision: *create_revision, value }.encode();
        writer.versions.insert((key.as_str(), mod_revision.0), &*version)?;
    }
    let made = writer.apply(first, history)?;
    writer.finish()?;
    if let Err(conflict) = made {
        return Ok(Err(conflict));
    }
    transaction.commit()?;
    Ok(Ok(()))
}
