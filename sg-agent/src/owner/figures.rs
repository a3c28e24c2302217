//! Figures that metrics show.

use std::time::Instant;

use prometheus_client::metrics::{counter::Counter, histogram::Histogram};
use sg_common::control::IMAGE_ALIGN;
use sg_policy::compile::Image;

use super::verification::Verification;
use crate::api::Status;

#[derive(Clone, Debug)]
pub struct Figures {
    pub status: Status,
    pub image: ImageFigures,
    pub publishing: Publishing,
    pub verification: Verification,
    /// Flows, both families together.
    pub capacity: u64,
}

/// The compiled rules in force.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageFigures {
    pub bytes: u64,
    pub pages: u64,
    /// By family.
    pub classes: [u32; 2],
}

impl ImageFigures {
    pub(super) fn of(image: &Image) -> Self {
        let bytes = size_of_val(image.words.as_slice());
        Self {
            bytes: bytes as u64,
            pages: bytes.div_ceil(IMAGE_ALIGN) as u64,
            classes: image.view().header().class_counts(),
        }
    }
}

/// How changes fare; copies count together.
#[derive(Clone, Debug)]
pub struct Publishing {
    pub seconds: Histogram,
    pub failures: Counter,
}

/// Upper bounds in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

impl Default for Publishing {
    fn default() -> Self {
        Self { seconds: Histogram::new(BUCKETS), failures: Counter::default() }
    }
}

impl Publishing {
    pub(super) fn done(&self, began: Instant) {
        self.seconds.observe(began.elapsed().as_secs_f64());
    }
}
