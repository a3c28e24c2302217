//! Rule sets shaped like those that ClassBench was derived from (Taylor, Turner: "ClassBench: A
//! Packet Classification Benchmark", 2004): an ISP's access list, a firewall, an IP chain. The
//! weights are summed over the published parameter files acl1_seed, fw1_seed and ipc1_seed, whose
//! source and destination prefixes are here the peers of in and out rules.

use std::net::IpAddr;

use etherparse::{IpNumber, PacketBuilder, PacketBuilderStep, ip_number};
use ipnet::IpNet;
use rand::{RngExt, seq::IndexedRandom};
use sg_common::{Direction, Family};
use sg_policy::{
    model::{
        DatapathChoice, DesiredState, FilterSettings, GroupId, IcmpMatch, Interface, LiveInterface,
        Peer, PortRange, PrefixEntry, PrefixList, PrefixListId, Role, Rule, RuleId, SecurityGroup,
        Services, Tracking,
    },
    reference::generate::{SeedableRng, SmallRng},
};

use super::case::{Case, Step, pick, rules_case, via};

/// Values with their weights.
type Weights<T> = &'static [(T, u32)];

#[derive(Clone, Copy)]
enum Ports {
    Any,
    /// 1024-65535.
    High,
    Range,
    One,
}
use Ports::{Any, High, One, Range};

struct Shape {
    /// 0: all.
    protocols: Weights<u8>,
    ports: Weights<Ports>,
    /// Lengths of prefixes by direction.
    lengths: [Weights<u8>; 2],
}

const ACL: Shape = Shape {
    protocols: &[(0, 85), (1, 31), (6, 873), (17, 11)],
    ports: &[(Any, 213), (Range, 131), (One, 656)],
    lengths: [
        &[(0, 4), (23, 89), (30, 19), (31, 35), (32, 851)],
        &[(0, 4), (16, 16), (22, 70), (24, 37), (30, 7), (31, 15), (32, 831)],
    ],
};

const FIREWALL: Shape = Shape {
    protocols: &[(0, 11), (1, 39), (6, 572), (17, 322), (47, 57)],
    ports: &[(Any, 229), (High, 91), (One, 676)],
    lengths: [
        &[(0, 625), (21, 14), (23, 14), (26, 7), (27, 14), (28, 28), (29, 7), (30, 32), (32, 247)],
        &[(0, 307), (21, 21), (28, 21), (30, 14), (32, 633)],
    ],
};

const CHAIN: Shape = Shape {
    protocols: &[(0, 345), (1, 11), (6, 261), (17, 377)],
    ports: &[(Any, 303), (High, 102), (Range, 40), (One, 556)],
    lengths: [
        &[
            (0, 79),
            (16, 45),
            (17, 15),
            (22, 25),
            (23, 98),
            (24, 284),
            (25, 16),
            (26, 49),
            (28, 22),
            (32, 363),
        ],
        &[
            (0, 58),
            (16, 75),
            (22, 10),
            (23, 16),
            (24, 276),
            (25, 23),
            (26, 72),
            (28, 26),
            (32, 437),
        ],
    ],
};

const GROUPS: usize = 6;
const PACKETS: usize = 400;

/// Packets at the edges of a large rule set's rules.
pub fn classbench_case(seed: u64, ifindexes: [u32; 3], _: u32) -> Case {
    let mut rng = SmallRng::seed_from_u64(seed);
    let shape = [ACL, FIREWALL, CHAIN].into_iter().nth((seed % 3) as usize).expect("three shapes");
    let mut writer = Writer { rng: &mut rng, shape, used: vec![], id: 0 };
    let state = writer.state();
    let live: Vec<_> = (0..3).map(|slot| live(slot, ifindexes)).collect();
    let steps = (0..PACKETS).map(|_| packet(&mut rng, &state, &live)).collect();
    rules_case(state, live, steps)
}

fn live(slot: u16, ifindexes: [u32; 3]) -> LiveInterface {
    let entry = usize::from(slot);
    LiveInterface {
        slot,
        ifindex: ifindexes[entry],
        entry,
        addresses: [format!("10.0.0.{slot}"), format!("fd00::{slot}")]
            .map(|address| address.parse().expect("an address"))
            .into(),
        ethernet: slot != 2,
        delivers: false,
        pickup_until: 0,
    }
}

struct Writer<'a> {
    rng: &'a mut SmallRng,
    shape: Shape,
    /// Addresses so far: prefixes lie close together and nest.
    used: Vec<IpAddr>,
    id: u128,
}

