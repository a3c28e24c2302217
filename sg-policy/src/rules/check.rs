//! Checks of parts of a state, the same for a file and for an edit.

use std::collections::HashSet;

use super::{interface::name_fault, names, settings::is_max_flows};
use crate::model::{IcmpMatch, Interface, PortRange, Quotas, Role, Services, Tracking};

/// Seconds that times may have, by their keys in rules.toml.
const TIMES: [(&str, std::ops::RangeInclusive<u32>); 4] = [
    ("tcp_established", 60..=432_000),
    ("udp", 30..=60),
    ("udp_stream", 60..=180),
    ("pickup", 0..=3600),
];

pub(crate) fn group_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.ends_with(' ') {
        return Err(format!("\"{name}\" is empty or ends with a space"));
    }
    names::GROUP.fault(name).map_or(Ok(()), |(message, _)| Err(message))
}

pub(crate) fn description(text: &str) -> Result<(), String> {
    names::text_fault(text, "a description").map_or(Ok(()), |(message, _)| Err(message))
}

/// Accepts only services that a file could have given.
pub(crate) fn services(services: Services) -> Result<(), String> {
    match services {
        Services::Tcp(PortRange { from, to }) | Services::Udp(PortRange { from, to })
            if from > to =>
        {
            Err(format!("the ports {from}-{to} are none"))
        }
        Services::Icmp(IcmpMatch { kind: None, code: Some(code) })
        | Services::Icmpv6(IcmpMatch { kind: None, code: Some(code) }) => {
            Err(format!("the code {code} needs a type"))
        }
        Services::Protocol(number @ (1 | 6 | 17 | 58)) => {
            Err(format!("protocol {number} has services of its own"))
        }
        _ => Ok(()),
    }
}

/// Accepts an entry that is right by itself. The caller looks for its groups.
pub(crate) fn interface(entry: &Interface, quotas: &Quotas) -> Result<(), String> {
    let Interface { name, role, groups, addresses, mac, source_check, tracking, .. } = entry;
    if let Some((message, _)) = name_fault(name) {
        return Err(message);
    }
    let say = |what: &str| Err(format!("interface \"{name}\": {what}"));
    let quota = quotas.groups_per_interface as usize;
    if groups.is_empty() || groups.len() > quota {
        return say(&format!("{} groups; it can have 1 to {quota}", groups.len()));
    }
    if groups.iter().collect::<HashSet<_>>().len() < groups.len() {
        return say("a group is given twice");
    }
    if addresses.iter().collect::<HashSet<_>>().len() < addresses.len() {
        return say("an address is given twice");
    }
    if entry.is_glob() && !addresses.is_empty() {
        return say("a glob has no addresses");
    }
    let is_checkable = *role == Role::Port && !addresses.is_empty();
    if (*source_check || mac.is_some()) && !is_checkable {
        return say("a source check is for role \"port\" with addresses");
    }
    if mac.is_some_and(|mac| mac[0] & 1 != 0 || mac == [0; 6]) {
        return say("no instance can have this MAC address");
    }
    let Tracking { tcp_established, udp, udp_stream, pickup, max_flows } = *tracking;
    for ((key, range), seconds) in TIMES.iter().zip([tcp_established, udp, udp_stream, pickup]) {
        if !range.contains(&seconds) {
            return say(&format!("{key} is {seconds} s, not {} to {}", range.start(), range.end()));
        }
    }
    if !is_max_flows(max_flows) {
        return say(&format!("max_flows cannot be {max_flows}"));
    }
    Ok(())
}
