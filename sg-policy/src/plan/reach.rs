//! From changes to the interfaces whose packets may fare differently.

use std::{collections::HashSet, net::IpAddr};

use sg_common::Direction;

use super::{Change, Kind, Object};
use crate::model::{DesiredState, GroupId, Interface, Peer, Role};

/// Names of the `[[interface]]` entries that `changes` reach, where `changes` comes from
/// [`super::diff`] of the same states. A change reaches an entry through the entry itself, its
/// groups' rules, their prefix lists, the members of their groups, or settings. Entries of `new`
/// come first, in its order, then entries that only `old` has.
pub fn reached(old: &DesiredState, new: &DesiredState, changes: &[Change]) -> Vec<String> {
    let changed: HashSet<&Object> =
        changes.iter().filter(|change| change.policy).map(|change| &change.object).collect();
    let rules = changes.iter().filter(|change| change.policy && change.kind == Kind::Rule);
    let mut groups: HashSet<GroupId> = rules
        .filter_map(|change| match change.object {
            Object::Group(id) => Some(id),
            _ => None,
        })
        .collect();
    let everywhere = changed
        .iter()
        .any(|object| matches!(object, Object::Setting(key) if !key.starts_with("tracking.")));
    let members = changed_members(old, new);
    for group in old.groups.iter().chain(&new.groups) {
        let mut rules = Direction::BOTH.into_iter().flat_map(|way| group.rules(way));
        let touched = rules.any(|rule| match rule.peer {
            Peer::Cidr(_) => false,
            Peer::Group(id) => members.contains(&id),
            Peer::PrefixList(id) => changed.contains(&Object::PrefixList(id)),
        });
        if touched {
            groups.insert(group.id);
        }
    }
    let is_reached = |entry: &&Interface| {
        let before = old.interfaces.iter().find(|other| other.name == entry.name);
        everywhere
            || changed.contains(&Object::Interface(entry.name.clone()))
            || entry.groups.iter().any(|id| groups.contains(id))
            || before.is_some_and(|before| before.tracking != entry.tracking)
    };
    let kept: HashSet<&str> = new.interfaces.iter().map(|entry| entry.name.as_str()).collect();
    let gone = old.interfaces.iter().filter(|entry| !kept.contains(entry.name.as_str()));
    new.interfaces.iter().filter(is_reached).chain(gone).map(|entry| entry.name.clone()).collect()
}

/// Groups that have other members in `new` than in `old`.
fn changed_members(old: &DesiredState, new: &DesiredState) -> HashSet<GroupId> {
    let (before, after) = (memberships(old), memberships(new));
    before.symmetric_difference(&after).map(|(group, _)| *group).collect()
}

/// A member: an address, or the entry whose interfaces' own addresses are members.
#[derive(PartialEq, Eq, Hash)]
enum Member<'s> {
    Address(IpAddr),
    Own(&'s str),
}

fn memberships(state: &DesiredState) -> HashSet<(GroupId, Member<'_>)> {
    let mut memberships = HashSet::new();
    for entry in &state.interfaces {
        for group in &entry.groups {
            let address = |address: &IpAddr| (*group, Member::Address(*address));
            memberships.extend(entry.addresses.iter().map(address));
            if entry.addresses.is_empty() && entry.role == Role::Host {
                memberships.insert((*group, Member::Own(&entry.name)));
            }
        }
    }
    memberships
}
