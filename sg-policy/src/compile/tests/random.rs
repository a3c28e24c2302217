//! Random small states, every answer held against the reference evaluator.

use rand::RngExt as _;

use super::*;
use crate::reference::generate::{Identity, SeedableRng as _, SmallRng, random_state};

const STATES: u64 = 3000;
const PROBES: u32 = 100;

/// Slots and indexes in no order, with gaps.
const IDENTITIES: [Identity; 4] = [
    Identity { slot: 5, ifindex: 17, ethernet: true, pickup_until: 900 },
    Identity { slot: 0, ifindex: 1, ethernet: false, pickup_until: 901 },
    Identity { slot: 9, ifindex: 0x7fff_ffff, ethernet: true, pickup_until: 902 },
    Identity { slot: 2, ifindex: 16, ethernet: true, pickup_until: 903 },
];

#[test]
fn random_states_mean_what_the_reference_says() {
    let mut answers = Answers::default();
    for seed in 0..STATES {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let count = rng.random_range(1..=IDENTITIES.len());
        let (state, live) = random_state(rng, &IDENTITIES[..count]);
        let image = compiled(&state, &live);
        let check = Check::new(&state, &live, &image);
        check.some(rng, PROBES, &mut answers);
        check.all_of(rng, &mut answers);
    }
    answers.assert_both(2000);
}

#[test]
fn the_same_state_is_the_same_image() {
    for seed in 0..20 {
        let (state, live) = random_state(&mut SmallRng::seed_from_u64(seed), &IDENTITIES);
        assert_eq!(compiled(&state, &live), compiled(&state, &live));
    }
}

#[test]
fn a_state_and_its_export_are_the_same_image() {
    for seed in 0..300 {
        let (mut state, live) = random_state(&mut SmallRng::seed_from_u64(seed), &IDENTITIES);
        // A file has one setting for all interfaces.
        let of_all = state.settings.filter;
        state.change_filters(|filter| *filter = of_all);
        let text = crate::export::to_toml(&state);
        let read = crate::parse("export", text.as_bytes());
        let read = read.unwrap_or_else(|faults| panic!("{}\n{text}", faults.render(false)));
        assert_eq!(compiled(&read, &live), compiled(&state, &live), "{text}");
    }
}
