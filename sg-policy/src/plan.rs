//! The difference between two desired states, and the interfaces that it reaches.

mod reach;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    hash::Hash,
    sync::Arc,
};

pub use reach::reached;
use sg_common::Direction;

use crate::{
    describe,
    export::mac_text,
    model::{
        DatapathChoice, DesiredState, FilterSettings, GroupId, Interface, Names, OnRevoke,
        PrefixList, PrefixListId, Role, Rule, RuleId, SecurityGroup, Settings, Tracking,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Add,
    Remove,
    Modify,
}

impl Op {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Remove => "-",
            Self::Modify => "~",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Rule,
    SecurityGroup,
    PrefixList,
    Interface,
    Setting,
}

impl Kind {
    /// As in the JSON of `sgctl plan`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::SecurityGroup => "security_group",
            Self::PrefixList => "prefix_list",
            Self::Interface => "interface",
            Self::Setting => "setting",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub op: Op,
    pub kind: Kind,
    /// A rule's id, a name, or a setting's key (`tracking.udp`).
    pub id: String,
    /// For people: `web ingress tcp 443 from 0.0.0.0/0`.
    pub text: String,
    pub object: Object,
    /// Whether any packet may fare differently; false for descriptions and quotas.
    pub policy: bool,
}

/// The object that a change is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// The group itself, or the one that a rule is of.
    Group(GroupId),
    PrefixList(PrefixListId),
    /// An entry's name.
    Interface(String),
    /// Its key.
    Setting(String),
}

/// The changes that turn `old` into `new`: settings, prefix lists, groups with their rules,
/// interfaces. Empty if both mean the same; the order of rules, groups and addresses means nothing.
///
/// ```
/// use sg_policy::{parse, plan::diff};
///
/// let with_ports = |ports: &str| {
///     let rules = format!(
///         "[[security_group]]\nname = \"web\"\n\
///          ingress = [{{ protocol = \"tcp\", ports = {ports}, cidrs = [\"0.0.0.0/0\"] }}]\n"
///     );
///     parse("rules.toml", rules.as_bytes()).expect("valid rules")
/// };
/// assert!(diff(&with_ports("[80, 443]"), &with_ports("[443, 80]")).is_empty());
/// // A rule of its own for each port: one goes, the other stays.
/// assert_eq!(diff(&with_ports("[80, 443]"), &with_ports("80")).len(), 1);
/// ```
pub fn diff(old: &DesiredState, new: &DesiredState) -> Vec<Change> {
    let (mut changes, names) = (Vec::new(), (&old.names(), &new.names()));
    settings(&old.settings, &new.settings, &mut changes);
    let sides = (old.prefix_lists.iter(), new.prefix_lists.iter());
    pair(sides, |list| list.id, |old, new| prefix_list(old, new, &mut changes));
    let sides = (old.groups.iter(), new.groups.iter());
    pair(
        sides,
        |group| group.id,
        |old, new| {
            group(old.map(|old| &**old), new.map(|new| &**new), names, &mut changes);
        },
    );
    let sides = (old.interfaces.iter(), new.interfaces.iter());
    pair(
        sides,
        |entry| entry.name.as_str(),
        |before, after| {
            interface((before, &old.settings), (after, &new.settings), names, &mut changes);
        },
    );
    glob_order(old, new, &mut changes);
    changes
}

/// Whether [`diff`] is empty; where much differs, without a word on each.
pub fn is_same(old: &DesiredState, new: &DesiredState) -> bool {
    let lists = old.prefix_lists.iter().zip(&new.prefix_lists);
    let mut lists =
        lists.filter(|(old, new)| old.id == new.id && !Arc::ptr_eq(&old.entries, &new.entries));
    let groups = old.groups.iter().zip(&new.groups);
    let mut groups = groups.filter(|(old, new)| old.id == new.id && !old.is(new));
    let differs = lists.any(|(old, new)| has_other(&old.entries, &new.entries, |entry| entry.cidr))
        || groups.any(|(old, new)| {
            Direction::BOTH.into_iter().any(|direction| {
                has_other(old.rules(direction), new.rules(direction), |rule| rule.id)
            })
        });
    !differs && diff(old, new).is_empty()
}

