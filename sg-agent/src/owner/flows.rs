//! The flow table: listing, counting, forgetting.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use sg_common::flow::{ICMP, ICMPV6, TCP, Timeout, UDP};
use sg_policy::{describe, model::Tracking};

use super::{
    cause::Cause,
    error::Error,
    flows_part::FlowsPart,
    state::{InterfaceState, Owner},
};
use crate::{
    api::{Flow, FlushRequest, Flushed},
    datapath::{FlowCursor, FlowEntry},
    kernel::Kernel,
    observe::ssh_sessions::Located,
    system::clock::Ticks,
};

impl<D: Kernel> Owner<D> {
    /// Tracked flows of one part of the table, of one interface or of all, that have not idled out;
    /// and where the next part begins. The owner does other work between parts, and nobody has to
    /// keep all flows.
    pub fn flows(&self, interface: Option<&str>, from: FlowCursor) -> Result<FlowsPart, Error> {
        let only = match interface {
            Some(name) => Some(self.filtered_by_name(name)?.1.slot),
            None => None,
        };
        let by_slot = self.by_slot();
        let ticks = self.ticks();
        let mut flows = Vec::new();
        let next = self.kernel.for_some_flows(from, &mut |flow| {
            if only.is_some_and(|slot| slot != flow.slot) {
                return;
            }
            if let Some(&(held, tracking)) = by_slot.get(&flow.slot)
                && let Some(shown) = shown(flow, held, tracking, ticks)
            {
                flows.push(shown);
            }
        })?;
        Ok(FlowsPart { flows, next })
    }

    pub(super) fn shown_flow(&self, flow: &FlowEntry) -> Option<Flow> {
        let by_slot = self.by_slot();
        let &(held, tracking) = by_slot.get(&flow.slot)?;
        shown(flow, held, tracking, self.ticks())
    }

    /// Live flows by slot, in one pass over the table.
    pub(super) fn live_flows(&self) -> BTreeMap<u16, u64> {
        let by_slot = self.by_slot();
        let ticks = self.ticks();
        let mut used = BTreeMap::new();
        self.kernel.for_each_flow(&mut |flow| {
            if let Some(&(_, tracking)) = by_slot.get(&flow.slot)
                && left(flow, tracking, ticks).is_some()
            {
                *used.entry(flow.slot).or_insert(0) += 1;
            }
        });
        used
    }

    /// Whether a live flow of a slot is one that `is` says.
    pub(super) fn has_flow(&self, slot: u16, is: impl Fn(&FlowEntry) -> bool) -> bool {
        !self.slots_with_flow(|flow| flow.slot == slot && is(flow)).is_empty()
    }

    /// Slots that have a live flow which is one that `is` says.
    pub(super) fn slots_with_flow(&self, is: impl Fn(&FlowEntry) -> bool) -> BTreeSet<u16> {
        let (by_slot, ticks) = (self.by_slot(), self.ticks());
        let mut found = BTreeSet::new();
        self.kernel.for_each_flow(&mut |flow| {
            let Some(&(_, tracking)) = by_slot.get(&flow.slot) else { return };
            if is(flow) && left(flow, tracking, ticks).is_some() {
                found.insert(flow.slot);
            }
        });
        found
    }

    /// Forgets flows, or with `denied` cuts flows that the rules would not let open.
    ///
    /// Forgetting all opens the pickup time anew, so that connections which the rules allow go on.
    ///
    /// # Errors
    /// Also where that would cut one of the sessions.
    pub fn flush(
        &mut self,
        request: &FlushRequest,
        sessions: &[Located],
    ) -> Result<Flushed, Error> {
        let filter = self.filter(request)?;
        self.refuse_flush(&filter, request.denied, sessions)?;
        if request.denied {
            return self.flush_denied(&filter);
        }
        if filter.is_everything() {
            let until: Vec<_> = self
                .filtered
                .iter()
                .filter_map(|(&ifindex, held)| {
                    let tracking = &self.rules().interfaces[held.entry?].tracking;
                    Some((ifindex, self.pickup(tracking.pickup)))
                })
                .collect();
            for (ifindex, until) in until {
                if let Some(held) = self.filtered.get_mut(&ifindex) {
                    held.pickup_until = until;
                }
            }
            let prepared = self.prepare(self.target.clone(), Cause::Flush)?;
            self.enforce(prepared, None)?;
        }
        let flows = self.kernel.flush(&mut |flow| filter.matches(flow));
        if filter.is_everything() {
            // Pickup must not take a session that no rule lets open.
            self.seed_denied(&self.image_in_force);
        }
        Ok(Flushed { flows })
    }

