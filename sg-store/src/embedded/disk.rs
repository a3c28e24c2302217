//! The file below redb: locked, grown with blocks of its own, and with a record of what failed.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};
use redb::StorageBackend;

/// Opens the disk below the store. Called at the start, and again after a write that failed.
pub type Opener = Box<dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync>;

/// Opens a file that is there.
pub(super) fn file_opener(file: &Path) -> Opener {
    let file = file.to_owned();
    Box::new(move || Ok(Box::new(LockedFile::open(&file)?)))
}

/// A file that no other process has open as a store.
#[derive(Debug)]
pub(super) struct LockedFile(File);

impl LockedFile {
    fn open(path: &Path) -> io::Result<Self> {
        Self::lock(OpenOptions::new().read(true).write(true).open(path)?)
    }

    /// Makes a file that only its owner reads, in place of one that a process which died has left. The
    /// second handle keeps the lock for as long as it lives.
    pub(super) fn make(path: &Path) -> io::Result<(Self, File)> {
        match Self::open(path) {
            Ok(left) => {
                std::fs::remove_file(path)?;
                drop(left);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
        let mut options = OpenOptions::new();
        // A link of somebody else's is not followed.
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = Self::lock(options.open(path)?)?;
        let lock = file.0.try_clone()?;
        Ok((file, lock))
    }

    fn lock(file: File) -> io::Result<Self> {
        file.try_lock()?;
        Ok(Self(file))
    }
}

impl StorageBackend for LockedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    /// Takes the blocks at once: a full disk is then met before anything is written, and no fdatasync
    /// has to wait for the file system to find room.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len > now {
            let room = (now as i64, (len - now) as i64);
            match fallocate(&self.0, FallocateFlags::empty(), room.0, room.1) {
                // Not every file system can.
                Err(Errno::EOPNOTSUPP) => (),
                result => return Ok(result?),
            }
        }
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// The first operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nobody can tell what is on the disk after a sync that failed, not even who reads it: the kernel
    /// shows what it did not manage to write.
    Sync,
    Other,
}

/// Remembers what failed, because redb's errors do not say it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Option<Failure>>>);

type Failure = (Failed, Arc<io::Error>);

impl Recorder {
    pub(super) fn take(&self) -> Option<Failure> {
        lock(&self.0).take()
    }

    fn note<T>(&self, failed: Failed, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let shared = Arc::new(error);
            let again = io::Error::new(shared.kind(), Arc::clone(&shared));
            lock(&self.0).get_or_insert((failed, shared));
            again
        })
    }
}

/// A disk whose failures are recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) disk: Box<dyn StorageBackend>,
    pub(super) recorder: Recorder,
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.recorder.note(Failed::Other, self.disk.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.recorder.note(Failed::Other, self.disk.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.recorder.note(Failed::Other, self.disk.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.recorder.note(Failed::Sync, self.disk.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.recorder.note(Failed::Other, self.disk.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.disk.close()
    }
}

/// A lock that a thread which panicked has left: the data under it is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
