//! Managed prefix lists: versions, quotas, and the copies that hosts read.

use sg_policy::id::{PrefixListId, VpcId};
use sg_store::{
    Key,
    objects::{BlobPart, ListEntries, PrefixList},
};

use super::World;

fn list(world: &World, size: u32, entries: &[&str]) -> String {
    world.call(&create(size, entries)).one("prefixList/prefixListId")
}

fn create(size: u32, entries: &[&str]) -> String {
    let entries = numbered("Entry", entries);
    format!(
        "Action=CreateManagedPrefixList&PrefixListName=office&MaxEntries={size}&AddressFamily=IPv4{entries}"
    )
}

/// `CIDR` or `CIDR=DESCRIPTION`.
fn numbered(name: &str, entries: &[&str]) -> String {
    let one = |(at, entry): (usize, &&str)| {
        let (cidr, description) = entry.split_once('=').unwrap_or((entry, ""));
        let cidr = format!("&{name}.{}.Cidr={cidr}", at + 1);
        if description.is_empty() {
            return cidr;
        }
        format!("{cidr}&{name}.{}.Description={description}", at + 1)
    };
    entries.iter().enumerate().map(one).collect()
}

fn modify(id: &str, rest: &str) -> String {
    format!("Action=ModifyManagedPrefixList&PrefixListId={id}{rest}")
}

fn entries(world: &World, id: &str, version: Option<u32>) -> Vec<String> {
    let version = version.map(|version| format!("&TargetVersion={version}")).unwrap_or_default();
    let query = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}{version}");
    world.call(&query).items("entrySet/item")
}

fn field(world: &World, id: &str, name: &str) -> String {
    let query = format!("Action=DescribeManagedPrefixLists&PrefixListId.1={id}");
    world.call(&query).one(&format!("prefixListSet/item/{name}"))
}

fn refer(group: &str, list: &str) -> String {
    format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={group}&IpPermissions.1.IpProtocol=-1&\
         IpPermissions.1.PrefixListIds.1.PrefixListId={list}"
    )
}

fn copy(world: &World, vpc: VpcId, list: &str) -> Option<PrefixList> {
    let id: PrefixListId = list.parse().expect("an id");
    let snapshot = world.snapshot();
    snapshot.get::<PrefixList>(&Key::PrefixList(vpc, id)).map(|copy| copy.object.clone())
}

fn inline(copy: Option<PrefixList>) -> Vec<String> {
    match copy.expect("a copy").entries {
        ListEntries::Inline(entries) => {
            entries.iter().map(|entry| entry.cidr.to_string()).collect()
        }
        ListEntries::Blob(blob) => panic!("{blob:?}"),
    }
}

