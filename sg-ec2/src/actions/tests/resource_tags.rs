use super::World;

#[test]
fn tags_of_several_resources_are_all_or_nothing() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let rule = world
        .call("Action=DescribeSecurityGroupRules")
        .all("securityGroupRuleSet/item/securityGroupRuleId");
    let subnet = world.subnets().remove(0);
    let create = |ids: &[&str], key: &str| {
        let ids: Vec<_> = ids
            .iter()
            .enumerate()
            .map(|(place, id)| format!("ResourceId.{}={id}", place + 1))
            .collect();
        format!("Action=CreateTags&{}&Tag.1.Key={key}&Tag.1.Value=v", ids.join("&"))
    };
    let refused = world.refused(&create(&[&web, "sg-0123456789abcdef0"], "a"));
    assert_eq!(
        refused,
        "InvalidGroup.NotFound: The security group 'sg-0123456789abcdef0' does not exist"
    );
    assert!(world.call("Action=DescribeTags").all("tagSet/item").is_empty());
    let vpc = world.vpc.to_string();
    world.call(&create(&[&web, &app, &rule[0], &rule[1], &subnet, &vpc, &web], "a"));
    let tags = world.call("Action=DescribeTags");
    let mut types = tags.all("tagSet/item/resourceType");
    types.sort();
    assert_eq!(
        types,
        [
            "security-group",
            "security-group",
            "security-group-rule",
            "security-group-rule",
            "subnet",
            "vpc"
        ]
    );
    let one = world
        .call(&format!("Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1={web}"));
    assert_eq!(
        one.items("tagSet/item"),
        [format!("key=a resourceId={web} resourceType=security-group value=v")]
    );
    let rules =
        world.call("Action=DescribeSecurityGroupRules&Filter.1.Name=tag:a&Filter.1.Value.1=v");
    assert_eq!(rules.all("securityGroupRuleSet/item").len(), 2);
    let pages = world.call("Action=DescribeTags&MaxResults=5");
    let token = pages.one("nextToken");
    assert_eq!(
        world.call(&format!("Action=DescribeTags&NextToken={token}")).all("tagSet/item").len(),
        1
    );
}

#[test]
fn tags_are_deleted_by_key_by_value_and_all() {
    let world = World::new();
    let web = world.group("web");
    world.call(&format!(
        "Action=CreateTags&ResourceId.1={web}&Tag.1.Key=a&Tag.1.Value=1&Tag.2.Key=b&Tag.2.Value=2&Tag.3.Key=c&Tag.4.Key=d&Tag.4.Value=4"
    ));
    let left = || world.call("Action=DescribeTags").all("tagSet/item/key");
    let delete = |rest: &str| world.call(&format!("Action=DeleteTags&ResourceId.1={web}{rest}"));
    delete("&Tag.1.Key=a&Tag.2.Key=b&Tag.2.Value=other&Tag.3.Key=nothing");
    assert_eq!(left(), ["b", "c", "d"]);
    delete("&Tag.1.Key=b&Tag.1.Value=2&Tag.2.Key=c&Tag.2.Value=&Tag.3.Key=d&Tag.3.Value=");
    assert_eq!(left(), ["d"]);
    delete("");
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn tags_that_cannot_be_set() {
    let mut world = World::new();
    world.quotas.tags = 2;
    let web = world.group("web");
    let long = "k".repeat(128);
    let value = "v".repeat(257);
    for (rest, expected) in [
        (
            format!("ResourceId.1={web}"),
            "MissingParameter: The request must contain the parameter Tag",
        ),
        (
            "Tag.1.Key=a".to_owned(),
            "MissingParameter: The request must contain the parameter resourceIdSet",
        ),
        (
            format!("ResourceId.1={web}&Tag.1.Value=a"),
            "MissingParameter: The request must contain the parameter Tag.Key",
        ),
        (
            format!("ResourceId.1={web}&Tag.1.Key=AWS:a"),
            "InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use",
        ),
        (
            format!("ResourceId.1={web}&Tag.1.Key={long}"),
            "InvalidTagKey.Malformed: Tag key exceeds the maximum length of 127 characters",
        ),
        (
            format!("ResourceId.1={web}&Tag.1.Key=a&Tag.1.Value={value}"),
            "InvalidParameterValue: Tag value exceeds the maximum length of 256 characters",
        ),
        (
            format!("ResourceId.1={web}&Tag.1.Key=a&Tag.2.Key=a"),
            "InvalidParameterValue: Duplicate tag key 'a' specified.",
        ),
        (
            format!("ResourceId.1={web}&Tag.1.Key=a&Tag.2.Key=b&Tag.3.Key=c"),
            "TagLimitExceeded: The maximum number of Tags for a resource has been reached.",
        ),
        (
            format!("ResourceId.1={web}&Tag.1.Key=sg:bind&Tag.1.Value=h/i"),
            "InvalidParameterValue: The tag 'sg:bind' has no meaning on this resource",
        ),
        ("ResourceId.1=web&Tag.1.Key=a".to_owned(), "InvalidID: The ID 'web' is not valid"),
        (
            "ResourceId.1=pl-12345678&Tag.1.Key=a".to_owned(),
            "InvalidPrefixListID.NotFound: The prefix list ID 'pl-12345678' does not exist",
        ),
    ] {
        assert_eq!(world.refused(&format!("Action=CreateTags&{rest}")), expected, "{rest}");
    }
}

#[test]
fn tags_of_a_vpc_are_its_settings() {
    let world = World::new();
    let vpc = world.vpc;
    let settings = || world.snapshot().vpc(vpc).expect("the VPC").settings;
    let defaults = settings();
    let tag = |key: &str, value: &str| {
        format!("Action=CreateTags&ResourceId.1={vpc}&Tag.1.Key={key}&Tag.1.Value={value}")
    };
    for (key, value) in [
        ("sg:on-revoke", "cut"),
        ("sg:related-icmp", "false"),
        ("sg:exempt-services", "false"),
        ("sg:pickup", "7"),
    ] {
        world.call(&tag(key, value));
    }
    let set = settings();
    assert_eq!(set.on_revoke, sg_store::objects::RevokeMode::Cut);
    assert_eq!((set.related_icmp, set.exempt_services, set.pickup), (false, false, 7));
    for (key, value) in [
        ("sg:on-revoke", "x"),
        ("sg:related-icmp", "yes"),
        ("sg:exempt-services", ""),
        ("sg:pickup", "-1"),
        ("sg:pickup", "86401"),
        ("sg:bind", "h/i"),
        ("sg:x", "y"),
    ] {
        assert!(
            world.refused(&tag(key, value)).starts_with("InvalidParameterValue: "),
            "{key} {value}"
        );
    }
    world.call(&format!("Action=DeleteTags&ResourceId.1={vpc}"));
    assert_eq!(settings(), defaults);
}
