//! The peers that rules name, numbered, with the prefixes that each stands for.

use std::{collections::BTreeSet, sync::Arc};

use foldhash::{HashMap, HashSet};
use indexmap::IndexMap;
use ipnet::IpNet;
use sg_common::{Direction, Family};

use super::{
    classes::{Edits, PeerId, family_of, first_address},
    members::MemberTable,
};
use crate::{
    model::{
        DesiredState, GroupId, LiveInterface, Peer, PrefixEntry, PrefixList, PrefixListId,
        SecurityGroup,
    },
    shared::Shared,
};

/// Peers keep their numbers from one state to the next, and groups that are the same their rules.
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
    /// Groups of the last state, as it has them and by id.
    listed: Vec<Shared<SecurityGroup>>,
    groups: HashMap<GroupId, KnownGroup>,
    /// Prefix lists that rules name.
    lists: BTreeSet<PeerId>,
    /// `None`: there was no state yet.
    members: Option<MemberTable>,
    /// The last state with a change that any policy may depend on.
    unsettled: u32,
}

/// A peer as it was in the last state.
#[derive(Debug, Default)]
struct Known {
    /// Rules that name it.
    uses: u32,
    /// The entries of a prefix list that a rule uses; empty for any other peer.
    entries: Arc<Vec<PrefixEntry>>,
    /// The last state in which its uses changed, and whether it had any before.
    touched: u32,
    was_used: bool,
}

/// A group as it was in the last state.
#[derive(Debug)]
pub(super) struct KnownGroup {
    pub(super) group: Shared<SecurityGroup>,
    /// The peers of its rules in their order, by [`Direction`].
    peers: [Vec<PeerId>; 2],
    /// The last state that had it, and the last in which it was another one.
    seen: u32,
    changed: u32,
}

impl KnownGroup {
    /// The peers of the rules of one direction, in their order.
    pub(super) fn peers(&self, direction: Direction) -> &[PeerId] {
        &self.peers[direction as usize]
    }
}

impl Peers {
    /// Takes the peers of `state` in; gives what has changed in prefixes that are no whole family, by
    /// family.
    pub(super) fn update(&mut self, state: &DesiredState, live: &[LiveInterface]) -> [Edits; 2] {
        self.present += 1;
        if self.known.is_empty() {
            let rules = state.groups.iter().map(|group| group.ingress.len() + group.egress.len());
            self.known.reserve(rules.sum());
        }
        let mut edits = Default::default();
        let touched = self.update_groups(state);
        let (mut dropped, mut new) = (Vec::new(), Vec::new());
        for peer in touched {
            match (self.known[peer as usize].was_used, self.known[peer as usize].uses > 0) {
                (true, false) => dropped.push(peer),
                (false, true) => new.push(peer),
                _ => {}
            }
        }
        // With the members that it had.
        dropped.into_iter().for_each(|peer| self.remove(peer, &mut edits));
        self.update_lists(state, &mut edits);
        self.update_members(state, live, &new, &mut edits);
        new.into_iter().for_each(|peer| self.add(peer, state, &mut edits));
        edits
    }

    /// Takes in groups that have changed; gives the peers whose uses have.
    fn update_groups(&mut self, state: &DesiredState) -> Vec<PeerId> {
        let mut touched = Vec::new();
        let is_same = |(old, new): (&Shared<SecurityGroup>, _)| old.is(new);
        if self.listed.len() == state.groups.len()
            && self.listed.iter().zip(&state.groups).all(is_same)
        {
            return touched;
        }
        self.listed.clone_from(&state.groups);
        let mut last = 0;
        for group in &state.groups {
            if let Some(known) = self.groups.get_mut(&group.id)
                && known.group == *group
            {
                known.seen = self.present;
                known.group = group.clone();
                continue;
            }
            let peers = Direction::BOTH.map(|direction| {
                let rules = group.rules(direction).iter();
                rules
                    .map(|rule| {
                        last = self.number(&rule.peer, last);
                        self.count(last, 1, &mut touched);
                        last
                    })
                    .collect()
            });
            let (group, present) = (group.clone(), self.present);
            let id = group.id;
            let known = KnownGroup { group, peers, seen: present, changed: present };
            if let Some(before) = self.groups.insert(id, known) {
                self.forget(&before, &mut touched);
            }
        }
        let present = self.present;
        let gone: Vec<_> = self.groups.extract_if(|_, known| known.seen != present).collect();
        for (_, known) in gone {
            self.unsettled = present;
            self.forget(&known, &mut touched);
        }
        touched
    }

    fn forget(&mut self, group: &KnownGroup, touched: &mut Vec<PeerId>) {
        for peer in group.peers.iter().flatten() {
            self.count(*peer, -1, touched);
        }
    }