#[test]
fn a_list_has_versions() {
    let world = World::new();
    let made = world.call(&create(3, &["10.1.2.3/16=first", "10.2.0.0/16"]));
    assert_eq!(
        made.items("prefixList"),
        [format!(
            "addressFamily=IPv4 maxEntries=3 ownerId=123456789012 \
             prefixListArn=arn:aws:ec2:us-east-1:123456789012:prefix-list/{id} prefixListId={id} \
             prefixListName=office state=create-complete version=1",
            id = made.one("prefixList/prefixListId")
        )]
    );
    let id = made.one("prefixList/prefixListId");
    assert_eq!(
        entries(&world, &id, None),
        ["cidr=10.1.0.0/16 description=first", "cidr=10.2.0.0/16"]
    );
    let change =
        numbered("AddEntry", &["10.3.0.0/16"]) + &numbered("RemoveEntry", &["10.2.0.0/16"]);
    let changed = world.call(&modify(&id, &format!("{change}&CurrentVersion=1")));
    assert_eq!(changed.one("prefixList/version"), "2");
    assert_eq!(changed.one("prefixList/state"), "modify-complete");
    assert_eq!(
        entries(&world, &id, Some(2)),
        ["cidr=10.1.0.0/16 description=first", "cidr=10.3.0.0/16"]
    );
    assert_eq!(entries(&world, &id, Some(1)).len(), 2);
    // A name and a size make no version.
    world.call(&modify(&id, "&PrefixListName=other&MaxEntries=4"));
    assert_eq!(
        (field(&world, &id, "version"), field(&world, &id, "prefixListName")),
        ("2".into(), "other".into())
    );
    let restore = |previous: u32, current: u32| {
        format!(
            "Action=RestoreManagedPrefixListVersion&PrefixListId={id}&PreviousVersion={previous}&CurrentVersion={current}"
        )
    };
    let restored = world.call(&restore(1, 2));
    assert_eq!(restored.one("prefixList/state"), "restore-complete");
    assert_eq!(entries(&world, &id, Some(3)), entries(&world, &id, Some(1)));
    let mismatch = "PrefixListVersionMismatch: ";
    let none = "InvalidParameterValue: ";
    for (query, expected) in [
        (restore(1, 2), mismatch),
        (restore(3, 3), none),
        (restore(0, 3), none),
        (modify(&id, &format!("{change}&CurrentVersion=2")), mismatch),
        (format!("Action=GetManagedPrefixListEntries&PrefixListId={id}&TargetVersion=4"), none),
    ] {
        let refused = world.refused(&query);
        assert!(refused.starts_with(expected), "{query}: {refused}");
    }
    world.call(&modify(&id, &numbered("RemoveEntry", &["10.1.0.0/16", "10.2.0.0/16"])));
    assert!(entries(&world, &id, None).is_empty());
    world.call(&modify(&id, "&MaxEntries=1"));
    let small = world.refused(&restore(3, 4));
    assert!(small.starts_with("PrefixListMaxEntriesExceeded: "), "{small}");
}

#[test]
fn old_versions_go() {
    let world = World::new();
    let id = list(&world, 1, &[]);
    for round in 0..60 {
        world.call(&modify(&id, &numbered("AddEntry", &[&format!("10.{round}.0.0/16")])));
        world.call(&modify(&id, &numbered("RemoveEntry", &[&format!("10.{round}.0.0/16")])));
    }
    assert_eq!(field(&world, &id, "version"), "121");
    assert_eq!(entries(&world, &id, Some(22)), ["cidr=10.10.0.0/16"]);
    let gone = format!("Action=GetManagedPrefixListEntries&PrefixListId={id}&TargetVersion=21");
    assert!(world.refused(&gone).starts_with("InvalidParameterValue: "));
    let before = world.snapshot().len();
    let deleted = world.call(&format!("Action=DeleteManagedPrefixList&PrefixListId={id}"));
    assert_eq!(deleted.one("prefixList/state"), "delete-complete");
    assert_eq!(world.snapshot().len(), before - 101, "the record, 100 versions");
    let absent = format!("InvalidPrefixListID.NotFound: The prefix list ID '{id}' does not exist");
    assert_eq!(
        world.refused(&format!("Action=DescribeManagedPrefixLists&PrefixListId.1={id}")),
        absent
    );
    assert_eq!(world.refused(&refer(&world.default_group(), &id)), absent);
}

