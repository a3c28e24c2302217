//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use sg_iam::Timestamp;

/// Unix time in seconds; 0 where the clock is before 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The same, in the form that signatures and answers take.
pub fn now() -> Timestamp {
    Timestamp(i64::try_from(unix_now()).unwrap_or(i64::MAX))
}