impl Writer<'_> {
    fn state(&mut self) -> DesiredState {
        let mut state = DesiredState {
            prefix_lists: Family::BOTH.map(|family| self.prefix_list(family)).into(),
            ..DesiredState::default()
        };
        // From one page of classes to many.
        let rules = pick(self.rng, &[3, 20, 80, 160]);
        for number in 0..GROUPS {
            let [ingress, egress] = Direction::BOTH.map(|direction| self.rules(direction, rules));
            let group =
                SecurityGroup { ingress, egress, ..SecurityGroup::named(&group_name(number)) };
            state.groups.push(group.into());
        }
        state.interfaces = (0..3).map(|number| self.interface(number)).collect();
        state
    }

    fn prefix_list(&mut self, family: Family) -> PrefixList {
        let mut entries: Vec<PrefixEntry> = vec![];
        for _ in 0..self.rng.random_range(1..200) {
            let cidr = self.prefix(family, Direction::Ingress);
            if entries.iter().all(|entry| entry.cidr != cidr) {
                entries.push(PrefixEntry { cidr, description: String::new() });
            }
        }
        PrefixList {
            max_entries: entries.len() as u32,
            family: Some(family),
            entries: entries.into(),
            ..PrefixList::named(list_name(family))
        }
    }

    fn interface(&mut self, number: usize) -> Interface {
        let group = |number| GroupId::of_name(&group_name(number));
        let mut groups: Vec<_> = (0..GROUPS).filter(|_| self.rng.random()).map(group).collect();
        groups.push(group(GROUPS - 1));
        groups.dedup();
        Interface {
            name: format!("if{number}"),
            role: if self.rng.random() { Role::Port } else { Role::Host },
            groups,
            addresses: vec![],
            mac: None,
            source_check: false,
            datapath: DatapathChoice::Auto,
            filter: FilterSettings::default(),
            tracking: Tracking::default(),
        }
    }

    fn rules(&mut self, direction: Direction, count: usize) -> Vec<Rule> {
        let mut rules: Vec<Rule> = vec![];
        for _ in 0..count {
            let rule = self.rule(direction);
            if rules.iter().all(|old| (old.services, &old.peer) != (rule.services, &rule.peer)) {
                rules.push(rule);
            }
        }
        rules
    }

    fn rule(&mut self, direction: Direction) -> Rule {
        let family = pick(self.rng, &Family::BOTH);
        let peer = match self.rng.random_range(0..20) {
            0 => Peer::PrefixList(PrefixListId::of_name(list_name(family))),
            1 => Peer::Group(GroupId::of_name(&group_name(self.rng.random_range(0..GROUPS)))),
            _ => Peer::Cidr(self.prefix(family, direction)),
        };
        self.id += 1;
        let services = self.services(family);
        Rule { id: RuleId(self.id), services, peer, description: String::new() }
    }

    fn services(&mut self, family: Family) -> Services {
        let any = IcmpMatch { kind: None, code: None };
        match (weighted(self.rng, self.shape.protocols), family) {
            (0, _) => Services::All,
            (1, Family::V4) => Services::Icmp(any),
            (1, Family::V6) => Services::Icmpv6(any),
            (6, _) => Services::Tcp(self.ports()),
            (17, _) => Services::Udp(self.ports()),
            (other, _) => Services::Protocol(other),
        }
    }

    fn ports(&mut self) -> PortRange {
        let from = self.rng.random_range(1..=u16::MAX);
        match weighted(self.rng, self.shape.ports) {
            Any => PortRange::ALL,
            High => PortRange { from: 1024, to: u16::MAX },
            Range => PortRange { from, to: from.saturating_add(self.rng.random_range(1..100)) },
            One => PortRange { from, to: from },
        }
    }

    /// IPv6 prefixes are twice as long; hosts are hosts, or networks of their own.
    fn prefix(&mut self, family: Family, direction: Direction) -> IpNet {
        let length = weighted(self.rng, self.shape.lengths[direction as usize]);
        let length = match (family, length) {
            (Family::V4, length) => length,
            (Family::V6, 32) => pick(self.rng, &[64, 128]),
            (Family::V6, length) => length * 2,
        };
        let address = self.address(family);
        self.used.push(address);
        IpNet::new(address, length).expect("a length of its family").trunc()
    }

    /// One like an earlier one up to some bit, or any.
    fn address(&mut self, family: Family) -> IpAddr {
        let near = self.used.choose(self.rng).copied().filter(|_| self.rng.random());
        match (near, family) {
            (Some(IpAddr::V4(near)), Family::V4) => {
                let tail = self.rng.random::<u32>() >> self.rng.random_range(0..32);
                IpAddr::V4((near.to_bits() ^ tail).into())
            }
            (Some(IpAddr::V6(near)), Family::V6) => {
                let tail = self.rng.random::<u128>() >> self.rng.random_range(0..128);
                IpAddr::V6((near.to_bits() ^ tail).into())
            }
            (_, Family::V4) => IpAddr::V4(self.rng.random::<u32>().into()),
            (_, Family::V6) => IpAddr::V6(self.rng.random::<u128>().into()),
        }
    }
}

