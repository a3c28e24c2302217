//! Rules for many prefixes that nest and overlap, single ones and in lists.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use rand::{Rng, RngExt as _, seq::IndexedRandom as _};
use sg_common::Family;

use crate::model::{
    DesiredState, LiveInterface, Peer, PortRange, PrefixEntry, PrefixList, PrefixListId, Rule,
    RuleId, SecurityGroup, Services,
};

/// Prefixes that nest: most are cut from few bases, of which some bits are changed.
fn random_prefixes(rng: &mut dyn Rng, family: Family, count: usize) -> Vec<IpNet> {
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
    // A prefix that holds everything would hide the effect of the others.
    prefixes.retain(|prefix| prefix.prefix_len() > 3);
    prefixes
}

fn list(name: &str, family: Family, prefixes: Vec<IpNet>) -> PrefixList {
    let entry = |cidr| PrefixEntry { cidr, description: String::new() };
    PrefixList {
        family: Some(family),
        entries: Arc::new(prefixes.into_iter().map(entry).collect()),
        ..PrefixList::named(name)
    }
}

/// Both directions and families: rules for single prefixes and for lists of `count` prefixes.
pub fn random_nested(rng: &mut dyn Rng, count: usize) -> (DesiredState, Vec<LiveInterface>) {
    let mut state = DesiredState::default();
    let mut peers = Vec::new();
    for (family, names) in [(Family::V4, ["a4", "b4"]), (Family::V6, ["a6", "b6"])] {
        for name in names {
            state.prefix_lists.push(list(name, family, random_prefixes(rng, family, count)));
            peers.push(Peer::PrefixList(PrefixListId::of_name(name)));
        }
        peers.extend(random_prefixes(rng, family, count / 4).into_iter().map(Peer::Cidr));
    }
    let rules = |rng: &mut dyn Rng| {
        let rule = |peer: &Peer| {
            let (a, b): (u16, u16) = (rng.random_range(0..40), rng.random_range(0..40));
            let ports = PortRange { from: a.min(b), to: a.max(b) };
            let services = match rng.random_range(0..3) {
                0 => Services::Tcp(ports),
                1 => Services::Udp(PortRange { from: ports.from, to: u16::MAX }),
                _ => Services::Protocol(40 + (a & 3) as u8),
            };
            Rule { id: RuleId(0), services, peer: *peer, description: String::new() }
        };
        peers.iter().map(rule).collect()
    };
    for name in ["one", "two"] {
        let group =
            SecurityGroup { ingress: rules(rng), egress: rules(rng), ..SecurityGroup::named(name) };
        state.groups.push(group.into());
    }
    let interfaces = crate::parse(
        "nested",
        b"[[security_group]]\nname = \"one\"\n[[security_group]]\nname = \"two\"\n\
          [[interface]]\nname = \"x\"\ngroups = [\"one\"]\n\
          [[interface]]\nname = \"y\"\ngroups = [\"two\", \"one\"]\n",
    );
    state.interfaces = interfaces.expect("valid rules").interfaces;
    let live = (0..state.interfaces.len()).map(|entry| LiveInterface {
        slot: entry as u16,
        ifindex: 10 + entry as u32,
        entry,
        addresses: Vec::new(),
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    });
    let live = live.collect();
    (state, live)
}
