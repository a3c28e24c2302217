//! `[settings]`, and what of tracking interfaces may have of their own.

use std::ops::Range;

use sg_common::usage::Allowance;

use super::{
    fault::Findings,
    table::{Section, Value, brief, integer, wrong_type},
};
use crate::model::{MaxFlows, OnRevoke, Quotas, Settings, Tracking};

pub(super) const MAX_GROUPS_PER_INTERFACE: u32 = 16;
pub(super) const MAX_RULES_PER_INTERFACE: u32 = 1_000_000;

pub(super) fn settings(value: Option<&Value<'_>>, findings: &mut Findings) -> Settings {
    let mut settings = Settings::default();
    let known = ["related_icmp", "on_revoke", "exempt_services", "tracking", "quotas"];
    let Some(section) = value.and_then(|value| Section::of(value, "`settings`", &known, findings))
    else {
        return settings;
    };
    if let Some(related_icmp) = section.boolean("related_icmp", findings) {
        settings.filter.related_icmp = related_icmp;
    }
    let choices = [("keep", OnRevoke::Keep), ("cut", OnRevoke::Cut)];
    if let Some(on_revoke) = section.choice("on_revoke", &choices, findings) {
        settings.filter.on_revoke = on_revoke;
    }
    if let Some(exempt_services) = section.boolean("exempt_services", findings) {
        settings.filter.exempt_services = exempt_services;
    }
    settings.tracking = tracking(section.get("tracking"), settings.tracking, findings);
    if let Some(value) = section.get("quotas") {
        settings.quotas = quotas(value, findings);
    }
    settings
}

/// `defaults`, overridden by the values of the table.
pub(super) fn tracking(
    value: Option<&Value<'_>>,
    defaults: Tracking,
    findings: &mut Findings,
) -> Tracking {
    let known = ["tcp_established", "udp", "udp_stream", "pickup", "max_flows"];
    let Some(section) = value.and_then(|value| Section::of(value, "`tracking`", &known, findings))
    else {
        return defaults;
    };
    let mut time = |key, range, default| {
        section.get(key).and_then(|value| duration(value, key, range, findings)).unwrap_or(default)
    };
    let times = Tracking {
        tcp_established: time("tcp_established", 60..432_001, defaults.tcp_established),
        udp: time("udp", 30..61, defaults.udp),
        udp_stream: time("udp_stream", 60..181, defaults.udp_stream),
        pickup: time("pickup", 0..3601, defaults.pickup),
        max_flows: defaults.max_flows,
    };
    let given = section.get("max_flows").and_then(|value| max_flows(value, findings));
    Tracking { max_flows: given.unwrap_or(defaults.max_flows), ..times }
}

/// A number of flows, "auto", or "1%" to "100%".
fn max_flows(value: &Value<'_>, findings: &mut Findings) -> Option<MaxFlows> {
    const FORMS: &str =
        "write a number of flows, a share of the table such as \"25%\", or \"auto\"";
    let read = match (integer(value), value.get_ref().as_str()) {
        (Some(number), _) => u32::try_from(number)
            .ok()
            .filter(|&n| is_max_flows(MaxFlows::Number(n)))
            .map(MaxFlows::Number),
        (None, Some("auto")) => Some(MaxFlows::Auto),
        (None, Some(text)) => {
            let digits =
                text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
            let percent = digits.and_then(|digits| digits.parse().ok()).map(MaxFlows::Percent);
            percent.filter(|&percent| is_max_flows(percent))
        }
        (None, None) => {
            wrong_type(value, "`max_flows`", "a number or a string", findings);
            return None;
        }
    };
    if read.is_none() {
        let message = format!(
            "`max_flows` is 1 to {} flows, or \"1%\" to \"100%\" of the table",
            Allowance::MAX_LANES
        );
        findings.add(value.span(), message).help(FORMS);
    }
    read
}

/// Whether a file could say so.
pub(super) fn is_max_flows(max_flows: MaxFlows) -> bool {
    match max_flows {
        MaxFlows::Auto => true,
        MaxFlows::Percent(percent) => (1..=100).contains(&percent),
        MaxFlows::Number(number) => (1..=Allowance::MAX_LANES).contains(&number),
    }
}

/// Seconds as an integer, or "30", "30s", "5m", "2h", "5d".
fn duration(
    value: &Value<'_>,
    key: &str,
    range: Range<u32>,
    findings: &mut Findings,
) -> Option<u32> {
    const FORMS: &str = "write seconds, or \"30s\", \"5m\", \"2h\", \"5d\"";
    let seconds = match (integer(value), value.get_ref().as_str()) {
        (Some(seconds), _) => seconds,
        (None, Some(text)) => {
            let Some(seconds) = seconds(text) else {
                let message = format!("`{key}` is no duration: \"{}\"", brief(text));
                findings.add(value.span(), message).help(FORMS);
                return None;
            };
            seconds
        }
        (None, None) => {
            wrong_type(value, &format!("`{key}`"), "a duration", findings);
            return None;
        }
    };
    let valid = u32::try_from(seconds).ok().filter(|seconds| range.contains(seconds));
    if valid.is_none() {
        let (least, most) = (range.start, range.end - 1);
        findings.add(value.span(), format!("`{key}` is {least} to {most} seconds, not {seconds}"));
    }
    valid
}

fn seconds(text: &str) -> Option<i128> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)?;
    Some(i128::from(number.parse::<u64>().ok()?) * unit)
}

fn quotas(value: &Value<'_>, findings: &mut Findings) -> Quotas {
    let defaults = Quotas::default();
    let known = ["rules_per_group", "groups_per_interface", "rules_per_interface"];
    let Some(section) = Section::of(value, "`quotas`", &known, findings) else { return defaults };
    let upto = |most: u32| 1..most + 1;
    let mut quota =
        |key, most, default| section.number(key, upto(most), findings).unwrap_or(default);
    let quotas = Quotas {
        rules_per_group: quota(
            "rules_per_group",
            MAX_RULES_PER_INTERFACE,
            defaults.rules_per_group,
        ),
        groups_per_interface: quota(
            "groups_per_interface",
            MAX_GROUPS_PER_INTERFACE,
            defaults.groups_per_interface,
        ),
        rules_per_interface: quota(
            "rules_per_interface",
            MAX_RULES_PER_INTERFACE,
            defaults.rules_per_interface,
        ),
    };
    let product = u64::from(quotas.rules_per_group) * u64::from(quotas.groups_per_interface);
    if product > u64::from(quotas.rules_per_interface) {
        let Quotas { rules_per_group, groups_per_interface, rules_per_interface } = quotas;
        let help = if product <= u64::from(MAX_RULES_PER_INTERFACE) {
            format!("lower one of them, or set rules_per_interface = {product}")
        } else {
            format!("their product is at most {MAX_RULES_PER_INTERFACE}")
        };
        findings
            .add(
                section.span.clone(),
                format!(
                    "rules_per_group x groups_per_interface ({rules_per_group} x \
                     {groups_per_interface} = {product}) exceeds rules_per_interface \
                     ({rules_per_interface})"
                ),
            )
            .help(help)
            .global();
    }
    quotas
}
