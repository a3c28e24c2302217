//! Random bytes, broken files, random states.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};

use sg_common::Direction;

use super::*;
use crate::{
    id::{AccountId, NamedPeer, RuleIds, Scope, VpcId},
    model::{
        DatapathChoice, FilterSettings, Interface, MaxFlows, OnRevoke, PrefixEntry, PrefixList,
        PrefixListId, Quotas, Rule, SecurityGroup, Settings, Tracking,
    },
    plan::{Kind, Op, diff, is_same},
};

const EXAMPLES: [&str; 2] = [
    include_str!("../../../../examples/hypervisor.toml"),
    include_str!("../../../../examples/host.toml"),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        shown(&bytes);
    }

    #[test]
    fn toml_like_text_never_panics(
        words in vec(select(&WORDS[..]), 0..80),
    ) {
        shown(words.concat().as_bytes());
    }

    #[test]
    fn broken_examples_never_panic(
        example in select(&EXAMPLES[..]),
        edits in vec((any::<prop::sample::Index>(), 0..20_usize, select(&WORDS[..])), 1..5),
    ) {
        let mut text = example.as_bytes().to_vec();
        for (at, cut, word) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, word.bytes());
        }
        shown(&text);
    }

    #[test]
    fn export_reads_back(state in state()) {
        let text = to_toml(&state);
        prop_assert_eq!(valid(&text), state, "{}", text);
    }

    /// Also one of a control plane, whose ids and scopes no file says.
    #[test]
    fn a_state_reads_back_as_data(state in state(), account in 0..1_000_000_000_000_u64, vpc in any::<u64>()) {
        let mut state = state;
        for list in &mut state.prefix_lists {
            list.scope = Scope { account: AccountId(account), vpc: VpcId(vpc.into()) };
        }
        for group in &mut state.groups {
            group.scope = Scope { account: AccountId(account), vpc: VpcId(vpc.into()) };
        }
        let text = serde_json::to_string(&state).unwrap();
        let read: DesiredState = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read, state, "{}", text);
    }

    /// Against the export, which says all that a state holds: nothing changes by itself, and what
    /// goes one way comes back the other.
    #[test]
    fn plans_are_complete(old in state(), new in state()) {
        prop_assert_eq!(diff(&old, &old), []);
        let (there, back) = (diff(&old, &new), diff(&new, &old));
        prop_assert_eq!(there.len(), back.len());
        prop_assert_eq!(is_same(&old, &new), there.is_empty());
        let turned = |op| if op == Op::Add { Op::Remove } else if op == Op::Remove { Op::Add } else { op };
        let mut forward: Vec<_> = there.iter().map(|c| (turned(c.op) as u8, c.kind as u8, &c.id)).collect();
        let mut backward: Vec<_> = back.iter().map(|c| (c.op as u8, c.kind as u8, &c.id)).collect();
        forward.sort();
        backward.sort();
        prop_assert_eq!(forward, backward);
        if old.groups != new.groups {
            let rules = |state: &DesiredState| -> Vec<_> {
                let mut ids: Vec<_> = state.groups.iter()
                    .flat_map(|group| group.ingress.iter().chain(&group.egress))
                    .map(|rule| (rule.id, rule.description.clone())).collect();
                ids.sort();
                ids
            };
            let named = there.iter().any(|change| change.kind == Kind::Rule);
            prop_assert_eq!(named, rules(&old) != rules(&new));
        }
    }
}

const WORDS: [&str; 36] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\n",
    " ",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "\\",
    "\r",
    "\0",
    "\u{fffd}",
    "ü",
    "-1",
    "99999999999999999999999999999999999999999",
    "0x",
    "true",
    "inf",
    "settings",
    "prefix_list",
    "security_group",
    "interface",
    "name",
    "ingress",
    "protocol",
    "\"tcp\"",
    "ports",
    "cidrs",
    "\"::/0\"",
];

