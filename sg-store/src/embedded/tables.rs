//! Three tables: every version of every key, the log of changes by revision, and a few numbers.
//!
//! A version is dropped once another one that was compacted follows it, a deletion once it was compacted
//! itself. Then the newest version of a key at or before any revision that can still be asked for is
//! there.

use redb::{AccessGuard, Database, ReadableDatabase as _, ReadableTable, TableDefinition};

use crate::id::Revision;

/// The file's format. Another layout of tables has another number.
pub(super) const FORMAT: u64 = 1;

/// (key, revision) to what was written then.
pub(super) const VERSIONS: TableDefinition<'_, (&str, u64), &[u8]> =
    TableDefinition::new("versions");
/// (revision, place in the transaction) to the key.
pub(super) const LOG: TableDefinition<'_, (u64, u32), &str> = TableDefinition::new("log");
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

#[derive(Debug)]
pub(super) enum Error {
    Redb(redb::Error),
    /// The tables contradict each other.
    Content(String),
}

macro_rules! from_redb {
    ($($error:ident)+) => {
        $(
            impl From<redb::$error> for Error {
                fn from(error: redb::$error) -> Self {
                    Self::Redb(error.into())
                }
            }
        )+
    };
}

from_redb!(CommitError DatabaseError StorageError TableError TransactionError);

pub(super) type Result<T> = std::result::Result<T, Error>;

/// The numbers that every transaction needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) format: u64,
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    /// Keys and values of the events that are kept, in bytes.
    pub(super) history_bytes: u64,
}

impl Head {
    pub(super) fn read(numbers: &impl ReadableTable<&'static str, u64>) -> Result<Self> {
        let number = |name| match numbers.get(name)? {
            Some(number) => Ok(number.value()),
            None => Err(Error::Content(format!("it has no number `{name}`"))),
        };
        Ok(Self {
            format: number("format")?,
            revision: Revision(number("revision")?),
            compacted: Revision(number("compacted")?),
            history_bytes: number("history_bytes")?,
        })
    }
}

/// The numbers of a store; `None`: the file is no store.
pub(super) fn head(database: &Database) -> Result<Option<Head>> {
    let transaction = database.begin_read()?;
    let numbers = match transaction.open_table(NUMBERS) {
        Ok(numbers) => numbers,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A store of a later format may have other numbers.
    match numbers.get("format")?.map(|number| number.value()) {
        Some(format) if format != FORMAT => {
            let (revision, compacted) = (Revision(0), Revision(0));
            Ok(Some(Head { format, revision, compacted, history_bytes: 0 }))
        }
        _ => Head::read(&numbers).map(Some),
    }
}

/// One kind of change of a key, as it is in the table: a put has its create revision and its value.
pub(super) enum Version<'v> {
    Put { create_revision: Revision, value: &'v [u8] },
    Deleted,
}

impl<'v> Version<'v> {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Put { create_revision, value } => {
                let mut bytes = Vec::with_capacity(9 + value.len());
                bytes.push(1);
                bytes.extend(create_revision.0.to_le_bytes());
                bytes.extend(*value);
                bytes
            }
            Self::Deleted => vec![0],
        }
    }

    pub(super) fn decode(bytes: &'v [u8]) -> Result<Self> {
        let fault = || Error::Content("a version is neither a put nor a deletion".to_owned());
        match bytes.split_first() {
            Some((0, [])) => Ok(Self::Deleted),
            Some((1, rest)) => {
                let (created, value) = rest.split_first_chunk().ok_or_else(fault)?;
                let create_revision = Revision(u64::from_le_bytes(*created));
                Ok(Self::Put { create_revision, value })
            }
            _ => Err(fault()),
        }
    }
}

/// A version with the revision that wrote it.
pub(super) type At<'t> = (Revision, AccessGuard<'t, &'static [u8]>);

/// The newest version of a key at or before a revision.
pub(super) fn newest<'t>(
    versions: &'t impl ReadableTable<(&'static str, u64), &'static [u8]>,
    key: &str,
    at: Revision,
) -> Result<Option<At<'t>>> {
    let found = versions.range((key, 0)..=(key, at.0))?.next_back().transpose()?;
    Ok(found.map(|(key, version)| (Revision(key.value().1), version)))
}
