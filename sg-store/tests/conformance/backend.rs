//! The backends, as the suite drives them.

use std::sync::Arc;

use sg_store::{Limits, Revision, Store, memory::Memory};

/// Limits that tests reach quickly.
pub const LIMITS: Limits = Limits { ops: 128, bytes: 4096 };

/// A store that can be made anew, compacted, closed and opened again.
pub trait Backend {
    fn make() -> Self;

    fn store(&self) -> Arc<dyn Store>;

    /// Compacts at a revision that the store has.
    fn compact(&self, revision: Revision);

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

    fn compact(&self, revision: Revision) {
        self.0.compact(revision).expect("a revision that is there");
    }

    fn reopen(&mut self) {}
}
