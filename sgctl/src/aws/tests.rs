mod forms;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use sg_policy::model::DesiredState;

use super::*;

fn input(name: &str, value: &Value) -> Input {
    Input { name: name.to_owned(), bytes: value.to_string().into_bytes() }
}

fn state(imported: &Imported) -> DesiredState {
    sg_policy::rules::parse("t", imported.rules_toml.as_bytes()).expect("valid rules")
}

fn rules(imported: &Imported) -> usize {
    state(imported).groups.iter().map(|group| group.ingress.len() + group.egress.len()).sum()
}

/// One group with these permissions.
fn import_permissions(permissions: &Value) -> Imported {
    let groups = json!({ "SecurityGroups": [
        { "GroupId": "sg-1", "GroupName": "g", "IpPermissions": permissions }
    ]});
    import(&[input("groups.json", &groups)]).expect("an import")
}

/// Imports one permission: the rule as `export` writes it, or why there is none.
fn one(permission: &Value) -> String {
    let imported = import_permissions(&json!([permission]));
    assert_eq!(imported.rules, 1);
    match &imported.not_carried_over[..] {
        [] => {
            let line = imported.rules_toml.lines().find(|line| line.contains("protocol ="));
            line.expect("a rule").trim().trim_end_matches(',').to_owned()
        }
        [left] => left.why.clone(),
        several => panic!("{several:?}"),
    }
}

#[test]
fn protocols_and_ports() {
    let of = |protocol: &str, from: Option<i64>, to: Option<i64>| {
        one(&json!({ "IpProtocol": protocol, "FromPort": from, "ToPort": to,
                    "IpRanges": [{ "CidrIp": "10.0.0.0/8" }] }))
    };
    let rule = |middle: &str| format!("{{ {middle}, cidrs = [\"10.0.0.0/8\"] }}");
    for (protocol, from, to, expected) in [
        ("tcp", Some(80), Some(80), "protocol = \"tcp\", ports = 80"),
        ("6", Some(0), Some(65535), "protocol = \"tcp\", ports = \"all\""),
        ("udp", Some(-1), Some(-1), "protocol = \"udp\", ports = \"all\""),
        ("17", Some(1), Some(9), "protocol = \"udp\", ports = \"1-9\""),
        ("icmp", Some(-1), Some(-1), "protocol = \"icmp\""),
        ("1", Some(8), Some(-1), "protocol = \"icmp\", type = 8"),
        ("icmp", Some(3), Some(4), "protocol = \"icmp\", type = 3, code = 4"),
        ("-1", None, None, "protocol = \"all\""),
        ("-1", Some(-1), Some(-1), "protocol = \"all\""),
        ("47", None, None, "protocol = 47"),
        ("50", Some(-1), Some(-1), "protocol = 50"),
        ("0", None, None, "protocol = 0"),
    ] {
        assert_eq!(of(protocol, from, to), rule(expected), "{protocol} {from:?} {to:?}");
    }
    for (protocol, from, to, why) in [
        ("tcp", Some(80), None, "one end of the port range is missing"),
        ("tcp", Some(90), Some(80), "there are no such ports"),
        ("udp", Some(1), Some(65536), "there are no such ports"),
        ("icmp", Some(-1), Some(4), "an ICMP code without a type"),
        ("icmp", Some(256), Some(-1), "there is no such ICMP type or code"),
        ("132", Some(80), Some(80), "rules for protocol 132 have no ports here"),
        ("256", None, None, "the protocol is not known"),
        ("gre", None, None, "the protocol is not known"),
    ] {
        assert_eq!(of(protocol, from, to), why, "{protocol} {from:?} {to:?}");
    }
}

#[test]
fn peers_that_cannot_be() {
    let of = |peers: Value| {
        let mut permission = json!({ "IpProtocol": "icmpv6" });
        permission.as_object_mut().unwrap().extend(peers.as_object().unwrap().clone());
        one(&permission)
    };
    let v4 = json!({ "IpRanges": [{ "CidrIp": "10.0.0.0/8" }] });
    assert!(of(v4).contains("ICMP of one family"));
    assert!(of(json!({ "IpRanges": [{ "CidrIp": "10.0.0/8" }] })).contains("is no network"));
    assert_eq!(of(json!({})), "it names no peer");
    let list = json!({ "PrefixListIds": [{ "PrefixListId": "pl-1" }] });
    assert_eq!(of(list), "prefix list pl-1 is in no file");
    let pair = json!({ "GroupId": "sg-9", "UserId": "1234", "VpcId": "vpc-7" });
    let far = of(json!({ "UserIdGroupPairs": [pair] }));
    assert_eq!(far, "group sg-9 of account 1234 in vpc-7 is in no file");
}

