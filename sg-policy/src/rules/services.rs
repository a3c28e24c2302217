//! `protocol`, `ports`, `type` and `code` of a rule.

use std::ops::Range;

use sg_common::{
    Family,
    flow::{ICMP, ICMPV6, TCP, UDP},
};

use super::{
    fault::Findings,
    names::nearest,
    table::{Section, Value, brief, integer, wrong_type},
};
use crate::model::{IcmpMatch, PortRange, Services};

const NAMES: [&str; 5] = ["tcp", "udp", "icmp", "icmpv6", "all"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    All,
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Other(u8),
}

/// The family that a service is confined to.
pub(super) fn only_family(services: Services) -> Option<Family> {
    match services {
        Services::Icmp(_) => Some(Family::V4),
        Services::Icmpv6(_) => Some(Family::V6),
        _ => None,
    }
}

/// The services of a rule's table and where each stands; several for a list of ports. Empty if
/// there were faults.
pub(super) fn services(
    rule: &Section<'_, '_>,
    findings: &mut Findings,
) -> Vec<(Services, Range<usize>)> {
    let protocol =
        rule.require("protocol", findings).map(|value| (value, protocol(value, findings)));
    let Some((value, Some(protocol))) = protocol else { return Vec::new() };
    let name = match protocol {
        Protocol::All => "all",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Icmp => "icmp",
        Protocol::Icmpv6 => "icmpv6",
        Protocol::Other(_) => "this protocol",
    };
    let has_ports = matches!(protocol, Protocol::Tcp | Protocol::Udp);
    let has_types = matches!(protocol, Protocol::Icmp | Protocol::Icmpv6);
    let mut refuse = |keys: &[&str], help: &str| {
        for key in keys.iter().filter(|key| rule.get(key).is_some()) {
            findings.add(rule.place(key), format!("{name} has no `{key}`")).help(help);
        }
    };
    if !has_ports {
        refuse(&["ports"], "`ports` goes with tcp and udp");
    }
    if !has_types {
        refuse(&["type", "code"], "`type` and `code` go with icmp and icmpv6");
    }
    let icmp = |findings: &mut Findings| {
        icmp(rule, findings).unwrap_or(IcmpMatch { kind: None, code: None })
    };
    let whole = |services| vec![(services, value.span())];
    match protocol {
        Protocol::All => whole(Services::All),
        Protocol::Other(number) => whole(Services::Protocol(number)),
        Protocol::Icmp => whole(Services::Icmp(icmp(findings))),
        Protocol::Icmpv6 => whole(Services::Icmpv6(icmp(findings))),
        Protocol::Tcp => ports(rule, name, Services::Tcp, findings),
        Protocol::Udp => ports(rule, name, Services::Udp, findings),
    }
}

fn protocol(value: &Value<'_>, findings: &mut Findings) -> Option<Protocol> {
    let number = match value.get_ref().as_str() {
        Some("all") => return Some(Protocol::All),
        Some("tcp") => return Some(Protocol::Tcp),
        Some("udp") => return Some(Protocol::Udp),
        Some("icmp") => return Some(Protocol::Icmp),
        Some("icmpv6") => return Some(Protocol::Icmpv6),
        Some(text) => decimal(text),
        None => integer(value),
    };
    let found = match number {
        Some(-1) => Some(Protocol::All),
        Some(number) => u8::try_from(number).ok().map(numbered),
        None => None,
    };
    if found.is_some() {
        return found;
    }
    const HELP: &str = "it is tcp, udp, icmp, icmpv6, all, or a number 0 to 255";
    match (value.get_ref().as_str(), number) {
        (Some(text), None) => {
            let help = match nearest(text, NAMES.into_iter()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => HELP.to_owned(),
            };
            findings.add(value.span(), format!("unknown protocol \"{}\"", brief(text))).help(help);
        }
        (_, Some(number)) => {
            findings.add(value.span(), format!("there is no protocol {number}")).help(HELP);
        }
        (None, None) => wrong_type(value, "`protocol`", "a string or an integer", findings),
    }
    None
}

