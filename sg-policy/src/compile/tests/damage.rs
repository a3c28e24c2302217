//! Images of the compiler in which words have changed: a view gives answers or none, and it ends.

use rand::{RngExt as _, seq::IndexedRandom as _};
use sg_common::{
    flow::TCP,
    image::{header, service},
};

use super::*;
use crate::{
    compile::check::probes::addresses,
    reference::generate::{Identity, SeedableRng as _, SmallRng, random_state},
};

/// A number, another word of the image, or one bit.
fn damage(rng: &mut SmallRng, words: &mut [u32]) {
    let at = rng.random_range(0..words.len());
    words[at] = match rng.random_range(0..3) {
        0 => rng.random(),
        1 => words[rng.random_range(0..words.len())],
        _ => words[at] ^ 1 << rng.random_range(0..32),
    };
}

#[test]
fn a_view_of_a_damaged_image_never_panics() {
    let identity =
        |slot| Identity { slot, ifindex: 100 + u32::from(slot), ethernet: true, pickup_until: 0 };
    let identities: Vec<_> = (0..4).map(identity).collect();
    let (mut refused, mut none, mut answers) = (0, 0, 0);
    for seed in 0..1500 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let (state, live) = random_state(rng, &identities);
        let mut words = compiled(&state, &live).words;
        for _ in 0..1 << rng.random_range(0..8) {
            damage(rng, &mut words);
        }
        if rng.random_ratio(1, 4) {
            words.truncate(rng.random_range(0..words.len()));
            let length = words.len() as u32;
            if let Some(word) = words.get_mut(header::WORDS as usize) {
                *word = length;
            }
        }
        let Ok(view) = ImageView::new(&words) else {
            refused += 1;
            continue;
        };
        let peers = addresses(&state, &live);
        for interface in view.interfaces().take(8).chain(view.interface(live[0].ifindex)) {
            for _ in 0..20 {
                let peer = *peers.choose(rng).expect("some address");
                let service = service(TCP, rng.random());
                for answer in [
                    interface.allows(Direction::Ingress, peer, service),
                    interface.allows_all(Direction::Egress, peer, TCP),
                    interface.is_untracked(Direction::Ingress, Family::of(peer), service),
                    interface.owns(peer),
                ] {
                    *if answer.is_none() { &mut none } else { &mut answers } += 1;
                }
            }
        }
    }
    assert!(refused > 50 && none > 1000 && answers > 1000, "{refused} {none} {answers}");
}