#[test]
fn what_is_not_known_is_told_of() {
    let imported = import_permissions(&json!([{
        "IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "NewKind": { "of": "limit" },
        "IpRanges": [{ "CidrIp": "10.0.0.0/8", "Description": "caf\u{e9}" }],
    }]));
    let told: Vec<String> = imported.not_carried_over.iter().map(ToString::to_string).collect();
    let rule = "ingress rule of sg-1: protocol tcp 1..1, 10.0.0.0/8";
    assert_eq!(
        told,
        [
            format!("{rule}: NewKind: there is nothing like it here"),
            format!("{rule}: its description: it has other characters, or too many"),
        ]
    );
    assert!(told.iter().all(|line| imported.rules_toml.contains(&format!("# - {line}\n"))));
    assert_eq!(rules(&imported), 1);
}

#[test]
fn quotas_grow_with_the_groups() {
    let ranges: Vec<Value> =
        (0..300).map(|n| json!({ "CidrIp": format!("10.0.{}.{}/32", n / 256, n % 256) })).collect();
    let imported = import_permissions(&json!([{ "IpProtocol": "-1", "IpRanges": ranges }]));
    assert_eq!(rules(&imported), 300);
    let quotas = state(&imported).settings.quotas;
    assert_eq!((quotas.rules_per_group, quotas.rules_per_interface), (300, 1500));
    let small = import_permissions(&json!([]));
    assert_eq!(state(&small).settings.quotas, sg_policy::model::Quotas::default());
}

#[test]
fn files_that_are_something_else() {
    for (name, value) in [
        ("instances.json", json!({ "Reservations": [] })),
        ("mixed.json", json!({ "SecurityGroups": [], "Vpcs": [] })),
        ("groups of an instance.json", json!([{ "GroupId": "sg-1", "GroupName": "web" }])),
        ("permission.json", json!({ "IpProtocol": "-1", "IpRanges": [] })),
        ("nameless.json", json!({ "SecurityGroups": [{ "GroupName": "web" }] })),
        ("number.json", json!([7])),
        ("nothing.json", json!({})),
        ("entries.json", json!({ "Entries": [] })),
    ] {
        let error = import(&[input(name, &value)]).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let page = json!({ "SecurityGroups": [], "NextToken": "x" });
    let imported = import(&[input("page1.json", &page)]).unwrap();
    assert!(imported.not_carried_over[0].to_string().contains("page1.json"));
}

#[test]
fn entries_belong_to_the_list_in_their_file_s_name_or_to_the_only_one() {
    let list = |id: &str| json!({ "PrefixListId": id, "PrefixListName": id.replace('-', "") });
    let entries = json!({ "Entries": [{ "Cidr": "192.0.2.7/24" }] });
    let of = |lists: Value, name: &str| {
        let lists = input("lists.json", &json!({ "PrefixLists": lists }));
        Some(state(&import(&[lists, input(name, &entries)]).ok()?).prefix_lists)
    };
    for (lists, name) in [
        (json!([list("pl-1")]), "entries.json"),
        (json!([list("pl-1"), list("pl-2")]), "some/pl-1.json"),
    ] {
        let found = of(lists, name).expect("a list");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].entries.len()), ("pl1", 1));
        assert_eq!(found[0].entries[0].cidr.to_string(), "192.0.2.0/24");
    }
    assert_eq!(of(json!([list("pl-1"), list("pl-2")]), "entries.json"), None);
    // `describe-prefix-lists` has the entries of AWS's own lists with them.
    let own = json!({ "PrefixLists": [{
        "PrefixListId": "pl-3", "PrefixListName": "com.amazonaws.eu-west-1.s3",
        "Cidrs": ["198.51.100.0/24", "203.0.113.0/24"],
    }]});
    let lists = state(&import(&[input("own.json", &own)]).unwrap()).prefix_lists;
    assert_eq!((lists[0].name.as_str(), lists[0].entries.len()), ("amazonaws.eu-west-1.s3", 2));
}

