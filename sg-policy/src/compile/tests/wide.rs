//! Many nested prefixes of all lengths in lists and rules, against the reference evaluator.

use std::net::IpAddr;

use ipnet::IpNet;
use rand::{RngExt, seq::IndexedRandom};
use sg_common::{Family, interval::Ref};

use super::{
    probes::{Answers, Comparison, addresses, services},
    *,
};
use crate::{
    model::{Peer, PortRange, PrefixEntry, PrefixList, Rule, RuleId, SecurityGroup, Services},
    reference::{
        generate::{SeedableRng, SmallRng},
        rules::Rules,
    },
};

/// Prefixes that nest: most are cut from few bases, of which some bits are changed.
fn random_prefixes(rng: &mut SmallRng, family: Family, count: usize) -> Vec<IpNet> {
    let bases: Vec<u128> = (0..4).map(|_| rng.random()).chain([0, u128::MAX]).collect();
    let mut prefixes: Vec<IpNet> = (0..count)
        .map(|_| {
            let base = bases.choose(rng).expect("some base");
            let bits = base ^ rng.random::<u128>() >> rng.random_range(0..128u32);
            let (address, length) = match family {
                Family::V4 => {
                    let bits = (bits >> 96) as u32;
                    (IpAddr::V4(bits.into()), rng.random_range(0..=32))
                }
                Family::V6 if rng.random() => (IpAddr::V6(bits.into()), rng.random_range(60..=68)),
                Family::V6 => (IpAddr::V6(bits.into()), rng.random_range(0..=128)),
            };
            IpNet::new(address, length).expect("a length of its family").trunc()
        })
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    // One that holds everything would hide what the others do.
    prefixes.retain(|prefix| prefix.prefix_len() > 3);
    prefixes
}

fn list(name: &str, family: Family, prefixes: Vec<IpNet>) -> PrefixList {
    let entry = |cidr| PrefixEntry { cidr, description: String::new() };
    PrefixList {
        name: name.to_owned(),
        family: Some(family),
        entries: prefixes.into_iter().map(entry).collect(),
        ..PrefixList::default()
    }
}

/// Both directions and families: rules for single prefixes and for lists of `count` prefixes.
fn random_rules(rng: &mut SmallRng, count: usize) -> (DesiredState, Vec<LiveInterface>) {
    let mut state = DesiredState::default();
    let mut peers = Vec::new();
    for (family, names) in [(Family::V4, ["a4", "b4"]), (Family::V6, ["a6", "b6"])] {
        for name in names {
            state.prefix_lists.push(list(name, family, random_prefixes(rng, family, count)));
            peers.push(Peer::PrefixList(name.to_owned()));
        }
        peers.extend(random_prefixes(rng, family, count / 4).into_iter().map(Peer::Cidr));
    }
    let rules = |rng: &mut SmallRng| {
        let rule = |peer: &Peer| {
            let (a, b): (u16, u16) = (rng.random_range(0..40), rng.random_range(0..40));
            let ports = PortRange { from: a.min(b), to: a.max(b) };
            let services = match rng.random_range(0..3) {
                0 => Services::Tcp(ports),
                1 => Services::Udp(PortRange { from: ports.from, to: u16::MAX }),
                _ => Services::Protocol(40 + (a & 3) as u8),
            };
            Rule { id: RuleId(0), services, peer: peer.clone(), description: String::new() }
        };
        peers.iter().map(rule).collect()
    };
    for name in ["one", "two"] {
        state.groups.push(SecurityGroup {
            name: name.to_owned(),
            ingress: rules(rng),
            egress: rules(rng),
            description: String::new(),
            default_egress: false,
        });
    }
    let (interfaces, live) = parsed(
        "[[security_group]]\nname = \"one\"\n[[security_group]]\nname = \"two\"\n\
         [[interface]]\nname = \"x\"\ngroups = [\"one\"]\n\
         [[interface]]\nname = \"y\"\ngroups = [\"two\", \"one\"]\n",
    );
    state.interfaces = interfaces.interfaces;
    (state, live)
}

/// Compares at the edges of all prefixes; gives the maps of the classes.
fn compare(seed: u64, count: usize, probes: usize, answers: &mut Answers) -> [Ref; 2] {
    let rng = &mut SmallRng::seed_from_u64(seed);
    let (state, live) = random_rules(rng, count);
    let image = compiled(&state, &live);
    let reader = Reader::of(&image);
    let (addresses, services) = (addresses(&state, &live), services(&state));
    for interface in &live {
        let interface_entry = &state.interfaces[interface.entry];
        let comparison = Comparison {
            record: reader.interface(interface.ifindex),
            rules: Rules { state: &state, live: &live, interface: interface_entry },
        };
        for _ in 0..probes {
            let peer = *addresses.choose(rng).expect("some address");
            comparison.allowed(peer, *services.choose(rng).expect("some service"), answers);
        }
    }
    Family::BOTH.map(|family| reader.classes(family))
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
