//! A disk in memory: it forgets what was not synced when the power goes, and fails when it is told to.

use std::{
    io,
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard},
};

use sg_store::{
    Txn,
    embedded::{Embedded, Opener, StorageBackend},
};

use crate::backend::options;

/// The unit that a disk writes whole.
const SECTOR: usize = 512;

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    /// The bytes that reads see.
    cached: Vec<u8>,
    /// The bytes that outlive a power cut.
    durable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Operations so far that change the disk.
    operations: u64,
    syncs: u64,
    planted: Option<Planted>,
    is_sync_failing: bool,
    are_syncs_blocked: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// The number of the operation that fails, counted on from now.
    pub at: u64,
    pub kind: io::ErrorKind,
    /// Every operation after it fails, too.
    pub is_lasting: bool,
}

/// A file with an empty store, made once: a real one, because stores are made with links.
static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.redb");
    drop(Embedded::create(&file, options(), &Txn::new()).expect("it is made"));
    std::fs::read(&file).expect("it can be read")
});

impl Disk {
    /// A disk with a store that nobody has written to.
    pub fn with_store() -> Self {
        Self::of(EMPTY.clone())
    }

    pub fn of(bytes: Vec<u8>) -> Self {
        let (cached, durable) = (bytes.clone(), bytes);
        let state = State { cached, durable, ..State::default() };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("no test panics with it")
    }

    /// Whether syncs wait until this is called again.
    pub fn block_syncs(&self, block: bool) {
        self.state().are_syncs_blocked = block;
        self.0.1.notify_all();
    }

    pub fn opener(&self) -> Opener {
        let disk = self.clone();
        Box::new(move || Ok(Box::new(disk.clone())))
    }

    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub fn plant(&self, planted: Planted) {
        let mut state = self.state();
        let at = state.operations + planted.at;
        state.planted = Some(Planted { at, ..planted });
    }

    /// The next sync fails once.
    pub fn fail_next_sync(&self) {
        self.state().is_sync_failing = true;
    }

    /// The disk after a power cut: of each sector that was written since the last sync, `keeps` says
    /// whether it arrived. Writes arrive in any order, so a later one may be there without an earlier.
    pub fn after_power_cut(&self, mut keeps: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut bytes = state.durable.clone();
        bytes.resize(state.cached.len().max(bytes.len()), 0);
        for (offset, data) in &state.unsynced {
            for (place, sector) in data.chunks(SECTOR).enumerate() {
                if keeps() {
                    let start = offset + place * SECTOR;
                    bytes[start..start + sector.len()].copy_from_slice(sector);
                }
            }
        }
        Self::of(bytes)
    }
}

impl State {
    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.planted {
            Some(Planted { at, kind, is_lasting }) if self.operations >= at => {
                if !is_lasting {
                    self.planted = None;
                }
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let end = offset as usize + out.len();
        let bytes = state.cached.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operation()?;
        state.cached.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = self.state();
        let waited = self.0.1.wait_while(state, |state| state.are_syncs_blocked);
        let mut state = waited.expect("no test panics with it");
        state.operation()?;
        state.syncs += 1;
        if std::mem::take(&mut state.is_sync_failing) {
            return Err(io::ErrorKind::Other.into());
        }
        state.durable = state.cached.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.operation()?;
        let start = offset as usize;
        state.cached[start..start + data.len()].copy_from_slice(data);
        state.unsynced.push((start, data.to_vec()));
        Ok(())
    }
}
