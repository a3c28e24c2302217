//! Edits: changes of parts of a state. The same checks hold as for a file.
//!
//! A state is a value, so an edit makes another one. Both share the parts that did not change.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use sg_common::{Direction, Family};

use crate::{
    describe,
    id::{PrefixListId, RuleIds, Scope},
    model::{
        DesiredState, GroupId, Interface, Peer, PrefixEntry, PrefixList, Rule, RuleId,
        SecurityGroup, Services,
    },
    rules::{check, family, family_name},
    shared::Shared,
};

/// A change of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    AddGroup(SecurityGroup),
    /// Removes a group that nothing refers to.
    RemoveGroup(GroupId),
    AddRule {
        group: GroupId,
        direction: Direction,
        rule: Rule,
    },
    RemoveRule {
        group: GroupId,
        rule: RuleId,
    },
    AddEntries {
        list: PrefixListId,
        entries: Vec<PrefixEntry>,
    },
    RemoveEntries {
        list: PrefixListId,
        cidrs: Vec<IpNet>,
    },
    /// Takes the place of the entry of this name, or comes last.
    PutInterface(Interface),
    RemoveInterface {
        name: String,
    },
    /// Makes an entry's interfaces members of these groups and of no others.
    SetGroups {
        interface: String,
        groups: Vec<GroupId>,
    },
    SetAddresses {
        interface: String,
        addresses: Vec<IpAddr>,
    },
}

/// Why a state cannot be edited so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error("there is no {0}")]
    Missing(String),
    #[error("there is {0} already")]
    Exists(String),
    #[error("{what} is in use by {by}")]
    InUse { what: String, by: String },
    #[error("{what}: {count}, more than the quota of {limit}")]
    Quota { what: String, count: u64, limit: u64 },
    #[error("{0}")]
    Invalid(String),
}

impl DesiredState {
    /// The state after these edits, in their order.
    ///
    /// # Errors
    /// The first edit that cannot be made; none is made then.
    pub fn edited(&self, edits: &[Edit]) -> Result<Self, EditError> {
        let mut state = self.clone();
        edits.iter().try_for_each(|edit| state.edit(edit))?;
        Ok(state)
    }

    fn edit(&mut self, edit: &Edit) -> Result<(), EditError> {
        match edit {
            Edit::AddGroup(group) => self.add_group(group),
            Edit::RemoveGroup(id) => self.remove_group(*id),
            Edit::AddRule { group, direction, rule } => self.add_rule(*group, *direction, rule),
            Edit::RemoveRule { group, rule } => self.remove_rule(*group, *rule),
            Edit::AddEntries { list, entries } => self.add_entries(*list, entries),
            Edit::RemoveEntries { list, cidrs } => self.remove_entries(*list, cidrs),
            Edit::PutInterface(entry) => self.put_interface(entry),
            Edit::RemoveInterface { name } => {
                let at = self.interface_at(name)?;
                self.interfaces.remove(at);
                Ok(())
            }
            Edit::SetGroups { interface, groups } => {
                let entry = &self.interfaces[self.interface_at(interface)?];
                self.put_interface(&Interface { groups: groups.clone(), ..entry.clone() })
            }
            Edit::SetAddresses { interface, addresses } => {
                let entry = &self.interfaces[self.interface_at(interface)?];
                self.put_interface(&Interface { addresses: addresses.clone(), ..entry.clone() })
            }
        }
    }

    fn add_group(&mut self, group: &SecurityGroup) -> Result<(), EditError> {
        let SecurityGroup { id, scope, name, description, .. } = group;
        let what = || format!("a group \"{name}\"");
        check::group_name(name).map_err(EditError::Invalid)?;
        check::description(description).map_err(EditError::Invalid)?;
        let is_it = |other: &Shared<SecurityGroup>| {
            other.id == *id || (other.scope == *scope && other.name.eq_ignore_ascii_case(name))
        };
        if self.groups.iter().any(is_it) {
            return Err(EditError::Exists(what()));
        }
        if *scope == Scope::FILE && *id != GroupId::of_name(name) {
            return Err(EditError::Invalid(format!("{id} is not the id of group \"{name}\"")));
        }
        // Its rules may refer to itself.
        let empty = SecurityGroup { ingress: Vec::new(), egress: Vec::new(), ..group.clone() };
        self.groups.push(empty.into());
        for direction in Direction::BOTH {
            for rule in group.rules(direction) {
                self.add_rule(*id, direction, rule)?;
            }
        }
        let last = self.groups.last_mut().expect("it was added");
        last.default_egress = group.default_egress;
        Ok(())
    }

