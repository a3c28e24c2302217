//! The desired state as a rules.toml that reads back as the same state.

use std::fmt::Write as _;

use crate::{
    describe::moves_text,
    model::{
        DatapathChoice, DesiredState, FilterSettings, IcmpMatch, Interface, Names, OnRevoke, Peer,
        PortRange, PrefixList, Quotas, Role, Rule, SecurityGroup, Services, Settings, Tracking,
    },
};

/// The text of a rules.toml; defaults are left out.
///
/// `[settings]` is for all interfaces: a rules.toml cannot give an interface [`FilterSettings`] of its
/// own, and they are left out.
pub fn to_toml(state: &DesiredState) -> String {
    let names = state.names();
    let mut sections = vec![settings(&state.settings)];
    sections.extend(state.prefix_lists.iter().map(prefix_list));
    sections.extend(state.groups.iter().map(|shared| group(shared, &names)));
    let tracking = &state.settings.tracking;
    sections.extend(state.interfaces.iter().map(|entry| interface(entry, tracking, &names)));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

/// The lines of a table, `key = value` each.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn header(header: &str) -> Self {
        Self(format!("{header}\n"))
    }

    fn key(&mut self, key: &str, value: &str) {
        writeln!(self.0, "{key} = {value}").expect("writing to a string");
    }

    fn key_unless(&mut self, default: bool, key: &str, value: &str) {
        if !default {
            self.key(key, value);
        }
    }

    /// Adds the lines of `other` below a header, if there are any.
    fn table(&mut self, header: &str, other: &Self) {
        if !other.0.is_empty() {
            writeln!(self.0, "{header}\n{}", other.0.trim_end()).expect("writing to a string");
        }
    }
}

fn settings(settings: &Settings) -> String {
    let defaults = Settings::default();
    let mut own = Lines::default();
    let boolean = |value: bool| if value { "true" } else { "false" };
    let FilterSettings { related_icmp, on_revoke, exempt_services } = settings.filter;
    own.key_unless(related_icmp, "related_icmp", boolean(related_icmp));
    own.key_unless(on_revoke == OnRevoke::Keep, "on_revoke", "\"cut\"");
    own.key_unless(exempt_services, "exempt_services", boolean(exempt_services));
    let mut own_tracking = Lines::default();
    for (key, value) in tracking(&settings.tracking, &defaults.tracking) {
        own_tracking.key(key, &value);
    }
    let mut quotas = Lines::default();
    let Quotas { rules_per_group, groups_per_interface, rules_per_interface } = settings.quotas;
    for (key, value, default) in [
        ("rules_per_group", rules_per_group, defaults.quotas.rules_per_group),
        ("groups_per_interface", groups_per_interface, defaults.quotas.groups_per_interface),
        ("rules_per_interface", rules_per_interface, defaults.quotas.rules_per_interface),
    ] {
        quotas.key_unless(value == default, key, &value.to_string());
    }
    let mut lines = Lines::default();
    lines.table("[settings]", &own);
    lines.table("[settings.tracking]", &own_tracking);
    lines.table("[settings.quotas]", &quotas);
    lines.0
}

/// The settings that differ from `defaults`.
fn tracking(tracking: &Tracking, defaults: &Tracking) -> Vec<(&'static str, String)> {
    let mut times = vec![
        ("tcp_established", tracking.tcp_established, defaults.tcp_established),
        ("udp", tracking.udp, defaults.udp),
        ("udp_stream", tracking.udp_stream, defaults.udp_stream),
        ("pickup", tracking.pickup, defaults.pickup),
    ];
    times.retain(|(_, seconds, default)| seconds != default);
    let times = times.into_iter().map(|(key, seconds, _)| (key, seconds.to_string()));
    let max_flows = (tracking.max_flows != defaults.max_flows)
        .then(|| ("max_flows", tracking.max_flows.to_string()));
    times.chain(max_flows).collect()
}

fn prefix_list(list: &PrefixList) -> String {
    let mut lines = Lines::header("[[prefix_list]]");
    lines.key("name", &quoted(&list.name));
    lines.key_unless(list.description.is_empty(), "description", &quoted(&list.description));
    let default = list.max_entries as usize == list.entries.len();
    lines.key_unless(default, "max_entries", &list.max_entries.to_string());
    let entries = list.entries.iter().map(|entry| {
        if entry.description.is_empty() {
            return format!("\"{}\"", entry.cidr);
        }
        format!("{{ cidr = \"{}\", description = {} }}", entry.cidr, quoted(&entry.description))
    });
    lines.key("entries", &tall(entries));
    lines.0
}

