//! The forms that the same groups and rules come in: two commands, encodings, shapes of documents.

use super::*;

fn bytes(name: &str, bytes: &[u8]) -> Input {
    Input { name: name.to_owned(), bytes: bytes.to_vec() }
}

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

/// The group `g` with one rule, as both commands print it.
fn both(permission: &Value, rule: &Value) -> [Input; 2] {
    let mut group_rule = json!({ "GroupId": "sg-1", "IsEgress": false });
    group_rule.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    let groups = json!({ "SecurityGroups": [
        { "GroupId": "sg-1", "GroupName": "g", "IpPermissions": [permission] },
    ]});
    [input("groups", &groups), input("rules", &json!({ "SecurityGroupRules": [group_rule] }))]
}

#[test]
fn both_commands_tell_of_one_rule_however_they_spell_it() {
    let v4 = json!([{ "CidrIp": "10.0.0.0/8" }]);
    let v6 = json!([{ "CidrIpv6": "2001:db8::/32" }]);
    for (permission, rule) in [
        (
            json!({ "IpProtocol": "-1", "IpRanges": v4 }),
            json!({ "IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "CidrIpv4": "10.0.0.0/8" }),
        ),
        (
            json!({ "IpProtocol": "-1", "FromPort": null, "ToPort": null, "Ipv6Ranges": v6 }),
            json!({ "IpProtocol": "-1", "FromPort": -1, "ToPort": -1,
                    "CidrIpv6": "2001:0DB8:0::/32" }),
        ),
        (
            json!({ "IpProtocol": "icmp", "IpRanges": v4 }),
            json!({ "IpProtocol": "1", "FromPort": -1, "ToPort": -1, "CidrIpv4": "10.0.0.0/8" }),
        ),
        (
            json!({ "IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IpRanges": v4 }),
            json!({ "IpProtocol": "6", "FromPort": -1, "ToPort": -1, "CidrIpv4": "10.2.0.0/8" }),
        ),
        (
            json!({ "IpProtocol": "50", "IpRanges": v4 }),
            json!({ "IpProtocol": "50", "FromPort": 0, "ToPort": 65535,
                    "CidrIpv4": "10.0.0.0/8" }),
        ),
        (
            json!({ "IpProtocol": "-1", "UserIdGroupPairs": [
                { "GroupId": "sg-1", "UserId": "123456789012", "GroupName": "g" },
            ]}),
            json!({ "IpProtocol": "-1", "FromPort": -1, "ToPort": -1,
                    "ReferencedGroupInfo": { "GroupId": "sg-1" } }),
        ),
    ] {
        let mut files = both(&permission, &rule);
        for _ in 0..2 {
            files.reverse();
            let imported = import(&files).unwrap();
            let counts = (imported.rules, imported.carried_over, imported.not_carried_over.len());
            assert_eq!(counts, (1, 1, 0), "{permission} {rule}: {:?}", imported.not_carried_over);
        }
    }
}

#[test]
fn rules_that_differ_stay_two() {
    let v4 = json!([{ "CidrIp": "10.0.0.0/8" }]);
    for rule in [
        json!({ "IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "CidrIpv4": "10.0.0.0/9" }),
        json!({ "IpProtocol": "tcp", "FromPort": 1, "ToPort": 3, "CidrIpv4": "10.0.0.0/8" }),
        json!({ "IpProtocol": "udp", "FromPort": 1, "ToPort": 2, "CidrIpv4": "10.0.0.0/8" }),
        json!({ "IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "CidrIpv4": "10.0.0.0/8",
                "IsEgress": true }),
    ] {
        let permission =
            json!({ "IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "IpRanges": v4.clone() });
        let imported = import(&both(&permission, &rule)).unwrap();
        assert_eq!((imported.rules, imported.carried_over), (2, 2), "{rule}");
    }
}

#[test]
fn a_description_that_differs_between_files_is_listed() {
    let range = json!([{ "CidrIp": "10.0.0.0/8", "Description": "today" }]);
    let files = both(
        &json!({ "IpProtocol": "-1", "IpRanges": range }),
        &json!({ "IpProtocol": "-1", "CidrIpv4": "10.0.0.0/8", "Description": "yesterday" }),
    );
    let imported = import(&files).unwrap();
    assert_eq!((imported.rules, imported.carried_over), (1, 1));
    let [left] = &imported.not_carried_over[..] else { panic!("{imported:?}") };
    assert_eq!(
        left.to_string(),
        "ingress rule of sg-1: protocol -1, 10.0.0.0/8: description \"yesterday\": the rule has \
         another one in the files"
    );
}

const GROUP: &str = r#"{ "GroupId": "sg-1", "GroupName": "web", "Description": null,
    "IpPermissions": [{ "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
        "IpRanges": [{ "CidrIp": "192.0.2.0/24", "Description": null }],
        "Ipv6Ranges": null, "PrefixListIds": null, "UserIdGroupPairs": null }],
    "IpPermissionsEgress": null, "Tags": null }"#;

/// The rule of [`GROUP`], as rules.toml has it.
fn assert_is_the_group(imported: &Imported, form: &str) {
    let state = state(imported);
    assert_eq!(state.groups.len(), 1, "{form}");
    assert_eq!(state.groups[0].name, "web", "{form}");
    assert_eq!(imported.not_carried_over, [], "{form}");
    let rule = "  { protocol = \"tcp\", ports = 443, cidrs = [\"192.0.2.0/24\"] },\n";
    assert!(imported.rules_toml.contains(rule), "{form}: {}", imported.rules_toml);
}

#[test]
fn encodings() {
    let text = format!("{{ \"SecurityGroups\": [{GROUP}] }}\r\n");
    let marked = format!("\u{feff}{text}");
    for (form, file) in [
        ("UTF-8", text.as_bytes().to_vec()),
        ("UTF-8, marked", marked.as_bytes().to_vec()),
        ("UTF-16LE", utf16(&text, u16::to_le_bytes)),
        ("UTF-16LE, marked", utf16(&marked, u16::to_le_bytes)),
        ("UTF-16BE", utf16(&text, u16::to_be_bytes)),
        ("UTF-16BE, marked", utf16(&marked, u16::to_be_bytes)),
    ] {
        assert_is_the_group(&import(&[bytes(form, &file)]).unwrap(), form);
    }
    for (form, file, why) in [
        ("half a unit", &b"\xff\xfe{\0}"[..], "is not UTF-16, though it begins like it"),
        ("half a pair", &b"\xff\xfe\"\0\x3d\xd8\"\0"[..], "is not UTF-16"),
        (
            "Latin-1",
            &b"{ \"caf\xe9\": 1 }"[..],
            "neither UTF-8 nor UTF-16: invalid byte at offset 6",
        ),
        ("nothing", &b""[..], "is empty"),
        ("a mark", &b"\xef\xbb\xbf"[..], "is empty"),
        ("text", &b"GroupId  GroupName"[..], "--output json"),
        ("cut off", &b"{\"SecurityGroups\": []} {"[..], "document 2 of cut off is not JSON"),
    ] {
        let error = import(&[bytes(form, file)]).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{form}: {error}");
        assert!(error.to_string().contains(why), "{form}: {error}");
        assert!(error.to_string().contains(form), "{form}: {error}");
    }
}

#[test]
fn shapes_of_documents() {
    let rule = r#"{ "SecurityGroupRuleId": "sgr-1", "GroupId": "sg-1", "IsEgress": false,
        "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "192.0.2.0/24",
        "CidrIpv6": null, "PrefixListId": null, "ReferencedGroupInfo": null, "Tags": [] }"#;
    let bare = r#"{ "GroupId": "sg-1", "GroupName": "web", "IpPermissions": null }"#;
    for text in [
        format!("{{ \"SecurityGroups\": {GROUP} }}"),
        format!("{{ \"SecurityGroups\": [{GROUP}], \"ResponseMetadata\": {{ \"x\": 1 }} }}"),
        format!("[{GROUP}]"),
        GROUP.to_owned(),
        format!("{{ \"SecurityGroups\": null }}\n[{GROUP}]"),
        format!("null [] {GROUP}"),
        format!("[{{ \"SecurityGroups\": [] }}, {{ \"SecurityGroups\": [{GROUP}] }}]"),
        format!("\u{feff}{{ \"SecurityGroups\": [] }}\r\n\u{feff}{GROUP}"),
        format!("{{ \"SecurityGroups\": [{bare}] }} {{ \"SecurityGroupRules\": [{rule}] }}"),
        format!("{bare}\n{rule}\n{rule}\n"),
        format!("[{bare}, {rule}]"),
        format!("{{ \"SecurityGroups\": [{GROUP}], \"SecurityGroupRules\": [{rule}] }}"),
    ] {
        assert_is_the_group(&import(&[bytes("file", text.as_bytes())]).unwrap(), &text);
    }
    let lists = r#"{ "PrefixListId": "pl-1", "PrefixListName": "office", "MaxEntries": 5 }
        { "Cidr": "192.0.2.0/24", "Description": null } { "Cidr": "198.51.100.0/24" }"#;
    let state = state(&import(&[bytes("lists", lists.as_bytes())]).unwrap());
    let cidrs: Vec<String> =
        state.prefix_lists[0].entries.iter().map(|entry| entry.cidr.to_string()).collect();
    assert_eq!(state.prefix_lists[0].name, "office");
    assert_eq!(cidrs, ["192.0.2.0/24", "198.51.100.0/24"]);
}

/// Two VPCs have a group "web" each; "db" refers to one of them by name.
#[test]
fn peers_by_name() {
    let group = |id: &str, name: &str, vpc: &str| json!({ "GroupId": id, "GroupName": name, "VpcId": vpc, "OwnerId": "111122223333" });
    let of = |vpc: &str, pair: Value| {
        let mut db = group("sg-3", "db", vpc);
        db["IpPermissions"] = json!([{ "IpProtocol": "-1", "UserIdGroupPairs": [pair] }]);
        let all = [group("sg-1", "web", "vpc-1"), group("sg-2", "Web", "vpc-2"), db];
        let imported = import(&[input("groups", &json!({ "SecurityGroups": all }))]).unwrap();
        match &imported.not_carried_over[..] {
            [] => {
                let line = imported.rules_toml.lines().find(|line| line.contains("groups = "));
                line.expect("a rule").trim().to_owned()
            }
            [left] => left.why.clone(),
            several => panic!("{several:?}"),
        }
    };
    let rule = |name: &str| format!("{{ protocol = \"all\", groups = [\"{name}\"] }},");
    let named = json!({ "GroupName": "web" });
    assert_eq!(of("vpc-1", named.clone()), rule("web"));
    assert_eq!(of("vpc-2", named.clone()), rule("Web (sg-2)"));
    assert_eq!(of("vpc-3", named.clone()), "group web in vpc-3 is in no file");
    assert_eq!(of("", named), "several groups in the files are called web");
    let owned = json!({ "GroupName": "WEB", "UserId": "111122223333", "GroupId": null });
    assert_eq!(of("vpc-1", owned), rule("web"));
    let peered = json!({ "GroupName": "web", "VpcId": "vpc-2" });
    assert_eq!(of("vpc-1", peered), rule("Web (sg-2)"));
    let far = json!({ "GroupName": "web", "UserId": "amazon-elb" });
    assert_eq!(of("vpc-1", far), "group web of account amazon-elb in vpc-1 is in no file");
    // An id says more than a name.
    let gone = json!({ "GroupId": "sg-9", "GroupName": "web" });
    assert_eq!(of("vpc-1", gone), "group sg-9 is in no file");
}

#[test]
fn tags_are_one_line_and_lost_rules_come_first() {
    let tags = json!([{ "Key": "Name", "Value": "x" }]);
    let group = |id: &str, permissions: Value| {
        json!({ "GroupId": id, "GroupName": id.replace('-', ""), "Tags": tags,
                "NewKey": 1, "IpPermissions": permissions })
    };
    let lost = json!([{ "IpProtocol": "tcp", "FromPort": 9, "ToPort": 1,
        "IpRanges": [{ "CidrIp": "10.0.0.0/8" }] }]);
    let all = json!({
        "SecurityGroups": [group("sg-1", json!([])), group("sg-2", lost)],
        "SecurityGroupRules": [
            { "GroupId": "sg-1", "IsEgress": true, "IpProtocol": "-1", "CidrIpv4": "0.0.0.0/0",
              "Tags": tags },
            { "GroupId": "sg-1", "IsEgress": true, "IpProtocol": "-1", "CidrIpv6": "::/0",
              "Tags": [] },
        ],
        "PrefixLists": [{ "PrefixListId": "pl-1", "PrefixListName": "l", "Tags": tags,
            "Cidrs": ["192.0.2.0/24"] }],
    });
    // The same file twice tells nothing twice.
    let imported = import(&[input("all", &all), input("again", &all)]).unwrap();
    let told: Vec<String> = imported.not_carried_over.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "ingress rule of sg-2: protocol tcp 9..1, 10.0.0.0/8: there are no such ports",
            "sg-1: NewKey: there is nothing like it here",
            "sg-2: NewKey: there is nothing like it here",
        ]
    );
    assert_eq!(imported.tagged, Tagged { groups: 2, rules: 1, prefix_lists: 1 });
    let line = "tags of 2 groups, 1 rule, 1 prefix list: nothing here has tags";
    assert_eq!(imported.tagged.text().as_deref(), Some(line));
    assert!(imported.rules_toml.contains(&format!("# - {line}\n\n")), "{}", imported.rules_toml);
    assert_eq!(Tagged::default().text(), None);
}
