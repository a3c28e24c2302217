//! Edited states are states that a file can have.

use proptest::prelude::*;

use super::{random, valid};
use crate::{
    DesiredState,
    edit::{Edit, EditError},
    export::to_toml,
    id::{NamedPeer, PrefixListId, RuleIds, Scope},
    model::{
        GroupId, Interface, Peer, PortRange, PrefixEntry, Rule, RuleId, SecurityGroup, Services,
    },
};
use sg_common::Direction;

/// An edit that may be right or wrong for a state.
fn edit() -> impl Strategy<Value = Edit> {
    let group = || {
        (0..4usize).prop_map(|at| GroupId::of_name(["Group 0", "Group 1", "Group 2", "New"][at]))
    };
    let list = || (0..2usize).prop_map(|at| PrefixListId::of_name(["List 0", "List 1"][at]));
    let direction = || any::<bool>().prop_map(|way| Direction::BOTH[usize::from(way)]);
    let rule = || (group(), direction(), random::services_and_peer());
    let removed = rule().prop_map(|(group, way, (services, peer))| Edit::RemoveRule {
        group,
        rule: named_rule(group, way, services, peer).id,
    });
    let cidr = || prop_oneof![random::v4(), random::v6()];
    prop_oneof![
        Just(Edit::AddGroup(SecurityGroup::named("New"))),
        group().prop_map(Edit::RemoveGroup),
        rule().prop_map(|(group, direction, (services, peer))| {
            let rule = named_rule(group, direction, services, peer);
            Edit::AddRule { group, direction, rule }
        }),
        removed,
        (list(), cidr()).prop_map(|(list, cidr)| {
            let entries = vec![PrefixEntry { cidr, description: "new".to_owned() }];
            Edit::AddEntries { list, entries }
        }),
        (list(), cidr()).prop_map(|(list, cidr)| Edit::RemoveEntries { list, cidrs: vec![cidr] }),
        (0..4usize).prop_flat_map(random::interface).prop_map(Edit::PutInterface),
        (0..4usize).prop_map(|at| Edit::RemoveInterface { name: format!("tap{at}") }),
        (0..4usize, prop::collection::vec(group(), 0..3))
            .prop_map(|(at, groups)| { Edit::SetGroups { interface: format!("tap{at}"), groups } }),
        (0..4usize, prop::bool::ANY).prop_map(|(at, two)| {
            let addresses = ["10.0.0.9", "fd00::9"].map(|text| text.parse().expect("an address"));
            let addresses = addresses[..1 + usize::from(two)].to_vec();
            Edit::SetAddresses { interface: format!("tap{at}"), addresses }
        }),
    ]
}

fn name(group: GroupId) -> &'static str {
    let names = ["Group 0", "Group 1", "Group 2", "New"];
    names.into_iter().find(|name| GroupId::of_name(name) == group).expect("one of these")
}

fn named_rule(group: GroupId, direction: Direction, services: Services, peer: Peer) -> Rule {
    let id = RuleIds::new(name(group), direction).id(services, random::named(peer));
    Rule { id, services, peer, description: String::new() }
}

