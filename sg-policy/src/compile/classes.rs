//! Address classes: addresses that the same peers contain are one class.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use indexmap::IndexSet;
use ipnet::IpNet;
use sg_common::Family;
use smallvec::SmallVec;

use super::addresses::Stretch;

/// Number of a peer (CIDR, prefix list or group) among all that rules name.
pub(super) type PeerId = u32;

/// A prefix as first address and length, with a peer that contains it.
pub(super) type Entry = (u128, u8, PeerId);

/// From one state to the next. No entry is in both.
#[derive(Debug, Default)]
pub(super) struct Edits {
    pub(super) removed: Vec<Entry>,
    pub(super) added: Vec<Entry>,
}

/// The classes of a family. Class 0 is what no peer contains.
#[derive(Debug)]
pub(super) struct Classes {
    family: Family,
    /// Peers by class; of classes that no address is in any more, too.
    sets: Interner,
    entries: BTreeSet<Entry>,
    /// Entries by their prefix's length.
    lengths: [usize; 129],
    /// Where the class changes; class 0 before the first.
    changes: BTreeMap<u128, u32>,
}

fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

pub(super) fn family_of(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

pub(super) fn first_address(net: &IpNet) -> u128 {
    match net {
        IpNet::V4(net) => u128::from(net.network().to_bits()),
        IpNet::V6(net) => net.network().to_bits(),
    }
}

/// Sorted. Most classes are of one peer.
type PeerSet = SmallVec<[PeerId; 4]>;

/// Sets of peers; a class's number is the place of its own.
#[derive(Debug, Default)]
struct Interner {
    sets: IndexSet<PeerSet, foldhash::fast::RandomState>,
    /// By peer: the classes whose sets it is in.
    of_peers: Vec<SmallVec<[u32; 2]>>,
}

impl Interner {
    fn number(&mut self, mut set: PeerSet) -> u32 {
        set.sort_unstable();
        set.dedup();
        let (number, is_new) = self.sets.insert_full(set);
        if is_new {
            for peer in &self.sets[number] {
                let peer = *peer as usize;
                if peer >= self.of_peers.len() {
                    self.of_peers.resize(peer + 1, SmallVec::new());
                }
                self.of_peers[peer].push(number as u32);
            }
        }
        number as u32
    }
}

impl Classes {
    pub(super) fn new(family: Family) -> Self {
        let mut sets = Interner::default();
        sets.number(PeerSet::new());
        let (entries, changes) = (BTreeSet::new(), BTreeMap::new());
        Self { family, sets, entries, lengths: [0; 129], changes }
    }

    /// Takes entries out and in; gives the stretches in which addresses have other classes now. Prefixes
    /// of length 0 are for the caller, since they are in every class.
    pub(super) fn update(&mut self, Edits { removed, added }: &Edits) -> Vec<Stretch> {
        let mut prefixes: Vec<(u128, u8)> = if self.entries.is_empty() && !added.is_empty() {
            vec![(0, 0)]
        } else {
            removed.iter().chain(added).map(|(start, length, _)| (*start, *length)).collect()
        };
        prefixes.sort_unstable();
        for entry in removed {
            self.entries.remove(entry);
            self.lengths[usize::from(entry.1)] -= 1;
        }
        added.iter().for_each(|(_, length, _)| self.lengths[usize::from(*length)] += 1);
        if self.entries.is_empty() {
            // Sorts, which is faster than one after the other.
            self.entries = added.iter().copied().collect();
        } else {
            self.entries.extend(added);
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        for (start, length) in prefixes {
            let is_within = |(_, end): &Stretch| end.is_none_or(|end| start < end);
            if !stretches.last().is_some_and(is_within) {
                self.sort_out(start, length);
                stretches.push((start, self.end(start, length)));
            }
        }
        stretches
    }

    /// One past the prefix's last address, if there is any behind it.
    fn end(&self, start: u128, length: u8) -> Option<u128> {
        let size = u32::from(bits(self.family) - length);
        let end = start.checked_add(1u128.checked_shl(size)?)?;
        (self.family == Family::V6 || end < 1 << 32).then_some(end)
    }

    /// The peers of shorter prefixes that hold this one.
    fn around(&self, start: u128, length: u8) -> PeerSet {
        let bits = bits(self.family);
        let shorter = (1..length).filter(|length| self.lengths[usize::from(*length)] > 0);
        let holding = shorter.flat_map(|length| {
            let first = start >> (bits - length) << (bits - length);
            self.entries.range((first, length, 0)..=(first, length, PeerId::MAX))
        });
        holding.map(|(_, _, peer)| *peer).collect()
    }

    /// Finds the classes within a prefix anew.
    fn sort_out(&mut self, start: u128, length: u8) {
        let end = self.end(start, length);
        let bound = end.map_or(Bound::Unbounded, |end| Bound::Excluded((end, 0, 0)));
        let within: Vec<Entry> =
            self.entries.range((Bound::Included((start, length, 0)), bound)).copied().collect();
        let outer = self.around(start, length);
        let outer = self.sets.number(outer);

        let mut changes: Vec<(u128, u32)> = Vec::with_capacity(within.len() * 2 + 1);
        changes.push((start, outer));
        // Prefixes around the present address: where each ends (None: nowhere), and its class.
        let mut around: Vec<(Option<u128>, u32)> = Vec::new();
        let class_in = |around: &[(Option<u128>, u32)]| around.last().map_or(outer, |top| top.1);
        let close = |around: &mut Vec<(Option<u128>, u32)>, changes: &mut Vec<_>, to: u128| {
            while let Some((Some(end), _)) = around.last().copied()
                && end <= to
            {
                around.pop();
                changes.push((end, class_in(around)));
            }
        };
        // Prefixes of a list mostly stand one after the other: the last one's surroundings, peer and class.
        let mut last = None;
        for same in within.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (start, length, peer) = same[0];
            close(&mut around, &mut changes, start);
            let outer = class_in(&around);
            let class = match last {
                Some((last, class)) if same.len() == 1 && last == (outer, peer) => class,
                _ => {
                    let mut set = self.sets.sets[outer as usize].clone();
                    set.extend(same.iter().map(|entry| entry.2));
                    self.sets.number(set)
                }
            };
            last = (same.len() == 1).then_some(((outer, peer), class));
            around.push((self.end(start, length), class));
            changes.push((start, class));
        }
        close(&mut around, &mut changes, u128::MAX);
        self.replace(start, end, &changes);
    }

    /// Replaces the changes of a stretch. The last of several changes at one address counts.
    fn replace(&mut self, start: u128, end: Option<u128>, changes: &[(u128, u32)]) {
        let bound = end.map_or(Bound::Unbounded, Bound::Excluded);
        let stale = self.changes.range((Bound::Included(start), bound));
        let stale: Vec<u128> = stale.map(|(at, _)| *at).collect();
        for at in stale {
            self.changes.remove(&at);
        }
        let within = changes.iter().copied().filter(|(at, _)| end.is_none_or(|end| *at < end));
        if self.changes.is_empty() {
            self.changes = within.collect();
        } else {
            self.changes.extend(within);
        }
        if let Some(end) = end {
            // Nothing began or ended there, so it is as it was in front of this stretch.
            self.changes.entry(end).or_insert(changes[0].1);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.sets.sets.len()
    }

    /// A class's peers, sorted.
    pub(super) fn peers(&self, class: u32) -> &[PeerId] {
        &self.sets.sets[class as usize]
    }

    /// The classes that contain a peer.
    pub(super) fn of_peer(&self, peer: PeerId) -> &[u32] {
        self.sets.of_peers.get(peer as usize).map_or(&[], |classes| classes)
    }

    pub(super) fn changes(&self) -> &BTreeMap<u128, u32> {
        &self.changes
    }
}
