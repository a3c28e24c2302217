//! Policies: what a set of groups allows, as rows from class to services.

use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use sg_common::{Direction, Family, interval::Ref};

use super::{
    CompileError,
    classes::{Classes, PeerId, family_of},
    layout::Layout,
    peers::Peers,
    rows::write_row,
    services::ServiceSet,
};
use crate::model::{DesiredState, Peer, Rule, SecurityGroup, Services};

/// What an interface record names of a policy.
#[derive(Clone, Debug)]
pub(super) struct PolicyRefs {
    pub(super) families: [FamilyRefs; 2],
}

#[derive(Clone, Copy, Debug)]
pub(super) struct FamilyRefs {
    /// Services open to all, on the instance's side and on the peers'.
    pub(super) untracked: [Ref; 2],
    /// By [`Direction`].
    pub(super) rows: [Ref; 2],
}

/// Compiles each policy once.
pub(super) struct Policies<'a> {
    peers: &'a Peers,
    classes: &'a [Classes; 2],
    /// With their places in the state.
    groups: HashMap<&'a str, (usize, &'a SecurityGroup)>,
    /// Peers that stand for a whole family: by family.
    everyone: [HashSet<PeerId>; 2],
    /// By family.
    classes_of: [ClassesOf; 2],
    done: HashMap<Vec<String>, PolicyRefs>,
}

/// Services by peer.
type Allowed = Vec<(PeerId, ServiceSet)>;

impl<'a> Policies<'a> {
    pub(super) fn new(
        state: &'a DesiredState,
        peers: &'a Peers,
        classes: &'a [Classes; 2],
    ) -> Self {
        let mut everyone = [HashSet::new(), HashSet::new()];
        for (net, peer) in peers.prefixes().filter(|(net, _)| net.prefix_len() == 0) {
            everyone[family_of(&net) as usize].insert(peer);
        }
        let classes_of = [0, 1].map(|family: usize| ClassesOf::new(&classes[family], peers.len()));
        let groups = state.groups.iter().enumerate();
        let groups = groups.map(|(at, group)| (group.name.as_str(), (at, group))).collect();
        Self { peers, classes, groups, everyone, classes_of, done: HashMap::new() }
    }

    pub(super) fn write(
        &mut self,
        layout: &mut Layout,
        groups: &[String],
    ) -> Result<PolicyRefs, CompileError> {
        let mut key = groups.to_vec();
        key.sort_unstable();
        if let Some(refs) = self.done.get(&key) {
            return Ok(refs.clone());
        }
        let [v4, v6] = Family::BOTH.map(|family| self.write_family(layout, groups, family));
        let refs = PolicyRefs { families: [v4?, v6?] };
        self.done.insert(key, refs.clone());
        Ok(refs)
    }

    fn write_family(
        &self,
        layout: &mut Layout,
        groups: &[String],
        family: Family,
    ) -> Result<FamilyRefs, CompileError> {
        let sides = Direction::BOTH.map(|direction| self.side(groups, direction, family));
        let open = |own: usize, other: usize| sides[own].0.open_where_all(&sides[other].0);
        let untracked = [open(0, 1), open(1, 0)];
        let untracked = untracked.map(|services| layout.set(services.boundaries()));
        let rows = [0, 1].map(|side: usize| {
            let (everyone, allowed) = &sides[side];
            let classes_of = &self.classes_of[family as usize];
            let allowed = allowed.iter().map(|(peer, services)| (services, classes_of.of(*peer)));
            write_row(layout, self.classes[family as usize].count(), everyone, allowed)
        });
        let [ingress, egress] = rows;
        Ok(FamilyRefs { untracked, rows: [ingress?, egress?] })
    }

    /// What a direction's rules allow everyone, and what they allow each peer.
    fn side(
        &self,
        groups: &[String],
        direction: Direction,
        family: Family,
    ) -> (ServiceSet, Allowed) {
        let groups = || groups.iter().filter_map(|name| self.groups.get(name.as_str()));
        let mut everyone = ServiceSet::default();
        let count = groups().map(|(_, group)| group.rules(direction).len()).sum();
        let mut single = Vec::with_capacity(count);
        let rules = groups().flat_map(|(at, group)| {
            group.rules(direction).iter().zip(self.peers.of_rules(*at, direction))
        });
        for (rule, &peer) in rules.filter(|(rule, _)| is_of(rule, family)) {
            if self.everyone[family as usize].contains(&peer) {
                everyone.add(rule.services, family);
            } else {
                single.push((peer, rule.services));
            }
        }
        // Peers are numbered in the order of rules, so they are mostly sorted already.
        single.sort_by_key(|(peer, _)| *peer);
        let together = |same: &[(PeerId, Services)]| {
            let mut services = ServiceSet::default();
            same.iter().for_each(|(_, each)| services.add(*each, family));
            (same[0].0, services)
        };
        (everyone, single.chunk_by(|a, b| a.0 == b.0).map(together).collect())
    }
}

/// Which classes contain a peer.
struct ClassesOf {
    /// Where each peer's classes begin; the last one's end behind it.
    starts: Vec<u32>,
    classes: Vec<u32>,
}

impl ClassesOf {
    fn new(classes: &Classes, peers: usize) -> Self {
        let mut starts = vec![0; peers + 1];
        for peer in classes.peers().flatten() {
            starts[*peer as usize + 1] += 1;
        }
        for peer in 0..peers {
            starts[peer + 1] += starts[peer];
        }
        let mut next = starts.clone();
        let mut sorted = vec![0; starts[peers] as usize];
        for (class, set) in classes.peers().enumerate() {
            for peer in set {
                let at = &mut next[*peer as usize];
                sorted[*at as usize] = class as u32;
                *at += 1;
            }
        }
        Self { starts, classes: sorted }
    }

    fn of(&self, peer: PeerId) -> &[u32] {
        let peer = peer as usize;
        &self.classes[self.starts[peer] as usize..self.starts[peer + 1] as usize]
    }
}

/// Whether a rule can match packets of a family at all.
fn is_of(rule: &Rule, family: Family) -> bool {
    match &rule.peer {
        Peer::Cidr(net) => family_of(net) == family,
        Peer::Group(_) | Peer::PrefixList(_) => true,
    }
}
