//! From changes to the interfaces whose packets may fare differently.

use std::{collections::HashSet, net::IpAddr};

use sg_common::Direction;

use super::{Change, Kind};
use crate::model::{DesiredState, Interface, Peer, Role};

/// Names of the `[[interface]]` entries that `changes`, from [`super::diff`] of the same states,
/// reach: by the entry itself, its groups' rules, the prefix lists and the members of the groups
/// that those name, and settings. Entries of `new` in its order, then those that only `old` has.
pub fn reached(old: &DesiredState, new: &DesiredState, changes: &[Change]) -> Vec<String> {
    let policy = || changes.iter().filter(|change| change.policy);
    let objects = |kind| -> HashSet<&str> {
        policy().filter(|change| change.kind == kind).map(|change| change.object.as_str()).collect()
    };
    let (entries, lists) = (objects(Kind::Interface), objects(Kind::PrefixList));
    let settings = objects(Kind::Setting);
    let everywhere = settings.iter().any(|key| !key.starts_with("tracking."));
    let members = changed_members(old, new);
    let mut groups = objects(Kind::Rule);
    for state in [old, new] {
        for group in &state.groups {
            let mut rules = Direction::BOTH.into_iter().flat_map(|way| group.rules(way));
            let touched = rules.any(|rule| match &rule.peer {
                Peer::Cidr(_) => false,
                Peer::Group(name) => members.contains(name.as_str()),
                Peer::PrefixList(name) => lists.contains(name.as_str()),
            });
            if touched {
                groups.insert(&group.name);
            }
        }
    }
    let is_reached = |entry: &&Interface| {
        let before = old.interfaces.iter().find(|other| other.name == entry.name);
        everywhere
            || entries.contains(entry.name.as_str())
            || entry.groups.iter().any(|name| groups.contains(name.as_str()))
            || before.is_some_and(|before| before.tracking != entry.tracking)
    };
    let kept: HashSet<&str> = new.interfaces.iter().map(|entry| entry.name.as_str()).collect();
    let gone = old.interfaces.iter().filter(|entry| !kept.contains(entry.name.as_str()));
    new.interfaces.iter().filter(is_reached).chain(gone).map(|entry| entry.name.clone()).collect()
}

/// Groups that have other members in `new` than in `old`.
fn changed_members<'s>(old: &'s DesiredState, new: &'s DesiredState) -> HashSet<&'s str> {
    let (before, after) = (memberships(old), memberships(new));
    before.symmetric_difference(&after).map(|(group, _)| *group).collect()
}

/// A member: an address, or the entry whose interfaces' own addresses are members.
#[derive(PartialEq, Eq, Hash)]
enum Member<'s> {
    Address(IpAddr),
    Own(&'s str),
}

fn memberships(state: &DesiredState) -> HashSet<(&str, Member<'_>)> {
    let mut memberships = HashSet::new();
    for entry in &state.interfaces {
        for group in &entry.groups {
            let address = |address: &IpAddr| (group.as_str(), Member::Address(*address));
            memberships.extend(entry.addresses.iter().map(address));
            if entry.addresses.is_empty() && entry.role == Role::Host {
                memberships.insert((group, Member::Own(&entry.name)));
            }
        }
    }
    memberships
}
