//! Limits how many interfaces get their preferred hook at once. A TCX link holds RTNL for 15 ms or
//! more, and no other interface can come or go meanwhile.

use std::time::{Duration, Instant};

use crate::datapath::AttachMode;

/// Tokens in a full bucket. As many attachments keep the last interface waiting for at most 100 ms.
const AT_ONCE: u32 = 3;
/// Time to refill one token. Attachments then take at most an eighth of the time.
const EACH: Duration = Duration::from_millis(250);

/// A token bucket. Rejected requests also take tokens, so a burst cannot refill it.
#[derive(Debug)]
pub(super) struct AttachLimiter {
    full_at: Instant,
}

impl AttachLimiter {
    pub(super) fn new() -> Self {
        Self { full_at: Instant::now() }
    }

    /// The mode for one more interface.
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
        // Interfaces 20 ms apart are a crowd, however long it goes on.
        let from = from + Duration::from_millis(20);
        assert_eq!(given(&mut limiter, from, &[20; 1000]), [Fast; 1000]);
        // Four interfaces a second are no crowd.
        let from = limiter.full_at;
        assert_eq!(given(&mut limiter, from, &[250; 1000]), [Preferred; 1000]);
    }
}