/// Whether there are more or less, or the first that stands elsewhere is not an old one at all.
fn has_other<T, K: PartialEq>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> bool {
    let mut pairs = old.iter().zip(new);
    old.len() != new.len()
        || pairs
            .find_map(|(old, new)| (key(old) != key(new)).then(|| key(new)))
            .is_some_and(|moved| old.iter().all(|old| key(old) != moved))
}

/// Calls `each` with the items of both sides that have the same key: first the new side's, in its
/// order, then those that only the old side has.
fn pair<'s, T: 's, K: Hash + Eq, I: Iterator<Item = &'s T> + Clone>(
    (old, new): (I, I),
    key: impl Fn(&'s T) -> K,
    mut each: impl FnMut(Option<&'s T>, Option<&'s T>),
) {
    let mut before: HashMap<K, &T> = old.clone().map(|item| (key(item), item)).collect();
    for item in new {
        each(before.remove(&key(item)), Some(item));
    }
    for item in old.filter(|item| before.contains_key(&key(item))) {
        each(Some(item), None);
    }
}

/// Names of the old state and of the new one.
type Sides<'n> = (&'n Names<'n>, &'n Names<'n>);

fn change(op: Op, object: Object, name: &str, text: String) -> Change {
    let kind = match object {
        Object::Group(_) => Kind::SecurityGroup,
        Object::PrefixList(_) => Kind::PrefixList,
        Object::Interface(_) => Kind::Interface,
        Object::Setting(_) => Kind::Setting,
    };
    Change { op, kind, id: name.to_owned(), text, object, policy: true }
}

fn interface_change(op: Op, name: &str, text: String) -> Change {
    change(op, Object::Interface(name.to_owned()), name, text)
}

/// `what: old -> new` for each that differs.
fn differences<T: PartialEq + Display>(fields: &[(&str, T, T)]) -> Vec<String> {
    let differing = fields.iter().filter(|(_, old, new)| old != new);
    differing.map(|(what, old, new)| format!("{what}: {old} -> {new}")).collect()
}

fn settings(old: &Settings, new: &Settings, changes: &mut Vec<Change>) {
    let mut compare = |key: &str, old: String, new: String, policy| {
        if old != new {
            let text = format!("{key}: {old} -> {new}");
            changes.push(Change {
                policy,
                ..change(Op::Modify, Object::Setting(key.to_owned()), key, text)
            });
        }
    };
    for (key, old, new) in filters(&old.filter, &new.filter) {
        compare(key, old, new, true);
    }
    for (key, old, new) in tracking(&old.tracking, &new.tracking) {
        compare(&format!("tracking.{key}"), old, new, true);
    }
    let (old, new) = (old.quotas, new.quotas);
    for (key, old, new) in [
        ("rules_per_group", old.rules_per_group, new.rules_per_group),
        ("groups_per_interface", old.groups_per_interface, new.groups_per_interface),
        ("rules_per_interface", old.rules_per_interface, new.rules_per_interface),
    ] {
        compare(&format!("quotas.{key}"), old.to_string(), new.to_string(), false);
    }
}