    fn remove_group(&mut self, id: GroupId) -> Result<(), EditError> {
        let at = self.group_at(id)?;
        let what = || format!("group \"{}\"", self.groups[at].name);
        let names_it = |rule: &Rule| rule.peer == Peer::Group(id);
        for other in self.groups.iter().filter(|other| other.id != id) {
            if other.ingress.iter().chain(&other.egress).any(names_it) {
                let by = format!("a rule of group \"{}\"", other.name);
                return Err(EditError::InUse { what: what(), by });
            }
        }
        if let Some(entry) = self.interfaces.iter().find(|entry| entry.groups.contains(&id)) {
            let by = format!("interface \"{}\"", entry.name);
            return Err(EditError::InUse { what: what(), by });
        }
        self.groups.remove(at);
        Ok(())
    }

    fn add_rule(
        &mut self,
        group: GroupId,
        direction: Direction,
        rule: &Rule,
    ) -> Result<(), EditError> {
        let at = self.group_at(group)?;
        check::services(rule.services).map_err(EditError::Invalid)?;
        check::description(&rule.description).map_err(EditError::Invalid)?;
        self.check_peer(rule)?;
        let SecurityGroup { scope, name, .. } = &*self.groups[at];
        if *scope == Scope::FILE {
            let named = self.names().peer(&rule.peer);
            let id = RuleIds::new(name, direction).id(rule.services, named);
            if rule.id != id {
                let text = format!("{} is not the id of this rule, but {id}", rule.id);
                return Err(EditError::Invalid(text));
            }
        }
        let rules = self.groups[at].rules(direction);
        let is_it = |other: &Rule| {
            other.id == rule.id || (other.services, other.peer) == (rule.services, rule.peer)
        };
        if rules.iter().any(is_it) {
            return Err(EditError::Exists(format!("this rule in group \"{name}\"")));
        }
        for one in Family::BOTH {
            let weigh = |rule: &Rule| self.weight(rule, one);
            let count = rules.iter().chain([rule]).map(weigh).sum();
            let limit = u64::from(self.settings.quotas.rules_per_group);
            // A rule of the other family is none more.
            if count > limit && weigh(rule) > 0 {
                let what = format!(
                    "{} rules of group \"{name}\" for {}",
                    describe::direction(direction),
                    family_name(one)
                );
                return Err(EditError::Quota { what, count, limit });
            }
        }
        let group = &mut self.groups[at];
        match direction {
            Direction::Ingress => group.ingress.push(rule.clone()),
            Direction::Egress => {
                group.egress.push(rule.clone());
                group.default_egress = false;
            }
        }
        Ok(())
    }

    fn remove_rule(&mut self, group: GroupId, rule: RuleId) -> Result<(), EditError> {
        let at = self.group_at(group)?;
        for direction in Direction::BOTH {
            let place = self.groups[at].rules(direction).iter().position(|own| own.id == rule);
            let Some(place) = place else { continue };
            let group = &mut self.groups[at];
            match direction {
                Direction::Ingress => drop(group.ingress.remove(place)),
                Direction::Egress => {
                    group.egress.remove(place);
                    group.default_egress = false;
                }
            }
            return Ok(());
        }
        Err(EditError::Missing(format!("rule {rule} in group \"{}\"", self.groups[at].name)))
    }

    fn add_entries(
        &mut self,
        list: PrefixListId,
        entries: &[PrefixEntry],
    ) -> Result<(), EditError> {
        let at = self.list_at(list)?;
        let mut next = self.prefix_lists[at].clone();
        let mut there: HashSet<IpNet> = next.entries.iter().map(|entry| entry.cidr).collect();
        for PrefixEntry { cidr, description } in entries {
            check::description(description).map_err(EditError::Invalid)?;
            check_cidr(cidr)?;
            if *next.family.get_or_insert(family(*cidr)) != family(*cidr) {
                let text = format!("prefix list \"{}\" has entries of one family only", next.name);
                return Err(EditError::Invalid(text));
            }
            if !there.insert(*cidr) {
                return Err(EditError::Exists(format!("{cidr} in prefix list \"{}\"", next.name)));
            }
        }
        if there.len() > next.max_entries as usize {
            let what = format!("entries of prefix list \"{}\"", next.name);
            let (count, limit) = (there.len() as u64, u64::from(next.max_entries));
            return Err(EditError::Quota { what, count, limit });
        }
        Arc::make_mut(&mut next.entries).extend_from_slice(entries);
        let was_empty = self.prefix_lists[at].entries.is_empty();
        self.prefix_lists[at] = next;
        if was_empty {
            // Its first entry says which family it has.
            let rules =
                self.groups.iter().flat_map(|group| group.ingress.iter().chain(&group.egress));
            let mut naming = rules.filter(|rule| rule.peer == Peer::PrefixList(list));
            return naming.try_for_each(|rule| self.check_peer(rule));
        }
        Ok(())
    }

