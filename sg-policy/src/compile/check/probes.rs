//! Questions at which answers may change, and the comparison of image and reference.

use std::net::IpAddr;

use ipnet::IpNet;
use rand::{Rng, RngExt as _, seq::IndexedRandom as _};
use sg_common::{
    Direction, Family,
    flow::{ICMP, ICMPV6, TCP, UDP},
    image::flags,
};

use super::interface::CheckedInterface;
use crate::{
    model::{DesiredState, FilterSettings, Interface, LiveInterface, OnRevoke, Peer, Services},
    reference::rules::{PortProtocol, Rules, Service},
};

/// First and last address of a prefix, the one before and the one after.
pub(crate) fn edges(net: IpNet) -> [IpAddr; 4] {
    let [before, _, _] = around(net.network());
    let [_, _, after] = around(net.broadcast());
    [before, net.network(), net.broadcast(), after]
}

/// An address with its neighbours, around the ends of the family.
pub(crate) fn around(address: IpAddr) -> [IpAddr; 3] {
    let by = |offset: i8| match address {
        IpAddr::V4(address) => {
            IpAddr::V4(address.to_bits().wrapping_add_signed(offset.into()).into())
        }
        IpAddr::V6(address) => {
            IpAddr::V6(address.to_bits().wrapping_add_signed(offset.into()).into())
        }
    };
    [by(-1), address, by(1)]
}

/// All addresses at which a verdict may change.
pub(crate) fn addresses(state: &DesiredState, live: &[LiveInterface]) -> Vec<IpAddr> {
    let cidrs = rules(state).filter_map(|rule| match rule.1 {
        Peer::Cidr(net) => Some(*net),
        Peer::Group(_) | Peer::PrefixList(_) => None,
    });
    let entries = state.prefix_lists.iter().flat_map(|list| list.entries.iter().map(|e| e.cidr));
    let members = state.interfaces.iter().map(|entry| &entry.addresses);
    let members = members.chain(live.iter().map(|live| &live.addresses)).flatten();
    let mut addresses: Vec<_> = cidrs.chain(entries).flat_map(edges).collect();
    addresses.extend(members.flat_map(|address| around(*address)));
    addresses.extend(["0.0.0.0", "255.255.255.255", "::", "::1:0:0:0:0"].map(address));
    addresses.push(IpAddr::V6(u128::MAX.into()));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn rules(state: &DesiredState) -> impl Iterator<Item = (Services, &Peer)> {
    let rules = state.groups.iter().flat_map(|group| group.ingress.iter().chain(&group.egress));
    rules.map(|rule| (rule.services, &rule.peer))
}

/// Protocols with ports, or types and codes, at and beside the edges of the rules' ranges.
pub(crate) fn services(state: &DesiredState) -> Vec<(u8, u16)> {
    let mut services: Vec<(u8, u16)> = (0..=u8::MAX).map(|protocol| (protocol, 0)).collect();
    for protocol in [TCP, UDP, ICMP, ICMPV6] {
        services.extend([(protocol, 0), (protocol, 0x0800), (protocol, u16::MAX)]);
    }
    let beside = |protocol, details: [u16; 2]| {
        details.into_iter().flat_map(move |detail| {
            [detail.wrapping_sub(1), detail, detail.wrapping_add(1)]
                .map(|detail| (protocol, detail))
        })
    };
    let detail = |kind, code| u16::from_be_bytes([kind, code]);
    for (rule, _) in rules(state) {
        match rule {
            Services::Tcp(ports) => services.extend(beside(TCP, [ports.from, ports.to])),
            Services::Udp(ports) => services.extend(beside(UDP, [ports.from, ports.to])),
            Services::Icmp(icmp) | Services::Icmpv6(icmp) => {
                let kind = icmp.kind.unwrap_or(0);
                let ends = [icmp.code.unwrap_or(0), icmp.code.unwrap_or(u8::MAX)];
                for protocol in [ICMP, ICMPV6] {
                    services.extend(beside(protocol, ends.map(|code| detail(kind, code))));
                }
            }
            Services::All | Services::Protocol(_) => {}
        }
    }
    services.sort_unstable();
    services.dedup();
    services
}

/// The reference's service and detail. The detail of a protocol without ports is 0.
fn named(family: Family, protocol: u8, detail: u16) -> (Service, u16) {
    let [kind, code] = detail.to_be_bytes();
    match (family, protocol) {
        (_, TCP) => (Service::Tcp(detail), detail),
        (_, UDP) => (Service::Udp(detail), detail),
        (Family::V4, ICMP) => (Service::Icmp { kind, code }, detail),
        (Family::V6, ICMPV6) => (Service::Icmpv6 { kind, code }, detail),
        _ => (Service::Other(protocol), 0),
    }
}

/// How many answers were "yes" and "no".
#[derive(Debug, Default)]
pub struct Answers {
    pub allowed: [u32; 2],
    pub all: [u32; 2],
    pub untracked: [u32; 2],
    pub own: [u32; 2],
}

impl Answers {
    /// Every question had each answer `times` times at least.
    pub fn assert_both(&self, times: u32) {
        for answers in [self.allowed, self.all, self.untracked, self.own] {
            assert!(answers.iter().all(|count| *count >= times), "{self:?}");
        }
    }
}

/// The image and the reference side by side, for one interface.
pub(crate) struct Comparison<'a> {
    pub(crate) interface: CheckedInterface<'a>,
    pub(crate) rules: Rules<'a>,
}

