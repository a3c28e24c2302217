//! The generators: valid states, and sequences that meet every reason.

use std::collections::HashMap;

use super::*;
use crate::reference::generate::{
    Identity, SeedableRng, Sequence, SmallRng, Step, random_frame, random_sequence, random_state,
};

fn interfaces() -> Vec<Identity> {
    (0..3)
        .map(|slot| Identity {
            slot,
            ifindex: 10 + u32::from(slot),
            ethernet: slot != 2,
            pickup_until: 2000,
        })
        .collect()
}

/// Judges the whole sequence; counts reasons.
fn run(sequence: Sequence, counts: &mut HashMap<Reason, u32>) {
    let mut evaluator = Evaluator::new(sequence.state, sequence.live, 1000);
    let mut now = 1000;
    for step in sequence.steps {
        match step {
            Step::Packet { ifindex, direction, frame } => {
                assert!(frame.len() >= 14);
                let packet =
                    Packet { ifindex, direction, frame: &frame, vlan_offloaded: false, gso: false };
                let reason = evaluator.judge(&packet, now).expect("packets on live interfaces");
                *counts.entry(reason).or_default() += 1;
            }
            Step::Advance(seconds) => now += seconds,
            Step::Apply(applied) => evaluator.apply(applied.0, applied.1, now),
            Step::Flush => evaluator.flush(now),
            Step::FlushDenied => evaluator.flush_denied(now),
        }
    }
}

#[test]
fn sequences_meet_every_reason() {
    let mut counts = HashMap::new();
    for seed in 0..60 {
        let mut rng = SmallRng::seed_from_u64(seed);
        run(random_sequence(&mut rng, &interfaces(), 400), &mut counts);
    }
    for reason in Reason::ALL {
        // The reference's flow table is never full.
        if *reason != Reason::AllowanceExceeded {
            assert!(counts.get(reason).is_some_and(|count| *count >= 20), "{reason:?}: {counts:?}");
        }
    }
}

#[test]
fn a_seed_is_a_test_case() {
    let make = || random_sequence(&mut SmallRng::seed_from_u64(7), &interfaces(), 100);
    assert_eq!(format!("{:?}", make()), format!("{:?}", make()));
}

#[test]
fn states_are_valid() {
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (state, live) = random_state(&mut rng, &interfaces());
        for interface in &live {
            let (_, frame) = random_frame(&mut rng, &state, interface);
            assert!(frame.len() >= 14);
        }
        for list in &state.prefix_lists {
            let family =
                |entry: &PrefixEntry| crate::reference::packet::family_of(entry.cidr.addr());
            assert!(list.entries.iter().all(|entry| Some(family(entry)) == list.family));
        }
        for group in &state.groups {
            for direction in Direction::BOTH {
                check_rules(&state, group.rules(direction));
            }
        }
    }
}

fn check_rules(state: &DesiredState, rules: &[Rule]) {
    for (index, rule) in rules.iter().enumerate() {
        let same = |other: &Rule| (other.services, &other.peer) == (rule.services, &rule.peer);
        assert_eq!(rules.iter().position(same), Some(index), "{rule:?} stands twice");
        let v4 = match &rule.peer {
            Peer::Cidr(cidr) => {
                assert_eq!(*cidr, cidr.trunc());
                Some(cidr.addr().is_ipv4())
            }
            Peer::PrefixList(id) => {
                let list = state.prefix_list(*id).expect("the list is there");
                list.family.map(|family| family == sg_common::Family::V4)
            }
            Peer::Group(id) => {
                assert!(state.group(*id).is_some());
                None
            }
        };
        match rule.services {
            Services::Icmp(_) => assert_ne!(v4, Some(false), "{rule:?}"),
            Services::Icmpv6(_) => assert_ne!(v4, Some(true), "{rule:?}"),
            Services::Protocol(number) => assert!(![1, 6, 17, 58].contains(&number)),
            _ => {}
        }
    }
}
