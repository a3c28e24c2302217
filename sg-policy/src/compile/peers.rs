//! The peers that rules name, numbered, with the prefixes that each stands for.

use std::hash::{Hash, Hasher};

use foldhash::{HashMap, HashMapExt as _};
use ipnet::IpNet;
use sg_common::Direction;

use super::classes::{PeerId, first_address};
use crate::model::{self, DesiredState, LiveInterface, Peer, Rule, SecurityGroup};

#[derive(Debug)]
pub(super) struct Peers {
    count: usize,
    prefixes: Vec<(IpNet, PeerId)>,
    /// Of the rules of each group, by its place in the state and by [`Direction`].
    of_rules: Vec<[Vec<PeerId>; 2]>,
}

/// Hashed in one go, where [`IpNet`] gives a hasher byte after byte.
#[derive(PartialEq, Eq)]
struct Key<'a>(&'a Peer);

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            Peer::Cidr(net) => {
                state.write_u128(first_address(net));
                state.write_u8(net.prefix_len());
            }
            Peer::PrefixList(name) | Peer::Group(name) => name.hash(state),
        }
    }
}

impl Peers {
    pub(super) fn of<'a>(state: &'a DesiredState, live: &[LiveInterface]) -> Self {
        let rules = state.groups.iter().map(|group| group.ingress.len() + group.egress.len()).sum();
        let mut numbers: HashMap<Key<'_>, PeerId> = HashMap::with_capacity(rules);
        let mut prefixes = Vec::with_capacity(rules);
        let mut number = |rule: &'a Rule| {
            let next = numbers.len() as PeerId;
            let number = *numbers.entry(Key(&rule.peer)).or_insert(next);
            if number == next {
                add_prefixes(&mut prefixes, state, live, &rule.peer, next);
            }
            number
        };
        let mut of_group = |group: &'a SecurityGroup| {
            Direction::BOTH.map(|side| group.rules(side).iter().map(&mut number).collect())
        };
        let of_rules = state.groups.iter().map(&mut of_group).collect();
        Self { count: numbers.len(), prefixes, of_rules }
    }

    /// Of the rules of the group with this number, in their order.
    pub(super) fn of_rules(&self, group: usize, direction: Direction) -> &[PeerId] {
        &self.of_rules[group][direction as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Every prefix of every peer.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (IpNet, PeerId)> {
        self.prefixes.iter().copied()
    }
}

fn add_prefixes(
    prefixes: &mut Vec<(IpNet, PeerId)>,
    state: &DesiredState,
    live: &[LiveInterface],
    peer: &Peer,
    number: PeerId,
) {
    let numbered = |net| (net, number);
    match peer {
        Peer::Cidr(net) => prefixes.push((*net, number)),
        Peer::PrefixList(name) => {
            let entries = state.prefix_list(name).into_iter().flat_map(|list| &list.entries);
            prefixes.extend(entries.map(|entry| entry.cidr).map(numbered));
        }
        Peer::Group(name) => {
            let members = model::members(state, live, name).into_iter();
            prefixes.extend(members.map(IpNet::from).map(numbered));
        }
    }
}
