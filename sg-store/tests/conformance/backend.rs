//! The backends, as the suite drives them.

use std::{path::Path, sync::Arc};

use sg_store::{
    Limits, Revision, Store, Txn,
    embedded::{Embedded, Options},
    memory::Memory,
};

use crate::simulated::Disk;

/// Limits that tests reach quickly.
pub const LIMITS: Limits = Limits { ops: 128, bytes: 4096 };

pub fn options() -> Options {
    Options { limits: LIMITS, ..Options::default() }
}

/// A store that can be made anew, compacted, closed and opened again.
pub trait Backend {
    fn make() -> Self;

    fn store(&self) -> Arc<dyn Store>;

    /// Compacts at a revision that the store has.
    async fn compact(&self, revision: Revision);

    /// Closes the store and opens it again, where it outlives that.
    fn reopen(&mut self);
}

pub struct InMemory(Memory);

impl Backend for InMemory {
    fn make() -> Self {
        Self(Memory::new(LIMITS))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn compact(&self, revision: Revision) {
        self.0.compact(revision).expect("a revision that is there");
    }

    fn reopen(&mut self) {}
}

/// On a disk in memory. It makes the file by a real one first, because a store appears by a link.
pub struct OnSimulatedDisk {
    disk: Disk,
    store: Option<Embedded>,
}

impl OnSimulatedDisk {
    fn open(disk: &Disk) -> Embedded {
        let opened = Embedded::open_on(Path::new("simulated"), disk.opener(), options());
        opened.expect("it opens")
    }
}

impl Backend for OnSimulatedDisk {
    fn make() -> Self {
        let disk = Disk::with_store();
        let store = Self::open(&disk);
        Self { disk, store: Some(store) }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone().expect("it is open"))
    }

    async fn compact(&self, revision: Revision) {
        let store = self.store.as_ref().expect("it is open");
        store.compact(revision).await.expect("a revision that is there");
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Self::open(&self.disk));
    }
}

/// On the real disk.
pub struct OnDisk {
    folder: tempfile::TempDir,
    store: Option<Embedded>,
}

impl Backend for OnDisk {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("store.redb");
        let store = Embedded::create(&file, options(), &Txn::new()).expect("it is made");
        Self { folder, store: Some(store) }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone().expect("it is open"))
    }

    async fn compact(&self, revision: Revision) {
        let store = self.store.as_ref().expect("it is open");
        store.compact(revision).await.expect("a revision that is there");
    }

    fn reopen(&mut self) {
        self.store = None;
        let file = self.folder.path().join("store.redb");
        self.store = Some(Embedded::open(&file, options()).expect("it opens"));
    }
}