    fn remove_entries(&mut self, list: PrefixListId, cidrs: &[IpNet]) -> Result<(), EditError> {
        let at = self.list_at(list)?;
        let list = &mut self.prefix_lists[at];
        let gone: HashSet<&IpNet> = cidrs.iter().collect();
        let there: HashSet<IpNet> = list.entries.iter().map(|entry| entry.cidr).collect();
        if let Some(cidr) = cidrs.iter().find(|cidr| !there.contains(cidr)) {
            return Err(EditError::Missing(format!("{cidr} in prefix list \"{}\"", list.name)));
        }
        Arc::make_mut(&mut list.entries).retain(|entry| !gone.contains(&entry.cidr));
        if list.entries.is_empty() {
            list.family = None;
        }
        Ok(())
    }

    fn put_interface(&mut self, entry: &Interface) -> Result<(), EditError> {
        check::interface(entry, &self.settings.quotas).map_err(EditError::Invalid)?;
        for group in &entry.groups {
            self.group_at(*group)?;
        }
        match self.interface_at(&entry.name) {
            Ok(at) => self.interfaces[at] = entry.clone(),
            Err(_) => self.interfaces.push(entry.clone()),
        }
        Ok(())
    }

    /// Whether a rule's peer is there and can be of its services' family.
    fn check_peer(&self, rule: &Rule) -> Result<(), EditError> {
        let of = match rule.peer {
            Peer::Cidr(net) => {
                check_cidr(&net)?;
                Some(family(net))
            }
            Peer::Group(id) => {
                self.group_at(id)?;
                None
            }
            Peer::PrefixList(id) => self.prefix_lists[self.list_at(id)?].family,
        };
        let only = match rule.services {
            Services::Icmp(_) => Some(Family::V4),
            Services::Icmpv6(_) => Some(Family::V6),
            _ => None,
        };
        match (only, of) {
            (Some(only), Some(of)) if only != of => {
                let (peer, family) = (self.names().peer(&rule.peer), family_name(of));
                let protocol = rule.services.protocol();
                Err(EditError::Invalid(format!("{peer} is {family}, but {protocol} is not")))
            }
            _ => Ok(()),
        }
    }

    /// A rule's weight in the quota of one family.
    fn weight(&self, rule: &Rule, one: Family) -> u64 {
        let (weight, of) = match rule.peer {
            Peer::Cidr(net) => (1, Some(family(net))),
            Peer::Group(_) => (1, None),
            Peer::PrefixList(id) => {
                let list = self.prefix_list(id);
                list.map_or((0, None), |list| (u64::from(list.max_entries), list.family))
            }
        };
        if of.is_none_or(|of| of == one) { weight } else { 0 }
    }

    fn group_at(&self, id: GroupId) -> Result<usize, EditError> {
        let at = self.groups.iter().position(|group| group.id == id);
        at.ok_or_else(|| EditError::Missing(format!("group {id}")))
    }

    fn list_at(&self, id: PrefixListId) -> Result<usize, EditError> {
        let at = self.prefix_lists.iter().position(|list: &PrefixList| list.id == id);
        at.ok_or_else(|| EditError::Missing(format!("prefix list {id}")))
    }

    fn interface_at(&self, name: &str) -> Result<usize, EditError> {
        let at = self.interfaces.iter().position(|entry| entry.name == name);
        at.ok_or_else(|| EditError::Missing(format!("interface \"{name}\"")))
    }
}

fn check_cidr(cidr: &IpNet) -> Result<(), EditError> {
    if *cidr == cidr.trunc() {
        return Ok(());
    }
    Err(EditError::Invalid(format!("{cidr} has host bits; its network is {}", cidr.trunc())))
}