fn filters(old: &FilterSettings, new: &FilterSettings) -> [(&'static str, String, String); 3] {
    let flag = |value: bool| value.to_string();
    let revoke = |value| if value == OnRevoke::Keep { "keep" } else { "cut" }.to_owned();
    [
        ("related_icmp", flag(old.related_icmp), flag(new.related_icmp)),
        ("on_revoke", revoke(old.on_revoke), revoke(new.on_revoke)),
        ("exempt_services", flag(old.exempt_services), flag(new.exempt_services)),
    ]
}

fn tracking(old: &Tracking, new: &Tracking) -> [(&'static str, String, String); 5] {
    let seconds = |key, old: u32, new: u32| (key, old.to_string(), new.to_string());
    [
        seconds("tcp_established", old.tcp_established, new.tcp_established),
        seconds("udp", old.udp, new.udp),
        seconds("udp_stream", old.udp_stream, new.udp_stream),
        seconds("pickup", old.pickup, new.pickup),
        ("max_flows", old.max_flows.to_string(), new.max_flows.to_string()),
    ]
}

fn prefix_list(old: Option<&PrefixList>, new: Option<&PrefixList>, changes: &mut Vec<Change>) {
    let (op, list) = match (old, new) {
        (Some(old), Some(new)) => return modified_list(old, new, changes),
        (None, Some(list)) => (Op::Add, list),
        (Some(list), None) => (Op::Remove, list),
        (None, None) => return,
    };
    let text =
        format!("{} ({})", list.name, describe::count(list.entries.len(), "entry", "entries"));
    changes.push(change(op, Object::PrefixList(list.id), &list.name, text));
}

fn modified_list(old: &PrefixList, new: &PrefixList, changes: &mut Vec<Change>) {
    let (mut was, mut is) = (&old.entries[..], &new.entries[..]);
    if old.entries == new.entries {
        // Long ones mostly are.
        (was, is) = (&[], &[]);
    }
    let before: HashMap<_, _> = was.iter().map(|entry| (entry.cidr, entry)).collect();
    let after: HashMap<_, _> = is.iter().map(|entry| (entry.cidr, entry)).collect();
    let added = is.iter().filter(|entry| !before.contains_key(&entry.cidr));
    let removed = was.iter().filter(|entry| !after.contains_key(&entry.cidr));
    let mut parts: Vec<String> = added.map(|entry| format!("+{}", entry.cidr)).collect();
    parts.extend(removed.map(|entry| format!("-{}", entry.cidr)));
    let policy = !parts.is_empty();
    shorten(&mut parts);
    parts.extend(differences(&[("max_entries", old.max_entries, new.max_entries)]));
    let redescribed = is.iter().any(|entry| {
        before.get(&entry.cidr).is_some_and(|old| old.description != entry.description)
    });
    if old.description != new.description || redescribed {
        parts.push("description".to_owned());
    }
    if !parts.is_empty() {
        let text = format!("{}: {}", new.name, parts.join(", "));
        let object = Object::PrefixList(new.id);
        changes.push(Change { policy, ..change(Op::Modify, object, &new.name, text) });
    }
}

/// Long lists are counted.
fn shorten(parts: &mut Vec<String>) {
    const SHOWN: usize = 8;
    if parts.len() > SHOWN {
        let more = parts.len() - SHOWN;
        parts.truncate(SHOWN);
        parts.push(format!("and {more} more entries"));
    }
}

fn group(
    old: Option<&SecurityGroup>,
    new: Option<&SecurityGroup>,
    names: Sides<'_>,
    changes: &mut Vec<Change>,
) {
    let Some(SecurityGroup { id, name, .. }) = new.or(old) else { return };
    let whole = |op| change(op, Object::Group(*id), name, name.to_owned());
    match (old, new) {
        (Some(old), Some(new)) if old.description != new.description => {
            let text = format!("{name}: description");
            let change = change(Op::Modify, Object::Group(*id), name, text);
            changes.push(Change { policy: false, ..change });
        }
        (None, Some(_)) => changes.push(whole(Op::Add)),
        (Some(_), None) => changes.push(whole(Op::Remove)),
        _ => {}
    }
    for direction in Direction::BOTH {
        let sides = (rules_of(old, direction), rules_of(new, direction));
        rules((*id, name), direction, sides, names, changes);
    }
}

fn rules_of(group: Option<&SecurityGroup>, direction: Direction) -> &[Rule] {
    group.map_or(&[], |group| group.rules(direction))
}

fn rules(
    (group, name): (GroupId, &str),
    direction: Direction,
    (old, new): (&[Rule], &[Rule]),
    (old_names, new_names): Sides<'_>,
    changes: &mut Vec<Change>,
) {
    if old == new {
        return;
    }
    let mut push = |op, rule: &Rule, names: &Names<'_>, policy| {
        changes.push(Change {
            op,
            kind: Kind::Rule,
            id: rule.id.to_string(),
            text: rule.text(name, direction, names),
            object: Object::Group(group),
            policy,
        });
    };
    let mut before: HashMap<RuleId, &Rule> = old.iter().map(|rule| (rule.id, rule)).collect();
    for rule in new {
        match before.remove(&rule.id) {
            None => push(Op::Add, rule, new_names, true),
            Some(old) if old.description != rule.description => {
                push(Op::Modify, rule, new_names, false);
            }
            Some(_) => {}
        }
    }
    for rule in old.iter().filter(|rule| before.contains_key(&rule.id)) {
        push(Op::Remove, rule, old_names, true);
    }
}

fn interface(
    (old, old_settings): (Option<&Interface>, &Settings),
    (new, new_settings): (Option<&Interface>, &Settings),
    names: Sides<'_>,
    changes: &mut Vec<Change>,
) {
    let (op, entry, of) = match (old, new) {
        (Some(old), Some(new)) => {
            let parts = entry_differences((old, old_settings), (new, new_settings), names);
            if !parts.is_empty() {
                let text = format!("{}: {}", new.name, parts.join(", "));
                changes.push(interface_change(Op::Modify, &new.name, text));
            }
            return;
        }
        (None, Some(entry)) => (Op::Add, entry, names.1),
        (Some(entry), None) => (Op::Remove, entry, names.0),
        (None, None) => return,
    };
    let groups = of.groups(&entry.groups).join(", ");
    let text = format!("{} role {} groups {groups}", entry.name, role(entry));
    changes.push(interface_change(op, &entry.name, text));
}

fn role(entry: &Interface) -> &'static str {
    match entry.role {
        Role::Port => "port",
        Role::Host => "host",
    }
}