#[test]
fn lists_that_cannot_be_made_or_modified() {
    let mut world = World::new();
    let id = list(&world, 2, &["10.1.0.0/16", "10.2.0.0/16"]);
    let create = |rest: &str| format!("Action=CreateManagedPrefixList{rest}");
    let base = "&PrefixListName=a&MaxEntries=2&AddressFamily=IPv4";
    let many: Vec<_> = (0..101).map(|number| format!("10.{number}.0.0/16")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let modification = "InvalidPrefixListModification: ";
    for (query, expected) in [
        (
            create(&base.replace("=a&", "=com.amazonaws.x&")),
            "InvalidParameterValue: A prefix list name",
        ),
        (
            create(&base.replace("=2&", "=0&")),
            "InvalidParameterValue: Value (0) for parameter MaxEntries",
        ),
        (
            create(&base.replace("=2&", "=1001&")),
            "InvalidParameterValue: Value (1001) for parameter MaxEntries",
        ),
        (
            create(&base.replace("IPv4", "ipv4")),
            "InvalidParameterValue: Value (ipv4) for parameter AddressFamily",
        ),
        (
            create(&(base.to_owned() + &numbered("Entry", &["::/0"]))),
            "InvalidParameterValue: The CIDR block ::/0",
        ),
        (
            create(&(base.to_owned() + &numbered("Entry", &["10.0.0.1"]))),
            "InvalidParameterValue: CIDR block 10.0.0.1 is malformed",
        ),
        (
            create(&(base.to_owned() + &numbered("Entry", &["10.0.0.1/8", "10.0.0.0/8"]))),
            "InvalidParameterValue: The CIDR block 10.0.0.0/8 is specified more than once",
        ),
        (
            create(
                &(base.to_owned()
                    + &numbered("Entry", &["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"])),
            ),
            "PrefixListMaxEntriesExceeded: ",
        ),
        (
            create(&(base.replace("=2&", "=200&") + &numbered("Entry", &many))),
            "InvalidParameterValue: A request has at most 100",
        ),
        (create("&MaxEntries=2&AddressFamily=IPv4"), "MissingParameter: "),
        (modify(&id, ""), "InvalidParameterCombination: No modifications"),
        (
            modify(&id, &format!("&MaxEntries=3{}", numbered("AddEntry", &["10.3.0.0/16"]))),
            "InvalidParameterCombination: ",
        ),
        (modify(&id, &numbered("AddEntry", &["10.3.0.0/16"])), "PrefixListMaxEntriesExceeded: "),
        (modify(&id, &numbered("AddEntry", &["10.1.0.0/16"])), modification),
        (modify(&id, &numbered("RemoveEntry", &["10.3.0.0/16"])), modification),
        (
            modify(
                &id,
                &(numbered("AddEntry", &["10.1.0.0/16"])
                    + &numbered("RemoveEntry", &["10.1.0.0/16"])),
            ),
            modification,
        ),
        (modify(&id, "&MaxEntries=1"), "PrefixListMaxEntriesExceeded: "),
        (modify("pl-x", "&MaxEntries=1"), "InvalidPrefixListId.Malformed: "),
        (
            "Action=DescribePrefixLists&PrefixListId.1=pl-01234567".to_owned(),
            "InvalidPrefixListID.NotFound: ",
        ),
        (
            "Action=DescribePrefixLists&Filter.1.Name=a&Filter.1.Value.1=a".to_owned(),
            "InvalidParameterValue: The filter",
        ),
    ] {
        let refused = world.refused(&query);
        assert!(refused.starts_with(expected), "{query}: {refused}");
    }
    // The customer's lists are none of a service's.
    assert!(world.call("Action=DescribePrefixLists").all("prefixListSet/item").is_empty());
    world.quotas.prefix_lists = 1;
    assert_eq!(
        world.refused(&create(base)),
        "PrefixListLimitExceeded: The maximum number of prefix lists has been reached."
    );
    world.call(&format!("Action=DeleteManagedPrefixList&PrefixListId={id}"));
    world.call(&create(base));
}

#[test]
fn lists_are_filtered_paged_tagged_and_made_once_a_token() {
    let world = World::new();
    let tagged = "&ClientToken=t&TagSpecification.1.ResourceType=prefix-list&TagSpecification.1.Tag.1.Key=k&\
                  TagSpecification.1.Tag.1.Value=v";
    let query = create(2, &["10.0.0.0/8", "11.0.0.0/8"]);
    let one = world.call(&format!("{query}{tagged}")).one("prefixList/prefixListId");
    let before = world.store.revision();
    assert_eq!(world.call(&format!("{query}{tagged}")).one("prefixList/prefixListId"), one);
    assert_eq!(world.store.revision(), before);
    let other = format!("{query}{tagged}").replace("office", "home");
    assert!(world.refused(&other).starts_with("IdempotentParameterMismatch: "));
    let two = world.call(&query.replace("office", "home")).one("prefixList/prefixListId");
    for (filter, value, expected) in [
        ("owner-id", "123456789012", 2),
        ("prefix-list-id", &*two, 1),
        ("prefix-list-name", "of*", 1),
        ("tag:k", "v", 1),
        ("tag-key", "x", 0),
    ] {
        let query = format!(
            "Action=DescribeManagedPrefixLists&Filter.1.Name={filter}&Filter.1.Value.1={value}"
        );
        let found = world.call(&query).all("prefixListSet/item/prefixListId");
        assert_eq!(found.len(), expected, "{filter}");
    }
    let page = world.call("Action=DescribeManagedPrefixLists&MaxResults=1");
    let next = format!(
        "Action=DescribeManagedPrefixLists&MaxResults=1&NextToken={}",
        page.one("nextToken")
    );
    let ids = [
        page.one("prefixListSet/item/prefixListId"),
        world.call(&next).one("prefixListSet/item/prefixListId"),
    ];
    assert_eq!(ids, [&*one, &*two]);
    let page =
        world.call(&format!("Action=GetManagedPrefixListEntries&PrefixListId={one}&MaxResults=1"));
    assert_eq!(page.all("entrySet/item/cidr"), ["10.0.0.0/8"]);
    world.call(&format!("Action=CreateTags&ResourceId.1={two}&Tag.1.Key=a&Tag.1.Value=b"));
    let tags =
        world.call("Action=DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=prefix-list");
    assert_eq!(tags.all("tagSet/item/key"), ["k", "a"]);
    world.call(&format!("Action=DeleteManagedPrefixList&PrefixListId={one}"));
    // With the list its token went.
    assert_ne!(world.call(&format!("{query}{tagged}")).one("prefixList/prefixListId"), one);
}

#[test]
fn a_list_weighs_its_size_in_its_family() {
    let mut world = World::new();
    world.quotas.rules_per_group = 4;
    let (web, app) = (world.group("web"), world.group("app"));
    let (small, large) = (list(&world, 3, &["10.0.0.0/8"]), list(&world, 5, &[]));
    let refused = "RulesPerSecurityGroupLimitExceeded: The maximum number of rules per security group has been reached.";
    assert_eq!(world.refused(&refer(&web, &large)), refused);
    let made = world.call(&refer(&web, &small));
    assert_eq!(made.one("securityGroupRuleSet/item/prefixListId"), small);
    assert_eq!(
        world.refused(&refer(&web, &small)),
        format!(
            "InvalidPermission.Duplicate: the specified rule \"peer: {small}, ALL, ALLOW\" already exists"
        )
    );
    let address = |number: u8| {
        format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={web}&IpProtocol=-1&CidrIp={number}.0.0.0/8"
        )
    };
    world.call(&address(1));
    assert_eq!(world.refused(&address(2)), refused);
    for number in 0..4 {
        world.call(&format!(
            "Action=AuthorizeSecurityGroupIngress&GroupId={web}&IpPermissions.1.IpProtocol=-1&\
             IpPermissions.1.Ipv6Ranges.1.CidrIpv6=200{number}::/16"
        ));
    }
    // A larger size would not fit: the old one stays, and the state says whose quota it is.
    world.call(&refer(&app, &small));
    let failed = world.call(&modify(&small, "&MaxEntries=4"));
    assert_eq!(failed.one("prefixList/state"), "modify-failed");
    assert_eq!(
        field(&world, &small, "stateMessage"),
        format!("The quota of rules of these resources does not allow 4 entries: {web}")
    );
    assert_eq!(field(&world, &small, "maxEntries"), "3");
    world.call(&address(1).replace("Authorize", "Revoke"));
    let done = world.call(&modify(&small, "&MaxEntries=4"));
    assert_eq!(
        (done.one("prefixList/state"), done.one("prefixList/maxEntries")),
        ("modify-complete".into(), "4".into())
    );
    assert!(done.all("prefixList/stateMessage").is_empty());
    assert_eq!(copy(&world, world.vpc, &small).expect("a copy").max_entries, 4);
    assert_eq!(world.refused(&address(1)), refused);
    // Another list under the rule's id is weighed, too.
    let id = made.one("securityGroupRuleSet/item/securityGroupRuleId");
    let modified = format!(
        "Action=ModifySecurityGroupRules&GroupId={web}&SecurityGroupRule.1.SecurityGroupRuleId={id}&\
         SecurityGroupRule.1.SecurityGroupRule.IpProtocol=-1&SecurityGroupRule.1.SecurityGroupRule.PrefixListId={large}"
    );
    assert_eq!(world.refused(&modified), refused);
}

