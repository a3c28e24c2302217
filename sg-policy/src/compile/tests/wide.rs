//! Many nested prefixes of all lengths in lists and rules, against the reference evaluator.

use sg_common::{Family, interval::Ref};

use super::*;
use crate::reference::generate::{SeedableRng as _, SmallRng, random_nested};

/// Compares at the edges of all prefixes; gives the maps of the classes.
fn compare(seed: u64, count: usize, probes: u32, answers: &mut Answers) -> [Ref; 2] {
    let rng = &mut SmallRng::seed_from_u64(seed);
    let (state, live) = random_nested(rng, count);
    let image = compiled(&state, &live);
    Check::new(&state, &live, &image).some(rng, probes, answers);
    Family::BOTH.map(|family| image.view().header().classes(family))
}

#[test]
fn nested_prefixes_keep_their_rules() {
    let mut answers = Answers::default();
    for seed in 0..150 {
        compare(seed, 8, 300, &mut answers);
        let maps = compare(seed, 60, 200, &mut answers);
        assert!(maps.iter().all(|map| !map.is_leaf()));
    }
    assert!(answers.allowed.iter().all(|count| *count > 10_000), "{answers:?}");
}

#[test]
fn long_lists_are_tables() {
    let mut answers = Answers::default();
    for seed in 0..8 {
        let maps = compare(seed, 3000, 250, &mut answers);
        assert!(maps.iter().all(|map| map.is_table()));
    }
    assert!(answers.allowed.iter().all(|count| *count > 500), "{answers:?}");
}
