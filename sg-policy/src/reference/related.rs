//! ICMP errors and the packets they quote.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sg_common::Family;

use super::{
    packet::{IpPacket, Part, array_at, u16_at, walk},
    transport::{self, Transport},
};

/// A quoted packet.
#[derive(Debug)]
pub(super) struct Quote<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) transport: Transport<'a>,
}

/// The packet that an ICMP error quotes; `None` for anything else, for a quote that cannot be read
/// and for one that its source cannot have got.
pub(super) fn quote<'a>(error: &IpPacket<'a>) -> Option<Quote<'a>> {
    let quote = match error.transport? {
        Transport::Icmp(icmp) if matches!(icmp.kind, 3 | 11 | 12) => ipv4(&icmp.message[8..])?,
        Transport::Icmpv6(icmp) if matches!(icmp.kind, 1..=4) => ipv6(&icmp.message[8..])?,
        _ => return None,
    };
    (quote.source == error.destination).then_some(quote)
}

/// Length fields are not looked at: a quote is cut off where its router liked to.
fn ipv4(bytes: &[u8]) -> Option<Quote<'_>> {
    if bytes.len() < 20 || bytes[0] >> 4 != 4 {
        return None;
    }
    let header = usize::from(bytes[0] & 15) * 4;
    let is_later_fragment = u16_at(bytes, 6) & 0x1fff != 0;
    if header < 20 || is_later_fragment {
        return None;
    }
    Some(Quote {
        source: Ipv4Addr::from(array_at::<4>(bytes, 12)).into(),
        destination: Ipv4Addr::from(array_at::<4>(bytes, 16)).into(),
        transport: transport::parse_quoted(Family::V4, bytes[9], bytes.get(header..)?)?,
    })
}

fn ipv6(bytes: &[u8]) -> Option<Quote<'_>> {
    if bytes.len() < 40 || bytes[0] >> 4 != 6 {
        return None;
    }
    let walked = walk(bytes[6], &bytes[40..]).ok()?;
    if let Part::Later(_) = walked.part {
        return None;
    }
    Some(Quote {
        source: Ipv6Addr::from(array_at::<16>(bytes, 8)).into(),
        destination: Ipv6Addr::from(array_at::<16>(bytes, 24)).into(),
        transport: transport::parse_quoted(Family::V6, walked.protocol, walked.payload)?,
    })
}
