//! Making and opening the file, and the faults that come of it.

use std::{
    fs::File,
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
};

use redb::{Builder, Database, StorageBackend};

use super::{
    changes::{self, Origin},
    disk::{LockedFile, Opener, Recorded, Recorder},
    settings::Options,
    tables::{self, Error, FORMAT},
};
use crate::{
    error::{Fault, TxnError},
    id::Revision,
    txn::Txn,
};

pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) revision: Revision,
}

/// Opens and verifies a store that is there.
pub(super) fn open(
    file: &Path,
    opener: &Opener,
    recorder: &Recorder,
    options: &Options,
) -> Result<Opened, Fault> {
    let disk = opener().map_err(|error| io_fault(file, error))?;
    // redb would make a store of an empty file.
    if disk.len().map_err(|error| io_fault(file, error))? == 0 {
        return Err(Fault::Damaged { file: file.to_owned(), reason: "it is empty".to_owned() });
    }
    let database = begin(disk, recorder, options).map_err(|error| fault(file, error))?;
    let head = tables::head(&database).map_err(|error| fault(file, error))?;
    let Some(head) = head else {
        let reason = "it is a redb file, but no store of ours".to_owned();
        return Err(Fault::Damaged { file: file.to_owned(), reason });
    };
    if head.format != FORMAT {
        return Err(Fault::Newer { file: file.to_owned(), found: head.format, known: FORMAT });
    }
    Ok(Opened { database, revision: head.revision })
}

fn begin(
    disk: Box<dyn StorageBackend>,
    recorder: &Recorder,
    options: &Options,
) -> Result<Database, Error> {
    let disk = Recorded { disk, recorder: recorder.clone() };
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache).set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(disk)?)
}

/// Makes a store beside its place, then moves it there. A process that dies leaves a file that the next
/// one overwrites.
pub(super) fn create(
    file: &Path,
    options: Options,
    origin: Origin<'_>,
    first: &Txn,
) -> Result<(), TxnError> {
    let io_fault = |error| io_fault(file, error);
    if file.symlink_metadata().is_ok() {
        return Err(Fault::Exists { file: file.to_owned() }.into());
    }
    let unfinished = file.with_added_extension("new");
    // Held to the end: nobody else may make a store under this name meanwhile.
    let (disk, _lock) = LockedFile::make(&unfinished).map_err(io_fault)?;
    let database = begin(Box::new(disk), &Recorder::default(), &options)
        .map_err(|error| fault(file, error))?;
    match changes::make(&database, origin, first, options.history)
        .map_err(|error| fault(file, error))?
    {
        Ok(()) => (),
        Err(conflict) => return Err(conflict),
    }
    drop(database);
    // A hard link, because a rename would replace a store that somebody has made meanwhile.
    std::fs::hard_link(&unfinished, file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Fault::Exists { file: file.to_owned() },
        _ => io_fault(error),
    })?;
    std::fs::remove_file(&unfinished).map_err(io_fault)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(io_fault)?;
    folder.sync_all().map_err(io_fault)?;
    Ok(())
}

/// The fault that an error of redb means.
pub(super) fn fault(file: &Path, error: Error) -> Fault {
    let damaged = |reason: String| Fault::Damaged { file: file.to_owned(), reason };
    match error {
        Error::Redb(redb::Error::Io(error)) => io_fault(file, error),
        Error::Redb(redb::Error::DatabaseAlreadyOpen) => Fault::InUse { file: file.to_owned() },
        Error::Redb(redb::Error::PreviousIo) => {
            io_fault(file, io::Error::other("an earlier operation of the disk failed"))
        }
        Error::Redb(redb::Error::Corrupted(reason)) => damaged(reason),
        Error::Redb(error) => damaged(error.to_string()),
        Error::Content(reason) => damaged(reason),
    }
}

/// The fault that an error of the disk means.
pub(super) fn io_fault(file: &Path, error: io::Error) -> Fault {
    let file = file.to_owned();
    match error.kind() {
        ErrorKind::NotFound => Fault::Missing { file },
        ErrorKind::WouldBlock => Fault::InUse { file },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Fault::Full { file }
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Fault::ReadOnly { file, source: Arc::new(error) }
        }
        // redb's word for a file of another kind, and a read beyond the end of a file that was cut.
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            Fault::Damaged { file, reason: error.to_string() }
        }
        _ => Fault::Io { file, source: Arc::new(error) },
    }
}
