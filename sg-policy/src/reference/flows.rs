//! Tracked flows: what identifies one, what its packets make of it, how long it lasts.

use std::net::IpAddr;

use sg_common::{Direction, Family};

use super::{
    Time,
    connection::{Connection, Side},
    packet::{Datagram, family_of},
    rules::Service,
    transport::{Icmp, Segment, Transport},
};
use crate::model::Tracking;

/// Both directions of a flow have the same key: addresses and ports are the instance's and the
/// peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowKey {
    pub(super) slot: u16,
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    pub(super) talk: Talk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Talk {
    Tcp {
        local: u16,
        remote: u16,
    },
    Udp {
        local: u16,
        remote: u16,
    },
    /// ICMP or ICMPv6, by the addresses' family; `request` is the type of the request.
    Query {
        identifier: u16,
        request: u8,
        asked_by: Direction,
    },
    Other(u8),
}

/// Types of ICMP queries: request and reply.
const QUERIES: [(u8, u8); 5] = [(8, 0), (13, 14), (15, 16), (17, 18), (42, 43)];
const QUERIES_V6: [(u8, u8); 3] = [(128, 129), (139, 140), (160, 161)];
/// A request with a larger code is none that any RFC defines.
const MAX_QUERY_CODE: u8 = 15;

impl Talk {
    /// The conversation of a packet that goes in `direction`; `None` for ICMP that is no query.
    pub(super) fn of(transport: &Transport<'_>, direction: Direction) -> Option<Self> {
        let query = |queries: &[(u8, u8)], icmp: Icmp<'_>| {
            queries.iter().find_map(|&(request, reply)| {
                let asked_by = match icmp.kind {
                    kind if kind == request && icmp.code <= MAX_QUERY_CODE => direction,
                    kind if kind == reply => direction.reverse(),
                    _ => return None,
                };
                Some(Self::Query { identifier: icmp.identifier, request, asked_by })
            })
        };
        match (*transport, transport.ports(direction)) {
            (Transport::Tcp { .. }, Some((local, remote))) => Some(Self::Tcp { local, remote }),
            (Transport::Udp { .. }, Some((local, remote))) => Some(Self::Udp { local, remote }),
            (Transport::Icmp(icmp), _) => query(&QUERIES, icmp),
            (Transport::Icmpv6(icmp), _) => query(&QUERIES_V6, icmp),
            (Transport::Other(protocol), _) => Some(Self::Other(protocol)),
            (Transport::Tcp { .. } | Transport::Udp { .. }, None) => None,
        }
    }

    /// Whether a packet in `direction` may open it: anything but a reply to a query.
    pub(super) fn opened_by(self, direction: Direction) -> bool {
        !matches!(self, Self::Query { asked_by, .. } if asked_by != direction)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) opener: Direction,
    /// ICMP: of the request.
    pub(super) code: u8,
    /// When its last packet passed; for a cut flow, when it was cut.
    pub(super) seen: Time,
    pub(super) from_opener: u64,
    pub(super) from_other: u64,
    pub(super) connection: Option<Connection>,
    pub(super) cut: bool,
}

impl Flow {
    /// The flow of TCP that is picked up by a segment in this direction.
    pub(super) fn picked_up(
        opener: Direction,
        direction: Direction,
        segment: &Segment,
        now: Time,
    ) -> Self {
        let side = if direction == opener { Side::Opener } else { Side::Other };
        Self {
            opener,
            code: 0,
            seen: now,
            from_opener: u64::from(side == Side::Opener),
            from_other: u64::from(side == Side::Other),
            connection: Some(Connection::picked_up(side, segment)),
            cut: false,
        }
    }

    /// The flow that a first packet in this direction makes.
    pub(super) fn opened(opener: Direction, transport: &Transport<'_>, now: Time) -> Self {
        let code = match transport {
            Transport::Icmp(icmp) | Transport::Icmpv6(icmp) => icmp.code,
            Transport::Tcp { .. } | Transport::Udp { .. } | Transport::Other(_) => 0,
        };
        Self {
            opener,
            code,
            seen: now,
            from_opener: 1,
            from_other: 0,
            connection: transport.segment().map(|_| Connection::opened()),
            cut: false,
        }
    }

    /// The flow after one more packet; `segment` of TCP.
    pub(super) fn after(
        mut self,
        direction: Direction,
        segment: Option<Segment>,
        now: Time,
    ) -> Self {
        self.seen = now;
        let side = if direction == self.opener { Side::Opener } else { Side::Other };
        match side {
            Side::Opener => self.from_opener += 1,
            Side::Other => self.from_other += 1,
        }
        if let (Some(connection), Some(segment)) = (&mut self.connection, segment) {
            *connection = connection.after(side, &segment);
        }
        self
    }

    pub(super) fn closing(&self) -> bool {
        self.connection.is_some_and(Connection::is_closing)
    }

    /// It was picked up, and both sides have not spoken yet.
    pub(super) fn is_picked_up(&self) -> bool {
        self.connection.is_some_and(Connection::is_picked_up)
    }

    /// A reset before it was established ended it.
    pub(super) fn ended(&self) -> bool {
        self.connection == Some(Connection::Ended)
    }

    /// Idle timeout in seconds.
    pub(super) fn timeout(&self, talk: Talk, tracking: &Tracking) -> u32 {
        match talk {
            Talk::Tcp { .. } => {
                self.connection.map_or(0, |connection| connection.timeout(tracking))
            }
            Talk::Udp { .. } if self.is_stream() => tracking.udp_stream,
            Talk::Udp { .. } => tracking.udp,
            Talk::Query { .. } => 30,
            Talk::Other(_) => 600,
        }
    }

    /// UDP: more than one request and response have passed.
    fn is_stream(&self) -> bool {
        self.from_opener > 1 && self.from_other > 1
    }

    /// The names that `sgctl flows` uses.
    pub(super) fn state(&self, talk: Talk) -> &'static str {
        match talk {
            _ if self.cut => "cut",
            Talk::Tcp { .. } => self.connection.map_or("", Connection::name),
            Talk::Udp { .. } if self.is_stream() => "stream",
            _ if self.from_other > 0 => "replied",
            _ => "new",
        }
    }

    /// The service of the packet that opened the flow, as rules saw it or would have seen it.
    pub(super) fn opening_service(&self, key: &FlowKey) -> Service {
        let destination = |local, remote| match self.opener {
            Direction::Ingress => local,
            Direction::Egress => remote,
        };
        match key.talk {
            Talk::Tcp { local, remote } => Service::Tcp(destination(local, remote)),
            Talk::Udp { local, remote } => Service::Udp(destination(local, remote)),
            Talk::Query { request, .. } => match family_of(key.local) {
                Family::V4 => Service::Icmp { kind: request, code: self.code },
                Family::V6 => Service::Icmpv6 { kind: request, code: self.code },
            },
            Talk::Other(protocol) => Service::Other(protocol),
        }
    }
}

/// How long the verdict of a first fragment is kept, in seconds.
pub(super) const FRAGMENT_TIMEOUT: u32 = 30;

/// A datagram in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FragmentKey {
    pub(super) slot: u16,
    pub(super) direction: Direction,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) datagram: Datagram,
}

/// Verdict of a first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstFragment {
    pub(super) allowed: bool,
    pub(super) seen: Time,
}
