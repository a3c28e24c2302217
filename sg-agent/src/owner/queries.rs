//! Answers about the state in force, for people and scripts.

use std::collections::BTreeMap;

use sg_common::{
    Direction, Reason,
    counter::{self, Counter, CounterRow},
};
use sg_policy::{
    compile::allowance,
    describe,
    model::{DatapathChoice, Interface, Members, Names, Role, Rule},
};

use super::{
    command::count_rules,
    error::Error,
    figures::{Figures, ImageFigures},
    revision::Revision,
    state::{InterfaceState, Owner},
    warnings::altname_hint,
};
use crate::{
    api::{
        self, Counters, FilterState, FlowUse, InterfaceStatus, Shown, ShownEntry, ShownGroup,
        ShownInterface, ShownPrefixList, ShownRule, Status,
    },
    datapath::Hook,
    kernel::Kernel,
    observe::name::Name,
};

impl<D: Kernel> Owner<D> {
    /// Asks the kernel first, so that an interface is called filtered only where it is.
    pub fn status(&mut self) -> Status {
        self.verify_for_question();
        self.status_beside(self.kernel.foreign_programs())
    }

    /// With the programs of others, by ifindex.
    pub(super) fn status_beside(&self, mut foreign_programs: BTreeMap<u32, Vec<String>>) -> Status {
        let used = self.live_flows();
        let capacity = self.kernel.capacity();
        let is_only = self.filtered.len() == 1;
        let flow_use = |used: u64, entry: &Interface| {
            // `capacity` counts both families.
            let lanes = u32::try_from(capacity / 2).unwrap_or(u32::MAX);
            let max = allowance(entry.tracking.max_flows, is_only).of(lanes).min(lanes);
            FlowUse { used, capacity, max: 2 * u64::from(max) }
        };
        let names = self.rules().names();
        let filtered = self.filtered.iter().filter_map(|(&ifindex, held)| {
            let entry = &self.rules().interfaces[held.entry?];
            let row = self.kernel.counters(held.slot);
            let belief = match (&held.attachment, &self.verification.distrust) {
                (Err(reason), _) | (Ok(_), Some(reason)) => Belief::fault(reason.clone()),
                (Ok(attachment), None) => {
                    Belief::filtered(hook(attachment.hook), attachment.reason.clone())
                }
            };
            Some(InterfaceStatus {
                others: foreign_programs.remove(&ifindex).unwrap_or_default(),
                ingress: counters(&row, Direction::Ingress),
                egress: counters(&row, Direction::Egress),
                flows: flow_use(used.get(&held.slot).copied().unwrap_or(0), entry),
                ..status_of(&held.name, ifindex, entry, &names, belief)
            })
        });
        let left_out = self.left_out.iter().filter_map(|(&ifindex, reason)| {
            let name = &self.view.get(&ifindex)?.device.name;
            let entry = &self.rules().interfaces[self.rules().entry_for(name)?];
            let belief = Belief::fault(reason.clone());
            Some(InterfaceStatus {
                flows: flow_use(0, entry),
                ..status_of(name, ifindex, entry, &names, belief)
            })
        });
        let named_otherwise = self.named_otherwise();
        let unfiltered = named_otherwise.iter().filter_map(|(ifindex, altname)| {
            let name = &self.view.get(ifindex)?.device.name;
            if self.filtered.contains_key(ifindex) {
                return None;
            }
            let entry = self.rules().interfaces.iter().find(|entry| entry.name == *altname)?;
            let belief =
                Belief { state: FilterState::Unfiltered, ..Belief::fault(altname_hint(altname)) };
            Some(InterfaceStatus {
                flows: flow_use(0, entry),
                ..status_of(name, *ifindex, entry, &names, belief)
            })
        });
        let mut interfaces: Vec<_> = filtered.chain(left_out).chain(unfiltered).collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            revision: self.target.active.number,
            kernel: kernel(),
            confirm_until: self.target.pending.as_ref().map(|pending| pending.until),
            rules: count_rules(self.rules()),
            interfaces,
            control: None,
        }
    }

    pub fn figures(&self) -> Figures {
        Figures {
            // Metrics do not show them, and to find them takes a look at each interface.
            status: self.status_beside(BTreeMap::new()),
            image: ImageFigures::of(&self.image_in_force),
            publishing: self.publishing.clone(),
            verification: self.verification.clone(),
            capacity: self.kernel.capacity(),
        }
    }

    pub fn present(&self) -> &Revision {
        &self.target.active
    }

    pub fn history(&self) -> Vec<api::Revision> {
        let ledger = self.store.ledger();
        let state = |entry: &crate::store::LedgerEntry| match entry {
            entry if entry.rolled_back => "rolled_back",
            entry if entry.revision != ledger.current => "past",
            _ if ledger.pending.is_some() => "unconfirmed",
            _ => "current",
        };
        let revisions = ledger.revisions.iter().map(|entry| api::Revision {
            revision: entry.revision,
            applied_at: entry.applied_at,
            state: state(entry).to_owned(),
            rules: entry.rules,
            groups: entry.groups,
            origin: entry.origin.clone(),
        });
        revisions.collect()
    }

    pub fn show(&self) -> Shown {
        let rules = self.rules();
        let (members, names) = (Members::of(rules, &self.live), rules.names());
        let names = &names;
        Shown {
            groups: rules
                .groups
                .iter()
                .map(|group| ShownGroup {
                    name: group.name.clone(),
                    description: group.description.clone(),
                    ingress_rules: group.ingress.len(),
                    egress_rules: group.egress.len(),
                    members: members.of_group(group.id).to_vec(),
                })
                .collect(),
            rules: rules
                .groups
                .iter()
                .flat_map(|group| {
                    Direction::BOTH.into_iter().flat_map(move |direction| {
                        let rules = group.rules(direction).iter();
                        rules.map(move |rule| shown_rule(&group.name, direction, rule, names))
                    })
                })
                .collect(),
            prefix_lists: rules
                .prefix_lists
                .iter()
                .map(|list| ShownPrefixList {
                    name: list.name.clone(),
                    description: list.description.clone(),
                    max_entries: list.max_entries,
                    entries: list
                        .entries
                        .iter()
                        .map(|entry| ShownEntry {
                            cidr: entry.cidr.to_string(),
                            description: entry.description.clone(),
                        })
                        .collect(),
                })
                .collect(),
            interfaces: rules
                .interfaces
                .iter()
                .enumerate()
                .map(|(at, entry)| ShownInterface {
                    name: entry.name.clone(),
                    role: role(entry.role).to_owned(),
                    groups: names.groups(&entry.groups),
                    addresses: entry.addresses.clone(),
                    mac: entry.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
                    source_check: entry.source_check,
                    datapath: choice(entry.datapath).to_owned(),
                    matches: self
                        .view
                        .values()
                        .filter(|interface| rules.entry_for(&interface.device.name) == Some(at))
                        .map(|interface| interface.device.name.to_string())
                        .collect(),
                })
                .collect(),
        }
    }

    /// The interface of this name, if the rules in force filter it.
    pub(super) fn filtered_by_name(&self, name: &str) -> Result<(u32, &InterfaceState), Error> {
        let found =
            self.filtered.iter().find(|(_, held)| held.name.is(name) && held.entry.is_some());
        found.map(|(&ifindex, held)| (ifindex, held)).ok_or_else(|| {
            let there = self.view.values().any(|interface| interface.device.name.is(name));
            Error::Conflict(match there {
                true => format!("no entry of the rules matches interface \"{name}\""),
                false => format!("there is no interface \"{name}\""),
            })
        })
    }
}

