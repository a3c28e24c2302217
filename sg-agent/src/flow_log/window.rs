//! Records in the making: what came in a stretch of time, added up by flow.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use sg_common::{Direction, Reason};
use sg_policy::describe;

use super::names::BySlot;
use crate::api::FlowRecord;

/// Flows of a window that have a record each; what more come are counted as not logged.
pub(super) const MAX_RECORDS: usize = 65_536;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) slot: u16,
    pub(super) direction: Direction,
    pub(super) reason: Reason,
    /// Source, destination, ports, protocol; a frame that is no IP packet has none.
    pub(super) packet: Option<(IpAddr, IpAddr, u16, u16, u8)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) tcp_flags: u8,
    /// Unix time of the first and the last.
    pub(super) start: u64,
    pub(super) end: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) start: u64,
    flows: HashMap<Key, Volume>,
    missing: HashMap<(u16, Direction), Missing>,
}

impl Window {
    pub(super) fn new(start: u64) -> Self {
        Self { start, flows: HashMap::new(), missing: HashMap::new() }
    }

    pub(super) fn add(&mut self, key: Key, volume: Volume) {
        if let Some(sum) = self.flows.get_mut(&key) {
            sum.packets += volume.packets;
            sum.bytes += volume.bytes;
            sum.tcp_flags |= volume.tcp_flags;
            sum.start = sum.start.min(volume.start);
            sum.end = sum.end.max(volume.end);
        } else if self.flows.len() < MAX_RECORDS {
            self.flows.insert(key, volume);
        } else {
            let Volume { packets, bytes, .. } = volume;
            self.add_missing(key.slot, key.direction, Missing { packets, bytes });
        }
    }

    pub(super) fn add_missing(&mut self, slot: u16, direction: Direction, missing: Missing) {
        if missing == Missing::default() {
            return;
        }
        let sum = self.missing.entry((slot, direction)).or_default();
        sum.packets += missing.packets;
        sum.bytes += missing.bytes;
    }

    /// The window's records, in the order of their first packets.
    pub(super) fn records(&self, end: u64, names: &BySlot) -> Vec<FlowRecord> {
        let mut records: Vec<FlowRecord> =
            self.flows.iter().map(|(key, volume)| record(key, volume, names)).collect();
        records.extend(self.missing.iter().map(|((slot, direction), missing)| FlowRecord {
            direction: Some(describe::direction(*direction).to_owned()),
            packets: Some(missing.packets),
            bytes: Some(missing.bytes),
            ..FlowRecord::of(name(names, *slot), self.start, end, "SKIPDATA")
        }));
        records.sort_by(|a, b| (a.start, a.end, &a.interface).cmp(&(b.start, b.end, &b.interface)));
        records
    }

    /// A record for each interface that had nothing to log.
    pub(super) fn without_data(&self, end: u64, names: &BySlot) -> Vec<FlowRecord> {
        let heard: HashSet<u16> = self
            .flows
            .keys()
            .map(|key| key.slot)
            .chain(self.missing.keys().map(|key| key.0))
            .collect();
        let quiet = names.iter().filter(|(slot, named)| named.present && !heard.contains(slot));
        quiet.map(|(_, named)| FlowRecord::of(&named.name, self.start, end, "NODATA")).collect()
    }
}

fn name(names: &BySlot, slot: u16) -> &str {
    names.get(&slot).map_or("-", |named| &named.name)
}

fn record(key: &Key, volume: &Volume, names: &BySlot) -> FlowRecord {
    let action = if key.reason.allowed() { "ACCEPT" } else { "REJECT" };
    let mut record = FlowRecord {
        direction: Some(describe::direction(key.direction).to_owned()),
        action: Some(action.to_owned()),
        reason: Some(key.reason.name().to_owned()),
        packets: Some(volume.packets),
        bytes: Some(volume.bytes),
        ..FlowRecord::of(name(names, key.slot), volume.start, volume.end, "OK")
    };
    if let Some((src, dst, sport, dport, protocol)) = key.packet {
        (record.src, record.dst) = (Some(src), Some(dst));
        (record.sport, record.dport) = (Some(sport), Some(dport));
        record.protocol = Some(protocol);
        record.tcp_flags = Some(volume.tcp_flags);
    }
    record
}

