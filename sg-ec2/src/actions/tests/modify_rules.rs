//! ModifySecurityGroupRules and the two actions of descriptions.

use super::World;

/// A rule of ingress that is made; its id.
fn rule(world: &World, group: &str, rest: &str) -> String {
    let query = format!("Action=AuthorizeSecurityGroupIngress&GroupId={group}&{rest}");
    world.call(&query).one("securityGroupRuleSet/item/securityGroupRuleId")
}

fn update(number: usize, id: &str, fields: &str) -> String {
    let one = format!("SecurityGroupRule.{number}");
    let fields = fields.split(' ').map(|field| format!("&{one}.SecurityGroupRule.{field}"));
    format!("&{one}.SecurityGroupRuleId={id}{}", fields.collect::<String>())
}

fn modify(group: &str, updates: &[String]) -> String {
    format!("Action=ModifySecurityGroupRules&GroupId={group}{}", updates.concat())
}

fn shown(world: &World, id: &str) -> String {
    let query = format!("Action=DescribeSecurityGroupRules&SecurityGroupRuleId.1={id}");
    world.call(&query).items("securityGroupRuleSet/item").remove(0)
}

#[test]
fn a_rule_is_replaced_whole_and_keeps_its_id_and_tags() {
    let world = World::new();
    let web = world.group("web");
    let id = rule(
        &world,
        &web,
        "IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&\
         IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8&IpPermissions.1.IpRanges.1.Description=old&\
         TagSpecification.1.ResourceType=security-group-rule&TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Value=v",
    );
    for (fields, expected) in [
        (
            "IpProtocol=UDP FromPort=1 ToPort=9 CidrIpv4=100.68.0.18/18 Description=new",
            "cidrIpv4=100.68.0.0/18 description=new fromPort=1 ipProtocol=udp toPort=9",
        ),
        (
            "IpProtocol=-1 FromPort=0 ToPort=0 CidrIpv4=10.0.0.0/8",
            "cidrIpv4=10.0.0.0/8 fromPort=-1 ipProtocol=-1 toPort=-1",
        ),
        (
            "IpProtocol=icmp FromPort=-1 ToPort=3 CidrIpv4=10.0.0.0/8",
            "cidrIpv4=10.0.0.0/8 fromPort=-1 ipProtocol=icmp toPort=-1",
        ),
        (
            "IpProtocol=47 CidrIpv4=10.0.0.0/8",
            "cidrIpv4=10.0.0.0/8 fromPort=-1 ipProtocol=47 toPort=-1",
        ),
    ] {
        let answer = world.call(&modify(&web, &[update(1, &id, fields)]));
        assert_eq!(answer.one("return"), "true");
        let shown = shown(&world, &id);
        let kept = ["groupId", "groupOwnerId", "securityGroupRule", "isEgress"];
        let fields =
            shown.split(' ').filter(|field| !kept.iter().any(|key| field.starts_with(key)));
        assert_eq!(fields.collect::<Vec<_>>().join(" "), expected);
    }
    let tags = format!("Action=DescribeTags&Filter.1.Name=resource-id&Filter.1.Value.1={id}");
    assert_eq!(world.call(&tags).all("tagSet/item/value"), ["v"]);
    // The same once more changes nothing.
    let before = world.store.revision();
    world.call(&modify(&web, &[update(1, &id, "IpProtocol=47 CidrIpv4=10.0.0.0/8")]));
    assert_eq!(world.store.revision(), before);
}

#[test]
fn rules_of_both_directions_change_together_and_may_swap() {
    let world = World::new();
    let web = world.group("web");
    let one = rule(&world, &web, "IpProtocol=tcp&FromPort=1&ToPort=1&CidrIp=10.0.0.0/8");
    let two = rule(&world, &web, "IpProtocol=tcp&FromPort=2&ToPort=2&CidrIp=10.0.0.0/8");
    let egress =
        format!("Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={web}");
    let answer = world.call(&egress);
    let at = answer.all("securityGroupRuleSet/item/isEgress").iter().position(|it| it == "true");
    let out =
        answer.all("securityGroupRuleSet/item/securityGroupRuleId")[at.expect("egress")].clone();
    world.call(&modify(
        &web,
        &[
            update(1, &one, "IpProtocol=tcp FromPort=2 ToPort=2 CidrIpv4=10.0.0.0/8"),
            update(2, &two, "IpProtocol=tcp FromPort=1 ToPort=1 CidrIpv4=10.0.0.0/8"),
            update(3, &out, "IpProtocol=tcp FromPort=443 ToPort=443 CidrIpv4=10.0.0.0/8"),
        ],
    ));
    assert!(shown(&world, &one).contains("toPort=2"));
    assert!(shown(&world, &two).contains("toPort=1"));
    assert!(shown(&world, &out).contains("isEgress=true"));
    assert!(shown(&world, &out).contains("toPort=443"));
}

