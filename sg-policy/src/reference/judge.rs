//! A packet's way: headers, source check, always-pass, untracked, flow, fragments, related, rules.

use std::net::IpAddr;

use sg_common::{Direction, Family, Reason};

use super::{
    Evaluator, Metadata, Packet, Time,
    flows::{FRAGMENT_TIMEOUT, FirstFragment, Flow, FlowKey, FragmentKey, Talk},
    metadata,
    packet::{self, Content, Datagram, IpPacket, Part, family_of},
    related,
    rules::{PortProtocol, Rules, Service},
    source_check,
    transport::{ICMP, ICMPV6, IGMP, Segment, TCP, Transport, UDP},
};
use crate::model::{LiveInterface, Role};

/// A reason, and the packet's effects on flows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) reason: Reason,
    pub(super) flow: Option<(FlowKey, Flow)>,
    pub(super) fragment: Option<(FragmentKey, FirstFragment)>,
}

impl From<Reason> for Verdict {
    fn from(reason: Reason) -> Self {
        Self { reason, flow: None, fragment: None }
    }
}

/// `None` on an interface that is not filtered.
pub(super) fn judge(
    host: &Evaluator,
    packet: &Packet<'_>,
    beside: &Metadata,
    now: Time,
) -> Option<Verdict> {
    let live = host.by_ifindex(packet.ifindex)?;
    let judge = Judge { host, live, rules: host.rules(live), direction: packet.direction, now };
    Some(judge.frame(packet, beside).unwrap_or_else(Verdict::from))
}

struct Judge<'a> {
    host: &'a Evaluator,
    live: &'a LiveInterface,
    rules: Rules<'a>,
    direction: Direction,
    now: Time,
}

