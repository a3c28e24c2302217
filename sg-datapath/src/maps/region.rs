//! A map of one element, with its pin.
//!
//! Each is an array with one element that is as large as the map. The programs reach all of it from
//! one constant address, and the agent maps the parts that it needs. The agent unmaps them right
//! after use, because mapped pages count as its memory.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use sg_common::flow::{Addresses6, Bucket6, table_size};

use crate::{
    bpf::syscall::{self, Mapping, PAGE},
    error::Error,
};

/// Offsets in map memory end here (BPF_MAX_VAR_OFF, kernel/bpf/verifier.c); those in a table count
/// from its first bucket.
const MAX_MAP: usize = 1 << 29;
const MAX_TABLE: usize = table_size::<Addresses6>(MAX_MAP / size_of::<Bucket6>());

/// A map with one element.
#[derive(Debug)]
pub struct Region {
    pub fd: OwnedFd,
    pub size: usize,
    pub pin: PathBuf,
}

/// The folder of maps of an agent of another ABI whose tables are laid out as ours, if there is one.
pub type PredecessorDir<'a> = Option<&'a Path>;

impl Region {
    /// Takes over the map pinned as `name` in `dir`, or creates it.
    pub fn open(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        match Self::pinned(dir, name)? {
            Some(region) => Ok(region),
            None => Self::create(dir, name, size),
        }
    }

    /// The same, and one that is pinned in `from` is taken over by a pin of ours.
    pub fn take_over(
        dir: &Path,
        from: PredecessorDir<'_>,
        name: &str,
        size: usize,
    ) -> Result<Self, Error> {
        if let (None, Some(from)) = (Self::pinned(dir, name)?, from)
            && let Some(mut region) = Self::pinned(from, name)?
        {
            region.pin = dir.join(name);
            region.pin()?;
            return Ok(region);
        }
        Self::open(dir, name, size)
    }

    /// The map pinned as `name` in `dir`, if there is one.
    pub fn pinned(dir: &Path, name: &str) -> Result<Option<Self>, Error> {
        let pin = dir.join(name);
        let fd = match syscall::get_pinned(&pin) {
            Ok(fd) => fd,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::kernel(format!("opening {}", pin.display()), error)),
        };
        let size = syscall::map_value_size(fd.as_fd()).map_err(|error| {
            Error::kernel(format!("reading the size of {}", pin.display()), error)
        })?;
        Ok(Some(Self { fd, size: size as usize, pin }))
    }

    /// The same for a map that is of no use to the next agent if its size differs. Programs of the
    /// agent before go on with its map until they are replaced.
    pub fn anew(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        let region = Self::open(dir, name, size)?;
        if region.size == size {
            return Ok(region);
        }
        fs::remove_file(&region.pin)
            .map_err(|error| Error::kernel(format!("removing {}", region.pin.display()), error))?;
        Self::create(dir, name, size)
    }

    /// Creates and pins a map of `size` bytes.
    pub fn create(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        let region = Self::unpinned(dir, name, size)?;
        region.pin()?;
        Ok(region)
    }

    pub fn pin(&self) -> Result<(), Error> {
        syscall::pin(self.fd.as_fd(), &self.pin)
            .map_err(|error| Error::kernel(format!("pinning {}", self.pin.display()), error))
    }

    pub fn unpinned(dir: &Path, name: &str, size: usize) -> Result<Self, Error> {
        if size > MAX_TABLE {
            return Err(Error::TooLarge(format!(
                "map {name} would need {size} bytes, more than the {MAX_TABLE} that the kernel admits"
            )));
        }
        let fd = syscall::create_map(name, size as u32).map_err(|error| {
            Error::kernel(format!("creating map {name} of {size} bytes"), error)
        })?;
        Ok(Self { fd, size, pin: dir.join(name) })
    }

    /// The same map with a descriptor of its own.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, size: self.size, pin: self.pin.clone() })
    }

    /// Maps `len` bytes from `offset`, which is rounded down to a page; the second value is where
    /// `offset` lies in the mapping.
    pub fn map(&self, offset: usize, len: usize) -> Result<(Mapping, usize), Error> {
        let start = offset / PAGE * PAGE;
        let end = (offset + len).next_multiple_of(PAGE).min(self.size.next_multiple_of(PAGE));
        let mapping = Mapping::new(self.fd.as_fd(), start, end - start)
            .map_err(|error| Error::kernel(format!("mapping {}", self.pin.display()), error))?;
        Ok((mapping, offset - start))
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
