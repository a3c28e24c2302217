use super::World;

#[test]
fn the_default_vpc_is_described() {
    let world = World::new();
    let vpcs = world.call("Action=DescribeVpcs");
    let at = |path: &str| vpcs.one(&format!("vpcSet/item/{path}"));
    assert_eq!(
        (at("cidrBlock"), at("isDefault"), at("state")),
        ("172.31.0.0/16".into(), "true".into(), "available".into())
    );
    assert_eq!(at("cidrBlockAssociationSet/item/cidrBlock"), "172.31.0.0/16");
    let subnets = world.call("Action=DescribeSubnets");
    let all = |path: &str| subnets.all(&format!("subnetSet/item/{path}"));
    assert_eq!(all("cidrBlock"), ["172.31.0.0/20", "172.31.16.0/20", "172.31.32.0/20"]);
    assert_eq!(all("availabilityZone"), ["us-east-1a", "us-east-1b", "us-east-1c"]);
    assert_eq!(all("availableIpAddressCount"), ["4091"; 3]);
    for (action, name, value, count) in [
        ("DescribeVpcs", "isDefault", "true", 1),
        ("DescribeVpcs", "is-default", "false", 0),
        ("DescribeVpcs", "cidr", "172.31.*", 1),
        ("DescribeVpcs", "state", "available", 1),
        ("DescribeVpcs", "cidr-block-association.cidr-block", "172.31.0.0/16", 1),
        ("DescribeVpcs", "owner-id", "1*", 1),
        ("DescribeSubnets", "vpc-id", "*", 3),
        ("DescribeSubnets", "availabilityZone", "*b", 1),
        ("DescribeSubnets", "cidr-block", "172.31.16.0/20", 1),
        ("DescribeSubnets", "default-for-az", "true", 3),
        ("DescribeSubnets", "available-ip-address-count", "4091", 3),
        ("DescribeSubnets", "map-public-ip-on-launch", "true", 0),
    ] {
        let answer =
            world.call(&format!("Action={action}&Filter.1.Name={name}&Filter.1.Value.1={value}"));
        let set = if action == "DescribeVpcs" { "vpcSet/item" } else { "subnetSet/item" };
        assert_eq!(answer.all(set).len(), count, "{action} {name} {value}");
    }
    assert_eq!(
        world.refused("Action=DescribeVpcs&Filter.1.Name=colour&Filter.1.Value.1=x"),
        "InvalidParameterValue: The filter 'colour' is invalid"
    );
}

#[test]
fn the_default_group_lets_its_members_reach_each_other() {
    let world = World::new();
    let groups = world.call("Action=DescribeSecurityGroups");
    let item = "securityGroupInfo/item";
    let id = groups.one(&format!("{item}/groupId"));
    assert_eq!(groups.one(&format!("{item}/groupDescription")), "default VPC security group");
    assert_eq!(groups.items(&format!("{item}/ipPermissions/item")), ["ipProtocol=-1"]);
    assert_eq!(
        groups.items(&format!("{item}/ipPermissions/item/groups/item")),
        [format!("groupId={id} userId=123456789012")]
    );
    let rules = world.call("Action=DescribeSecurityGroupRules");
    assert_eq!(rules.all("securityGroupRuleSet/item/fromPort"), ["-1", "-1"]);
    let mut directions = rules.all("securityGroupRuleSet/item/isEgress");
    directions.sort();
    assert_eq!(directions, ["false", "true"]);
}

#[test]
fn rules_are_found_by_group_and_by_id() {
    let world = World::new();
    let web = world.group("web");
    let by_group = |id: &str| {
        format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={id}")
    };
    let rule = world.call(&by_group(&web)).one("securityGroupRuleSet/item/securityGroupRuleId");
    let by_id = |id: &str| format!("Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1={id}");
    let found = world.call(&by_id(&rule));
    assert_eq!(found.one("securityGroupRuleSet/item/groupId"), web);
    assert_eq!(
        found.one("securityGroupRuleSet/item/securityGroupRuleArn"),
        format!("arn:aws:ec2:us-east-1:123456789012:security-group-rule/{rule}")
    );
    assert!(
        world.call(&by_group("sg-0123456789abcdef0")).all("securityGroupRuleSet/item").is_empty()
    );
    assert_eq!(
        world.refused(&by_group("foobar")),
        "InvalidGroupId.Malformed: The security group ID 'foobar' is malformed"
    );
    assert_eq!(
        world.refused(&by_id("sgr-0123456789abcdef0")),
        "InvalidSecurityGroupRuleId.NotFound: The security group rule ID 'sgr-0123456789abcdef0' does not exist"
    );
}