pub(super) fn shown_rule(
    group: &str,
    direction: Direction,
    rule: &Rule,
    names: &Names<'_>,
) -> ShownRule {
    ShownRule {
        id: rule.id.to_string(),
        group: group.to_owned(),
        direction: describe::direction(direction).to_owned(),
        protocol: rule.services.protocol().into_owned(),
        ports: rule.services.ports(),
        peer: names.peer(&rule.peer).to_string(),
        description: rule.description.clone(),
    }
}

/// Whether an interface is filtered, by what, and why or why not.
struct Belief {
    state: FilterState,
    datapath: &'static str,
    reason: String,
    fault: Option<String>,
}

impl Belief {
    fn filtered(datapath: &'static str, reason: String) -> Self {
        Self { state: FilterState::Filtered, datapath, reason, fault: None }
    }

    fn fault(fault: String) -> Self {
        let reason = format!("NOT filtered: {fault}");
        Self { state: FilterState::Fault, datapath: "none", reason, fault: Some(fault) }
    }
}

fn status_of(
    name: &Name,
    ifindex: u32,
    entry: &Interface,
    names: &Names<'_>,
    belief: Belief,
) -> InterfaceStatus {
    let Belief { state, datapath, reason, fault } = belief;
    InterfaceStatus {
        name: name.to_string(),
        ifindex,
        role: role(entry.role).to_owned(),
        state,
        fault,
        datapath: datapath.to_owned(),
        datapath_reason: reason,
        others: Vec::new(),
        groups: names.groups(&entry.groups),
        ingress: Counters::default(),
        egress: Counters::default(),
        flows: FlowUse::default(),
    }
}

fn counters(row: &CounterRow, direction: Direction) -> Counters {
    let not_logged = row.0[counter::not_logged(direction)];
    let mut counters = Counters { not_logged: count(not_logged), ..Counters::default() };
    for &reason in Reason::ALL {
        let counter = row.0[counter::index(direction, reason)];
        if counter.packets == 0 {
            continue;
        }
        let side = if reason.allowed() { &mut counters.allowed } else { &mut counters.dropped };
        side.insert(reason.name().to_owned(), count(counter));
    }
    counters
}

fn count(counter: Counter) -> api::Count {
    api::Count { packets: counter.packets, bytes: counter.bytes }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Port => "port",
        Role::Host => "host",
    }
}

fn choice(choice: DatapathChoice) -> &'static str {
    match choice {
        DatapathChoice::Auto => "auto",
        DatapathChoice::Xdp => "xdp",
        DatapathChoice::Tc => "tc",
    }
}

fn hook(hook: Hook) -> &'static str {
    match hook {
        Hook::Xdp => "xdp",
        Hook::Tcx => "tcx",
        Hook::Tc => "tc",
    }
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}
