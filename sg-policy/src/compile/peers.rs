//! The peers that rules name, numbered, with the prefixes that each stands for.

use std::{borrow::Cow, sync::Arc};

use foldhash::HashSet;
use indexmap::IndexMap;
use ipnet::IpNet;
use sg_common::{Direction, Family};
use smallvec::{SmallVec, smallvec};

use super::classes::{Edits, PeerId, family_of, first_address};
use crate::model::{DesiredState, LiveInterface, Members, Peer, PrefixEntry, Rule, SecurityGroup};

/// Of most peers there is one.
type Nets = SmallVec<[IpNet; 1]>;

/// A peer keeps its number from one state to the next.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// By number.
    known: IndexMap<Peer, Known, foldhash::fast::RandomState>,
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
#[derive(Debug, Default)]
struct Known {
    nets: Nets,
    /// Where a prefix list's are from.
    list: Option<Arc<Vec<PrefixEntry>>>,
    /// The last state that had it.
    seen: u32,
}

impl Peers {
    /// Takes the peers of `state` in; gives what has changed in prefixes that are no whole family, by
    /// family.
    pub(super) fn update(&mut self, state: &DesiredState, live: &[LiveInterface]) -> [Edits; 2] {
        self.present += 1;
        let members = Members::of(state, live);
        let mut edits = Default::default();
        if self.known.is_empty() {
            let rules = state.groups.iter().map(|group| group.ingress.len() + group.egress.len());
            self.known.reserve(rules.sum());
        }
        let mut last = 0;
        let of_group = |group: &SecurityGroup| {
            Direction::BOTH.map(|side| {
                let number = |rule: &Rule| {
                    last = self.number(&rule.peer, last);
                    self.take_in(last, state, &members, &rule.peer, &mut edits);
                    last
                };
                group.rules(side).iter().map(number).collect()
            })
        };
        self.of_rules = state.groups.iter().map(of_group).collect();
        for number in 0..self.known.len() as PeerId {
            if self.known[number as usize].seen != self.present {
                self.known[number as usize].list = None;
                self.replace(number, Nets::new(), &mut edits);
            }
        }
        edits
    }

    /// The number of a peer in a rule behind one whose peer has the number `last`.
    fn number(&mut self, peer: &Peer, last: PeerId) -> PeerId {
        // Numbered in the order of rules, so that is mostly the next one.
        let next = last as usize + 1;
        if self.known.get_index(next).is_some_and(|(known, _)| known == peer) {
            return next as PeerId;
        }
        let number = match self.known.get_index_of(peer) {
            Some(number) => number,
            None => self.known.insert_full(peer.clone(), Known::default()).0,
        };
        number as PeerId
    }

    /// Finds out what a peer stands for, unless it is known in this state.
    fn take_in(
        &mut self,
        number: PeerId,
        state: &DesiredState,
        members: &Members<'_>,
        peer: &Peer,
        edits: &mut [Edits; 2],
    ) {
        let known = &mut self.known[number as usize];
        if known.seen == self.present {
            return;
        }
        known.seen = self.present;
        let nets: Nets = match peer {
            Peer::Cidr(_) if !known.nets.is_empty() => return,
            Peer::Cidr(net) => smallvec![*net],
            Peer::PrefixList(name) => {
                let entries = state.prefix_list(name).map(|list| Arc::clone(&list.entries));
                let entries = entries.unwrap_or_default();
                let before = known.list.replace(Arc::clone(&entries));
                if before.is_some_and(|before| Arc::ptr_eq(&before, &entries)) {
                    return;
                }
                entries.iter().map(|entry| entry.cidr).collect()
            }
            Peer::Group(name) => members.of_group(name).iter().copied().map(IpNet::from).collect(),
        };
        self.replace(number, nets, edits);
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

/// What only `before` has, and what only `after` has; neither has anything twice.
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