fn group(group: &SecurityGroup, names: &Names<'_>) -> String {
    let mut lines = Lines::header("[[security_group]]");
    lines.key("name", &quoted(&group.name));
    lines.key_unless(group.description.is_empty(), "description", &quoted(&group.description));
    lines.key_unless(group.ingress.is_empty(), "ingress", &rules(&group.ingress, names));
    lines.key_unless(group.default_egress, "egress", &rules(&group.egress, names));
    lines.0
}

fn rules(rules: &[Rule], names: &Names<'_>) -> String {
    tall(rules.chunk_by(together).map(|rules| rule_table(rules, names)))
}

/// Whether `next` can stand in one table with the rule before it, so that the table spells out to
/// both in this order.
fn together(rule: &Rule, next: &Rule) -> bool {
    rule.services == next.services
        && rule.description == next.description
        && peer_key(&rule.peer) <= peer_key(&next.peer)
}

/// The order of a table's peers when they are spelt out.
fn peer_key(peer: &Peer) -> (u8, &'static str) {
    match peer {
        Peer::Cidr(_) => (0, "cidrs"),
        Peer::Group(_) => (1, "groups"),
        Peer::PrefixList(_) => (2, "prefix_lists"),
    }
}

/// One inline table for rules that differ in their peer only.
fn rule_table(rules: &[Rule], names: &Names<'_>) -> String {
    let services = &rules[0].services;
    let mut fields = match services {
        Services::Protocol(number) => vec![format!("protocol = {number}")],
        _ => vec![format!("protocol = \"{}\"", services.protocol())],
    };
    match services {
        Services::Tcp(range) | Services::Udp(range) => fields.push(ports(*range)),
        Services::Icmp(matched) | Services::Icmpv6(matched) => fields.extend(icmp(*matched)),
        Services::All | Services::Protocol(_) => {}
    }
    for peers in rules.chunk_by(|a, b| peer_key(&a.peer) == peer_key(&b.peer)) {
        let named = peers.iter().map(|rule| quoted(&names.peer(&rule.peer).to_string()));
        fields.push(format!("{} = {}", peer_key(&peers[0].peer).1, flat(named)));
    }
    if !rules[0].description.is_empty() {
        fields.push(format!("description = {}", quoted(&rules[0].description)));
    }
    format!("{{ {} }}", fields.join(", "))
}

fn ports(range: PortRange) -> String {
    if range.from == range.to {
        return format!("ports = {}", range.from);
    }
    format!("ports = \"{range}\"")
}

fn icmp(matched: IcmpMatch) -> Vec<String> {
    let kind = matched.kind.map(|kind| format!("type = {kind}"));
    let code = matched.code.map(|code| format!("code = {code}"));
    kind.into_iter().chain(code).collect()
}

fn interface(entry: &Interface, defaults: &Tracking, names: &Names<'_>) -> String {
    let mut lines = Lines::header("[[interface]]");
    lines.key("name", &quoted(&entry.name));
    lines.key_unless(entry.role == Role::Host, "role", "\"port\"");
    lines.key("groups", &flat(entry.groups.iter().map(|id| quoted(names.group(*id)))));
    let addresses = entry.addresses.iter().map(|address| format!("\"{address}\""));
    lines.key_unless(entry.addresses.is_empty(), "addresses", &flat(addresses));
    if let Some(mac) = entry.mac {
        lines.key("mac", &format!("\"{}\"", mac_text(mac)));
    }
    let checked = entry.role == Role::Port && !entry.addresses.is_empty();
    let source_check = if entry.source_check { "true" } else { "false" };
    lines.key_unless(entry.source_check == checked, "source_check", source_check);
    match entry.datapath {
        DatapathChoice::Auto => {}
        DatapathChoice::Xdp => lines.key("datapath", "\"xdp\""),
        DatapathChoice::Tc => lines.key("datapath", "\"tc\""),
    }
    let tracking = tracking(&entry.tracking, defaults);
    if !tracking.is_empty() {
        let own: Vec<_> = tracking.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        lines.key("tracking", &format!("{{ {} }}", own.join(", ")));
    }
    lines.0
}

/// `02:00:00:00:00:05`.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

fn flat(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// An array with a line for each item.
fn tall(items: impl Iterator<Item = String>) -> String {
    let lines: String = items.map(|item| format!("  {item},\n")).collect();
    if lines.is_empty() { "[]".to_owned() } else { format!("[\n{lines}]") }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if moves_text(c) => {
                write!(quoted, "\\u{:04X}", u32::from(c)).expect("writing to a string");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