impl Comparison<'_> {
    pub(crate) fn allowed(&self, peer: IpAddr, service: (u8, u16), answers: &mut Answers) {
        for direction in Direction::BOTH {
            let (named, detail) = named(Family::of(peer), service.0, service.1);
            let expected = self.rules.allow(direction, peer, named);
            let found = self.interface.allows(direction, peer, service.0, detail);
            assert_eq!(found, expected, "{direction:?} {peer} {named:?} {:#?}", self.entry());
            answers.allowed[usize::from(found)] += 1;
        }
    }

    /// Whether the peer may use all of a protocol: slow in the reference.
    pub(crate) fn all_allowed(&self, peer: IpAddr, protocol: u8, answers: &mut Answers) {
        for direction in Direction::BOTH {
            let (named, _) = named(Family::of(peer), protocol, 0);
            let expected = self.rules.allow_all_of(direction, peer, named);
            let found = self.interface.allows_all(direction, peer, protocol);
            assert_eq!(found, expected, "{direction:?} {peer} all of {named:?}");
            answers.all[usize::from(found)] += 1;
        }
    }

    pub(crate) fn untracked(&self, family: Family, service: (u8, u16), answers: &mut Answers) {
        let protocol = match service.0 {
            TCP => Some(PortProtocol::Tcp),
            UDP => Some(PortProtocol::Udp),
            _ => None,
        };
        for direction in Direction::BOTH {
            let expected = protocol.is_some_and(|protocol| {
                self.rules.untracked(direction, family, protocol, service.1)
            });
            let found = self.interface.is_untracked(direction, family, service.0, service.1);
            assert_eq!(found, expected, "{direction:?} {family:?} {service:?}");
            answers.untracked[usize::from(found)] += 1;
        }
    }

    pub(crate) fn own(&self, address: IpAddr, answers: &mut Answers) {
        let entry = self.entry();
        let expected = entry.source_check && entry.addresses.contains(&address);
        assert_eq!(self.interface.owns(address), expected, "{address} {entry:#?}");
        answers.own[usize::from(expected)] += 1;
    }

    /// The record's flags, as the entry has them.
    pub(crate) fn settings(&self) {
        let (record, FilterSettings { related_icmp, on_revoke, exempt_services }) =
            (self.interface.record, self.entry().filter);
        let has = |flag: u32| record.flags() & flag != 0;
        assert_eq!(has(flags::RELATED_ICMP), related_icmp);
        assert_eq!(has(flags::EXEMPT_SERVICES), exempt_services);
        assert_eq!(record.cut_since().is_some(), on_revoke == OnRevoke::Cut);
    }

    /// `count` questions of each kind.
    pub(crate) fn random(
        &self,
        rng: &mut dyn Rng,
        (addresses, services): (&[IpAddr], &[(u8, u16)]),
        count: u32,
        answers: &mut Answers,
    ) {
        for _ in 0..count {
            let address = *addresses.choose(rng).expect("some address");
            let service = *services.choose(rng).expect("some service");
            self.allowed(address, service, answers);
            self.own(address, answers);
            let family = Family::of(address);
            self.untracked(
                family,
                (if rng.random() { TCP } else { service.0 }, service.1),
                answers,
            );
        }
    }

    fn entry(&self) -> &Interface {
        self.rules.interface
    }
}
