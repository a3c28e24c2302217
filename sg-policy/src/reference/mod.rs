//! The reference evaluator: what every packet gets, written straight from semantics.md and
//! docs/semantics-notes.md.
//!
//! It is the oracle that the data path is tested against, so it shares nothing with it: no matching
//! code of the compiler, no flow table, no layout. A packet is parsed from its bytes, rules are
//! tried one by one, flows stand in a `HashMap`. Slow and obvious.
//!
//! Its flow table has no capacity and its interfaces have no allowance, so it drops no packet as
//! `conntrack_allowance_exceeded`. In the data path, a new flow needs room in the eight places that
//! a hash gives it. tests/tests/flow_table holds the data path against expectations written by
//! hand, and random flows against a model of counts.

use std::{collections::HashMap, net::IpAddr};

use sg_common::{Direction, Reason};

use crate::model::{DesiredState, Interface, LiveInterface, OnRevoke};

mod connection;
mod flows;
#[cfg(any(test, feature = "generate"))]
pub mod frames;
#[cfg(any(test, feature = "generate"))]
pub mod generate;
mod judge;
pub mod metadata;
mod packet;
mod related;
pub(crate) mod rules;
mod source_check;
#[cfg(test)]
mod tests;
mod transport;

pub use metadata::Metadata;

use flows::{FirstFragment, Flow, FlowKey, FragmentKey, Talk};
use judge::is_exempt_service;
use rules::{Rules, Service};

/// Data-path ticks; [`Evaluator::new`] is told how many make a second. Wraps around.
pub type Time = u32;

/// A frame as an interface has it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub ifindex: u32,
    pub direction: Direction,
    /// From the Ethernet header on; from the IP header on where the interface has none.
    pub frame: &'a [u8],
    /// The NIC or the kernel took one VLAN tag off the frame.
    pub vlan_offloaded: bool,
    /// Many segments in one packet, whose IP length field may be 0 (BIG TCP).
    pub gso: bool,
}

/// A tracked flow, for comparison; addresses and ports as in the packet that opened it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackedFlow {
    pub slot: u16,
    pub protocol: u8,
    pub src: IpAddr,
    /// ICMP queries: the identifier.
    pub sport: u16,
    pub dst: IpAddr,
    /// ICMP queries: the type of the request.
    pub dport: u16,
    /// Opened by a packet from the instance.
    pub egress: bool,
    /// `new`, `replied`, `established`, `stream`, `closing`, `reset` or `cut`.
    pub state: &'static str,
    /// Packets that passed, both ways.
    pub packets: u64,
    pub seen: Time,
}

/// One host: its rules, its interfaces, its flows.
#[derive(Clone, Debug)]
pub struct Evaluator {
    ticks_per_1000s: u32,
    state: DesiredState,
    live: Vec<LiveInterface>,
    flows: HashMap<FlowKey, Flow>,
    fragments: HashMap<FragmentKey, FirstFragment>,
}

impl Evaluator {
    /// A host that has seen no packet. `live` is filtered from now on; what it says of
    /// `pickup_until` holds.
    pub fn new(state: DesiredState, live: Vec<LiveInterface>, ticks_per_1000s: u32) -> Self {
        Self { ticks_per_1000s, state, live, flows: HashMap::new(), fragments: HashMap::new() }
    }

    /// Changes rules and interfaces at `now`.
    ///
    /// Flows that have idled out are forgotten, so that no longer timeout brings them back.
    /// Interfaces that were filtered before are no longer picked up on, whatever `live` says. Flows
    /// of interfaces that are gone are forgotten. On interfaces with `on_revoke = "cut"` in
    /// `state`, flows whose opening packet is not allowed any more end.
    pub fn apply(&mut self, state: DesiredState, live: Vec<LiveInterface>, now: Time) {
        let over: Vec<FlowKey> =
            self.flows.keys().filter(|key| self.flow(key, now).is_none()).copied().collect();
        for key in over {
            self.flows.remove(&key);
        }
        let before = std::mem::replace(&mut self.live, live);
        let same =
            |a: &LiveInterface, b: &LiveInterface| (a.slot, a.ifindex) == (b.slot, b.ifindex);
        for interface in &mut self.live {
            if before.iter().any(|old| same(old, interface)) {
                interface.pickup_until = 0;
            }
        }
        self.state = state;
        let stays = |slot: u16| {
            let mut old = before.iter().filter(|old| old.slot == slot);
            old.any(|old| self.live.iter().any(|new| same(old, new)))
        };
        self.flows.retain(|key, _| stays(key.slot));
        self.fragments.retain(|key, _| stays(key.slot));
        self.end_denied(now, |entry| entry.filter.on_revoke == OnRevoke::Cut);
    }

    /// `flows flush`: forgets all flows and picks up on all interfaces anew.
    pub fn flush(&mut self, now: Time) {
        self.flows.clear();
        for interface in &mut self.live {
            let pickup = self.state.interfaces[interface.entry].tracking.pickup;
            interface.pickup_until =
                if pickup == 0 { 0 } else { now.wrapping_add(ticks(pickup, self.ticks_per_1000s)) };
        }
    }

