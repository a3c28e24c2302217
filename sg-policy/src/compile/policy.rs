//! Policies: what a set of groups allows, as rows from class to services.

use std::collections::{BTreeMap, HashMap, HashSet};

use sg_common::{Direction, Family, interval::Ref};

use super::{
    CompileError,
    classes::{Classes, PeerId, family_of},
    layout::Layout,
    peers::Peers,
    rows::write_row,
    services::ServiceSet,
};
use crate::model::{DesiredState, Peer, Rule, SecurityGroup};

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
    peers: &'a Peers<'a>,
    classes: &'a [Classes; 2],
    groups: HashMap<&'a str, &'a SecurityGroup>,
    /// Peers that stand for a whole family: by family.
    everyone: [HashSet<PeerId>; 2],
    /// Classes that contain a peer: by family, then peer.
    classes_of: [Vec<Vec<u32>>; 2],
    done: HashMap<Vec<String>, PolicyRefs>,
}

/// Services by peer.
type Allowed = BTreeMap<PeerId, ServiceSet>;

impl<'a> Policies<'a> {
    pub(super) fn new(
        state: &'a DesiredState,
        peers: &'a Peers<'a>,
        classes: &'a [Classes; 2],
    ) -> Self {
        let mut everyone = [HashSet::new(), HashSet::new()];
        for (net, peer) in peers.prefixes().filter(|(net, _)| net.prefix_len() == 0) {
            everyone[family_of(&net) as usize].insert(peer);
        }
        let classes_of = [0, 1].map(|family: usize| {
            let mut classes_of = vec![Vec::new(); peers.len()];
            for (class, set) in classes[family].peers.iter().enumerate() {
                for peer in set {
                    classes_of[*peer as usize].push(class as u32);
                }
            }
            classes_of
        });
        let groups = state.groups.iter().map(|group| (group.name.as_str(), group)).collect();
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
        let untracked = untracked.map(|services| layout.set(&services.boundaries()));
        let rows = [0, 1].map(|side: usize| {
            let (everyone, allowed) = &sides[side];
            let classes_of = &self.classes_of[family as usize];
            let allowed = allowed
                .iter()
                .map(|(peer, services)| (services, classes_of[*peer as usize].as_slice()));
            write_row(layout, self.classes[family as usize].peers.len(), everyone, allowed)
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
        let mut everyone = ServiceSet::default();
        let mut allowed = Allowed::new();
        let rules = groups
            .iter()
            .filter_map(|name| self.groups.get(name.as_str()))
            .flat_map(|group| group.rules(direction));
        for rule in rules.filter(|rule| is_of(rule, family)) {
            let peer = self.peers.number(&rule.peer);
            if self.everyone[family as usize].contains(&peer) {
                everyone.add(rule.services, family);
            } else {
                allowed.entry(peer).or_default().add(rule.services, family);
            }
        }
        (everyone, allowed)
    }
}

/// Whether a rule can match packets of a family at all.
fn is_of(rule: &Rule, family: Family) -> bool {
    match &rule.peer {
        Peer::Cidr(net) => family_of(net) == family,
        Peer::Group(_) | Peer::PrefixList(_) => true,
    }
}
