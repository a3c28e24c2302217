//! Policies: the services that a set of groups allows, as rows from class to services.

use foldhash::HashMap;
use sg_common::{Direction, Family, interval::Ref};

use super::{
    CompileError,
    classes::{Classes, PeerId, family_of},
    layout::Layout,
    peers::Peers,
    rows::Row,
    services::ServiceSet,
};
use crate::model::{GroupId, Peer, Rule, Services};

/// A policy's refs in an interface record, by family.
pub(super) type PolicyRefs = [FamilyRefs; 2];

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FamilyRefs {
    /// Services open to all, on the instance's side and on the peers'.
    pub(super) untracked: [Ref; 2],
    /// By [`Direction`].
    pub(super) rows: [Ref; 2],
}

/// Services by peer, sorted.
pub(super) type Allowed = Vec<(PeerId, ServiceSet)>;

/// The compiled parts that a policy's rows refer to.
#[derive(Clone, Copy)]
pub(super) struct PolicyInputs<'a> {
    pub(super) peers: &'a Peers,
    /// By family.
    pub(super) classes: &'a [Classes; 2],
}

impl PolicyInputs<'_> {
    /// Services that a direction's rules allow everyone, and services that they allow each peer.
    fn side(
        &self,
        groups: &[GroupId],
        direction: Direction,
        family: Family,
    ) -> (ServiceSet, Allowed) {
        let groups = || groups.iter().filter_map(|id| self.peers.group(*id));
        let mut everyone = ServiceSet::default();
        let count = groups().map(|known| known.peers(direction).len()).sum();
        let mut single = Vec::with_capacity(count);
        let rules = groups()
            .flat_map(|known| known.group.rules(direction).iter().zip(known.peers(direction)));
        for (rule, &peer) in rules.filter(|(rule, _)| is_of(rule, family)) {
            if self.peers.is_everyone(peer, family) {
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

/// Whether a rule can match packets of a family at all.
fn is_of(rule: &Rule, family: Family) -> bool {
    match &rule.peer {
        Peer::Cidr(net) => family_of(net) == family,
        Peer::Group(_) | Peer::PrefixList(_) => true,
    }
}

/// Each policy as the last image that had it has it.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// By their groups, sorted.
    known: HashMap<Vec<GroupId>, Policy>,
}

#[derive(Debug, Default)]
struct Policy {
    /// The last state that had it; 0: none.
    seen: u32,
    /// By family and [`Direction`].
    sides: [[Side; 2]; 2],
    refs: PolicyRefs,
}

/// Services that a direction's rules allow.
#[derive(Debug, Default)]
struct Side {
    everyone: ServiceSet,
    allowed: Allowed,
    row: Row,
}

impl Policies {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn write(
        &mut self,
        layout: &mut Layout,
        source: &PolicyInputs<'_>,
        groups: &[GroupId],
    ) -> Result<PolicyRefs, CompileError> {
        let mut key = groups.to_vec();
        key.sort_unstable();
        let policy = self.known.entry(key).or_default();
        if policy.seen != source.peers.present() {
            let is_other = policy.seen == 0 || source.peers.has_changed_since(policy.seen, groups);
            policy.seen = source.peers.present();
            for family in Family::BOTH {
                if is_other {
                    policy.update(layout, source, groups, family)?;
                } else {
                    policy.follow(layout, &source.classes[family as usize], family)?;
                }
            }
        }
        Ok(policy.refs)
    }
}

impl Policy {
    fn update(
        &mut self,
        layout: &mut Layout,
        source: &PolicyInputs<'_>,
        groups: &[GroupId],
        family: Family,
    ) -> Result<(), CompileError> {
        let sides = &mut self.sides[family as usize];
        let refs = &mut self.refs[family as usize];
        for direction in Direction::BOTH {
            let (everyone, allowed) = source.side(groups, direction, family);
            let side = &mut sides[direction as usize];
            side.update(layout, &source.classes[family as usize], everyone, allowed)?;
            refs.rows[direction as usize] = side.row.root();
        }
        let open =
            |own: usize, other: usize| sides[own].everyone.open_where_all(&sides[other].everyone);
        refs.untracked = [open(0, 1), open(1, 0)].map(|services| layout.set(services.boundaries()));
        Ok(())
    }

    /// Its rules and peers are the same: only new classes are to be told apart.
    fn follow(
        &mut self,
        layout: &mut Layout,
        classes: &Classes,
        family: Family,
    ) -> Result<(), CompileError> {
        let refs = &mut self.refs[family as usize];
        for (side, row) in self.sides[family as usize].iter_mut().zip(&mut refs.rows) {
            side.put(layout, classes, &[])?;
            *row = side.row.root();
        }
        Ok(())
    }
}

impl Side {
    fn update(
        &mut self,
        layout: &mut Layout,
        classes: &Classes,
        everyone: ServiceSet,
        allowed: Allowed,
    ) -> Result<(), CompileError> {
        let changed = changed(&self.allowed, &allowed);
        let is_alike = everyone == self.everyone;
        (self.everyone, self.allowed) = (everyone, allowed);
        if is_alike {
            return self.put(layout, classes, &changed);
        }
        let Self { everyone, allowed, row } = self;
        row.write(layout, classes, everyone, allowed)
    }

    /// Brings the row to the allowed services, where they differ from before for the peers in
    /// `changed`.
    fn put(
        &mut self,
        layout: &mut Layout,
        classes: &Classes,
        changed: &[PeerId],
    ) -> Result<(), CompileError> {
        let Self { everyone, allowed, row } = self;
        if row.patch(layout, classes, everyone, allowed, changed)? {
            return Ok(());
        }
        row.write(layout, classes, everyone, allowed)
    }
}

/// Peers that are not allowed the same in both.
fn changed(before: &Allowed, after: &Allowed) -> Vec<PeerId> {
    let (mut before, mut after) = (&before[..], &after[..]);
    let mut changed = Vec::new();
    while let (Some(old), Some(new)) = (before.first(), after.first()) {
        if old != new {
            changed.push(old.0.min(new.0));
        }
        before = &before[usize::from(old.0 <= new.0)..];
        after = &after[usize::from(new.0 <= old.0)..];
    }
    changed.extend(before.iter().chain(after).map(|(peer, _)| *peer));
    changed
}