    /// `flows flush --denied`: ends the flows whose opening packet the rules do not allow.
    pub fn flush_denied(&mut self, now: Time) {
        self.end_denied(now, |_| true);
    }

    /// Ends the flows on some interfaces whose opening packet the rules do not allow.
    fn end_denied(&mut self, now: Time, which: impl Fn(&Interface) -> bool) {
        let denied: Vec<FlowKey> = self
            .flows
            .keys()
            .filter(|key| which(self.entry(self.by_slot(key.slot))))
            .filter(|key| {
                self.flow(key, now).is_some_and(|flow| {
                    let rules = self.rules(self.by_slot(key.slot));
                    let service = flow.opening_service(key);
                    let calls_exempt_service = rules.interface.filter.exempt_services
                        && flow.opener == Direction::Egress
                        && matches!(service, Service::Tcp(_) | Service::Udp(_))
                        && is_exempt_service(key.remote);
                    let allowed = rules.allow(flow.opener, key.remote, service);
                    !flow.cut && !calls_exempt_service && !allowed
                })
            })
            .copied()
            .collect();
        for key in denied {
            self.flows.entry(key).and_modify(|flow| {
                flow.cut = true;
                flow.seen = now;
            });
        }
    }

    /// Judges a packet and keeps its flow; `None` on an interface that is not filtered.
    pub fn judge(&mut self, packet: &Packet<'_>, now: Time) -> Option<Reason> {
        self.judge_beside(packet, &Metadata::default(), now)
    }

    /// The same of a packet with something beside its bytes.
    pub fn judge_beside(
        &mut self,
        packet: &Packet<'_>,
        beside: &Metadata,
        now: Time,
    ) -> Option<Reason> {
        let verdict = judge::judge(self, packet, beside, now)?;
        self.flows.extend(verdict.flow);
        self.fragments.extend(verdict.fragment);
        Some(verdict.reason)
    }

    /// Judges a packet as [`Self::judge`] does, and changes nothing.
    pub fn would(&self, packet: &Packet<'_>, now: Time) -> Option<Reason> {
        judge::judge(self, packet, &Metadata::default(), now).map(|verdict| verdict.reason)
    }

    /// Flows that have not idled out, cut ones among them, sorted.
    pub fn flows(&self, now: Time) -> Vec<TrackedFlow> {
        let mut flows: Vec<_> =
            self.flows.keys().filter_map(|key| Some(tracked(key, self.flow(key, now)?))).collect();
        flows.sort_unstable();
        flows
    }

    /// The flow with this key, unless it has idled out by the timeouts that are in force now.
    fn flow(&self, key: &FlowKey, now: Time) -> Option<&Flow> {
        let flow = self.flows.get(key)?;
        let tracking = &self.entry(self.by_slot(key.slot)).tracking;
        let over = flow.ended() || self.over(flow.seen, flow.timeout(key.talk, tracking), now);
        (!over).then_some(flow)
    }

    /// Whether `timeout` seconds have passed since `seen`.
    fn over(&self, seen: Time, timeout: u32, now: Time) -> bool {
        now.wrapping_sub(seen) > ticks(timeout, self.ticks_per_1000s)
    }

    fn by_ifindex(&self, ifindex: u32) -> Option<&LiveInterface> {
        self.live.iter().find(|live| live.ifindex == ifindex)
    }

    fn by_slot(&self, slot: u16) -> &LiveInterface {
        let mut live = self.live.iter();
        live.find(|live| live.slot == slot).expect("flows are of live interfaces")
    }

    fn entry(&self, live: &LiveInterface) -> &Interface {
        &self.state.interfaces[live.entry]
    }

    fn rules(&self, live: &LiveInterface) -> Rules<'_> {
        Rules { state: &self.state, live: &self.live, interface: self.entry(live) }
    }
}

fn ticks(seconds: u32, ticks_per_1000s: u32) -> Time {
    let ticks = u64::from(seconds) * u64::from(ticks_per_1000s) / 1000;
    ticks.try_into().unwrap_or(Time::MAX)
}

fn tracked(key: &FlowKey, flow: &Flow) -> TrackedFlow {
    let (src, dst) = match flow.opener {
        Direction::Ingress => (key.remote, key.local),
        Direction::Egress => (key.local, key.remote),
    };
    let ports = |local, remote| match flow.opener {
        Direction::Ingress => (remote, local),
        Direction::Egress => (local, remote),
    };
    let (protocol, (sport, dport)) = match key.talk {
        Talk::Tcp { local, remote } => (transport::TCP, ports(local, remote)),
        Talk::Udp { local, remote } => (transport::UDP, ports(local, remote)),
        Talk::Query { identifier, request, .. } => {
            let protocol = if key.local.is_ipv4() { transport::ICMP } else { transport::ICMPV6 };
            (protocol, (identifier, request.into()))
        }
        Talk::Other(protocol) => (protocol, (0, 0)),
    };
    TrackedFlow {
        slot: key.slot,
        protocol,
        src,
        sport,
        dst,
        dport,
        egress: flow.opener == Direction::Egress,
        state: flow.state(key.talk),
        packets: flow.from_opener + flow.from_other,
        seen: flow.seen,
    }
}
