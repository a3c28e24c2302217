//! Address classes: addresses that the same peers contain are one class.

use indexmap::IndexSet;
use ipnet::IpNet;
use sg_common::{Family, interval::Ref};
use smallvec::SmallVec;

use super::{
    layout::{Layout, Width},
    peers::Peers,
};

/// Number of a peer (CIDR, prefix list or group) among all that rules name.
pub(super) type PeerId = u32;

/// A prefix as first address and length, with a peer that contains it.
type Entry = (u128, u8, PeerId);

/// The classes of a family. Class 0 is what no peer contains.
#[derive(Debug)]
pub(super) struct Classes {
    /// Peers by class.
    peers: Interner,
    /// Where the class changes; class 0 before the first.
    changes: Vec<(u128, u32)>,
    family: Family,
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
#[derive(Debug)]
struct Interner(IndexSet<PeerSet, foldhash::fast::RandomState>);

impl Interner {
    fn with_capacity(capacity: usize) -> Self {
        Self(IndexSet::with_capacity_and_hasher(capacity, <_>::default()))
    }

    fn number(&mut self, mut set: PeerSet) -> u32 {
        set.sort_unstable();
        set.dedup();
        self.0.insert_full(set).0 as u32
    }
}

impl Classes {
    /// Classes of a family's prefixes; those of length 0 are for the caller, since they are in
    /// every class.
    pub(super) fn new(family: Family, peers: &Peers) -> Self {
        let mut entries: Vec<Entry> = peers
            .prefixes()
            .filter(|(net, _)| family_of(net) == family && net.prefix_len() > 0)
            .map(|(net, peer)| (first_address(&net), net.prefix_len(), peer))
            .collect();
        entries.sort_unstable();
        entries.dedup();
        // Most peers have a class of their own.
        let mut interner = Interner::with_capacity(entries.len().min(peers.len()) + 1);
        interner.number(PeerSet::new());
        let mut changes: Vec<(u128, u32)> = Vec::with_capacity(entries.len() * 2);
        // Prefixes around the present address: where each ends (None: nowhere), and its class.
        let mut around: Vec<(Option<u128>, u32)> = Vec::new();
        let class_in = |around: &[(Option<u128>, u32)]| around.last().map_or(0, |top| top.1);
        let close = |around: &mut Vec<(Option<u128>, u32)>, changes: &mut Vec<_>, to: u128| {
            while let Some((Some(end), _)) = around.last().copied()
                && end <= to
            {
                around.pop();
                changes.push((end, class_in(around)));
            }
        };
        for same in entries.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (start, length, _) = same[0];
            close(&mut around, &mut changes, start);
            let mut set = interner.0[class_in(&around) as usize].clone();
            set.extend(same.iter().map(|entry| entry.2));
            let class = interner.number(set);
            let size_bits = u32::from(bits(family) - length);
            let end = start
                .checked_add(1u128 << size_bits)
                .filter(|end| family == Family::V6 || *end < 1 << 32);
            around.push((end, class));
            changes.push((start, class));
        }
        close(&mut around, &mut changes, u128::MAX);
        Self { peers: interner, changes: last_of_each(&changes), family }
    }

    pub(super) fn count(&self) -> usize {
        self.peers.0.len()
    }

    /// Each class's peers.
    pub(super) fn peers(&self) -> impl Iterator<Item = &[PeerId]> {
        self.peers.0.iter().map(|set| &set[..])
    }

    /// Writes the map address -> class.
    pub(super) fn write(&self, layout: &mut Layout) -> Ref {
        write_map(layout, self.family, &self.changes)
    }
}

/// Of several changes at one address only the last counts.
fn last_of_each(changes: &[(u128, u32)]) -> Vec<(u128, u32)> {
    changes.chunk_by(|a, b| a.0 == b.0).map(|same| same[same.len() - 1]).collect()
}

/// Writes a map from addresses to numbers that is 0 before the first change.
pub(super) fn write_map(layout: &mut Layout, family: Family, changes: &[(u128, u32)]) -> Ref {
    match family {
        Family::V4 => {
            let boundaries: Vec<_> =
                changes.iter().map(|(at, value)| (*at as u64, Ref::leaf(*value))).collect();
            layout.map(Width::Narrow, Ref::leaf(0), &boundaries)
        }
        Family::V6 => write_halves(layout, changes),
    }
}

/// The map of the high halves, which leads to maps of the low halves where those differ.
fn write_halves(layout: &mut Layout, changes: &[(u128, u32)]) -> Ref {
    let mut high_boundaries = Vec::new();
    let mut value = 0;
    for same in changes.chunk_by(|a, b| a.0 >> 64 == b.0 >> 64) {
        let high = (same[0].0 >> 64) as u64;
        let last = same[same.len() - 1].1;
        let mut low: Vec<_> =
            same.iter().map(|(at, value)| (*at as u64, Ref::leaf(*value))).collect();
        if low[0].0 == 0 {
            value = low.remove(0).1.value();
        }
        let map = layout.map(Width::Wide, Ref::leaf(value), &low);
        high_boundaries.push((high, map));
        if !map.is_leaf()
            && let Some(next) = high.checked_add(1)
        {
            high_boundaries.push((next, Ref::leaf(last)));
        }
        value = last;
    }
    // A map of low halves and the next one's start may fall on one key: the later one counts.
    let high_boundaries: Vec<_> =
        high_boundaries.chunk_by(|a, b| a.0 == b.0).map(|same| same[same.len() - 1]).collect();
    layout.map(Width::Wide, Ref::leaf(0), &high_boundaries)
}