/// Edits that remove what is there, which random ones seldom meet.
fn removals(state: &DesiredState) -> Vec<Edit> {
    let rules = state.groups.iter().flat_map(|group| {
        let rules = group.ingress.iter().chain(&group.egress);
        rules.map(|rule| Edit::RemoveRule { group: group.id, rule: rule.id })
    });
    let entries = state.prefix_lists.iter().flat_map(|list| {
        let entries = list.entries.iter();
        entries.map(|entry| Edit::RemoveEntries { list: list.id, cidrs: vec![entry.cidr] })
    });
    rules.chain(entries).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn an_edited_state_is_one_that_a_file_can_have(
        start in random::state(),
        edits in prop::collection::vec((edit(), any::<prop::sample::Index>(), any::<bool>()), 1..12),
    ) {
        let mut state = start;
        for (edit, which, removes) in edits {
            let removals = removals(&state);
            let edit = if removes && !removals.is_empty() { which.get(&removals).clone() } else { edit };
            match state.edited(std::slice::from_ref(&edit)) {
                Ok(mut next) => {
                    // A file has one setting for all interfaces.
                    let of_all = next.settings.filter;
                    next.change_filters(|filter| *filter = of_all);
                    let text = to_toml(&next);
                    let read = crate::parse("export", text.as_bytes());
                    let read = read.unwrap_or_else(|faults| panic!("{edit:?}\n{faults}\n{text}"));
                    prop_assert_eq!(&read, &next, "{:?}", edit);
                    state = next;
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}

const RULES: &str = r#"
[settings.quotas]
rules_per_group = 3
[[prefix_list]]
name = "four"
max_entries = 2
entries = ["192.0.2.0/24"]
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 443, groups = ["db"] }]
egress = []
[[security_group]]
name = "db"
[[security_group]]
name = "idle"
[[interface]]
name = "tap0"
groups = ["web"]
role = "port"
addresses = ["10.0.0.5"]
"#;

fn web() -> GroupId {
    GroupId::of_name("web")
}

fn tcp(port: u16) -> Services {
    Services::Tcp(PortRange { from: port, to: port })
}

fn rule(services: Services, cidr: &str) -> Rule {
    let net = cidr.parse().expect("a CIDR");
    let id = RuleIds::new("web", Direction::Ingress).id(services, NamedPeer::Cidr(net));
    Rule { id, services, peer: Peer::Cidr(net), description: String::new() }
}

fn add(rule: Rule) -> Edit {
    Edit::AddRule { group: web(), direction: Direction::Ingress, rule }
}

#[test]
fn edits_do_what_they_say_and_share_the_rest() {
    let state = valid(RULES);
    let new = SecurityGroup { ingress: Vec::new(), ..SecurityGroup::named("new") };
    let entry = Interface { name: "tap1".to_owned(), ..state.interfaces[0].clone() };
    let edits = [
        Edit::AddGroup(new),
        add(rule(tcp(80), "0.0.0.0/0")),
        Edit::SetGroups { interface: "tap0".to_owned(), groups: vec![GroupId::of_name("new")] },
        Edit::PutInterface(entry),
        Edit::RemoveRule { group: web(), rule: state.groups[0].ingress[0].id },
        Edit::RemoveGroup(GroupId::of_name("idle")),
    ];
    let next = state.edited(&edits).expect("all are right");
    let rules = next.groups[0].ingress.iter();
    let names = next.names();
    let rules: Vec<_> = rules.map(|rule| rule.text("web", Direction::Ingress, &names)).collect();
    assert_eq!(rules, ["web ingress tcp 80 from 0.0.0.0/0"]);
    assert_eq!(next.interfaces[0].groups, [GroupId::of_name("new")]);
    assert_eq!(next.interfaces.len(), 2);
    assert_eq!(next.groups.len(), 3);
    assert!(next.groups[1].is(&state.groups[1]));
    assert_eq!(state, valid(RULES));
}

#[test]
fn edits_that_no_file_could_have_are_refused() {
    let state = valid(RULES);
    let net = |text: &str| text.parse().expect("a CIDR");
    let entry = |text: &str| PrefixEntry { cidr: net(text), description: String::new() };
    let list = PrefixListId::of_name("four");
    let icmpv6 = Services::Icmpv6(crate::model::IcmpMatch { kind: None, code: None });
    let named = |name: &str| SecurityGroup::named(name);
    let theirs = SecurityGroup { id: GroupId(1), ..SecurityGroup::named("new") };
    let tap = |change: fn(&mut Interface)| {
        let mut entry = state.interfaces[0].clone();
        change(&mut entry);
        Edit::PutInterface(entry)
    };
    let table = [
        (Edit::AddGroup(named("WEB")), "there is a group \"WEB\" already"),
        (Edit::AddGroup(named("sg-1")), "a security group's name cannot begin with `sg-`"),
        (Edit::AddGroup(named("")), "\"\" is empty or ends with a space"),
        (Edit::AddGroup(theirs), "sg-00000000000000001 is not the id of group \"new\""),
        (Edit::RemoveGroup(web()), "group \"web\" is in use by interface \"tap0\""),
        (
            Edit::RemoveGroup(GroupId::of_name("db")),
            "group \"db\" is in use by a rule of group \"web\"",
        ),
        (Edit::RemoveGroup(GroupId(9)), "there is no group sg-00000000000000009"),
        (add(state.groups[0].ingress[0].clone()), "there is this rule in group \"web\" already"),
        (
            add(Rule { id: RuleId(1), ..rule(tcp(1), "::/0") }),
            "sgr-00000000000000001 is not the id of this rule, but sgr-",
        ),
        (add(rule(icmpv6, "0.0.0.0/0")), "0.0.0.0/0 is IPv4, but icmpv6 is not"),
        (add(rule(Services::Protocol(6), "0.0.0.0/0")), "protocol 6 has services of its own"),
        (add(rule(tcp(1), "10.0.0.1/8")), "10.0.0.1/8 has host bits; its network is 10.0.0.0/8"),
        (
            Edit::RemoveRule { group: web(), rule: RuleId(1) },
            "there is no rule sgr-00000000000000001 in group \"web\"",
        ),
        (
            Edit::AddEntries { list, entries: vec![entry("192.0.2.0/24")] },
            "there is 192.0.2.0/24 in prefix list \"four\" already",
        ),
        (
            Edit::AddEntries { list, entries: vec![entry("::/0")] },
            "prefix list \"four\" has entries of one family only",
        ),
        (
            Edit::AddEntries { list, entries: vec![entry("10.0.0.0/8"), entry("11.0.0.0/8")] },
            "entries of prefix list \"four\": 3, more than the quota of 2",
        ),
        (
            Edit::RemoveEntries { list, cidrs: vec![net("10.0.0.0/8")] },
            "there is no 10.0.0.0/8 in prefix list \"four\"",
        ),
        (tap(|entry| entry.groups.clear()), "interface \"tap0\": 0 groups; it can have 1 to 5"),
        (tap(|entry| entry.name = "a/b".to_owned()), "an interface's name cannot contain '/'"),
        (
            tap(|entry| entry.addresses.clear()),
            "interface \"tap0\": a source check is for role \"port\" with addresses",
        ),
        (tap(|entry| entry.tracking.udp = 5), "interface \"tap0\": udp is 5 s, not 30 to 60"),
        (Edit::RemoveInterface { name: "tap9".into() }, "there is no interface \"tap9\""),
    ];
    for (edit, expected) in table {
        let error = state.edited(std::slice::from_ref(&edit)).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{edit:?}: {error}");
    }
    // The quota counts both families apart, and a list as its most entries.
    let three = [80, 81].map(|port| add(rule(tcp(port), "0.0.0.0/0")));
    let full = state.edited(&three).expect("three rules");
    let more = full.edited(&[add(rule(tcp(82), "0.0.0.0/0"))]).expect_err("a fourth");
    assert!(matches!(more, EditError::Quota { count: 4, limit: 3, .. }), "{more}");
    full.edited(&[add(rule(tcp(82), "::/0"))]).expect("the second of its family");
    // All or nothing.
    let both = [add(rule(tcp(80), "0.0.0.0/0")), Edit::RemoveGroup(web())];
    state.edited(&both).expect_err("the group is in use");
    assert_eq!(state, valid(RULES));
}

#[test]
fn another_scope_has_names_and_ids_of_its_own() {
    let state = valid(RULES);
    let scope = Scope { account: crate::id::AccountId(1), ..Scope::FILE };
    let theirs = SecurityGroup { id: GroupId(1), scope, ..SecurityGroup::named("web") };
    let named = Rule { id: RuleId(7), ..rule(tcp(1), "::/0") };
    let edits = [
        Edit::AddGroup(theirs),
        Edit::AddRule { group: GroupId(1), direction: Direction::Ingress, rule: named },
    ];
    let next = state.edited(&edits).expect("both are theirs");
    assert_eq!(next.group(GroupId(1)).expect("it is there").ingress[0].id, RuleId(7));
}
