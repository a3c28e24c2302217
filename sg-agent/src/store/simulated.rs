//! A disk in memory that loses unsynced writes, and fails when it is told to.
//!
//! It is as bad as a disk may be. After a power cut each sector and each name that was not synced is
//! there or not, one independent of the other. A failed sync writes some of it, and the next sync takes
//! the rest for written, as the kernel does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    disk::{Disk, DiskFile},
    record::SECTOR,
};

/// A fault of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power goes: nothing is done from here on.
    PowerCut,
    /// Operations fail, a write after some of its bytes.
    Eio,
    /// Operations that may need room fail.
    Enospc,
}

/// At which operations something goes wrong, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    pub(crate) at: u64,
    /// Operations that fail, one after the other.
    pub(crate) times: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    on_disk: Vec<u8>,
    /// Sectors that the next sync writes. The size is written with them.
    dirty: BTreeSet<usize>,
    has_new_size: bool,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(PathBuf, usize),
    Unset(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl NameChange {
    fn directory(&self) -> Option<&Path> {
        let (Self::Set(path, _) | Self::Unset(path) | Self::Rename(_, path, _)) = self;
        path.parent()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Set(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Unset(path) => drop(names.remove(path)),
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    names_on_disk: BTreeMap<PathBuf, usize>,
    unsynced: Vec<NameChange>,
    operations: u64,
    plan: Option<Plan>,
    is_off: bool,
    /// The state of the generator that chooses which writes are lost.
    random: u64,
}

impl State {
    /// Xorshift: a small generator is enough to vary the losses.
    fn chance(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.is_multiple_of(2)
    }

    /// Counts an operation; the error that it fails with.
    fn operation(&mut self, needs_room: bool) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        let off = || io::Error::other("the power is off");
        if self.is_off {
            return Err(off());
        }
        let Some(Plan { fault, at, times }) = self.plan else { return Ok(()) };
        if !(at..at.saturating_add(times)).contains(&number) {
            return Ok(());
        }
        match fault {
            Fault::PowerCut => {
                self.is_off = true;
                Err(off())
            }
            Fault::Eio => Err(io::Error::from_raw_os_error(nix::libc::EIO)),
            Fault::Enospc if needs_room => Err(io::Error::from_raw_os_error(nix::libc::ENOSPC)),
            Fault::Enospc => Ok(()),
        }
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Puts a sector of the kernel's memory on the disk.
    fn write_sector(&mut self, inode: usize, sector: usize) {
        let Inode { now, on_disk, .. } = &mut self.inodes[inode];
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(now.len());
        if start < end {
            if on_disk.len() < end {
                on_disk.resize(end, 0);
            }
            on_disk[start..end].copy_from_slice(&now[start..end]);
        }
    }

    /// Writes dirty bytes: all of them, or some.
    fn sync(&mut self, inode: usize, is_whole: bool) {
        let dirty = std::mem::take(&mut self.inodes[inode].dirty);
        for sector in dirty {
            if is_whole || self.chance() {
                self.write_sector(inode, sector);
            }
        }
        let has_new_size = std::mem::take(&mut self.inodes[inode].has_new_size);
        if has_new_size && (is_whole || self.chance()) {
            let Inode { now, on_disk, .. } = &mut self.inodes[inode];
            on_disk.resize(now.len(), 0);
        }
    }

    fn write(&mut self, inode: usize, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        let file = &mut self.inodes[inode];
        if file.now.len() < end {
            file.now.resize(end, 0);
            file.has_new_size = true;
        }
        file.now[offset..end].copy_from_slice(bytes);
        file.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
        // The kernel writes some of it whenever it likes.
        for sector in self.inodes[inode].dirty.clone() {
            if self.chance() && self.chance() {
                self.write_sector(inode, sector);
                self.inodes[inode].dirty.remove(&sector);
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Simulated(Arc<Mutex<State>>);

impl Simulated {
    pub(crate) fn new(random: u64) -> Self {
        let state = State { random: random.max(1), ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }

    pub(crate) fn plan(&self, plan: Option<Plan>) {
        let mut state = self.state();
        state.plan = plan;
        state.operations = 0;
    }

    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    pub(crate) fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// The machine after a power cut: a disk without faults, with what it has of the bytes and names.
    pub(crate) fn after_power_cut(&self) -> Self {
        let mut state = self.state().clone();
        for inode in 0..state.inodes.len() {
            state.sync(inode, false);
        }
        for change in std::mem::take(&mut state.unsynced) {
            if state.chance() {
                change.apply(&mut state.names_on_disk);
            }
        }
        let inodes = state.inodes.into_iter().map(|inode| Inode {
            now: inode.on_disk.clone(),
            on_disk: inode.on_disk,
            ..Inode::default()
        });
        let state = State {
            inodes: inodes.collect(),
            names: state.names_on_disk.clone(),
            names_on_disk: state.names_on_disk,
            random: state.random,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The machine after the death of the process: the kernel has all that it had.
    pub(crate) fn after_death(&self) -> Self {
        let state = State { plan: None, is_off: false, ..self.state().clone() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Disk for Simulated {
    /// Directories are always there.
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        self.state().operation(true)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.operation(false)?;
        let paths = state.names.keys().filter(|path| path.parent() == Some(directory));
        let names = paths.filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.operation(false)?;
        let inode = state.inode(path)?;
        Ok(state.inodes[inode].now.clone())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.operation(true)?;
        let inode = match state.inode(path) {
            Ok(inode) => {
                let file = &mut state.inodes[inode];
                file.now.clear();
                file.dirty.clear();
                file.has_new_size = true;
                inode
            }
            Err(_) => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_owned(), inode);
                state.unsynced.push(NameChange::Set(path.to_owned(), inode));
                inode
            }
        };
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operation(true)?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), state.inode(from)?);
        change.apply(&mut state.names);
        state.unsynced.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operation(false)?;
        state.inode(path)?;
        let change = NameChange::Unset(path.to_owned());
        change.apply(&mut state.names);
        state.unsynced.push(change);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let result = state.operation(false);
        if state.is_off {
            return result;
        }
        let is_here = |change: &NameChange| change.directory() == Some(path);
        let (here, elsewhere) = std::mem::take(&mut state.unsynced).into_iter().partition(is_here);
        state.unsynced = elsewhere;
        let here: Vec<NameChange> = here;
        for change in here {
            if result.is_ok() || state.chance() {
                change.apply(&mut state.names_on_disk);
            }
        }
        result
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    inode: usize,
}

impl DiskFile for SimulatedFile {
    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operation(true)?;
        state.write(self.inode, 0, &vec![0; bytes as usize]);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.operation(true);
        if state.is_off {
            return result;
        }
        let length = match result {
            Ok(()) => bytes.len(),
            // All but the last byte: a record is whole before its padding is.
            Err(_) if state.chance() => bytes.len().saturating_sub(1),
            Err(_) => 0,
        };
        state.write(self.inode, offset as usize, &bytes[..length]);
        result
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operation(false)?;
        let file = &mut state.inodes[self.inode];
        file.now.resize(bytes as usize, 0);
        file.dirty.retain(|sector| sector * SECTOR < bytes as usize);
        file.has_new_size = true;
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let result = state.operation(false);
        if !state.is_off {
            state.sync(self.inode, result.is_ok());
        }
        result
    }
}
