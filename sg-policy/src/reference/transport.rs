//! Transport headers: TCP, UDP, ICMP in IPv4, ICMPv6 in IPv6. Everything else has none.

use sg_common::{Direction, Family, Reason};

use super::{
    packet::{Part, array_at, u16_at},
    rules::Service,
};

pub(super) const ICMP: u8 = 1;
pub(super) const IGMP: u8 = 2;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport<'a> {
    Tcp {
        source: u16,
        destination: u16,
        segment: Segment,
    },
    Udp {
        source: u16,
        destination: u16,
    },
    /// In IPv4.
    Icmp(Icmp<'a>),
    /// In IPv6.
    Icmpv6(Icmp<'a>),
    Other(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Icmp<'a> {
    pub(super) kind: u8,
    pub(super) code: u8,
    /// The identifier of a query; without meaning in other messages.
    pub(super) identifier: u16,
    /// From the type to the packet's end.
    pub(super) message: &'a [u8],
}

/// Fields of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) sequence: u32,
    pub(super) acknowledges: u32,
    /// It carries data.
    pub(super) data: bool,
}

impl Segment {
    pub(super) fn opens(self) -> bool {
        self.syn && !self.ack && !self.fin && !self.rst
    }

    /// It begins a connection for systems that let a SYN have other flags.
    pub(super) fn is_syn(self) -> bool {
        self.syn && !self.ack
    }
}

impl Transport<'_> {
    /// The service that rules match.
    pub(super) fn service(&self) -> Service {
        match *self {
            Transport::Tcp { destination, .. } => Service::Tcp(destination),
            Transport::Udp { destination, .. } => Service::Udp(destination),
            Transport::Icmp(icmp) => Service::Icmp { kind: icmp.kind, code: icmp.code },
            Transport::Icmpv6(icmp) => Service::Icmpv6 { kind: icmp.kind, code: icmp.code },
            Transport::Other(protocol) => Service::Other(protocol),
        }
    }

    /// The segment, if it is TCP.
    pub(super) fn segment(&self) -> Option<Segment> {
        match *self {
            Transport::Tcp { segment, .. } => Some(segment),
            _ => None,
        }
    }

    /// Local and remote port of TCP and UDP.
    pub(super) fn ports(&self, direction: Direction) -> Option<(u16, u16)> {
        match (*self, direction) {
            (
                Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination },
                Direction::Ingress,
            ) => Some((destination, source)),
            (
                Transport::Tcp { source, destination, .. } | Transport::Udp { source, destination },
                Direction::Egress,
            ) => Some((source, destination)),
            _ => None,
        }
    }
}

/// Reads and checks the transport header; `None` in a later fragment.
///
/// # Errors
/// `malformed` or `fragment_tiny`.
pub(super) fn parse(
    family: Family,
    protocol: u8,
    part: Part,
    payload: &[u8],
) -> Result<Option<Transport<'_>>, Reason> {
    if let Part::Later(_) = part {
        return Ok(None);
    }
    let whole = part == Part::Whole;
    let too_short = if whole { Reason::Malformed } else { Reason::FragmentTiny };
    let fixed_header = match (family, protocol) {
        (_, TCP) => 20,
        (_, UDP) | (Family::V4, ICMP) | (Family::V6, ICMPV6) => 8,
        _ => 0,
    };
    if payload.len() < fixed_header {
        return Err(too_short);
    }
    match protocol {
        TCP => {
            let header = usize::from(payload[12] >> 4) * 4;
            if header < 20 || (whole && header > payload.len()) {
                return Err(Reason::Malformed);
            }
        }
        UDP => {
            let length = usize::from(u16_at(payload, 4));
            if length < 8 || (whole && length > payload.len()) {
                return Err(Reason::Malformed);
            }
        }
        _ => {}
    }
    Ok(Some(read(family, protocol, payload)))
}

/// Reads what rules and flows look at.
///
/// # Panics
/// When `payload` has not the whole fixed header.
fn read(family: Family, protocol: u8, payload: &[u8]) -> Transport<'_> {
    match (family, protocol) {
        (_, TCP) => {
            let flags = payload[13];
            Transport::Tcp {
                source: u16_at(payload, 0),
                destination: u16_at(payload, 2),
                segment: Segment {
                    fin: flags & 1 != 0,
                    syn: flags & 2 != 0,
                    rst: flags & 4 != 0,
                    ack: flags & 16 != 0,
                    sequence: u32_at(payload, 4),
                    acknowledges: u32_at(payload, 8),
                    data: payload.len() > usize::from(payload[12] >> 4) * 4,
                },
            }
        }
        (_, UDP) => Transport::Udp { source: u16_at(payload, 0), destination: u16_at(payload, 2) },
        (Family::V4, ICMP) => Transport::Icmp(icmp(payload)),
        (Family::V6, ICMPV6) => Transport::Icmpv6(icmp(payload)),
        _ => Transport::Other(protocol),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

fn icmp(message: &[u8]) -> Icmp<'_> {
    Icmp { kind: message[0], code: message[1], identifier: u16_at(message, 4), message }
}

/// Reads a quoted packet's transport, of which 8 bytes are enough. TCP flags are not among them.
pub(super) fn parse_quoted(family: Family, protocol: u8, payload: &[u8]) -> Option<Transport<'_>> {
    let tracked_by_header =
        matches!((family, protocol), (_, TCP | UDP) | (Family::V4, ICMP) | (Family::V6, ICMPV6));
    if tracked_by_header && payload.len() < 8 {
        return None;
    }
    if protocol == TCP {
        return Some(Transport::Tcp {
            source: u16_at(payload, 0),
            destination: u16_at(payload, 2),
            segment: Segment::default(),
        });
    }
    Some(read(family, protocol, payload))
}
