//! Which rules allow a packet, read straight from the model: what `explain` names beside the
//! verdict of the live tables.

use std::net::IpAddr;

use sg_common::{
    Direction,
    flow::{ICMP, ICMPV6, TCP, UDP},
};

use crate::model::{
    DesiredState, IcmpMatch, LiveInterface, Members, Peer, PortRange, Rule, SecurityGroup, Services,
};

/// A packet as a rule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub direction: Direction,
    /// IANA number.
    pub protocol: u8,
    /// Source of ingress, destination of egress. Its family is the packet's.
    pub peer: IpAddr,
    pub detail: Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Destination port of TCP and UDP.
    Port(u16),
    Icmp {
        kind: u8,
        code: u8,
    },
    /// A protocol that has neither.
    None,
}

/// Every rule of the groups on the entry with index `entry` that allows `traffic`, with its group.
pub fn rules_allowing<'s>(
    state: &'s DesiredState,
    live: &[LiveInterface],
    entry: usize,
    traffic: &Traffic,
) -> Vec<(&'s SecurityGroup, &'s Rule)> {
    let Some(entry) = state.interfaces.get(entry) else { return Vec::new() };
    let members = Members::of(state, live);
    let groups = entry.groups.iter().filter_map(|id| state.group(*id));
    let rules = groups
        .flat_map(|group| group.rules(traffic.direction).iter().map(move |rule| (group, rule)));
    let allowing = rules.filter(|(_, rule)| {
        covers(rule.services, traffic) && is_peer(state, &members, &rule.peer, traffic.peer)
    });
    allowing.collect()
}

fn covers(services: Services, traffic: &Traffic) -> bool {
    match (services, traffic.protocol) {
        (Services::All, _) => true,
        (Services::Tcp(range), TCP) | (Services::Udp(range), UDP) => port_in(range, traffic.detail),
        (Services::Icmp(matched), ICMP) if traffic.peer.is_ipv4() => icmp(matched, traffic.detail),
        (Services::Icmpv6(matched), ICMPV6) if traffic.peer.is_ipv6() => {
            icmp(matched, traffic.detail)
        }
        (Services::Protocol(number), protocol) => number == protocol,
        _ => false,
    }
}

fn port_in(range: PortRange, detail: Detail) -> bool {
    matches!(detail, Detail::Port(port) if (range.from..=range.to).contains(&port))
}

fn icmp(matched: IcmpMatch, detail: Detail) -> bool {
    let Detail::Icmp { kind, code } = detail else { return false };
    matched.kind.is_none_or(|only| only == kind) && matched.code.is_none_or(|only| only == code)
}

fn is_peer(state: &DesiredState, members: &Members, peer: &Peer, address: IpAddr) -> bool {
    match peer {
        Peer::Cidr(net) => net.contains(&address),
        Peer::Group(id) => members.of_group(*id).contains(&address),
        Peer::PrefixList(id) => state
            .prefix_list(*id)
            .is_some_and(|list| list.entries.iter().any(|entry| entry.cidr.contains(&address))),
    }
}

#[cfg(test)]
mod tests;
