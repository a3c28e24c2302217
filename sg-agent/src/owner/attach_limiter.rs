//! How many interfaces get their best hook at once, which takes time that nobody else has meanwhile.

use std::time::{Duration, Instant};

use crate::datapath::AttachMode;

/// As many do not keep the last of them waiting for more than 100 ms.
const AT_ONCE: u32 = 3;
/// And one more after this: an eighth of the time.
const EACH: Duration = Duration::from_millis(250);

/// A bucket that newcomers empty, those that get nothing from it, too: in a crowd nobody gets anything.
#[derive(Debug)]
pub(super) struct AttachLimiter {
    full_at: Instant,
}

impl AttachLimiter {
    pub(super) fn new() -> Self {
        Self { full_at: Instant::now() }
    }

    /// For one more interface.
    pub(super) fn take(&mut self, now: Instant) -> AttachMode {
        let until_full = self.full_at.saturating_duration_since(now);
        let mode = if until_full + EACH <= AT_ONCE * EACH {
            AttachMode::Preferred
        } else {
            AttachMode::Fast
        };
        self.full_at = now + (until_full + EACH).min(AT_ONCE * EACH);
        mode
    }

    pub(super) fn until_full(&self, now: Instant) -> Duration {
        self.full_at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(limiter: &mut AttachLimiter, from: Instant, gaps_in_ms: &[u64]) -> Vec<AttachMode> {
        let mut now = from;
        let take = |gap: &u64| {
            now += Duration::from_millis(*gap);
            limiter.take(now)
        };
        gaps_in_ms.iter().map(take).collect()
    }

    #[test]
    fn a_few_get_the_best_and_a_crowd_what_is_quick() {
        use AttachMode::{Fast, Preferred};
        let mut limiter = AttachLimiter::new();
        let from = limiter.full_at;
        assert_eq!(
            given(&mut limiter, from, &[0, 0, 0, 0, 0]),
            [Preferred, Preferred, Preferred, Fast, Fast]
        );
        // Still a crowd: 20 ms apart, however long.
        let from = from + Duration::from_millis(20);
        assert_eq!(given(&mut limiter, from, &[20; 1000]), [Fast; 1000]);
        // Four a second are none.
        let from = limiter.full_at;
        assert_eq!(given(&mut limiter, from, &[250; 1000]), [Preferred; 1000]);
    }
}