#[test]
fn modifications_that_are_refused_change_nothing() {
    let mut world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let one = rule(&world, &web, "IpProtocol=tcp&FromPort=1&ToPort=1&CidrIp=10.0.0.0/8");
    let two = rule(&world, &web, "IpProtocol=tcp&FromPort=2&ToPort=2&CidrIp=10.0.0.0/8");
    let peer = format!("IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={app}");
    let by_group = rule(&world, &web, &peer);
    let far = rule(&world, &app, "IpProtocol=-1&CidrIp=10.0.0.0/8");
    let good = "IpProtocol=tcp FromPort=3 ToPort=3 CidrIpv4=10.0.0.0/8";
    let absent = |id: &str| {
        format!(
            "InvalidSecurityGroupRuleId.NotFound: The security group rule ID '{id}' does not exist"
        )
    };
    let kind = |id: &str| {
        format!("InvalidParameterValue: Invalid rule type for security group rule '{id}'")
    };
    for (number, updates, expected) in [
        (1, vec![(&*one, good), ("sgr-01234567", good)], absent("sgr-01234567")),
        (2, vec![(&*one, good), (&*far, good)], absent(&far)),
        (
            3,
            vec![("sgr-1", good)],
            "InvalidSecurityGroupRuleId.Malformed: The security group rule ID 'sgr-1' is malformed".into(),
        ),
        (
            4,
            vec![(&*one, good), (&*one, good)],
            format!("InvalidParameterValue: The rule '{one}' is specified more than once"),
        ),
        (
            5,
            vec![(&*one, "IpProtocol=tcp FromPort=2 ToPort=2 CidrIpv4=10.1.2.3/8")],
            "InvalidPermission.Duplicate: the specified rule \"peer: 10.0.0.0/8, TCP, from port: 2, to port: 2, ALLOW\" \
             already exists".into(),
        ),
        (
            6,
            vec![(&*one, good), (&*two, good)],
            "InvalidParameterValue: The same permission must not appear multiple times".into(),
        ),
        (7, vec![(&*one, "IpProtocol=-1 CidrIpv6=::/0")], kind(&one)),
        (8, vec![(&*by_group, good)], kind(&by_group)),
        (
            9,
            vec![(&*one, "IpProtocol=-1")],
            "MissingParameter: The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or \
             referencedGroupId".into(),
        ),
        (
            10,
            vec![(&*one, "IpProtocol=-1 CidrIpv4=0.0.0.0/0 CidrIpv6=::/0")],
            "InvalidParameterCombination: Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be \
             specified".into(),
        ),
        (
            11,
            vec![(&*one, "IpProtocol=tcp CidrIpv4=0.0.0.0/0")],
            "InvalidParameterValue: Invalid value for portRange. Must specify both from and to ports with \
             TCP/UDP.".into(),
        ),
        (
            12,
            vec![(&*one, "CidrIpv4=0.0.0.0/0")],
            "InvalidParameterValue: Invalid value 'null' for protocol. VPC security group rules must specify \
             protocols explicitly.".into(),
        ),
        (
            13,
            vec![(&*by_group, "IpProtocol=-1 ReferencedGroupId=sg-01234567")],
            "InvalidGroup.NotFound: The security group 'sg-01234567' does not exist".into(),
        ),
        (
            14,
            vec![(&*by_group, "IpProtocol=-1 PrefixListId=pl-x")],
            "InvalidPrefixListId.Malformed: Invalid id: \"pl-x\"".into(),
        ),
    ] {
        let updates: Vec<_> = updates
            .iter()
            .enumerate()
            .map(|(at, (id, fields))| update(at + 1, id, fields))
            .collect();
        assert_eq!(world.refused(&modify(&web, &updates)), expected, "{number}");
    }
    assert_eq!(
        world.refused(&modify(&web, &[format!("&SecurityGroupRule.1.SecurityGroupRuleId={one}")])),
        "MissingParameter: The request must contain the parameter SecurityGroupRule"
    );
    assert!(world.refused(&modify(&web, &[])).starts_with("MissingParameter: "));
    // A group may be named with its account. The one that is named must stay.
    let own = format!("IpProtocol=-1 ReferencedGroupId=123456789012/{web}");
    world.call(&modify(&web, &[update(1, &by_group, &own)]));
    let named = format!("IpProtocol=-1 ReferencedGroupId={app}");
    world.call(&modify(&web, &[update(1, &by_group, &named)]));
    let refused = world.refused(&format!("Action=DeleteSecurityGroup&GroupId={app}"));
    assert!(refused.starts_with("DependencyViolation: "), "{refused}");
    world.quotas.rules_per_group = 2;
    let refused = world.refused(&modify(&web, &[update(1, &one, good)]));
    assert!(refused.starts_with("RulesPerSecurityGroupLimitExceeded: "), "{refused}");
}