/// One permission with any number of peers, right and wrong.
fn permission() -> impl Strategy<Value = Value> {
    let protocol = prop::sample::select(vec!["-1", "tcp", "udp", "icmp", "icmpv6", "6", "47", "x"]);
    let port = prop::option::of(prop::sample::select(vec![-1, 0, 8, 80, 443, 65535, 70000]));
    let v4 = prop::sample::select(vec!["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/8", "10.0.0/8"]);
    let v6 = prop::sample::select(vec!["::/0", "2001:db8::/32", "2001:db8::1/32"]);
    let list = prop::sample::select(vec!["pl-1", "pl-2", "pl-9"]);
    let group = prop::sample::select(vec!["sg-1", "sg-2", "sg-9", ""]);
    let peers = (
        prop::collection::vec(v4, 0..3),
        prop::collection::vec(v6, 0..3),
        prop::collection::vec(list, 0..2),
        prop::collection::vec(group, 0..3),
    );
    (protocol, port.clone(), port, peers).prop_map(
        |(protocol, from, to, (v4, v6, lists, groups))| {
            let all = |key: &str, values: Vec<&str>| -> Vec<Value> {
                values.into_iter().map(|value| json!({ key: value })).collect()
            };
            json!({
                "IpProtocol": protocol, "FromPort": from, "ToPort": to,
                "IpRanges": all("CidrIp", v4), "Ipv6Ranges": all("CidrIpv6", v6),
                "PrefixListIds": all("PrefixListId", lists),
                "UserIdGroupPairs": all("GroupId", groups),
            })
        },
    )
}

/// Rules of a permission, as many as it has different peers, by what they mean.
fn count(permission: &Value) -> BTreeSet<String> {
    let lists = ["IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs"];
    let peers = lists.iter().flat_map(|key| permission[key].as_array().unwrap());
    let traffic = meaning(permission);
    let mut all: BTreeSet<String> = peers
        .map(|peer| match peer["CidrIp"].as_str().or(peer["CidrIpv6"].as_str()) {
            Some("10.1.2.3/8") => format!("{traffic} 10.0.0.0/8"),
            Some("2001:db8::1/32") => format!("{traffic} 2001:db8::/32"),
            Some(cidr) => format!("{traffic} {cidr}"),
            None => format!("{traffic} {peer}"),
        })
        .collect();
    if all.is_empty() {
        all.insert(traffic);
    }
    all
}

/// The meaning of a permission's protocol and ports. Ports mean nothing with "all traffic", and -1
/// is no port.
fn meaning(permission: &Value) -> String {
    let number = |key: &str| permission[key].as_i64().filter(|number| *number != -1);
    let ports = (number("FromPort"), number("ToPort"));
    match permission["IpProtocol"].as_str().unwrap() {
        "-1" => "all".to_owned(),
        "tcp" | "6" => match ports {
            (None, None) | (Some(0), Some(65535)) => "tcp all".to_owned(),
            _ if permission["IpProtocol"] == "6" && !is_range(ports) => format!("6 {ports:?}"),
            _ => format!("tcp {ports:?}"),
        },
        "47" if ports == (Some(0), Some(65535)) => "47 (None, None)".to_owned(),
        protocol => format!("{protocol} {ports:?}"),
    }
}

fn is_range(ports: (Option<i64>, Option<i64>)) -> bool {
    matches!(ports, (Some(from), Some(to)) if from <= to && to <= 65535)
}

proptest! {
    /// Nothing is lost: each rule is in the rules.toml, which is valid, or on the list.
    #[test]
    fn every_rule_is_carried_over_or_listed(
        first in prop::collection::vec(permission(), 0..6),
        second in prop::collection::vec(permission(), 0..6),
    ) {
        let groups = json!({ "SecurityGroups": [
            { "GroupId": "sg-1", "GroupName": "a", "IpPermissions": first.clone() },
            { "GroupId": "sg-2", "GroupName": "A", "IpPermissionsEgress": second.clone() },
        ]});
        let lists = json!({ "PrefixLists": [
            { "PrefixListId": "pl-1", "PrefixListName": "l", "AddressFamily": "IPv6" },
            { "PrefixListId": "pl-2", "PrefixListName": "L", "AddressFamily": "IPv4" },
        ]});
        let entries = json!({ "Entries": [{ "Cidr": "2001:db8::/32" }] });
        let inputs = [input("g", &groups), input("l", &lists), input("pl-1", &entries)];
        let imported = import(&inputs).unwrap();
        let expected: usize = [first, second]
            .iter()
            .map(|all| all.iter().flat_map(count).collect::<BTreeSet<_>>().len())
            .sum();
        let listed = imported.not_carried_over.iter().filter(|left| left.is_rule).count();
        prop_assert_eq!(imported.rules, expected);
        prop_assert_eq!(imported.carried_over + listed, imported.rules);
        prop_assert_eq!(rules(&imported), imported.carried_over);
        for left in &imported.not_carried_over {
            let line = format!("# - {left}\n");
            prop_assert!(imported.rules_toml.contains(&line));
        }
    }
}
