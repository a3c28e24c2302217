//! `[[interface]]`.

use std::{collections::HashMap, net::IpAddr, ops::Range};

use super::{
    cidr::address,
    fault::Findings,
    names::Names,
    settings::tracking,
    table::{Section, Value, brief, string},
};
use crate::model::{DatapathChoice, GroupId, Interface, Role, Settings};

const KEYS: [&str; 8] =
    ["name", "role", "groups", "addresses", "mac", "source_check", "datapath", "tracking"];
/// The kernel's IFNAMSIZ without the terminating zero.
const LONGEST_NAME: usize = 15;

pub(super) fn interface(
    value: &Value<'_>,
    groups: &Names<'_>,
    settings: &Settings,
    findings: &mut Findings,
) -> Option<Interface> {
    let section = Section::of(value, "an interface", &KEYS, findings)?;
    let name = section.require("name", findings).and_then(|value| name(value, findings));
    let choices = [("port", Role::Port), ("host", Role::Host)];
    let role = section.choice("role", &choices, findings);
    let choices =
        [("auto", DatapathChoice::Auto), ("xdp", DatapathChoice::Xdp), ("tc", DatapathChoice::Tc)];
    let datapath = section.choice("datapath", &choices, findings).unwrap_or(DatapathChoice::Auto);
    let mut interface = Interface {
        name: name.unwrap_or_default().to_owned(),
        role: role.unwrap_or(Role::Host),
        groups: group_ids(&section, groups, settings.quotas.groups_per_interface, findings),
        addresses: addresses(&section, findings),
        mac: section.get("mac").and_then(|value| mac(value, findings)),
        source_check: false,
        datapath,
        filter: settings.filter,
        tracking: tracking(section.get("tracking"), settings.tracking, findings),
    };
    let port = interface.role == Role::Port;
    let given = section.boolean("source_check", findings);
    interface.source_check = given.unwrap_or(port && !interface.addresses.is_empty());
    // A role that is misspelt says nothing about what goes with it.
    if role.is_some() || section.get("role").is_none() {
        check_together(&interface, &section, findings);
    }
    Some(interface)
}

/// Keys that do not go with each other.
fn check_together(interface: &Interface, section: &Section<'_, '_>, findings: &mut Findings) {
    let has_addresses = section.get("addresses").is_some();
    if interface.is_glob() && has_addresses {
        findings
            .add(section.place("addresses"), "`addresses` cannot go with a glob")
            .help("write an entry with the exact name for each interface that has addresses");
    }
    let mut port_only = |key: &str, wrong: bool| {
        if !wrong {
            return;
        }
        if interface.role == Role::Host {
            findings.add(section.place(key), format!("`{key}` is for role \"port\"")).help(
                "in role \"host\" this machine is the instance, and the default role is \"host\"",
            );
        } else if !has_addresses {
            findings
                .add(section.place(key), format!("`{key}` needs `addresses`"))
                .help("it holds what the instance sends against its addresses");
        }
    };
    port_only("source_check", interface.source_check && section.get("source_check").is_some());
    port_only("mac", section.get("mac").is_some());
}

fn name<'t>(value: &'t Value<'_>, findings: &mut Findings) -> Option<&'t str> {
    let name = string(value, "an interface's name", findings)?;
    let Some((message, help)) = name_fault(name) else { return Some(name) };
    let finding = findings.add(value.span(), message);
    if !help.is_empty() {
        finding.help(help);
    }
    None
}

/// The fault of an entry's name, and how to mend it.
pub(super) fn name_fault(name: &str) -> Option<(String, &'static str)> {
    let glob = name.contains(['*', '?', '[']);
    let strange = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() {
        Some(("an interface's name cannot be empty".to_owned(), ""))
    } else if let Some(other) = name.chars().find(|c| strange(*c)) {
        Some((format!("an interface's name cannot contain {other:?}"), ""))
    } else if name == "." || name == ".." {
        Some((format!("no interface can be called \"{name}\""), ""))
    } else if glob && let Err(error) = glob::Pattern::new(name) {
        let message = format!("\"{}\" is no glob: {}", brief(name), error.msg);
        Some((message, "`*`, `?` and `[...]` are known"))
    } else if !glob && name.len() > LONGEST_NAME {
        let message = format!("\"{}\" is longer than an interface's name can be", brief(name));
        Some((message, "Linux has 15 bytes for it"))
    } else {
        None
    }
}

fn group_ids(
    section: &Section<'_, '_>,
    groups: &Names<'_>,
    quota: u32,
    findings: &mut Findings,
) -> Vec<GroupId> {
    section.require("groups", findings);
    let Some(array) = section.array("groups", findings) else { return Vec::new() };
    if array.is_empty() {
        findings
            .add(section.place("groups"), "an interface needs at least one group")
            .help("a group without rules lets nothing in");
    }
    if array.len() > quota as usize {
        findings
            .add(
                section.place("groups"),
                format!("{} groups on an interface, more than the quota of {quota}", array.len()),
            )
            .help("raise groups_per_interface in [settings.quotas]; 16 is the most")
            .global();
    }
    let mut seen: HashMap<usize, Range<usize>> = HashMap::new();
    let mut ids = Vec::with_capacity(array.len());
    for value in array.iter() {
        let Some(number) = groups.resolve(value, findings) else { continue };
        let name = groups.name(number);
        if let Some(first) = seen.get(&number) {
            findings
                .add(value.span(), format!("group \"{name}\" is on this interface already"))
                .related(first.clone(), "first here");
            continue;
        }
        seen.insert(number, value.span());
        ids.push(GroupId::of_name(name));
    }
    ids
}

fn addresses(section: &Section<'_, '_>, findings: &mut Findings) -> Vec<IpAddr> {
    let Some(array) = section.array("addresses", findings) else { return Vec::new() };
    let mut seen: HashMap<IpAddr, Range<usize>> = HashMap::new();
    let mut addresses = Vec::with_capacity(array.len());
    for value in array.iter() {
        let Some(address) = address(value, findings) else { continue };
        if let Some(first) = seen.get(&address) {
            findings
                .add(value.span(), format!("\"{address}\" is given twice"))
                .related(first.clone(), "first here");
            continue;
        }
        seen.insert(address, value.span());
        addresses.push(address);
    }
    addresses
}

fn mac(value: &Value<'_>, findings: &mut Findings) -> Option<[u8; 6]> {
    let text = string(value, "`mac`", findings)?;
    let octet = |part: &str| {
        let hex = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hex { u8::from_str_radix(part, 16).ok() } else { None }
    };
    let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
    let Some(mac) = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok()) else {
        findings
            .add(value.span(), format!("\"{}\" is no MAC address", brief(text)))
            .help("write six octets: \"02:00:00:00:00:05\"");
        return None;
    };
    if mac[0] & 1 != 0 || mac == [0; 6] {
        findings.add(value.span(), format!("\"{text}\" cannot be an instance's MAC address"));
        return None;
    }
    Some(mac)
}
