//! Rules: a loop over all rules of all groups of an interface.

use std::net::IpAddr;

use ipnet::IpNet;
use sg_common::{Direction, Family};

use crate::model::{
    DesiredState, GroupId, IcmpMatch, Interface, LiveInterface, Peer, PortRange, Role, Rule,
    Services,
};

/// The fields of a packet that a rule looks at besides the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Destination port.
    Tcp(u16),
    Udp(u16),
    /// In IPv4.
    Icmp {
        kind: u8,
        code: u8,
    },
    /// In IPv6.
    Icmpv6 {
        kind: u8,
        code: u8,
    },
    /// Any other protocol; so are ICMP in IPv6 and ICMPv6 in IPv4.
    Other(u8),
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortProtocol {
    Tcp,
    Udp,
}

/// The rules that hold for one interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) state: &'a DesiredState,
    pub(crate) live: &'a [LiveInterface],
    pub(crate) interface: &'a Interface,
}

impl<'a> Rules<'a> {
    fn of(&self, direction: Direction) -> impl Iterator<Item = &'a Rule> {
        let state = self.state;
        let groups = self.interface.groups.iter();
        groups.filter_map(|id| state.group(*id)).flat_map(move |group| group.rules(direction))
    }

    pub(crate) fn allow(&self, direction: Direction, peer: IpAddr, service: Service) -> bool {
        self.of(direction).any(|rule| {
            services_match(rule.services, service) && self.peer_matches(&rule.peer, peer)
        })
    }

    /// Whether the rules together allow `peer` every port of `like`'s protocol, or every type and
    /// code.
    pub(crate) fn allow_all_of(&self, direction: Direction, peer: IpAddr, like: Service) -> bool {
        let rules: Vec<_> =
            self.of(direction).filter(|rule| self.peer_matches(&rule.peer, peer)).collect();
        // A rule allows a range. If a number is missing, the gap begins at 0 or where a range ends.
        let ends = rules.iter().filter_map(|rule| last_of(rule.services)?.checked_add(1));
        ends.chain([0]).all(|number| {
            let [kind, code] = number.to_be_bytes();
            let service = match like {
                Service::Tcp(_) => Service::Tcp(number),
                Service::Udp(_) => Service::Udp(number),
                Service::Icmp { .. } => Service::Icmp { kind, code },
                Service::Icmpv6 { .. } => Service::Icmpv6 { kind, code },
                Service::Other(_) => like,
            };
            rules.iter().any(|rule| services_match(rule.services, service))
        })
    }

    /// Whether a service at `port` is not tracked: rules of `direction` open it to all addresses,
    /// and the other direction allows all addresses on all ports.
    pub(crate) fn untracked(
        &self,
        direction: Direction,
        family: Family,
        protocol: PortProtocol,
        port: u16,
    ) -> bool {
        let other = self.open_to_all(direction.reverse(), family, protocol);
        // The ports are complete if there is no port at which a range could be missing.
        let covers = |port| other.iter().any(|range| holds(*range, port));
        let complete =
            covers(0) && other.iter().all(|range| range.to == u16::MAX || covers(range.to + 1));
        complete
            && self.open_to_all(direction, family, protocol).iter().any(|range| holds(*range, port))
    }

    /// Ports that rules open to 0.0.0.0/0 or ::/0.
    fn open_to_all(
        &self,
        direction: Direction,
        family: Family,
        protocol: PortProtocol,
    ) -> Vec<PortRange> {
        self.of(direction)
            .filter(|rule| self.peer_is_everyone(&rule.peer, family))
            .filter_map(|rule| match (rule.services, protocol) {
                (Services::All, _) => Some(PortRange::ALL),
                (Services::Tcp(ports), PortProtocol::Tcp)
                | (Services::Udp(ports), PortProtocol::Udp) => Some(ports),
                _ => None,
            })
            .collect()
    }

    fn peer_is_everyone(&self, peer: &Peer, family: Family) -> bool {
        let everyone =
            |net: IpNet| net.prefix_len() == 0 && net.addr().is_ipv4() == (family == Family::V4);
        match peer {
            Peer::Cidr(net) => everyone(*net),
            Peer::PrefixList(id) => self
                .state
                .prefix_list(*id)
                .is_some_and(|list| list.entries.iter().any(|entry| everyone(entry.cidr))),
            Peer::Group(_) => false,
        }
    }

    fn peer_matches(&self, peer: &Peer, address: IpAddr) -> bool {
        match peer {
            Peer::Cidr(net) => in_prefix(*net, address),
            Peer::PrefixList(id) => self.state.prefix_list(*id).is_some_and(|list| {
                list.entries.iter().any(|entry| in_prefix(entry.cidr, address))
            }),
            Peer::Group(id) => self.is_member(*id, address),
        }
    }

    fn is_member(&self, group: GroupId, address: IpAddr) -> bool {
        self.state.interfaces.iter().enumerate().any(|(index, entry)| {
            if !entry.groups.contains(&group) {
                return false;
            }
            if entry.role == Role::Host && entry.addresses.is_empty() {
                return self
                    .live
                    .iter()
                    .any(|live| live.entry == index && live.addresses.contains(&address));
            }
            entry.addresses.contains(&address)
        })
    }
}

/// The last port, or type and code, that a rule allows of those it names.
fn last_of(services: Services) -> Option<u16> {
    match services {
        Services::Tcp(ports) | Services::Udp(ports) => Some(ports.to),
        Services::Icmp(wanted) | Services::Icmpv6(wanted) => {
            Some(u16::from_be_bytes([wanted.kind?, wanted.code.unwrap_or(u8::MAX)]))
        }
        Services::All | Services::Protocol(_) => None,
    }
}

fn services_match(services: Services, service: Service) -> bool {
    match (services, service) {
        (Services::All, _) => true,
        (Services::Tcp(ports), Service::Tcp(port)) | (Services::Udp(ports), Service::Udp(port)) => {
            holds(ports, port)
        }
        (Services::Icmp(wanted), Service::Icmp { kind, code })
        | (Services::Icmpv6(wanted), Service::Icmpv6 { kind, code }) => {
            icmp_matches(wanted, kind, code)
        }
        (Services::Protocol(wanted), Service::Other(protocol)) => wanted == protocol,
        _ => false,
    }
}

fn holds(ports: PortRange, port: u16) -> bool {
    ports.from <= port && port <= ports.to
}

fn icmp_matches(wanted: IcmpMatch, kind: u8, code: u8) -> bool {
    wanted.kind.is_none_or(|wanted| wanted == kind)
        && wanted.code.is_none_or(|wanted| wanted == code)
}

fn in_prefix(net: IpNet, address: IpAddr) -> bool {
    let bits = u32::from(net.prefix_len());
    match (net.addr(), address) {
        (IpAddr::V4(net), IpAddr::V4(address)) => {
            (net.to_bits() ^ address.to_bits()).leading_zeros() >= bits
        }
        (IpAddr::V6(net), IpAddr::V6(address)) => {
            (net.to_bits() ^ address.to_bits()).leading_zeros() >= bits
        }
        _ => false,
    }
}