fn group_name(number: usize) -> String {
    format!("group{number}")
}

fn list_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "list4",
        Family::V6 => "list6",
    }
}

fn weighted<T: Copy>(rng: &mut SmallRng, weights: Weights<T>) -> T {
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.random_range(0..total);
    for (value, weight) in weights {
        if at < *weight {
            return *value;
        }
        at -= weight;
    }
    unreachable!("less than the total")
}

/// At an edge of some rule, or beside it.
fn packet(rng: &mut SmallRng, state: &DesiredState, live: &[LiveInterface]) -> Step {
    let all = live;
    let live = &all[rng.random_range(0..all.len())];
    let direction = pick(rng, &Direction::BOTH);
    let groups = &state.interfaces[live.entry].groups;
    let group = state.group(*groups.choose(rng).expect("a group")).expect("groups are there");
    let rule = group.rules(direction).choose(rng).expect("a rule");
    let peer = peer(rng, state, all, rule);
    let own = live.addresses.iter().find(|own| own.is_ipv4() == peer.is_ipv4()).expect("of both");
    let (source, destination) = match direction {
        Direction::Ingress => (peer, *own),
        Direction::Egress => (*own, peer),
    };
    let mut frame = frame(rng, source, destination, rule.services);
    if !live.ethernet {
        frame.drain(..14);
    }
    let via = via(rng, frame.len());
    Step::Packet { ifindex: live.ifindex, direction, frame, via }
}

fn peer(rng: &mut SmallRng, state: &DesiredState, live: &[LiveInterface], rule: &Rule) -> IpAddr {
    let net = match &rule.peer {
        Peer::Cidr(net) => *net,
        Peer::PrefixList(id) => {
            let list = state.prefix_list(*id).expect("lists are there");
            list.entries.choose(rng).expect("entries").cidr
        }
        // Some interface's, which may be a member.
        Peer::Group(_) => {
            let addresses = &live.choose(rng).expect("interfaces are there").addresses;
            IpNet::from(*addresses.choose(rng).expect("of both families"))
        }
    };
    let edge = if rng.random() { net.network() } else { net.broadcast() };
    let step = pick(rng, &[0, 0, 1, -1]);
    match edge {
        IpAddr::V4(edge) => IpAddr::V4(edge.to_bits().wrapping_add_signed(step).into()),
        IpAddr::V6(edge) => IpAddr::V6(edge.to_bits().wrapping_add_signed(step.into()).into()),
    }
}

fn frame(rng: &mut SmallRng, source: IpAddr, destination: IpAddr, services: Services) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            ethernet.ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ethernet.ipv6(source.octets(), destination.octets(), 64)
        }
        _ => unreachable!("both addresses are of one family"),
    };
    let edge = |rng: &mut SmallRng, ports: PortRange| {
        let edge = if rng.random() { ports.from } else { ports.to };
        edge.wrapping_add_signed(pick(rng, &[0, 0, 1, -1]))
    };
    match services {
        Services::Tcp(ports) => tcp(ip, edge(rng, ports)),
        Services::Udp(ports) => udp(ip, edge(rng, ports)),
        Services::All => {
            let port = rng.random();
            if rng.random() { tcp(ip, port) } else { udp(ip, port) }
        }
        Services::Icmp(_) | Services::Icmpv6(_) => icmp(rng, ip, source.is_ipv4()),
        Services::Protocol(number) => {
            write(|to| ip.write(to, IpNumber(number), &[0; 8]).expect("memory"))
        }
    }
}

type Ip = PacketBuilderStep<etherparse::IpHeaders>;

fn tcp(ip: Ip, port: u16) -> Vec<u8> {
    write(|to| ip.tcp(40_000, port, 1, 1).syn().write(to, &[]).expect("memory"))
}

fn udp(ip: Ip, port: u16) -> Vec<u8> {
    write(|to| ip.udp(40_000, port).write(to, &[0; 8]).expect("memory"))
}

fn icmp(rng: &mut SmallRng, ip: Ip, v4: bool) -> Vec<u8> {
    let number = if v4 { ip_number::ICMP } else { ip_number::IPV6_ICMP };
    let mut message = [0; 8];
    message[..2].copy_from_slice(&rng.random::<[u8; 2]>());
    write(|to| ip.write(to, number, &message).expect("memory"))
}

fn write(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame);
    frame
}
