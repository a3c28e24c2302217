//! The operations that the store needs of a file system: [`OsDisk`], or a simulated disk in tests.

use std::{
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use nix::fcntl::{FallocateFlags, fallocate};

/// Paths are full paths. A name that was created, renamed or removed is on the disk once its
/// directory is synced, and a file's bytes once the file is.
pub(super) trait Disk: fmt::Debug + Send + Sync {
    /// Creates the directory with its parents; one that is there is left as it is.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Creates a file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// A file that is open for writing.
pub(super) trait DiskFile: fmt::Debug + Send {
    /// Fills an empty file with zeros, so that to write there later changes no metadata.
    fn reserve(&mut self, bytes: u64) -> io::Result<()>;
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
    /// fdatasync(2): the bytes, and the size if it has changed.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// The kernel's file systems.
#[derive(Clone, Copy, Debug)]
pub(super) struct OsDisk;

impl Disk for OsDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(directory)?.map(name).collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile(File::create(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        // Takes all the room or none. The zeros after it make the blocks written ones: a block that
        // is only allocated has to be marked in the file's metadata when it is first written.
        let length = bytes.try_into().map_err(io::Error::other)?;
        fallocate(&self.0, FallocateFlags::empty(), 0, length)?;
        let zeros = [0; 1 << 16];
        let mut offset = 0;
        while offset < bytes {
            let length = zeros.len().min((bytes - offset) as usize);
            self.0.write_all_at(&zeros[..length], offset)?;
            offset += length as u64;
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