fn entry_differences(
    (old, old_settings): (&Interface, &Settings),
    (new, new_settings): (&Interface, &Settings),
    names: Sides<'_>,
) -> Vec<String> {
    let datapath = |entry: &Interface| match entry.datapath {
        DatapathChoice::Auto => "auto",
        DatapathChoice::Xdp => "xdp",
        DatapathChoice::Tc => "tc",
    };
    let mac = |entry: &Interface| entry.mac.map_or_else(|| "none".to_owned(), mac_text);
    let check = |entry: &Interface| entry.source_check.to_string();
    let mut parts = differences(&[
        ("role", role(old).to_owned(), role(new).to_owned()),
        ("mac", mac(old), mac(new)),
        ("source_check", check(old), check(new)),
        ("datapath", datapath(old).to_owned(), datapath(new).to_owned()),
    ]);
    parts.extend(set_difference(
        "groups",
        &names.0.groups(&old.groups),
        &names.1.groups(&new.groups),
    ));
    parts.extend(set_difference("addresses", &old.addresses, &new.addresses));
    let set = filters(&old_settings.filter, &new_settings.filter);
    parts.extend(own_differences(filters(&old.filter, &new.filter), set));
    let set = tracking(&old_settings.tracking, &new_settings.tracking);
    parts.extend(own_differences(tracking(&old.tracking, &new.tracking), set));
    parts
}

/// An entry's differences, without those that merely follow a change of the settings.
fn own_differences<T: PartialEq + Display, const N: usize>(
    entry: [(&str, T, T); N],
    settings: [(&str, T, T); N],
) -> Vec<String> {
    let own = entry.into_iter().zip(settings).filter(|(entry, settings)| entry != settings);
    own.flat_map(|(entry, _)| differences(&[entry])).collect()
}

fn set_difference<T: Ord + Display>(what: &str, old: &[T], new: &[T]) -> Option<String> {
    let added = new.iter().filter(|item| !old.contains(item)).map(|item| format!("+{item}"));
    let removed = old.iter().filter(|item| !new.contains(item)).map(|item| format!("-{item}"));
    let parts: Vec<String> = added.chain(removed).collect();
    (!parts.is_empty()).then(|| format!("{what} {}", parts.join(" ")))
}

/// Adds a change of the globs' order. If several globs match an interface the first wins, so their
/// order is policy.
fn glob_order(old: &DesiredState, new: &DesiredState, changes: &mut Vec<Change>) {
    let globs = |state: &DesiredState, other: &DesiredState| -> Vec<String> {
        let theirs: HashSet<&str> =
            other.interfaces.iter().map(|entry| entry.name.as_str()).collect();
        let globs = state.interfaces.iter().filter(|entry| entry.is_glob());
        globs
            .filter(|entry| theirs.contains(entry.name.as_str()))
            .map(|entry| entry.name.clone())
            .collect()
    };
    for (before, after) in globs(old, new).iter().zip(&globs(new, old)) {
        if before != after {
            let text = format!("{after}: order among the globs");
            changes.push(interface_change(Op::Modify, after, text));
        }
    }
}