/// Reads and renders; faults lie within the file.
fn shown(text: &[u8]) {
    let Err(faults) = parse("f", text) else { return };
    assert!(faults.total() > 0 && !faults.render(true).is_empty());
    let lines = text.iter().filter(|byte| **byte == b'\n').count() + 1;
    for fault in &faults {
        assert!((1..=lines).contains(&fault.line), "{fault:?}");
        assert!((1..=text.len() + 1).contains(&fault.column), "{fault:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zA-Z0-9 ._:/()#,@+=&;{}!$*\\[\\]-]{0,20}"]
}

pub(super) fn v4() -> impl Strategy<Value = IpNet> {
    (any::<u32>(), 0..=32_u8).prop_map(|(bits, length)| net(Ipv4Addr::from(bits).into(), length))
}

pub(super) fn v6() -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0..=128_u8).prop_map(|(bits, length)| net(Ipv6Addr::from(bits).into(), length))
}

fn net(address: IpAddr, length: u8) -> IpNet {
    IpNet::new(address, length).expect("a valid length").trunc()
}

fn prefix_list(number: usize) -> impl Strategy<Value = PrefixList> {
    let entries = |net: BoxedStrategy<IpNet>| vec((net, text()), 0..5);
    (prop_oneof![entries(v4().boxed()), entries(v6().boxed())], text(), 0..3_u32).prop_map(
        move |(mut entries, description, spare)| {
            entries.sort();
            entries.dedup_by_key(|(cidr, _)| *cidr);
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(cidr, description)| PrefixEntry { cidr, description })
                .collect();
            PrefixList {
                description,
                max_entries: entries.len() as u32 + spare,
                family: entries.first().map(|entry| cidr::family(entry.cidr)),
                entries: entries.into(),
                ..PrefixList::named(LISTS[number])
            }
        },
    )
}

const GROUPS: [&str; 3] = ["Group 0", "Group 1", "Group 2"];
const LISTS: [&str; 2] = ["List 0", "List 1"];

pub(super) fn named(peer: Peer) -> NamedPeer<'static> {
    match peer {
        Peer::Cidr(net) => NamedPeer::Cidr(net),
        Peer::Group(id) => {
            let name = GROUPS.into_iter().find(|name| GroupId::of_name(name) == id);
            NamedPeer::Group(name.expect("one of these"))
        }
        Peer::PrefixList(id) => {
            let name = LISTS.into_iter().find(|name| PrefixListId::of_name(name) == id);
            NamedPeer::PrefixList(name.expect("one of these"))
        }
    }
}

fn peer(only: Option<bool>) -> BoxedStrategy<Peer> {
    let group = select(&GROUPS[..]).prop_map(|name| Peer::Group(GroupId::of_name(name)));
    match only {
        Some(true) => prop_oneof![group, v4().prop_map(Peer::Cidr)].boxed(),
        Some(false) => prop_oneof![group, v6().prop_map(Peer::Cidr)].boxed(),
        None => {
            let list =
                select(&LISTS[..]).prop_map(|name| Peer::PrefixList(PrefixListId::of_name(name)));
            prop_oneof![group, list, v4().prop_map(Peer::Cidr), v6().prop_map(Peer::Cidr)].boxed()
        }
    }
}

pub(super) fn services_and_peer() -> impl Strategy<Value = (Services, Peer)> {
    let ports =
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange { from: a.min(b), to: a.max(b) });
    let ports = prop_oneof![ports, Just(PortRange::ALL), Just(PortRange { from: 80, to: 80 })];
    let icmp = option::of((any::<u8>(), option::of(any::<u8>()))).prop_map(|matched| IcmpMatch {
        kind: matched.map(|(kind, _)| kind),
        code: matched.and_then(|(_, code)| code),
    });
    let other = any::<u8>().prop_filter("has a name", |number| ![1, 6, 17, 58].contains(number));
    prop_oneof![
        (Just(Services::All), peer(None)),
        (ports.clone().prop_map(Services::Tcp), peer(None)),
        (ports.prop_map(Services::Udp), peer(None)),
        (icmp.clone().prop_map(Services::Icmp), peer(Some(true))),
        (icmp.prop_map(Services::Icmpv6), peer(Some(false))),
        (other.prop_map(Services::Protocol), peer(None)),
    ]
}

