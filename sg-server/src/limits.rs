//! Token buckets: how many requests a key, or an address, may make.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::settings::Limits;

/// Buckets that are kept at a time. Beyond it, full buckets are forgotten, then all of them share one.
const MAX_BUCKETS: usize = 65_536;

/// One bucket for each key. Rejected requests take no token, and a bucket never holds more than the burst.
#[derive(Debug)]
pub struct Buckets<K> {
    limits: Limits,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    buckets: HashMap<K, Bucket>,
    /// For keys that have no bucket because there are too many.
    shared: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    /// When `tokens` was right.
    at: Instant,
}

impl Bucket {
    fn full(limits: Limits, now: Instant) -> Self {
        Self { tokens: f64::from(limits.burst), at: now }
    }

    fn refill(&mut self, limits: Limits, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let tokens = self.tokens + passed * f64::from(limits.requests_per_second);
        *self = Self { tokens: tokens.min(f64::from(limits.burst)), at: now };
    }

    fn take(&mut self, limits: Limits, now: Instant) -> bool {
        self.refill(limits, now);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

impl<K: Eq + Hash> Buckets<K> {
    pub fn new(limits: Limits) -> Self {
        let state = State { buckets: HashMap::new(), shared: Bucket::full(limits, Instant::now()) };
        Self { limits, state: Mutex::new(state) }
    }

    /// Takes a token. Returns false where there is none.
    pub fn admit(&self, key: K) -> bool {
        self.admit_at(key, Instant::now())
    }

    fn admit_at(&self, key: K, now: Instant) -> bool {
        let limits = self.limits;
        if limits.requests_per_second == 0 {
            return true;
        }
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let state = &mut *state;
        if state.buckets.len() >= MAX_BUCKETS && !state.buckets.contains_key(&key) {
            let to_full = f64::from(limits.burst) / f64::from(limits.requests_per_second);
            let is_full = |bucket: &Bucket| bucket.at + Duration::from_secs_f64(to_full) <= now;
            state.buckets.retain(|_, bucket| !is_full(bucket));
            if state.buckets.len() >= MAX_BUCKETS {
                return state.shared.take(limits, now);
            }
        }
        let bucket = state.buckets.entry(key).or_insert_with(|| Bucket::full(limits, now));
        bucket.take(limits, now)
    }
}

/// The unit that an address is charged by: an IPv4 address, or the /64 of an IPv6 address.
pub fn charged_unit(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(prefix).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { requests_per_second: 10, burst: 3 };

    #[test]
    fn a_burst_passes_then_the_rate() {
        let buckets = Buckets::new(LIMITS);
        let start = Instant::now();
        let admitted = |ms| buckets.admit_at("a", start + Duration::from_millis(ms));
        assert_eq!([0, 0, 0, 0].map(admitted), [true, true, true, false]);
        assert_eq!([99, 101, 102].map(admitted), [false, true, false]);
        assert_eq!([10_000; 4].map(admitted), [true, true, true, false], "never above the burst");
        assert!(buckets.admit_at("b", start), "another key has a bucket of its own");
    }

    #[test]
    fn no_rate_is_no_limit() {
        let buckets = Buckets::new(Limits { requests_per_second: 0, burst: 0 });
        assert!((0..10_000).all(|_| buckets.admit(())));
    }

    #[test]
    fn too_many_keys_share_a_bucket_until_others_are_full() {
        let buckets = Buckets::new(LIMITS);
        let start = Instant::now();
        for key in 0..MAX_BUCKETS {
            assert!(buckets.admit_at(key, start));
        }
        let others = |ms: u64| {
            let at = start + Duration::from_millis(ms);
            (0..5).filter(|key| buckets.admit_at(MAX_BUCKETS + 7 * key, at)).count()
        };
        assert_eq!(others(0), 3, "the shared bucket's burst");
        assert_eq!(others(400), 5, "the first buckets are full again and were forgotten");
    }

    #[test]
    fn ipv6_is_charged_by_64() {
        let unit = |text: &str| charged_unit(text.parse().unwrap()).to_string();
        assert_eq!(unit("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(unit("192.0.2.7"), "192.0.2.7");
        assert_eq!(unit("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
