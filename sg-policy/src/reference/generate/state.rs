//! Random rules: few addresses and ports, so that prefixes nest, ranges overlap and packets hit.

use std::net::IpAddr;

use ipnet::IpNet;
use rand::{Rng, RngExt as _};
use sg_common::{Direction, Family};

use super::{one_in, pick};
use crate::model::{
    DatapathChoice, DesiredState, FilterSettings, GroupId, IcmpMatch, Interface, LiveInterface,
    MaxFlows, OnRevoke, Peer, PortRange, PrefixEntry, PrefixList, PrefixListId, Role, Rule, RuleId,
    SecurityGroup, Services, Settings, Tracking,
};

/// An interface of the kernel that a state is made for.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub slot: u16,
    pub ifindex: u32,
    pub ethernet: bool,
    /// The state has this or 0.
    pub pickup_until: u32,
}

const GROUPS: [&str; 4] = ["web", "db", "lb", "Ops (night)"];
const LISTS: [(&str, Option<Family>); 3] =
    [("office", Some(Family::V4)), ("office6", Some(Family::V6)), ("none", None)];

const BASES_V4: [&str; 9] = [
    "10.0.0.5",
    "10.0.1.0",
    "10.1.2.3",
    "10.1.2.128",
    "192.0.2.77",
    "255.255.255.255",
    "0.0.0.0",
    "128.0.0.0",
    "169.254.169.254",
];
const LENGTHS_V4: [u8; 12] = [0, 0, 1, 7, 8, 15, 16, 24, 25, 30, 31, 32];
const BASES_V6: [&str; 9] = [
    "2001:db8::1",
    "2001:db8:0:8000::",
    "2001:db8::8000:0:0:0",
    "2001:db8::ffff",
    "fd00::5",
    "fe80::1",
    "::",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fd00:ec2::254",
];
const LENGTHS_V6: [u8; 13] = [0, 0, 1, 10, 32, 48, 49, 63, 64, 65, 96, 127, 128];

pub(super) const PORTS: [u16; 10] = [0, 1, 22, 53, 67, 80, 443, 1024, 65534, 65535];
pub(super) const PROTOCOLS: [u8; 8] = [0, 2, 41, 47, 50, 51, 132, 255];
const ICMP_TYPES: [u8; 13] = [0, 1, 3, 8, 11, 13, 14, 42, 128, 129, 135, 160, 255];

/// A valid state. Each of `interfaces` is live under an entry of its own in it.
pub fn random_state(
    rng: &mut dyn Rng,
    interfaces: &[Identity],
) -> (DesiredState, Vec<LiveInterface>) {
    let mut state = DesiredState {
        prefix_lists: LISTS.map(|(name, family)| prefix_list(rng, name, family)).into(),
        ..DesiredState::default()
    };
    let mut id = 0;
    for name in GROUPS {
        state.groups.push(group(rng, name, &mut id).into());
    }
    let mut live = Vec::new();
    for (entry, identity) in interfaces.iter().enumerate() {
        state.interfaces.push(interface(rng, entry));
        live.push(LiveInterface {
            slot: identity.slot,
            ifindex: identity.ifindex,
            entry,
            addresses: own_addresses(rng, entry),
            ethernet: identity.ethernet,
            delivers: false,
            pickup_until: if rng.random() { identity.pickup_until } else { 0 },
        });
    }
    // An entry whose interface is not there: its addresses are members all the same.
    let absent = Interface { name: "absent".to_owned(), ..interface(rng, interfaces.len()) };
    state.interfaces.push(absent);
    settings(rng, &mut state);
    (state, live)
}

/// Removes, adds or changes one thing, as people do.
pub fn tweak(rng: &mut dyn Rng, state: &mut DesiredState) {
    let which = rng.random_range(0..state.groups.len());
    let next_id = rng.random_range(1 << 20..1 << 60);
    let group = &mut state.groups[which];
    let rules = if rng.random() { &mut group.ingress } else { &mut group.egress };
    match rng.random_range(0..7) {
        0 | 1 if !rules.is_empty() => {
            rules.remove(rng.random_range(0..rules.len()));
        }
        0..=2 => add_rule(rng, rules, next_id),
        3 => rules.clear(),
        4 => settings(rng, state),
        5 => {
            let entry = rng.random_range(0..state.interfaces.len());
            state.interfaces[entry].filter = filter(rng);
        }
        _ => {
            let entry = rng.random_range(0..state.interfaces.len());
            state.interfaces[entry].groups = some_groups(rng);
        }
    }
}

