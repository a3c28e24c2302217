//! The peers that rules name, numbered, with the prefixes that each stands for.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt as _, HashSet};
use ipnet::IpNet;
use sg_common::{Direction, Family};
use smallvec::{SmallVec, smallvec};

use super::classes::{Edits, PeerId, family_of, first_address};
use crate::model::{DesiredState, LiveInterface, Members, Peer, Rule, SecurityGroup};

/// Of most peers there is one.
type Nets = SmallVec<[IpNet; 1]>;

/// A peer keeps its number from one state to the next.
#[derive(Debug, Default)]
pub(super) struct Peers {
    numbers: HashMap<Peer, PeerId>,
    known: Vec<Known>,
    /// Counts states.
    present: u32,
    /// Prefixes of all peers.
    prefixes: usize,
    /// Peers that stand for a whole family: by family.
    everyone: [HashSet<PeerId>; 2],
    /// Of the rules of each group, by its place in the state and by [`Direction`].
    of_rules: Vec<[Vec<PeerId>; 2]>,
}

/// A peer as it was in the last state.
#[derive(Debug)]
struct Known {
    nets: Nets,
    /// The last state that had it.
    seen: u32,
}

impl Peers {
    /// Takes the peers of `state` in; gives what has changed in prefixes that are no whole family, by
    /// family.
    pub(super) fn update(
        &mut self,
        state: &DesiredState,
        live: &[LiveInterface],
    ) -> [Edits; 2] {
        self.present += 1;
        let members = Members::of(state, live);
        let mut edits = Default::default();
        if self.numbers.is_empty() {
            let rules = state.groups.iter().map(|group| group.ingress.len() + group.egress.len());
            self.reserve(rules.sum());
        }
        let of_group = |group: &SecurityGroup| {
            Direction::BOTH.map(|side| {
                let rules = group.rules(side).iter();
                rules.map(|rule| self.take_in(state, &members, rule, &mut edits)).collect()
            })
        };
        self.of_rules = state.groups.iter().map(of_group).collect();
        for number in 0..self.known.len() as PeerId {
            if self.known[number as usize].seen != self.present {
                self.replace(number, Nets::new(), &mut edits);
            }
        }
        edits
    }

    fn reserve(&mut self, peers: usize) {
        self.numbers = HashMap::with_capacity(peers);
        self.known = Vec::with_capacity(peers);
    }

    fn take_in(
        &mut self,
        state: &DesiredState,
        members: &Members<'_>,
        rule: &Rule,
        edits: &mut [Edits; 2],
    ) -> PeerId {
        let number = match self.numbers.get(&rule.peer) {
            Some(number) => *number,
            None => {
                let number = self.known.len() as PeerId;
                self.numbers.insert(rule.peer.clone(), number);
                self.known.push(Known { nets: Nets::new(), seen: 0 });
                number
            }
        };
        let known = &mut self.known[number as usize];
        if known.seen == self.present {
            return number;
        }
        known.seen = self.present;
        let nets: Nets = match &rule.peer {
            Peer::Cidr(_) if !known.nets.is_empty() => return number,
            Peer::Cidr(net) => smallvec![*net],
            Peer::PrefixList(name) => {
                let list = state.prefix_list(name);
                let entries = || list.into_iter().flat_map(|list| &list.entries);
                let nets = entries().map(|entry| entry.cidr);
                if nets.clone().eq(known.nets.iter().copied()) {
                    return number;
                }
                nets.collect()
            }
            Peer::Group(name) => members.of_group(name).iter().copied().map(IpNet::from).collect(),
        };
        self.replace(number, nets, edits);
        number
    }

    fn replace(&mut self, number: PeerId, nets: Nets, edits: &mut [Edits; 2]) {
        let known = &mut self.known[number as usize].nets;
        self.prefixes = self.prefixes + nets.len() - known.len();
        let before = std::mem::replace(known, nets);
        let (removed, added) = match (&before[..], &known[..]) {
            ([], added) => (Vec::new(), Cow::from(added)),
            (before, after) => {
                let (removed, added) = difference(before, after);
                (removed, added.into())
            }
        };
        let entry = |net: &IpNet| (first_address(net), net.prefix_len(), number);
        for net in removed {
            let family = family_of(&net) as usize;
            if net.prefix_len() == 0 {
                self.everyone[family].remove(&number);
            } else {
                edits[family].removed.push(entry(&net));
            }
        }
        for net in added.iter() {
            let family = family_of(net) as usize;
            if net.prefix_len() == 0 {
                self.everyone[family].insert(number);
            } else {
                edits[family].added.push(entry(net));
            }
        }
    }

    /// Of the rules of the group with this number, in their order.
    pub(super) fn of_rules(&self, group: usize, direction: Direction) -> &[PeerId] {
        &self.of_rules[group][direction as usize]
    }

    /// Numbers given so far.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn prefixes(&self) -> usize {
        self.prefixes
    }

    /// Whether a peer has every address of a family.
    pub(super) fn is_everyone(&self, peer: PeerId, family: Family) -> bool {
        self.everyone[family as usize].contains(&peer)
    }
}

/// What only `before` has, and what only `after` has.
fn difference(before: &[IpNet], after: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    // Lists mostly change in one place.
    let same = |pairs: &mut dyn Iterator<Item = (&IpNet, &IpNet)>| {
        pairs.take_while(|(before, after)| before == after).count()
    };
    let first = same(&mut before.iter().zip(after));
    let (before, after) = (&before[first..], &after[first..]);
    let last = same(&mut before.iter().rev().zip(after.iter().rev()));
    let sorted = |nets: &[IpNet]| {
        let mut nets = nets[..nets.len() - last].to_vec();
        nets.sort_unstable();
        nets.dedup();
        nets
    };
    let (before, after) = (sorted(before), sorted(after));
    let lacks = |nets: &[IpNet], net: &IpNet| nets.binary_search(net).is_err();
    let removed = before.iter().filter(|net| lacks(&after, net)).copied().collect();
    let added = after.iter().filter(|net| lacks(&before, net)).copied().collect();
    (removed, added)
}