    fn count(&mut self, peer: PeerId, uses: i32, touched: &mut Vec<PeerId>) {
        let known = &mut self.known[peer as usize];
        if known.touched != self.present {
            (known.touched, known.was_used) = (self.present, known.uses > 0);
            touched.push(peer);
        }
        known.uses = known.uses.wrapping_add_signed(uses);
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
            None => self.known.insert_full(*peer, Known::default()).0,
        };
        number as PeerId
    }

    /// A peer that a rule names for the first time.
    fn add(&mut self, peer: PeerId, state: &DesiredState, edits: &mut [Edits; 2]) {
        let (named, known) = self.known.get_index_mut(peer as usize).expect("it has a number");
        match named {
            Peer::Cidr(net) => {
                let net = *net;
                self.edit(peer, &net, true, edits);
            }
            Peer::PrefixList(id) => {
                let list = state.prefix_list(*id);
                known.entries = list.map(|list| Arc::clone(&list.entries)).unwrap_or_default();
                self.lists.insert(peer);
                let entries = Arc::clone(&known.entries);
                entries.iter().for_each(|entry| self.edit(peer, &entry.cidr, true, edits));
            }
            Peer::Group(_) => self.whole_group(peer, true, edits),
        }
    }

    /// A peer that no rule names any more.
    fn remove(&mut self, peer: PeerId, edits: &mut [Edits; 2]) {
        let (named, known) = self.known.get_index_mut(peer as usize).expect("it has a number");
        match named {
            Peer::Cidr(net) => {
                let net = *net;
                self.edit(peer, &net, false, edits);
            }
            Peer::PrefixList(_) => {
                self.lists.remove(&peer);
                let entries = std::mem::take(&mut known.entries);
                entries.iter().for_each(|entry| self.edit(peer, &entry.cidr, false, edits));
            }
            Peer::Group(_) => self.whole_group(peer, false, edits),
        }
    }

    fn whole_group(&mut self, peer: PeerId, comes: bool, edits: &mut [Edits; 2]) {
        let Some((&Peer::Group(id), _)) = self.known.get_index(peer as usize) else { return };
        let Some(members) = &self.members else { return };
        let nets: Vec<_> = members.of_group(id).map(IpNet::from).collect();
        nets.iter().for_each(|net| self.edit(peer, net, comes, edits));
    }

    fn update_lists(&mut self, state: &DesiredState, edits: &mut [Edits; 2]) {
        if self.lists.is_empty() {
            return;
        }
        let lists: HashMap<PrefixListId, &PrefixList> =
            state.prefix_lists.iter().map(|list| (list.id, list)).collect();
        for peer in self.lists.clone() {
            let (named, known) = self.known.get_index_mut(peer as usize).expect("it has a number");
            let Peer::PrefixList(id) = named else { continue };
            let after = lists.get(id).map(|list| Arc::clone(&list.entries));
            let after = after.unwrap_or_default();
            if Arc::ptr_eq(&known.entries, &after) {
                continue;
            }
            let before = std::mem::replace(&mut known.entries, Arc::clone(&after));
            let (removed, added) = difference(&before, &after);
            removed.iter().for_each(|net| self.edit(peer, net, false, edits));
            added.iter().for_each(|net| self.edit(peer, net, true, edits));
        }
    }

    /// `new`: peers that get all their members afterwards.
    fn update_members(
        &mut self,
        state: &DesiredState,
        live: &[LiveInterface],
        new: &[PeerId],
        edits: &mut [Edits; 2],
    ) {
        let Some(members) = &mut self.members else {
            self.members = Some(MemberTable::of(state, live));
            return;
        };
        for change in members.update(state, live) {
            let Some(at) = self.known.get_index_of(&Peer::Group(change.group)) else { continue };
            let peer = at as PeerId;
            if self.known[at].uses > 0 && !new.contains(&peer) {
                self.edit(peer, &change.address.into(), change.is_member, edits);
            }
        }
    }

    fn edit(&mut self, peer: PeerId, net: &IpNet, comes: bool, edits: &mut [Edits; 2]) {
        let family = family_of(net) as usize;
        self.prefixes = if comes { self.prefixes + 1 } else { self.prefixes - 1 };
        if net.prefix_len() == 0 {
            // Each policy has its own services open to all.
            self.unsettled = self.present;
            if comes {
                self.everyone[family].insert(peer);
            } else {
                self.everyone[family].remove(&peer);
            }
            return;
        }
        let Edits { removed, added } = &mut edits[family];
        let list = if comes { added } else { removed };
        list.push((first_address(net), net.prefix_len(), peer));
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&KnownGroup> {
        self.groups.get(&id)
    }

    /// The number of the present state.
    pub(super) fn present(&self) -> u32 {
        self.present
    }

    /// Whether a policy of these groups may allow other peers than it did in an earlier state.
    pub(super) fn has_changed_since(&self, state: u32, groups: &[GroupId]) -> bool {
        let is_newer =
            |id: &GroupId| self.groups.get(id).is_some_and(|known| known.changed > state);
        self.unsettled > state || groups.iter().any(is_newer)
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

/// Elements that only `before` has, then those that only `after` has. Neither list has an element
/// twice.
fn difference(before: &[PrefixEntry], after: &[PrefixEntry]) -> (Vec<IpNet>, Vec<IpNet>) {
    // Lists mostly change in one place.
    let same = |pairs: &mut dyn Iterator<Item = (&PrefixEntry, &PrefixEntry)>| {
        pairs.take_while(|(before, after)| before.cidr == after.cidr).count()
    };
    let first = same(&mut before.iter().zip(after));
    let (before, after) = (&before[first..], &after[first..]);
    let last = same(&mut before.iter().rev().zip(after.iter().rev()));
    let sorted = |entries: &[PrefixEntry]| {
        let entries = &entries[..entries.len() - last];
        let mut nets: Vec<_> = entries.iter().map(|entry| entry.cidr).collect();
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
