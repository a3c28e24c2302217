//! Port role: the instance speaks for itself only. In the order of docs/semantics-notes.md.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sg_common::Reason;

use super::{
    packet::{Content, Frame, IpPacket, array_at},
    transport::{Icmp, Transport},
};
use crate::model::Interface;

/// # Errors
/// `source_check`; `malformed` for ARP or ND that is too short to tell.
pub(super) fn check(entry: &Interface, frame: &Frame<'_>) -> Result<(), Reason> {
    if let (Some(mac), Some(source)) = (entry.mac, frame.source) {
        require(source == mac)?;
    }
    match &frame.content {
        Content::Arp(arp) => check_arp(entry, arp),
        Content::Ip(ip) => {
            require(source_is_own(entry, ip))?;
            require(!speaks_as_server(ip))?;
            check_claim(entry, ip)
        }
        Content::Other(_) => Ok(()),
    }
}

fn require(condition: bool) -> Result<(), Reason> {
    if condition { Ok(()) } else { Err(Reason::SourceCheck) }
}

fn check_arp(entry: &Interface, arp: &[u8]) -> Result<(), Reason> {
    if arp.len() < 28 {
        return Err(Reason::Malformed);
    }
    let sender_hardware: [u8; 6] = array_at(arp, 8);
    let sender = Ipv4Addr::from(array_at::<4>(arp, 14));
    require(entry.mac.is_none_or(|mac| mac == sender_hardware))?;
    // 0.0.0.0: a probe (RFC 5227).
    require(sender.is_unspecified() || entry.addresses.contains(&sender.into()))
}

fn source_is_own(entry: &Interface, ip: &IpPacket<'_>) -> bool {
    if is_own(entry, ip.source) {
        return true;
    }
    match (ip.source, &ip.transport) {
        (IpAddr::V4(source), Some(Transport::Udp { source: from, destination: to })) => {
            source.is_unspecified() && (*from, *to) == (68, 67)
        }
        // Router solicitation, DAD, and MLD before an address is had (RFC 3590).
        (IpAddr::V6(source), Some(Transport::Icmpv6(icmp))) => {
            source.is_unspecified() && matches!(icmp.kind, 133 | 135 | 131 | 132 | 143)
        }
        _ => false,
    }
}

fn is_own(entry: &Interface, address: IpAddr) -> bool {
    if entry.addresses.contains(&address) {
        return true;
    }
    match (address, entry.mac) {
        (IpAddr::V4(_), _) => false,
        (IpAddr::V6(address), Some(mac)) => address == eui64_link_local(mac),
        // fe80::/10
        (IpAddr::V6(address), None) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// RFC 4291, appendix A.
fn eui64_link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Router advertisement, or anything to a DHCP client: clients look at the destination port only.
fn speaks_as_server(ip: &IpPacket<'_>) -> bool {
    match (&ip.transport, ip.source.is_ipv4()) {
        (Some(Transport::Icmpv6(icmp)), _) => icmp.kind == 134,
        (Some(Transport::Udp { destination, .. }), true) => *destination == 68,
        (Some(Transport::Udp { destination, .. }), false) => *destination == 546,
        _ => false,
    }
}

/// DAD and neighbour advertisement claim their target.
fn check_claim(entry: &Interface, ip: &IpPacket<'_>) -> Result<(), Reason> {
    let Some(Transport::Icmpv6(Icmp { kind, message, .. })) = ip.transport else { return Ok(()) };
    let is_dad = kind == 135 && ip.source.is_unspecified();
    if !is_dad && kind != 136 {
        return Ok(());
    }
    if message.len() < 24 {
        return Err(Reason::Malformed);
    }
    require(is_own(entry, Ipv6Addr::from(array_at::<16>(message, 8)).into()))
}