fn group(number: usize) -> impl Strategy<Value = SecurityGroup> {
    let rules = || vec((services_and_peer(), prop_oneof![Just(String::new()), text()]), 0..6);
    (rules(), option::of(rules()), text()).prop_map(move |(ingress, egress, description)| {
        let name = GROUPS[number];
        let build = |direction, rules: Vec<((Services, Peer), String)>| {
            let ids = RuleIds::new(name, direction);
            let mut built: Vec<Rule> = Vec::new();
            for ((services, peer), description) in rules {
                let id = ids.id(services, named(peer));
                if built.iter().all(|rule| rule.id != id) {
                    built.push(Rule { id, services, peer, description });
                }
            }
            built
        };
        SecurityGroup {
            ingress: build(Direction::Ingress, ingress),
            default_egress: egress.is_none(),
            egress: egress
                .map_or_else(|| group::everything(name), |rules| build(Direction::Egress, rules)),
            description,
            ..SecurityGroup::named(name)
        }
    })
}

fn times() -> impl Strategy<Value = Tracking> {
    let max_flows = prop_oneof![
        Just(MaxFlows::Auto),
        (1..=100_u32).prop_map(MaxFlows::Percent),
        (1..=i32::MAX as u32).prop_map(MaxFlows::Number),
    ];
    (60..=432_000_u32, 30..=60_u32, 60..=180_u32, 0..=3600_u32, max_flows).prop_map(
        |(tcp_established, udp, udp_stream, pickup, max_flows)| Tracking {
            tcp_established,
            udp,
            udp_stream,
            pickup,
            max_flows,
        },
    )
}

pub(super) fn interface(number: usize) -> impl Strategy<Value = Interface> {
    let addresses = vec(select(vec!["10.0.0.5", "fd00::5", "10.0.0.6"]), 0..3);
    let name = prop_oneof![
        Just(format!("tap{number}")),
        Just(format!("tap{number}*")),
        Just(format!("\"\\é{number}")),
    ];
    let fields = (name, any::<[bool; 4]>(), addresses, 0..8_u8, times());
    (fields, select(vec![DatapathChoice::Auto, DatapathChoice::Xdp, DatapathChoice::Tc])).prop_map(
        |((name, [port, mac, check, same], addresses, groups, own), datapath)| {
            let glob = name.contains('*');
            let mut addresses: Vec<IpAddr> =
                addresses.iter().map(|address| address.parse().expect("an address")).collect();
            addresses.dedup();
            addresses.sort_unstable();
            addresses.dedup();
            if glob {
                addresses.clear();
            }
            let checkable = port && !addresses.is_empty();
            let mut groups: Vec<_> = (0..3)
                .filter(|bit| groups >> bit & 1 != 0)
                .map(|n| GroupId::of_name(GROUPS[n]))
                .collect();
            if groups.is_empty() {
                groups.push(GroupId::of_name("Group 1"));
            }
            Interface {
                name,
                role: if port { Role::Port } else { Role::Host },
                groups,
                mac: (mac && checkable).then_some([2, 0, 0, 0, 0xab, 5]),
                source_check: check && checkable,
                addresses,
                datapath,
                filter: FilterSettings::default(),
                tracking: if same { Tracking::default() } else { own },
            }
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let quotas = select(vec![
        Quotas::default(),
        Quotas { rules_per_group: 100, groups_per_interface: 10, rules_per_interface: 1000 },
        Quotas {
            rules_per_group: 250_000,
            groups_per_interface: 4,
            rules_per_interface: 1_000_000,
        },
    ]);
    let tracking = prop_oneof![Just(Tracking::default()), times()];
    (any::<[bool; 3]>(), tracking, quotas).prop_map(|([related, cut, exempt], tracking, quotas)| {
        let filter = FilterSettings {
            related_icmp: related,
            on_revoke: if cut { OnRevoke::Cut } else { OnRevoke::Keep },
            exempt_services: exempt,
        };
        Settings { filter, tracking, quotas }
    })
}

pub(crate) fn state() -> impl Strategy<Value = DesiredState> {
    let lists = (prefix_list(0), prefix_list(1));
    let groups = (group(0), group(1), group(2));
    let interfaces =
        (0..4_usize).prop_flat_map(|count| (0..count).map(interface).collect::<Vec<_>>());
    (settings(), lists, groups, interfaces).prop_map(|(settings, lists, groups, mut interfaces)| {
        interfaces.iter_mut().for_each(|entry| entry.filter = settings.filter);
        DesiredState {
            settings,
            prefix_lists: vec![lists.0, lists.1],
            groups: vec![groups.0.into(), groups.1.into(), groups.2.into()],
            interfaces: interfaces.into(),
        }
    })
}
