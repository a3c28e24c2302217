//! One state after the other through one compiler.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use rand::{
    RngExt as _,
    seq::{IndexedMutRandom as _, IndexedRandom as _},
};

use super::*;
use crate::{
    model::PrefixEntry,
    reference::generate::{
        Identity, SeedableRng as _, SmallRng, random_nested, random_state, tweak,
    },
};

fn next(compiler: &mut Compiler, state: &DesiredState, live: &[LiveInterface]) -> Image {
    compiler.compile(state, live, &PARAMETERS).expect("it fits")
}

fn identity(slot: u16) -> Identity {
    Identity { slot, ifindex: 100 + u32::from(slot), ethernet: true, pickup_until: 9 }
}

fn prefix(rng: &mut SmallRng, list: &[PrefixEntry]) -> PrefixEntry {
    let near = list.choose(rng).expect("it is never empty").cidr;
    let cidr = match near.addr() {
        IpAddr::V4(address) => {
            let address = address.to_bits() ^ rng.random::<u32>() >> rng.random_range(0..32);
            IpNet::new(IpAddr::V4(address.into()), rng.random_range(1..=32))
        }
        IpAddr::V6(address) => {
            let address = address.to_bits() ^ rng.random::<u128>() >> rng.random_range(0..128);
            IpNet::new(IpAddr::V6(address.into()), rng.random_range(1..=128))
        }
    };
    let cidr = cidr.expect("a length of its family").trunc();
    PrefixEntry { cidr, description: String::new() }
}

/// An entry less, more, or a few other ones.
fn edit(rng: &mut SmallRng, list: &mut Vec<PrefixEntry>) {
    for _ in 0..rng.random_range(1..4) {
        if list.len() > 1 && rng.random() {
            list.remove(rng.random_range(0..list.len()));
        } else if !list.is_empty() {
            let new = prefix(rng, list);
            if !list.contains(&new) {
                list.insert(rng.random_range(0..=list.len()), new);
            }
        }
    }
}

#[test]
fn changed_states_mean_what_the_reference_says() {
    let (mut answers, mut patched) = (Answers::default(), 0);
    for seed in 0..300 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let identities: Vec<_> = (0..4).map(identity).collect();
        let (mut state, mut all) = random_state(rng, &identities);
        let mut compiler = Compiler::default();
        let mut count = all.len();
        for _ in 0..12 {
            match rng.random_range(0..6) {
                0 => {
                    let which = rng.random_range(0..state.prefix_lists.len());
                    edit(rng, Arc::make_mut(&mut state.prefix_lists[which].entries));
                }
                1 => {
                    // As a host's own addresses come and go.
                    let live = all.choose_mut(rng).expect("four");
                    let last: u8 = rng.random_range(1..20);
                    live.addresses.push(IpAddr::from([10, 0, rng.random_range(0..3), last]));
                    if rng.random() {
                        live.addresses.remove(0);
                    }
                }
                2 => count = rng.random_range(1..=all.len()),
                _ => tweak(rng, &mut state),
            }
            let live = &all[..count];
            let image = next(&mut compiler, &state, live);
            let check = Check::new(&state, live, &image);
            check.some(rng, 30, &mut answers);
            check.all_of(rng, &mut answers);
            patched += u32::from(image != compiled(&state, live));
        }
    }
    answers.assert_both(2000);
    // Numbers that a class has kept are what an image from scratch has otherwise.
    assert!(patched > 1000, "{patched}");
}

#[test]
fn long_lists_change_in_place() {
    let mut answers = Answers::default();
    let mut in_place = 0;
    for seed in 0..6 {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let (mut state, live) = random_nested(rng, 1500);
        let mut compiler = Compiler::default();
        let mut before = next(&mut compiler, &state, &live);
        for _ in 0..12 {
            let which = rng.random_range(0..state.prefix_lists.len());
            edit(rng, Arc::make_mut(&mut state.prefix_lists[which].entries));
            let image = next(&mut compiler, &state, &live);
            Check::new(&state, &live, &image).some(rng, 150, &mut answers);
            let same = before.words.iter().zip(&image.words).filter(|(a, b)| a == b).count();
            in_place += u32::from(same > image.words.len() / 2);
            before = image;
        }
    }
    assert!(answers.allowed.iter().all(|count| *count > 500), "{answers:?}");
    assert!(in_place > 50, "{in_place}");
}

/// Unused classes never make the compiler refuse a state that fits, and never let an image grow
/// without end.
#[test]
fn what_is_not_needed_any_more_is_forgotten() {
    let rng = &mut SmallRng::seed_from_u64(1);
    let (mut state, live) = random_nested(rng, 300);
    let mut compiler = Compiler::default();
    let first = next(&mut compiler, &state, &live).words.len();
    for _ in 0..2000 {
        let list = Arc::make_mut(&mut state.prefix_lists[0].entries);
        let at = rng.random_range(0..list.len());
        list[at] = prefix(rng, list);
        let words = next(&mut compiler, &state, &live).words.len();
        assert!(words < first * 2 + 20_000, "{words} {first}");
    }
}

#[test]
fn a_state_that_does_not_fit_leaves_the_compiler_as_it_was() {
    let (state, live) = random_nested(&mut SmallRng::seed_from_u64(2), 50);
    let mut compiler = Compiler::default();
    let image = next(&mut compiler, &state, &live);
    let same: Vec<_> =
        (0..6).map(|slot| LiveInterface { ifindex: 7, slot, ..live[0].clone() }).collect();
    compiler.compile(&state, &same, &PARAMETERS).expect_err("no hash has room for these");
    assert_eq!(next(&mut compiler, &state, &live), image);
}

#[test]
fn interfaces_come_and_go() {
    let (state, live) = random_nested(&mut SmallRng::seed_from_u64(3), 100);
    let mut compiler = Compiler::default();
    for count in (1..200).chain((1..200).rev()) {
        let many: Vec<_> = (0..count)
            .map(|slot| LiveInterface { slot, ifindex: 1 + u32::from(slot) * 7, ..live[0].clone() })
            .collect();
        let image = next(&mut compiler, &state, &many);
        let found = (1..1500).filter(|ifindex| image.view().interface(*ifindex).is_some()).count();
        assert_eq!(found, usize::from(count));
        for live in &many {
            let interface = CheckedInterface::of(&image, live.ifindex);
            assert_eq!(interface.slot(), u32::from(live.slot));
        }
        // Every other one goes, and its record says so.
        let some: Vec<_> = many.iter().rev().step_by(2).cloned().collect();
        let image = next(&mut compiler, &state, &some);
        for live in &many {
            let expected = some.contains(live).then_some(live.ifindex);
            let found = image.view().slot(live.slot.into());
            assert_eq!(found.map(|interface| interface.record.ifindex()), expected);
        }
    }
}
