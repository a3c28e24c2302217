//! Members of groups: a table that is kept from one state to the next and edited.

use std::{collections::BTreeMap, net::IpAddr};

use foldhash::HashMap;

use crate::{
    model::{DesiredState, GroupId, Interface, LiveInterface, Role},
    shared::SharedVec,
};

/// An address of a group, as one interface carries it.
type Carried = (GroupId, IpAddr);

/// Addresses by group, each with the number of times that it is carried.
#[derive(Debug)]
pub(super) struct MemberTable {
    groups: HashMap<GroupId, BTreeMap<IpAddr, u32>>,
    /// Entries of the last state: their own addresses are in the table.
    entries: SharedVec<Interface>,
    /// From live interfaces whose entries name no addresses; sorted.
    observed: Vec<Carried>,
}

/// An address that a group has got or lost.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemberChange {
    pub(super) group: GroupId,
    pub(super) address: IpAddr,
    pub(super) is_member: bool,
}

impl MemberTable {
    /// The members of a first state.
    pub(super) fn of(state: &DesiredState, live: &[LiveInterface]) -> Self {
        let observed = observed(state, live);
        let mut groups: HashMap<GroupId, Vec<IpAddr>> = HashMap::default();
        let configured = state.interfaces.iter().flat_map(configured);
        for (group, address) in configured.chain(observed.iter().copied()) {
            groups.entry(group).or_default().push(address);
        }
        // Sorting is faster than one after the other.
        let counted = |mut addresses: Vec<IpAddr>| {
            addresses.sort_unstable();
            let same = addresses.chunk_by(|a, b| a == b);
            same.map(|same| (same[0], same.len() as u32)).collect()
        };
        let groups = groups.into_iter().map(|(group, all)| (group, counted(all))).collect();
        Self { groups, entries: state.interfaces.clone(), observed }
    }

    /// Learns the interfaces of a state. Its work grows with the changes since the last one.
    pub(super) fn update(
        &mut self,
        state: &DesiredState,
        live: &[LiveInterface],
    ) -> Vec<MemberChange> {
        let entries = std::mem::replace(&mut self.entries, state.interfaces.clone());
        let before = std::mem::replace(&mut self.observed, observed(state, live));
        let (removed, added) = entries.changes(&self.entries);
        let (lost, found) = difference(&before, &self.observed);
        let removed: Vec<_> = removed.into_iter().flat_map(configured).chain(lost).collect();
        let added: Vec<_> = added.into_iter().flat_map(configured).chain(found).collect();
        let mut touched: HashMap<Carried, bool> = HashMap::default();
        // Add before removing: an address that one interface hands to another is a member all the
        // time.
        for (group, address) in added {
            let addresses = self.groups.entry(group).or_default();
            let count = addresses.entry(address).or_insert(0);
            touched.entry((group, address)).or_insert(*count > 0);
            *count += 1;
        }
        for (group, address) in removed {
            let addresses = self.groups.get_mut(&group).expect("it was added");
            let count = addresses.get_mut(&address).expect("it was added");
            touched.entry((group, address)).or_insert(true);
            *count -= 1;
        }
        let mut changes = Vec::new();
        for ((group, address), was_member) in touched {
            let addresses = self.groups.get_mut(&group).expect("it was touched");
            let is_member = addresses[&address] > 0;
            if !is_member {
                addresses.remove(&address);
            }
            if is_member != was_member {
                changes.push(MemberChange { group, address, is_member });
            }
        }
        changes.sort_unstable_by_key(|change| (change.address, change.group));
        changes
    }

    /// Sorted.
    pub(super) fn of_group(&self, group: GroupId) -> impl Iterator<Item = IpAddr> {
        self.groups.get(&group).into_iter().flat_map(|members| members.keys().copied())
    }
}

/// Members by an entry's own addresses.
fn configured(entry: &Interface) -> impl Iterator<Item = Carried> + '_ {
    carried(&entry.groups, &entry.addresses)
}

fn carried<'a>(
    groups: &'a [GroupId],
    addresses: &'a [IpAddr],
) -> impl Iterator<Item = Carried> + 'a {
    groups.iter().flat_map(|group| addresses.iter().map(|address| (*group, *address)))
}

/// Members by addresses that interfaces were seen to have; sorted.
fn observed(state: &DesiredState, live: &[LiveInterface]) -> Vec<Carried> {
    let own = live.iter().flat_map(|live| {
        let entry = &state.interfaces[live.entry];
        let counts = entry.role == Role::Host && entry.addresses.is_empty();
        carried(&entry.groups, if counts { &live.addresses } else { &[] })
    });
    let mut own: Vec<_> = own.collect();
    own.sort_unstable();
    own
}

/// Elements that only `before` has, then those that only `after` has. Both lists are sorted and may
/// have an element twice.
fn difference(before: &[Carried], after: &[Carried]) -> (Vec<Carried>, Vec<Carried>) {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        match (before.peek(), after.peek()) {
            (Some(old), Some(new)) if old == new => {
                before.next();
                after.next();
            }
            (Some(old), new) if new.is_none_or(|new| old < new) => {
                removed.extend(before.next().copied());
            }
            (_, Some(_)) => added.extend(after.next().copied()),
            (_, None) => return (removed, added),
        }
    }
}