    fn flush_denied(&self, filter: &FlowFilter) -> Result<Flushed, Error> {
        let image = &self.image_in_force;
        let flows = self.kernel.cut_denied(image, &mut |flow| filter.matches(flow))?;
        Ok(Flushed { flows })
    }

    fn by_slot(&self) -> BTreeMap<u16, (&InterfaceState, &Tracking)> {
        let entries = &self.rules().interfaces;
        let filtered = self.filtered.values();
        filtered
            .filter_map(|held| Some((held.slot, (held, &entries[held.entry?].tracking))))
            .collect()
    }

    fn filter(&self, request: &FlushRequest) -> Result<FlowFilter, Error> {
        let slot = match &request.interface {
            Some(name) => Some(self.filtered_by_name(name)?.1.slot),
            None => None,
        };
        Ok(FlowFilter {
            slot,
            protocol: request.protocol.as_deref().map(protocol_number).transpose()?,
            src: request.src.as_deref().map(network).transpose()?,
            dst: request.dst.as_deref().map(network).transpose()?,
            sport: request.sport,
            dport: request.dport,
        })
    }
}

/// Which flows a request means. An absent field does not restrict.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowFilter {
    slot: Option<u16>,
    protocol: Option<u8>,
    src: Option<IpNet>,
    dst: Option<IpNet>,
    sport: Option<u16>,
    dport: Option<u16>,
}

impl FlowFilter {
    pub(super) fn is_everything(&self) -> bool {
        let Self { slot, protocol, src, dst, sport, dport } = self;
        slot.is_none()
            && protocol.is_none()
            && src.is_none()
            && dst.is_none()
            && sport.is_none()
            && dport.is_none()
    }

    pub(super) fn matches(&self, flow: &FlowEntry) -> bool {
        self.slot.is_none_or(|slot| slot == flow.slot)
            && self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && self.src.is_none_or(|net| net.contains(&flow.src))
            && self.dst.is_none_or(|net| net.contains(&flow.dst))
            && self.sport.is_none_or(|port| port == flow.sport)
            && self.dport.is_none_or(|port| port == flow.dport)
    }
}

/// A CIDR or an address.
fn network(text: &str) -> Result<IpNet, Error> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>()
        .or_else(|_| address())
        .map_err(|_| Error::Request(format!("\"{text}\" is neither an address nor a CIDR")))
}

/// As in rules.toml, but one protocol only.
pub(super) fn protocol_number(text: &str) -> Result<u8, Error> {
    let number = match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        "icmp" => Some(ICMP),
        "icmpv6" => Some(ICMPV6),
        other => other.parse().ok(),
    };
    number.ok_or_else(|| {
        Error::Request(format!("\"{text}\" is no protocol: tcp, udp, icmp, icmpv6 or 0-255"))
    })
}

fn protocol_name(number: u8) -> String {
    match number {
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        ICMP => "icmp".to_owned(),
        ICMPV6 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

fn shown(
    flow: &FlowEntry,
    held: &InterfaceState,
    tracking: &Tracking,
    ticks: Ticks,
) -> Option<Flow> {
    let expires_s = left(flow, tracking, ticks)?.as_secs();
    Some(Flow {
        interface: held.name.to_string(),
        direction: describe::direction(flow.direction).to_owned(),
        protocol: protocol_name(flow.protocol),
        src: flow.src,
        sport: flow.sport,
        dst: flow.dst,
        dport: flow.dport,
        state: flow.state.to_owned(),
        idle_s: ticks.since(flow.seen).as_secs(),
        expires_s,
        packets: flow.packets,
        bytes: flow.bytes,
    })
}

/// Time until the flow idles out; `None` if it has.
fn left(flow: &FlowEntry, tracking: &Tracking, ticks: Ticks) -> Option<Duration> {
    let timeout = Duration::from_secs(u64::from(timeout(flow.timeout, tracking)));
    timeout.checked_sub(ticks.since(flow.seen)).filter(|left| !left.is_zero())
}

/// Idle timeouts in seconds (semantics.md, "State").
fn timeout(which: Timeout, tracking: &Tracking) -> u32 {
    match which {
        Timeout::TcpOpening => 60,
        Timeout::TcpEstablished => tracking.tcp_established,
        Timeout::TcpClosing => 120,
        Timeout::TcpReset => 10,
        Timeout::Udp => tracking.udp,
        Timeout::UdpStream => tracking.udp_stream,
        Timeout::Icmp | Timeout::Fragment => 30,
        Timeout::Other => 600,
        Timeout::TcpEnded => 0,
    }
}