/// The names that tests use.
#[cfg(test)]
pub(super) fn names(list: &[(u16, &str)]) -> std::sync::Arc<BySlot> {
    let names = super::names::InterfaceNames::default();
    names.set(list.iter().map(|(slot, name)| (*slot, u32::from(*slot) + 1, *name)));
    names.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16, reason: Reason) -> Key {
        let (src, dst) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let packet = Some((src, dst, 4000, port, 6));
        Key { slot: 0, direction: Direction::Ingress, reason, packet }
    }

    fn volume(at: u64) -> Volume {
        Volume { packets: 1, bytes: 60, tcp_flags: 2, start: at, end: at }
    }

    #[test]
    fn packets_of_a_flow_are_one_record() {
        let mut window = Window::new(100);
        window.add(key(22, Reason::NoRule), volume(130));
        window.add(key(22, Reason::NoRule), Volume { tcp_flags: 4, ..volume(110) });
        window.add(key(80, Reason::Untracked), volume(105));
        let records = window.records(160, &names(&[(0, "tap0")]));
        assert_eq!(records.len(), 2);
        let [accepted, refused] = &records[..] else { panic!("{records:?}") };
        assert_eq!(accepted.action.as_deref(), Some("ACCEPT"));
        assert_eq!(refused.action.as_deref(), Some("REJECT"));
        assert_eq!(refused.reason.as_deref(), Some("no_rule"));
        assert_eq!((refused.start, refused.end), (110, 130));
        assert_eq!((refused.packets, refused.bytes), (Some(2), Some(120)));
        assert_eq!((refused.tcp_flags, refused.dport), (Some(6), Some(22)));
        assert_eq!(refused.log_status, "OK");
    }

    #[test]
    fn what_is_not_logged_is_said_with_its_size() {
        let mut window = Window::new(100);
        for port in 0..=u16::MAX {
            window.add(key(port, Reason::NoRule), volume(101));
        }
        // One more flow than there can be; one more packet of a flow that is there.
        window.add(key(1, Reason::NotSyn), volume(101));
        window.add(key(1, Reason::NoRule), volume(101));
        window.add_missing(0, Direction::Ingress, Missing { packets: 7, bytes: 420 });
        window.add_missing(0, Direction::Egress, Missing::default());
        let records = window.records(160, &names(&[(0, "tap0")]));
        let skipped: Vec<_> = records.iter().filter(|r| r.log_status == "SKIPDATA").collect();
        let [skipped] = &skipped[..] else { panic!("{skipped:?}") };
        assert_eq!((skipped.packets, skipped.bytes), (Some(8), Some(480)));
        assert_eq!((skipped.start, skipped.end), (100, 160));
        assert_eq!(skipped.direction.as_deref(), Some("ingress"));
        assert_eq!(records.len(), MAX_RECORDS + 1);
    }

    #[test]
    fn an_interface_without_anything_is_said_to_be_one() {
        let mut window = Window::new(100);
        window.add(key(22, Reason::NoRule), volume(130));
        window.add_missing(1, Direction::Egress, Missing { packets: 1, bytes: 60 });
        let names = names(&[(0, "tap0"), (1, "tap1"), (2, "tap2")]);
        let quiet = window.without_data(160, &names);
        let [quiet] = &quiet[..] else { panic!("{quiet:?}") };
        assert_eq!((quiet.interface.as_str(), quiet.log_status.as_str()), ("tap2", "NODATA"));
        assert_eq!(quiet.packets, None);
    }
}