/// Half of the states have the same settings on all interfaces, as files do.
fn settings(rng: &mut dyn Rng, state: &mut DesiredState) {
    let of_all = filter(rng);
    state.settings = Settings { filter: of_all, ..Settings::default() };
    let are_alike = rng.random();
    for entry in 0..state.interfaces.len() {
        state.interfaces[entry].filter = if are_alike { of_all } else { filter(rng) };
    }
}

fn filter(rng: &mut dyn Rng) -> FilterSettings {
    FilterSettings {
        related_icmp: !one_in(rng, 4),
        on_revoke: if rng.random() { OnRevoke::Cut } else { OnRevoke::Keep },
        exempt_services: rng.random(),
    }
}

fn prefix_list(rng: &mut dyn Rng, name: &str, family: Option<Family>) -> PrefixList {
    let mut entries: Vec<PrefixEntry> = Vec::new();
    if let Some(family) = family {
        for _ in 0..rng.random_range(1..6) {
            let cidr = random_cidr(rng, family);
            if entries.iter().all(|entry| entry.cidr != cidr) {
                entries.push(PrefixEntry { cidr, description: String::new() });
            }
        }
    }
    PrefixList {
        max_entries: entries.len().try_into().expect("a few"),
        family,
        entries: entries.into(),
        ..PrefixList::named(name)
    }
}

fn group(rng: &mut dyn Rng, name: &str, id: &mut u128) -> SecurityGroup {
    let mut rules = |rng: &mut dyn Rng| {
        let mut rules = Vec::new();
        for _ in 0..rng.random_range(0..8) {
            *id += 1;
            add_rule(rng, &mut rules, *id);
        }
        rules
    };
    let ingress = rules(rng);
    let mut egress = rules(rng);
    // Half of the groups are open on the way out, as groups are by default; it is what makes
    // services untracked.
    if rng.random() {
        egress.clear();
        for cidr in ["0.0.0.0/0", "::/0"] {
            *id += 1;
            let peer = Peer::Cidr(cidr.parse().expect("a CIDR"));
            egress.push(rule(*id, Services::All, peer));
        }
    }
    SecurityGroup { ingress, egress, ..SecurityGroup::named(name) }
}

fn rule(id: u128, services: Services, peer: Peer) -> Rule {
    Rule { id: RuleId(id), services, peer, description: String::new() }
}

/// Adds a rule unless the group has it.
fn add_rule(rng: &mut dyn Rng, rules: &mut Vec<Rule>, id: u128) {
    let services = services(rng);
    let family = match services {
        Services::Icmp(_) => Family::V4,
        Services::Icmpv6(_) => Family::V6,
        _ => pick(rng, &Family::BOTH),
    };
    let peer = match rng.random_range(0..6) {
        0 => Peer::Group(GroupId::of_name(pick(rng, &GROUPS))),
        1 => {
            let fits: Vec<_> =
                LISTS.iter().filter(|(_, of)| of.is_none_or(|of| of == family)).collect();
            Peer::PrefixList(PrefixListId::of_name(pick(rng, &fits).0))
        }
        _ => Peer::Cidr(random_cidr(rng, family)),
    };
    let new = rule(id, services, peer);
    if rules.iter().all(|old| (old.services, &old.peer) != (new.services, &new.peer)) {
        rules.push(new);
    }
}

fn services(rng: &mut dyn Rng) -> Services {
    let icmp = |rng: &mut dyn Rng| {
        let kind = (!one_in(rng, 3)).then(|| pick(rng, &ICMP_TYPES));
        let code = kind.and_then(|_| one_in(rng, 3).then(|| pick(rng, &[0, 1, 2, 255])));
        IcmpMatch { kind, code }
    };
    match rng.random_range(0..8) {
        0 => Services::All,
        1..=2 => Services::Tcp(ports(rng)),
        3..=4 => Services::Udp(ports(rng)),
        5 => Services::Icmp(icmp(rng)),
        6 => Services::Icmpv6(icmp(rng)),
        _ => Services::Protocol(pick(rng, &PROTOCOLS)),
    }
}