#[test]
fn a_list_in_use_stays_and_names_its_users() {
    let world = World::new();
    let id = list(&world, 1, &[]);
    let groups: Vec<_> = (0..12).map(|number| world.group(&format!("g{number}"))).collect();
    for group in &groups {
        world.call(&refer(group, &id));
    }
    let query = format!("Action=GetManagedPrefixListAssociations&PrefixListId={id}");
    let item = "prefixListAssociationSet/item";
    assert_eq!(world.call(&query).all(&format!("{item}/resourceId")), groups);
    assert_eq!(world.call(&format!("{query}&MaxResults=5")).all(item).len(), 5);
    let delete = format!("Action=DeleteManagedPrefixList&PrefixListId={id}");
    assert_eq!(world.call(&delete).one("prefixList/state"), "delete-failed");
    let named = groups[..10].join(", ");
    assert_eq!(
        field(&world, &id, "stateMessage"),
        format!("The prefix list is in use by: {named}")
    );
    for group in &groups {
        world.call(&format!("Action=DeleteSecurityGroup&GroupId={group}"));
    }
    assert_eq!(copy(&world, world.vpc, &id), None, "the copy went with the last rule");
    assert_eq!(world.call(&delete).one("prefixList/state"), "delete-complete");
}

#[test]
fn copies_follow_rules_and_versions() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let id = list(&world, 3, &["10.1.0.0/16"]);
    assert_eq!(copy(&world, world.vpc, &id), None);
    let made = world.call(&refer(&web, &id)).one("securityGroupRuleSet/item/securityGroupRuleId");
    world.call(&refer(&app, &id));
    assert_eq!(inline(copy(&world, world.vpc, &id)), ["10.1.0.0/16"]);
    world.call(&modify(&id, &numbered("AddEntry", &["10.2.0.0/16"])));
    assert_eq!(inline(copy(&world, world.vpc, &id)), ["10.1.0.0/16", "10.2.0.0/16"]);
    assert_eq!(copy(&world, world.vpc, &id).expect("a copy").version, 2);
    world.call(&format!("Action=RestoreManagedPrefixListVersion&PrefixListId={id}&PreviousVersion=1&CurrentVersion=2"));
    assert_eq!(inline(copy(&world, world.vpc, &id)), ["10.1.0.0/16"]);
    // Each VPC has its own.
    let vpc = world.second_vpc("10.0.0.0/16");
    let far = format!("Action=CreateSecurityGroup&GroupName=far&GroupDescription=d&VpcId={vpc}");
    let far = world.call(&far).one("groupId");
    world.call(&refer(&far, &id));
    assert!(copy(&world, vpc, &id).is_some());
    let other = list(&world, 1, &["10.9.0.0/16"]);
    let modified = format!(
        "Action=ModifySecurityGroupRules&GroupId={web}&SecurityGroupRule.1.SecurityGroupRuleId={made}&\
         SecurityGroupRule.1.SecurityGroupRule.IpProtocol=-1&SecurityGroupRule.1.SecurityGroupRule.PrefixListId={other}"
    );
    world.call(&modified);
    assert_eq!(inline(copy(&world, world.vpc, &other)), ["10.9.0.0/16"]);
    assert!(copy(&world, world.vpc, &id).is_some(), "app's rule has it");
    world.call(&refer(&app, &id).replace("Authorize", "Revoke"));
    assert_eq!(copy(&world, world.vpc, &id), None);
    assert!(copy(&world, vpc, &id).is_some());
}

