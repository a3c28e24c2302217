//! The counters' changes between two answers of `status`.

use std::collections::BTreeMap;

use serde::Serialize;
use sg_api::{Count, Counters, InterfaceStatus, Status};

/// In a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Rate {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) datapath: String,
    pub(super) flows: u64,
    pub(super) ingress: Rate,
    pub(super) egress: Rate,
    pub(super) dropped: Rate,
    pub(super) reasons: Vec<OfReason>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct OfReason {
    pub(super) direction: &'static str,
    pub(super) reason: String,
    pub(super) allowed: bool,
    pub(super) rate: Rate,
}

/// Rates of all interfaces, the busiest reasons first. One that was not there before has none yet.
pub(super) fn between(before: &Status, now: &Status, seconds: f64) -> Vec<Interface> {
    let earlier: BTreeMap<(u32, &str), &InterfaceStatus> = before
        .interfaces
        .iter()
        .map(|interface| ((interface.ifindex, interface.name.as_str()), interface))
        .collect();
    let rates = now.interfaces.iter().map(|interface| {
        let before = earlier.get(&(interface.ifindex, interface.name.as_str()));
        of(before.copied().unwrap_or(interface), interface, seconds)
    });
    rates.collect()
}

fn of(before: &InterfaceStatus, now: &InterfaceStatus, seconds: f64) -> Interface {
    let mut reasons = Vec::new();
    for (direction, before, now) in
        [("ingress", &before.ingress, &now.ingress), ("egress", &before.egress, &now.egress)]
    {
        add(&mut reasons, direction, before, now, seconds);
    }
    reasons.sort_by_key(|it| std::cmp::Reverse(it.rate.packets));
    let sum = |which: &dyn Fn(&&OfReason) -> bool| {
        reasons.iter().filter(which).fold(Rate::default(), |sum, it| Rate {
            packets: sum.packets + it.rate.packets,
            bytes: sum.bytes + it.rate.bytes,
        })
    };
    Interface {
        name: now.name.clone(),
        role: now.role.clone(),
        datapath: now.datapath.clone(),
        flows: now.flows.used,
        ingress: sum(&|it| it.allowed && it.direction == "ingress"),
        egress: sum(&|it| it.allowed && it.direction == "egress"),
        dropped: sum(&|it| !it.allowed),
        reasons,
    }
}

fn add(
    reasons: &mut Vec<OfReason>,
    direction: &'static str,
    before: &Counters,
    now: &Counters,
    seconds: f64,
) {
    for (allowed, before, now) in
        [(true, &before.allowed, &now.allowed), (false, &before.dropped, &now.dropped)]
    {
        reasons.extend(now.iter().map(|(reason, count)| {
            let before = before.get(reason).copied().unwrap_or_default();
            let rate = rate(before, *count, seconds);
            OfReason { direction, reason: reason.clone(), allowed, rate }
        }));
    }
}

fn rate(before: Count, now: Count, seconds: f64) -> Rate {
    // Counters that have become less belong to another interface.
    let per_second =
        |before: u64, now: u64| (now.saturating_sub(before) as f64 / seconds.max(0.001)) as u64;
    Rate {
        packets: per_second(before.packets, now.packets),
        bytes: per_second(before.bytes, now.bytes),
    }
}