fn ports(rng: &mut dyn Rng) -> PortRange {
    match rng.random_range(0..4) {
        0 => PortRange::ALL,
        1 => {
            let port = pick(rng, &PORTS);
            PortRange { from: port, to: port }
        }
        _ => {
            let (a, b) = (pick(rng, &PORTS), pick(rng, &PORTS));
            PortRange { from: a.min(b), to: a.max(b) }
        }
    }
}

fn random_cidr(rng: &mut dyn Rng, family: Family) -> IpNet {
    let (bases, lengths): (&[_], &[_]) = match family {
        Family::V4 => (&BASES_V4, &LENGTHS_V4),
        Family::V6 => (&BASES_V6, &LENGTHS_V6),
    };
    let base: IpAddr = pick(rng, bases).parse().expect("an address");
    IpNet::new(base, pick(rng, lengths)).expect("a length of its family").trunc()
}

fn some_groups(rng: &mut dyn Rng) -> Vec<GroupId> {
    let mut groups: Vec<_> =
        GROUPS.iter().filter(|_| one_in(rng, 3)).map(|name| GroupId::of_name(name)).collect();
    if groups.is_empty() {
        groups.push(GroupId::of_name(pick(rng, &GROUPS)));
    }
    groups
}

fn own_addresses(rng: &mut dyn Rng, entry: usize) -> Vec<IpAddr> {
    let number = 5 + entry;
    let mut addresses: Vec<IpAddr> = [format!("10.0.0.{number}"), format!("fd00::{number}")]
        .iter()
        .map(|address| address.parse().expect("an address"))
        .collect();
    if one_in(rng, 3) {
        addresses.push(format!("10.1.2.{number}").parse().expect("an address"));
    }
    addresses
}

fn interface(rng: &mut dyn Rng, entry: usize) -> Interface {
    let role = if rng.random() { Role::Port } else { Role::Host };
    let addresses = if one_in(rng, 4) { vec![] } else { own_addresses(rng, entry) };
    let port_with_addresses = role == Role::Port && !addresses.is_empty();
    let number = u8::try_from(entry).expect("a few");
    Interface {
        name: format!("if{entry}"),
        role,
        groups: some_groups(rng),
        addresses,
        mac: (port_with_addresses && rng.random()).then_some([2, 0, 0, 0, 0, number]),
        source_check: port_with_addresses && !one_in(rng, 3),
        datapath: DatapathChoice::Auto,
        filter: FilterSettings::default(),
        tracking: Tracking {
            tcp_established: pick(rng, &[60, 350, 432_000]),
            udp: pick(rng, &[30, 60]),
            udp_stream: pick(rng, &[60, 180]),
            pickup: pick(rng, &[0, 30]),
            max_flows: MaxFlows::Auto,
        },
    }
}

/// Addresses at which verdicts may change: first and last of each prefix, one before, one after.
pub(super) fn edges(state: &DesiredState) -> Vec<IpAddr> {
    let rules = state
        .groups
        .iter()
        .flat_map(|group| Direction::BOTH.into_iter().flat_map(|direction| group.rules(direction)));
    let cidrs = rules.filter_map(|rule| match &rule.peer {
        Peer::Cidr(cidr) => Some(*cidr),
        Peer::Group(_) | Peer::PrefixList(_) => None,
    });
    let entries =
        state.prefix_lists.iter().flat_map(|list| list.entries.iter().map(|entry| entry.cidr));
    cidrs.chain(entries).flat_map(edges_of).collect()
}

fn edges_of(cidr: IpNet) -> [IpAddr; 4] {
    match (cidr.network(), cidr.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => [
            first.into(),
            last.into(),
            IpAddr::V4(first.to_bits().wrapping_sub(1).into()),
            IpAddr::V4(last.to_bits().wrapping_add(1).into()),
        ],
        (IpAddr::V6(first), IpAddr::V6(last)) => [
            first.into(),
            last.into(),
            IpAddr::V6(first.to_bits().wrapping_sub(1).into()),
            IpAddr::V6(last.to_bits().wrapping_add(1).into()),
        ],
        (first, last) => [first, last, first, last],
    }
}
