//! Counters of an interface, and what a step of a test added to them.

use std::{collections::BTreeMap, fmt};

use sg_api::{Count, Status};
use sg_common::{Direction, Reason};

/// Packets by direction and reason; `ingress no_rule` is one key. A counter at 0 is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Panics if the interface is not filtered.
    #[track_caller]
    pub fn of(status: &Status, interface: &str) -> Self {
        let found = status.interfaces.iter().find(|entry| entry.name == interface);
        let Some(entry) = found else { panic!("{interface} is not in {status:#?}") };
        let mut counts = BTreeMap::new();
        for (direction, counters) in [("ingress", &entry.ingress), ("egress", &entry.egress)] {
            for (reason, Count { packets, .. }) in counters.allowed.iter().chain(&counters.dropped)
            {
                counts.insert(format!("{direction} {reason}"), *packets);
            }
        }
        counts.retain(|_, packets| *packets != 0);
        Self(counts)
    }

    /// Packets counted since `before`. Without `exempt`: neighbour discovery comes when it will.
    pub fn since(self, before: &Self) -> Self {
        let mut added = self.all_since(before);
        added.0.retain(|key, _| !key.ends_with(" exempt"));
        added
    }

    /// Packets counted since `before`, for any reason.
    pub fn all_since(mut self, before: &Self) -> Self {
        for (key, packets) in &mut self.0 {
            *packets -= before.get(key);
        }
        self.0.retain(|_, packets| *packets != 0);
        self
    }

    /// The counts of one direction, for tests where the machines' answers to odd packets do not
    /// matter.
    pub fn of_direction(mut self, direction: &str) -> Self {
        self.0.retain(|key, _| key.starts_with(direction));
        self
    }

    /// Packets under a key, `"ingress no_rule"`.
    pub fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }

    /// Packets under all keys.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Panics unless exactly these keys moved, each by any number of packets.
    #[track_caller]
    pub fn are(&self, keys: &[&str]) {
        let mut expected = keys.to_vec();
        expected.sort_unstable();
        assert!(self.0.keys().eq(&expected), "expected packets under {expected:?}, have {self}");
    }

    /// Panics unless exactly these keys moved, by exactly these numbers.
    #[track_caller]
    pub fn exactly(&self, expected: &[(&str, u64)]) {
        let expected =
            Self(expected.iter().map(|(key, packets)| ((*key).to_owned(), *packets)).collect());
        assert_eq!(*self, expected);
    }
}

fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

impl FromIterator<(Direction, Reason, u64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (Direction, Reason, u64)>>(counted: T) -> Self {
        let mut counts = BTreeMap::new();
        for (direction, reason, packets) in counted {
            let key = format!("{} {}", name(direction), reason.name());
            *counts.entry(key).or_default() += packets;
        }
        Self(counts)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}