/// A number that has a name is the protocol of that name.
fn numbered(number: u8) -> Protocol {
    match number {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        ICMP => Protocol::Icmp,
        ICMPV6 => Protocol::Icmpv6,
        _ => Protocol::Other(number),
    }
}

/// Plain decimal digits with an optional minus; not `+5`, not `0x5`.
fn decimal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn ports(
    rule: &Section<'_, '_>,
    name: &str,
    services: fn(PortRange) -> Services,
    findings: &mut Findings,
) -> Vec<(Services, Range<usize>)> {
    let Some(value) = rule.get("ports") else {
        findings
            .add(rule.span.clone(), format!("a rule for {name} needs `ports`"))
            .help("a port, \"from-to\", \"all\", or a list of these")
            .global();
        return Vec::new();
    };
    let one = |value: &Value<'_>, findings: &mut Findings| {
        port_range(value, findings).map(|range| (services(range), value.span()))
    };
    let Some(list) = value.get_ref().as_array() else {
        return one(value, findings).into_iter().collect();
    };
    if list.is_empty() {
        findings.add(value.span(), "an empty list of ports").help("write \"all\" for all ports");
    }
    let found: Vec<_> = list.iter().filter_map(|value| one(value, findings)).collect();
    if found.len() == list.len() { found } else { Vec::new() }
}

fn port_range(value: &Value<'_>, findings: &mut Findings) -> Option<PortRange> {
    let Some(text) = value.get_ref().as_str() else {
        let Some(number) = integer(value) else {
            wrong_type(value, "a port", "an integer or a string", findings);
            return None;
        };
        let port = port(number, value, findings)?;
        return Some(PortRange { from: port, to: port });
    };
    if text == "all" {
        return Some(PortRange::ALL);
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let digits = |text: &str| decimal(text).filter(|number| *number >= 0);
    let (Some(from), Some(to)) = (digits(from), digits(to)) else {
        findings
            .add(value.span(), format!("\"{}\" is no range of ports", brief(text)))
            .help("write a port, \"from-to\" or \"all\"");
        return None;
    };
    let range = PortRange { from: port(from, value, findings)?, to: port(to, value, findings)? };
    if range.from > range.to {
        findings
            .add(value.span(), format!("the range of ports {from}-{to} is reversed"))
            .help(format!("write \"{to}-{from}\""));
        return None;
    }
    Some(range)
}

fn port(number: i128, value: &Value<'_>, findings: &mut Findings) -> Option<u16> {
    let port = u16::try_from(number).ok();
    if port.is_none() {
        let finding = findings.add(value.span(), format!("a port is 0 to 65535, not {number}"));
        if number == -1 {
            finding.help("write \"all\" for all ports");
        }
    }
    port
}

fn icmp(rule: &Section<'_, '_>, findings: &mut Findings) -> Option<IcmpMatch> {
    let mut field = |key| -> Option<Option<u8>> {
        let Some(value) = rule.get(key) else { return Some(None) };
        let Some(number) = integer(value) else {
            wrong_type(value, &format!("`{key}`"), "an integer", findings);
            return None;
        };
        if number == -1 {
            return Some(None);
        }
        let octet = u8::try_from(number).ok();
        if octet.is_none() {
            let message = format!("`{key}` is 0 to 255, or -1 for any, not {number}");
            findings.add(value.span(), message);
        }
        Some(Some(octet?))
    };
    let (kind, code) = (field("type"), field("code"));
    if let (Some(None), Some(Some(_))) = (kind, code) {
        findings
            .add(rule.place("code"), "a `code` needs a `type`")
            .help("give the type, or leave the code out for any");
        return None;
    }
    Some(IcmpMatch { kind: kind?, code: code? })
}
