//! Addresses, prefixes and prefix lists.

use std::{collections::HashMap, net::IpAddr, ops::Range, sync::Arc};

use ipnet::IpNet;
use sg_common::Family;

use super::{
    fault::Findings,
    names::description,
    table::{Section, Value, brief, string},
};
use crate::{
    describe,
    model::{PrefixEntry, PrefixList},
};

const LIST_KEYS: [&str; 4] = ["name", "description", "max_entries", "entries"];

pub(crate) fn family(net: IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

pub(crate) fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// A prefix with its host bits zeroed.
pub(super) fn cidr(value: &Value<'_>, findings: &mut Findings) -> Option<IpNet> {
    let text = string(value, "a CIDR", findings)?;
    if let Some(net) = crate::cidr::parse(text) {
        return Some(net.trunc());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let length = if address.is_ipv4() { 32 } else { 128 };
        findings
            .add(value.span(), format!("\"{text}\" is an address, not a CIDR"))
            .help(format!("for this single host write \"{address}/{length}\""));
        return None;
    }
    if let Some(meant) = crate::cidr::without_leading_zeros(text) {
        findings
            .add(value.span(), format!("\"{text}\" is ambiguous: it has a leading zero"))
            .help(format!("some programs read such numbers as octal; write \"{meant}\""));
        return None;
    }
    let message = format!("\"{}\" is not a CIDR", brief(text));
    let help = match text.split_once('/').map(|(address, _)| address.parse::<IpAddr>()) {
        Some(Ok(IpAddr::V4(_))) => "an IPv4 prefix length is 0 to 32",
        Some(Ok(IpAddr::V6(_))) => "an IPv6 prefix length is 0 to 128",
        _ => "write for instance \"10.0.0.0/8\" or \"2001:db8::/32\"",
    };
    findings.add(value.span(), message).help(help);
    None
}

/// An address of an instance.
pub(super) fn address(value: &Value<'_>, findings: &mut Findings) -> Option<IpAddr> {
    let text = string(value, "an address", findings)?;
    let Ok(address) = text.parse::<IpAddr>() else {
        let finding = findings.add(value.span(), format!("\"{}\" is not an address", brief(text)));
        match text.parse::<IpNet>() {
            Ok(net) => finding.help(format!("write the address alone: \"{}\"", net.addr())),
            Err(_) => finding.help("write for instance \"10.0.0.5\" or \"fd00::5\""),
        };
        return None;
    };
    if address.is_unspecified() || address.is_multicast() {
        findings.add(value.span(), format!("\"{text}\" cannot be an instance's address"));
        return None;
    }
    Some(address)
}

/// One `[[prefix_list]]`.
pub(super) fn prefix_list(
    value: &Value<'_>,
    name: &str,
    findings: &mut Findings,
) -> Option<PrefixList> {
    let section = Section::of(value, "a prefix list", &LIST_KEYS, findings)?;
    let description = description(&section, findings);
    section.require("entries", findings);
    let array = section.array("entries", findings);
    let entries = Arc::new(entries(array.map_or(&[][..], |array| array), findings));
    let given = array.map_or(0, |array| array.len());
    let count = u32::try_from(given).unwrap_or(u32::MAX);
    let max_entries = section.number("max_entries", 0..1_000_001, findings).unwrap_or(count);
    if max_entries < count {
        let entries = describe::count(given, "entry", "entries");
        findings
            .add(
                section.place("max_entries"),
                format!("`max_entries` is {max_entries}, but the list has {entries}"),
            )
            .help(format!("raise it to {count} at least"));
    }
    let family = entries.first().map(|entry| family(entry.cidr));
    Some(PrefixList { description, max_entries, family, entries, ..PrefixList::named(name) })
}

fn entries(values: &[Value<'_>], findings: &mut Findings) -> Vec<PrefixEntry> {
    let mut seen: HashMap<IpNet, Range<usize>> = HashMap::with_capacity(values.len());
    let mut entries: Vec<PrefixEntry> = Vec::with_capacity(values.len());
    for value in values {
        let Some((entry, span)) = entry(value, findings) else { continue };
        if let Some(first) = entries.first().map(|entry| entry.cidr)
            && family(first) != family(entry.cidr)
        {
            let message = format!("\"{}\" in a list that begins with \"{first}\"", entry.cidr);
            findings.add(span, message).help("a prefix list has entries of one family only");
            continue;
        }
        if let Some(first) = seen.get(&entry.cidr) {
            findings
                .add(span, format!("\"{}\" is in this list twice", entry.cidr))
                .related(first.clone(), "first here");
            continue;
        }
        seen.insert(entry.cidr, span);
        entries.push(entry);
    }
    entries
}

/// `"CIDR"` or `{ cidr = "CIDR", description = "..." }`, and where the CIDR stands.
fn entry(value: &Value<'_>, findings: &mut Findings) -> Option<(PrefixEntry, Range<usize>)> {
    if value.get_ref().is_str() {
        let cidr = cidr(value, findings)?;
        return Some((PrefixEntry { cidr, description: String::new() }, value.span()));
    }
    let section = Section::of(value, "a prefix list's entry", &["cidr", "description"], findings)?;
    let description = description(&section, findings);
    let place = section.require("cidr", findings)?;
    Some((PrefixEntry { cidr: cidr(place, findings)?, description }, place.span()))
}