impl Judge<'_> {
    fn frame(&self, packet: &Packet<'_>, beside: &Metadata) -> Result<Verdict, Reason> {
        let frame = packet::parse(packet, self.live.ethernet)?;
        metadata::check(packet, beside, &frame)?;
        let entry = self.rules.interface;
        if entry.role == Role::Port && entry.source_check && self.direction == Direction::Egress {
            source_check::check(entry, &frame)?;
        }
        Ok(match (&frame.content, entry.role) {
            (Content::Ip(ip), _) => self.datagram(ip),
            (Content::Arp(_), _) | (Content::Other(_), Role::Host) => Reason::Exempt.into(),
            (Content::Other(_), Role::Port) => Reason::NonIp.into(),
        })
    }

    fn datagram(&self, ip: &IpPacket<'_>) -> Verdict {
        let mut verdict = if self.is_exempt(ip) {
            Reason::Exempt.into()
        } else if self.calls_exempt_service(ip) {
            self.call(ip)
        } else {
            match (&ip.transport, ip.part) {
                (Some(transport), _) => self.packet(ip, transport),
                (None, Part::Later(datagram)) => self.later_fragment(ip, datagram).into(),
                (None, _) => unreachable!("only later fragments have no transport"),
            }
        };
        // An exempt first fragment leaves no verdict.
        if let Part::First(datagram) = ip.part
            && verdict.reason != Reason::Exempt
        {
            verdict.fragment = self.first_fragment(ip, datagram, verdict.reason);
        }
        verdict
    }

    fn is_exempt(&self, ip: &IpPacket<'_>) -> bool {
        match ip.transport {
            Some(Transport::Icmpv6(icmp)) => match icmp.kind {
                133..=137 => ip.hop_limit == 255,
                130..=132 | 143 => ip.destination.is_multicast(),
                _ => false,
            },
            Some(Transport::Udp { source, destination }) => {
                self.is_dhcp(source, destination, self.peer(ip))
            }
            _ => ip.protocol == IGMP && ip.source.is_ipv4() && ip.destination.is_multicast(),
        }
    }

    /// Whether the instance sends TCP or UDP to an exempt service.
    fn calls_exempt_service(&self, ip: &IpPacket<'_>) -> bool {
        self.direction == Direction::Egress
            && self.rules.interface.filter.exempt_services
            && matches!(ip.protocol, TCP | UDP)
            && is_exempt_service(ip.destination)
    }

    /// Such a packet passes, and is in all else one that a rule allows: its answers pass as its flow.
    fn call(&self, ip: &IpPacket<'_>) -> Verdict {
        let flow = ip.transport.as_ref().and_then(|transport| self.packet(ip, transport).flow);
        Verdict { flow, ..Reason::Exempt.into() }
    }

    /// Whether this is DHCP of the instance as a client: its requests, and answers to them.
    fn is_dhcp(&self, source: u16, destination: u16, far: IpAddr) -> bool {
        match (far, self.direction) {
            (IpAddr::V4(_), Direction::Ingress) => (source, destination) == (67, 68),
            (IpAddr::V4(far), Direction::Egress) => {
                let is_shared = far.octets()[0] == 100 && far.octets()[1] & 0xc0 == 64;
                let is_near =
                    far.is_broadcast() || far.is_link_local() || far.is_private() || is_shared;
                (source, destination) == (68, 67) && is_near
            }
            (IpAddr::V6(far), direction) => {
                let port = if direction == Direction::Ingress { 546 } else { 547 };
                let is_near =
                    far.is_unicast_link_local() || far.is_multicast() || far.is_unique_local();
                destination == port && is_near
            }
        }
    }

    fn peer(&self, ip: &IpPacket<'_>) -> IpAddr {
        match self.direction {
            Direction::Ingress => ip.source,
            Direction::Egress => ip.destination,
        }
    }

    /// A whole packet or a first fragment.
    fn packet(&self, ip: &IpPacket<'_>, transport: &Transport<'_>) -> Verdict {
        if self.is_untracked(self.direction, family_of(ip.source), transport) {
            return Reason::Untracked.into();
        }
        let key = flow_key(self.live.slot, self.direction, ip.source, ip.destination, transport);
        if let Some(key) = key
            && let Some(flow) = self.host.flow(&key, self.now)
        {
            return self.packet_of_flow(ip, transport, key, flow);
        }
        let related_icmp = self.rules.interface.filter.related_icmp;
        if related_icmp && ip.part == Part::Whole && self.is_related(ip) {
            return Reason::Related.into();
        }
        self.packet_by_rules(ip, transport, key)
    }

    /// Whether the packet goes to an untracked service or comes back from one.
    fn is_untracked(&self, way: Direction, family: Family, transport: &Transport<'_>) -> bool {
        let protocol = match transport {
            Transport::Tcp { .. } => PortProtocol::Tcp,
            Transport::Udp { .. } => PortProtocol::Udp,
            Transport::Icmp(_) | Transport::Icmpv6(_) | Transport::Other(_) => return false,
        };
        let Some((local, remote)) = transport.ports(way) else { return false };
        self.rules.untracked(Direction::Ingress, family, protocol, local)
            || self.rules.untracked(Direction::Egress, family, protocol, remote)
    }

    fn packet_of_flow(
        &self,
        ip: &IpPacket<'_>,
        transport: &Transport<'_>,
        key: FlowKey,
        flow: &Flow,
    ) -> Verdict {
        let segment = transport.segment();
        let reopens = segment.is_some_and(Segment::opens) && (flow.cut || flow.closing());
        let begins = segment.is_some_and(Segment::is_syn) && flow.is_picked_up() && !flow.cut;
        if reopens || begins {
            return self.packet_by_rules(ip, transport, Some(key));
        }
        if flow.cut {
            return Reason::FlowCut.into();
        }
        let flow = flow.after(self.direction, segment, self.now);
        Verdict { flow: Some((key, flow)), ..Reason::Flow.into() }
    }

    /// Whether TCP is picked up in mid-stream. The clock may wrap around before it ends, and comes
    /// round when it is long over: more than an hour is never left (131,072 ticks are longer).
    fn picks_up(&self) -> bool {
        let left = self.live.pickup_until.wrapping_sub(self.now);
        self.live.pickup_until != 0 && (1..=131_072).contains(&left)
    }

    /// A packet without a flow, or one that may start its flow over.
    fn packet_by_rules(
        &self,
        ip: &IpPacket<'_>,
        transport: &Transport<'_>,
        key: Option<FlowKey>,
    ) -> Verdict {
        let allowed = self.calls_exempt_service(ip)
            || self.rules.allow(self.direction, self.peer(ip), transport.service());
        if let Some(segment) = transport.segment()
            && !segment.opens()
            && self.picks_up()
        {
            let Some(opener) = self.opener(ip, transport, segment, allowed) else {
                return Reason::NoRule.into();
            };
            let flow = Flow::picked_up(opener, self.direction, &segment, self.now);
            return Verdict { flow: key.map(|key| (key, flow)), ..Reason::Rule.into() };
        }
        if !allowed {
            return Reason::NoRule.into();
        }
        if transport.segment().is_some_and(|segment| !segment.opens()) {
            return Reason::NotSyn.into();
        }
        let opens = key.filter(|key| key.talk.opened_by(self.direction));
        let flow = opens.map(|key| (key, Flow::opened(self.direction, transport, self.now)));
        Verdict { flow, ..Reason::Rule.into() }
    }

    /// Who opened the connection of a segment in mid-stream, if the rules let that side do so. `allowed`:
    /// they let the sender.
    fn opener(
        &self,
        ip: &IpPacket<'_>,
        transport: &Transport<'_>,
        segment: Segment,
        allowed: bool,
    ) -> Option<Direction> {
        let (local, remote) = transport.ports(self.direction)?;
        let is_high = |port: u16| port >= 32_768;
        let by_ports = match (is_high(local), is_high(remote)) {
            (true, false) => Some(Direction::Egress),
            (false, true) => Some(Direction::Ingress),
            _ => None,
        };
        let receiver = self.direction.reverse();
        let receiver_is_allowed = || {
            let exempt = receiver == Direction::Egress
                && self.rules.interface.filter.exempt_services
                && is_exempt_service(self.peer(ip));
            let called = if receiver == Direction::Ingress { local } else { remote };
            exempt || self.rules.allow(receiver, self.peer(ip), Service::Tcp(called))
        };
        let sender = Some(self.direction).filter(|_| allowed);
        if segment.is_syn() {
            return sender;
        }
        match by_ports {
            Some(side) if side == self.direction => sender,
            Some(_) => Some(receiver).filter(|_| receiver_is_allowed()),
            None => sender.or_else(|| Some(receiver).filter(|_| receiver_is_allowed())),
        }
    }

    /// Whether an ICMP error quotes a packet of a flow that is allowed.
    fn is_related(&self, error: &IpPacket<'_>) -> bool {
        let Some(quote) = related::quote(error) else { return false };
        let way = self.direction.reverse();
        let of_flow =
            flow_key(self.live.slot, way, quote.source, quote.destination, &quote.transport)
                .and_then(|key| self.host.flow(&key, self.now))
                .is_some_and(|flow| !flow.cut);
        of_flow || self.is_untracked(way, family_of(quote.source), &quote.transport)
    }

    fn later_fragment(&self, ip: &IpPacket<'_>, datagram: Datagram) -> Reason {
        let first = self.host.fragments.get(&self.fragment_key(ip, datagram));
        let allowed = match first {
            Some(first) if !self.host.over(first.seen, FRAGMENT_TIMEOUT, self.now) => first.allowed,
            _ => {
                let like = any_service(family_of(ip.source), ip.protocol);
                self.rules.allow_all_of(self.direction, self.peer(ip), like)
            }
        };
        if allowed { Reason::Fragment } else { Reason::FragmentUnknown }
    }

    /// The entry that later fragments find. There is one for each allowed packet, and for a refusal
    /// by `not_syn` or `flow_cut`; other refusals leave none.
    fn first_fragment(
        &self,
        ip: &IpPacket<'_>,
        datagram: Datagram,
        reason: Reason,
    ) -> Option<(FragmentKey, FirstFragment)> {
        let keep = reason.allowed() || matches!(reason, Reason::NotSyn | Reason::FlowCut);
        let verdict = FirstFragment { allowed: reason.allowed(), seen: self.now };
        keep.then(|| (self.fragment_key(ip, datagram), verdict))
    }

    fn fragment_key(&self, ip: &IpPacket<'_>, datagram: Datagram) -> FragmentKey {
        FragmentKey {
            slot: self.live.slot,
            direction: self.direction,
            source: ip.source,
            destination: ip.destination,
            datagram,
        }
    }
}

fn flow_key(
    slot: u16,
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    transport: &Transport<'_>,
) -> Option<FlowKey> {
    let talk = Talk::of(transport, direction)?;
    let (local, remote) = match direction {
        Direction::Ingress => (destination, source),
        Direction::Egress => (source, destination),
    };
    Some(FlowKey { slot, local, remote, talk })
}

/// Some service of the protocol.
fn any_service(family: Family, protocol: u8) -> Service {
    match (family, protocol) {
        (_, TCP) => Service::Tcp(0),
        (_, UDP) => Service::Udp(0),
        (Family::V4, ICMP) => Service::Icmp { kind: 0, code: 0 },
        (Family::V6, ICMPV6) => Service::Icmpv6 { kind: 0, code: 0 },
        _ => Service::Other(protocol),
    }
}

pub(super) fn is_exempt_service(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(peer) => matches!(
            peer.octets(),
            [169, 254, 169, 253 | 254 | 123 | 250 | 251] | [169, 254, 170, 2 | 23]
        ),
        IpAddr::V6(peer) => matches!(
            peer.segments(),
            [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253 | 0x254 | 0x123 | 0x250 | 0x251 | 0x23]
        ),
    }
}