#[test]
fn long_lists_lie_in_blobs() {
    let mut world = World::new();
    world.quotas.rules_per_group = 200;
    let web = world.group("web");
    let entries: Vec<_> = (0..100)
        .map(|number| format!("10.{number}.0.0/16=a-description-of-entry-number-{number:080}"))
        .collect();
    let entries: Vec<_> = entries.iter().map(String::as_str).collect();
    let id = list(&world, 40, &[]);
    let other = list(&world, 40, &[]);
    for id in [&id, &other] {
        world.call(&modify(id, "&MaxEntries=100"));
        world.call(&modify(id, &numbered("AddEntry", &entries)));
    }
    world.call(&refer(&web, &id));
    world.call(&refer(&world.default_group(), &other));
    let blobs = || {
        let snapshot = world.snapshot();
        let parts: Vec<_> = snapshot.all::<BlobPart>().map(|part| part.object.clone()).collect();
        parts
    };
    assert_eq!(blobs().len(), 1, "both have the same entries");
    let text = blobs().remove(0).text;
    assert!(text.contains(r#"{"cidr":"10.99.0.0/16"}"#), "{text}");
    world.call(&modify(&id, &numbered("RemoveEntry", &["10.99.0.0/16"])));
    assert_eq!(blobs().len(), 2);
    world.call(&modify(&other, &numbered("RemoveEntry", &["10.99.0.0/16"])));
    assert_eq!(blobs().len(), 1, "nobody has the first one");
    assert_eq!(entries.len() - 1, entries_of(&world, &id));
    world.call(&refer(&web, &id).replace("Authorize", "Revoke"));
    assert_eq!(blobs().len(), 1, "the other list has it");
    world.call(&refer(&world.default_group(), &other).replace("Authorize", "Revoke"));
    assert!(blobs().is_empty());
}

fn entries_of(world: &World, id: &str) -> usize {
    entries(world, id, None).len()
}

/// Two calls that saw the same state, whichever commits first.
#[test]
fn a_list_is_not_changed_from_under_a_new_rule() {
    for first_is_rule in [true, false] {
        for action in [
            "Action=DeleteManagedPrefixList&PrefixListId=ID",
            "Action=ModifyManagedPrefixList&PrefixListId=ID&MaxEntries=3",
            "Action=ModifyManagedPrefixList&PrefixListId=ID&AddEntry.1.Cidr=10.0.0.0/8",
        ] {
            let world = World::new();
            let web = world.group("web");
            let id = list(&world, 2, &[]);
            let calls = [refer(&web, &id), action.replace("ID", &id)];
            let mut txns = calls.map(|call| world.transaction(&call));
            if !first_is_rule {
                txns.reverse();
            }
            let [first, second] = txns;
            assert!(world.try_commit(first), "{action}");
            assert!(!world.try_commit(second), "{action}, first_is_rule: {first_is_rule}");
        }
    }
    // The last rule of a VPC goes, and another one comes.
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let id = list(&world, 2, &[]);
    world.call(&refer(&web, &id));
    let [revoke, refer] = [refer(&web, &id).replace("Authorize", "Revoke"), refer(&app, &id)]
        .map(|call| world.transaction(&call));
    assert!(world.try_commit(refer));
    assert!(!world.try_commit(revoke));
}
