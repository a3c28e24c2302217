//! Sentences of semantics.md and docs/semantics-notes.md, each as packets and what they get.
//!
//! A tick is a second here. The instance is 10.0.0.5, fd00::5; peers are in 192.0.2.0/24 and
//! 2001:db8::/32. `I` goes towards the instance, `E` from it.

use sg_common::{
    Direction::{self, Egress as E, Ingress as I},
    Reason,
};

use super::{Evaluator, Packet, Time, TrackedFlow, frames};
use crate::{
    model::{
        DatapathChoice, DesiredState, FilterSettings, GroupId, IcmpMatch, Interface, LiveInterface,
        Peer, PortRange, PrefixEntry, PrefixList, PrefixListId, Role, Rule, RuleId, SecurityGroup,
        Services, Tracking,
    },
    shared::Shared,
};

mod apply;
mod exempt;
mod flows;
mod fragments;
mod generated;
mod headers;
mod metadata;
mod pickup;
mod related;
mod rules;
mod settings;
mod source_check;
mod untracked;

const IFINDEX: u32 = 7;

/// A host with one interface, and the time.
struct Host {
    state: DesiredState,
    live: Vec<LiveInterface>,
    evaluator: Evaluator,
    now: Time,
}

impl Host {
    fn new(state: DesiredState) -> Self {
        let live: Vec<_> = (0..state.interfaces.len()).map(live_interface).collect();
        let evaluator = Evaluator::new(state.clone(), live.clone(), 1000);
        Self { state, live, evaluator, now: 1000 }
    }

    #[track_caller]
    fn check(&mut self, direction: Direction, frame: &[u8], expected: Reason) {
        self.check_on(IFINDEX, direction, frame, expected);
    }

    /// Also that asking beforehand says the same and leaves nothing behind.
    #[track_caller]
    fn check_on(&mut self, ifindex: u32, direction: Direction, frame: &[u8], expected: Reason) {
        let packet = Packet { ifindex, direction, frame, vlan_offloaded: false, gso: false };
        let before = self.evaluator.flows(self.now);
        assert_eq!(self.evaluator.would(&packet, self.now), Some(expected), "{before:#?}");
        assert_eq!(self.evaluator.flows(self.now), before);
        assert_eq!(self.evaluator.judge(&packet, self.now), Some(expected));
    }

    #[track_caller]
    fn check_all(&mut self, packets: &[(Direction, frames::Ip, Reason)]) {
        for (number, (direction, ip, expected)) in packets.iter().enumerate() {
            let packet = Packet {
                ifindex: IFINDEX,
                direction: *direction,
                frame: &ip.frame(),
                vlan_offloaded: false,
                gso: false,
            };
            let got = self.evaluator.judge(&packet, self.now);
            assert_eq!(got, Some(*expected), "packet {number}: {direction:?} {ip:?}");
        }
    }

    fn flows(&self) -> Vec<TrackedFlow> {
        self.evaluator.flows(self.now)
    }

    #[track_caller]
    fn check_states(&self, expected: &[&str]) {
        let states: Vec<_> = self.flows().iter().map(|flow| flow.state).collect();
        assert_eq!(states, expected, "{:#?}", self.flows());
    }

    /// Applies what `change` makes of the state.
    fn apply(&mut self, change: impl FnOnce(&mut DesiredState)) {
        change(&mut self.state);
        self.evaluator.apply(self.state.clone(), self.live.clone(), self.now);
    }
}

fn live_interface(entry: usize) -> LiveInterface {
    LiveInterface {
        slot: entry.try_into().unwrap(),
        ifindex: IFINDEX + u32::try_from(entry).unwrap(),
        entry,
        addresses: vec![],
        ethernet: true,
        delivers: false,
        pickup_until: 0,
    }
}

/// A host-role interface in the group `web` with these rules.
fn state(ingress: &[(Services, &str)], egress: &[(Services, &str)]) -> DesiredState {
    DesiredState {
        groups: vec![group("web", ingress, egress)],
        interfaces: vec![interface("eth0", Role::Host, &["web"])].into(),
        ..DesiredState::default()
    }
}

fn group(
    name: &str,
    ingress: &[(Services, &str)],
    egress: &[(Services, &str)],
) -> Shared<SecurityGroup> {
    let rules = |rules: &[(Services, &str)]| {
        rules.iter().map(|(services, peer)| rule(*services, peer)).collect()
    };
    SecurityGroup { ingress: rules(ingress), egress: rules(egress), ..SecurityGroup::named(name) }
        .into()
}

/// `peer`: a CIDR, `group:NAME` or `list:NAME`.
fn rule(services: Services, peer: &str) -> Rule {
    let peer = match peer.split_once(':') {
        Some(("group", name)) => Peer::Group(GroupId::of_name(name)),
        Some(("list", name)) => Peer::PrefixList(PrefixListId::of_name(name)),
        _ => Peer::Cidr(peer.parse().unwrap()),
    };
    Rule { id: RuleId(0), services, peer, description: String::new() }
}

fn interface(name: &str, role: Role, groups: &[&str]) -> Interface {
    Interface {
        name: name.to_owned(),
        role,
        groups: groups.iter().map(|name| GroupId::of_name(name)).collect(),
        addresses: vec!["10.0.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        mac: None,
        source_check: false,
        datapath: DatapathChoice::Auto,
        filter: FilterSettings::default(),
        tracking: Tracking::default(),
    }
}

fn list(name: &str, entries: &[&str]) -> PrefixList {
    let entries: Vec<_> = entries
        .iter()
        .map(|cidr| PrefixEntry { cidr: cidr.parse().unwrap(), description: String::new() })
        .collect();
    PrefixList {
        max_entries: entries.len().try_into().unwrap(),
        family: entries.first().map(|entry| super::packet::family_of(entry.cidr.addr())),
        entries: entries.into(),
        ..PrefixList::named(name)
    }
}

const ALL: Services = Services::All;

const fn tcp_ports(from: u16, to: u16) -> Services {
    Services::Tcp(PortRange { from, to })
}

const fn tcp_port(port: u16) -> Services {
    tcp_ports(port, port)
}

const fn udp_ports(from: u16, to: u16) -> Services {
    Services::Udp(PortRange { from, to })
}

const fn udp_port(port: u16) -> Services {
    udp_ports(port, port)
}

const fn icmp_type(kind: u8) -> Services {
    Services::Icmp(IcmpMatch { kind: Some(kind), code: None })
}

const ICMP_ANY: Services = Services::Icmp(IcmpMatch { kind: None, code: None });
const ICMPV6_ANY: Services = Services::Icmpv6(IcmpMatch { kind: None, code: None });
