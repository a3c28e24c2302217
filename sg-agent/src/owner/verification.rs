//! The result of the last look at the kernel.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;

#[derive(Clone, Debug)]
pub struct Verification {
    pub(super) at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Interfaces that were found not to be filtered though they had been, all together.
    pub faults: Counter,
    /// Why the pins cannot be trusted, if so.
    pub(super) distrust: Option<String>,
    /// Interfaces that the rules name by another name, and that name.
    pub(super) hinted: BTreeSet<(u32, String)>,
}

impl Default for Verification {
    /// Interfaces that are attached from now on are confirmed then.
    fn default() -> Self {
        Self {
            at: Instant::now(),
            took: Duration::ZERO,
            faults: Counter::default(),
            distrust: None,
            hinted: BTreeSet::new(),
        }
    }
}
