//! Interval maps and sets as the layout writes them, against a walk over their boundaries.

use rand::{RngExt, seq::IndexedRandom};
use sg_common::{
    interval::{self, Kind, MAX_TABLES, Ref},
    view::bounded,
};

use super::{
    super::{layout::Width, services::Boundaries},
    *,
};
use crate::reference::generate::{SeedableRng, SmallRng};

/// The path of a lookup for `key`: its tables, and the order of the run at the end (`None`: a
/// leaf).
fn way(words: &[u32], mut at: Ref, width: Width, key: u64) -> (u32, Option<u32>) {
    let mut tables = 0;
    while at.is_table() {
        let shift = words[at.offset() as usize + 3];
        let last = u64::from(words[at.offset() as usize + 2]);
        let low = match width {
            Width::Narrow => u64::from(words[at.offset() as usize]),
            Width::Wide => {
                let high = words[at.offset() as usize + 1];
                u64::from(words[at.offset() as usize]) | u64::from(high) << 32
            }
        };
        let entry = if key < low { 0 } else { (((key - low) >> shift) + 1).min(last) };
        at = Ref(words[at.offset() as usize + 4 + entry as usize]);
        tables += 1;
    }
    (tables, (!at.is_leaf()).then(|| at.order()))
}

/// Keys that lie together at every scale, or anywhere.
fn random_keys(rng: &mut SmallRng, width: Width, count: usize) -> Vec<u64> {
    let top = width.last_key();
    let bits = 64 - top.leading_zeros();
    let base: u64 = rng.random::<u64>() & top;
    let clustered: bool = rng.random();
    let mut keys: Vec<u64> = (0..count)
        .map(|_| {
            let random = rng.random::<u64>() & top;
            if clustered { base ^ random >> rng.random_range(0..bits) } else { random }
        })
        .collect();
    if rng.random() {
        keys.extend([0, top]);
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn find(words: &[u32], map: Ref, width: Width, key: u64) -> Option<Ref> {
    bounded(words, |words| match width {
        Width::Narrow => interval::find(words, map, key as u32),
        Width::Wide => interval::find(words, map, key),
    })
}

#[test]
fn maps_give_each_key_the_value_of_the_boundary_before_it() {
    let mut most_tables = 0;
    let mut largest_run = 0;
    for seed in 0..600 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let width = if rng.random() { Width::Narrow } else { Width::Wide };
        let count = *[0, 1, 2, 7, 14, 15, 16, 17, 40, 300, 3000].choose(rng).expect("some count");
        // Leaves, and refs of other maps, which need a run to stand in.
        let values: Vec<Ref> = (0..4)
            .map(Ref::leaf)
            .chain([Ref::at(Kind::Run, 3, 77), Ref::at(Kind::Table, 0, 9)])
            .collect();
        let mut value = || *values.choose(rng).expect("some value");
        let base = value();
        let boundaries: Vec<(u64, Ref)> =
            random_keys(&mut SmallRng::seed_from_u64(seed), width, count)
                .into_iter()
                .map(|key| (key, value()))
                .collect();
        let mut layout = Layout::default();
        layout.words.resize(16, u32::MAX);
        let map = layout.map(width, base, boundaries.clone());
        let words = &layout.words;
        let expected = |key: u64| {
            let below = boundaries.partition_point(|boundary| boundary.0 <= key);
            below.checked_sub(1).map_or(base, |last| boundaries[last].1)
        };
        let top = width.last_key();
        let edges =
            boundaries.iter().flat_map(|(key, _)| [key.wrapping_sub(1), *key, key.wrapping_add(1)]);
        for key in edges.chain([0, 1, top - 1, top]).map(|key| key & top) {
            assert_eq!(
                find(words, map, width, key),
                Some(expected(key)),
                "seed {seed} key {key:x}"
            );
            let (tables, run) = way(words, map, width, key);
            most_tables = most_tables.max(tables);
            largest_run = largest_run.max(run.unwrap_or(0));
        }
    }
    // Keys close together end in a run of any length when the tables are used up.
    assert_eq!(most_tables, MAX_TABLES);
    assert!(largest_run > 6, "{largest_run}");
}

#[test]
fn sets_hold_what_lies_between_their_boundaries() {
    for count in (0..40).chain([127, 128, 1000]) {
        let boundaries: Vec<u32> = (0..count).map(|index| index * 5 + index % 3).collect();
        let mut layout = Layout::default();
        let set = layout.set(boundaries.clone().into());
        let holds = |key| boundaries.iter().filter(|boundary| **boundary <= key).count() % 2 == 1;
        for key in (0..count * 5 + 10).chain([(1 << 24) - 1]) {
            let found = bounded(&layout.words, |words| interval::contains(words, set, key));
            assert_eq!(found, Some(holds(key)), "{count} {key}");
            for last in [key, key + 1, key + 4, key + 5] {
                let all = (key..=last).all(holds);
                let found =
                    bounded(&layout.words, |words| interval::contains_all(words, set, key, last));
                assert_eq!(found, Some(all), "{key} {last}");
            }
        }
    }
}

#[test]
fn a_run_of_a_cache_line_lies_in_one() {
    let mut layout = Layout::default();
    for count in 1..16 {
        let set = layout.set((1..=count).collect());
        let words = (1 << set.order()) - 1;
        let first = set.offset();
        assert_eq!(first / 16, (first + words - 1) / 16, "{count}");
    }
}

#[test]
fn equal_blocks_are_stored_once() {
    let mut layout = Layout::default();
    let first = layout.set(Boundaries::from_slice(&[3, 5, 9]));
    let size = layout.words.len();
    assert_eq!(layout.set(Boundaries::from_slice(&[3, 5, 9])), first);
    assert_eq!(layout.words.len(), size);
    assert_ne!(layout.set(Boundaries::from_slice(&[3, 5, 10])), first);
}