fn descriptions(world: &World, group: &str) -> Vec<String> {
    let query = format!(
        "Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={group}"
    );
    world.call(&query).all("securityGroupRuleSet/item/description")
}

#[test]
fn descriptions_are_updated_by_content_and_by_id() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let id = rule(&world, &web, "IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=10.0.0.0/8");
    let other = rule(&world, &app, "IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=10.0.0.0/8");
    let action = "Action=UpdateSecurityGroupRuleDescriptionsIngress";
    let content = |text: &str, cidr: &str| {
        format!(
            "IpPermissions.1.IpProtocol=6&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&\
             IpPermissions.1.IpRanges.1.CidrIp={cidr}{text}"
        )
    };
    let described = "&IpPermissions.1.IpRanges.1.Description=ssh";
    let by_content = content(described, "10.9.9.9/8");
    let answer = world.call(&format!("{action}&GroupId={web}&{by_content}"));
    assert_eq!(
        (answer.one("return"), descriptions(&world, &web)),
        ("true".into(), vec!["ssh".into()])
    );
    let by_id = format!(
        "SecurityGroupRuleDescription.1.SecurityGroupRuleId={id}&SecurityGroupRuleDescription.1.Description=by-id"
    );
    world.call(&format!("{action}&GroupName=web&{by_id}"));
    assert_eq!(descriptions(&world, &web), ["by-id"]);
    for (rest, expected) in [
        (
            content(described, "11.0.0.0/8"),
            "InvalidPermission.NotFound: The specified rule does not exist in this security group.".to_owned(),
        ),
        (
            by_id.replace(&id, &other),
            format!("InvalidSecurityGroupRuleId.NotFound: The security group rule ID '{other}' does not exist"),
        ),
        (
            format!("{by_id}&{}", content(described, "10.0.0.0/8")),
            "InvalidParameterCombination: The parameter ipPermissions cannot be used with the parameter \
             securityGroupRuleDescriptions".to_owned(),
        ),
        (
            String::new(),
            "MissingParameter: The request must contain the parameter ipPermissions or \
             securityGroupRuleDescriptions".to_owned(),
        ),
        (
            format!("{by_id}&{}", by_id.replace("Description.1", "Description.2")),
            format!("InvalidParameterValue: The rule '{id}' is specified more than once"),
        ),
        (
            by_id.replace("by-id", "%C3%A9"),
            "InvalidParameterValue: Invalid rule description. Valid descriptions are strings less than 256 characters \
             from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*".to_owned(),
        ),
    ] {
        assert_eq!(world.refused(&format!("{action}&GroupId={web}&{rest}")), expected, "{rest}");
    }
    // Rules of the other direction are others.
    let egress = format!("{action}&GroupId={web}&{by_id}").replace("Ingress", "Egress");
    assert!(world.refused(&egress).starts_with("InvalidSecurityGroupRuleId.NotFound: "));
    let egress = format!(
        "Action=UpdateSecurityGroupRuleDescriptionsEgress&GroupId={web}&IpPermissions.1.IpProtocol=-1&\
         IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0&IpPermissions.1.IpRanges.1.Description=out"
    );
    world.call(&egress);
    assert_eq!(descriptions(&world, &web).len(), 2);
    // No description takes the one away that is there.
    let bare = format!("{action}&GroupId={web}&{}", content("", "10.0.0.0/8"));
    world.call(&bare);
    assert_eq!(descriptions(&world, &web), ["out"]);
    let before = world.store.revision();
    world.call(&bare);
    assert_eq!(world.store.revision(), before);
}
