use super::World;

fn ingress(group: &str, rest: &str) -> String {
    format!("Action=AuthorizeSecurityGroupIngress&GroupId={group}&{rest}")
}

#[test]
fn rules_are_authorized_in_canonical_form() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let one = "IpPermissions.1.";
    for (asked, expected) in [
        (
            "IpProtocol=TCP&FromPort=22&ToPort=22&CidrIp=100.68.0.18/18",
            "cidrIpv4=100.68.0.0/18 fromPort=22 ipProtocol=tcp toPort=22",
        ),
        (
            "IpProtocol=17&FromPort=0&ToPort=65535&CidrIp=0.0.0.0/0",
            "cidrIpv4=0.0.0.0/0 fromPort=0 ipProtocol=udp toPort=65535",
        ),
        (
            "IpProtocol=-1&FromPort=5&ToPort=3&CidrIp=10.0.0.1/32",
            "cidrIpv4=10.0.0.1/32 fromPort=-1 ipProtocol=-1 toPort=-1",
        ),
        (
            "IpProtocol=47&FromPort=5&CidrIp=10.0.0.1/32",
            "cidrIpv4=10.0.0.1/32 fromPort=-1 ipProtocol=47 toPort=-1",
        ),
        (
            "IpProtocol=1&FromPort=8&ToPort=-1&CidrIp=10.0.0.0/8",
            "cidrIpv4=10.0.0.0/8 fromPort=8 ipProtocol=icmp toPort=-1",
        ),
        (
            "IpProtocol=icmp&FromPort=-1&ToPort=4&CidrIp=10.0.0.0/8",
            "cidrIpv4=10.0.0.0/8 fromPort=-1 ipProtocol=icmp toPort=-1",
        ),
    ] {
        let answer = world.call(&ingress(&web, asked));
        let items = answer.items("securityGroupRuleSet/item");
        let (shown, rest) = items[0].split_once(&format!("groupId={web}")).expect("an item");
        let shown = format!("{shown}{}", rest.split_once("isEgress=false").expect("ingress").1);
        let shown: Vec<_> = shown
            .split(' ')
            .filter(|field| !field.starts_with("securityGroupRule") && !field.is_empty())
            .collect();
        let mut shown: Vec<_> = shown.into_iter().map(str::to_owned).collect();
        let protocol =
            rest.split(' ').find(|field| field.starts_with("ipProtocol")).expect("a protocol");
        shown.push(protocol.to_owned());
        shown.sort();
        assert_eq!(shown.join(" "), expected, "{asked}");
    }
    let many = [
        "IpProtocol=icmpv6",
        "Ipv6Ranges.1.CidrIpv6=2001:db8::1/32",
        "Ipv6Ranges.1.Description=six",
    ]
    .map(|part| format!("{one}{part}"))
    .join("&");
    world.call(&ingress(&app, &many));
    let groups =
        ["IpProtocol=tcp", "FromPort=80", "ToPort=80"].map(|part| format!("{one}{part}")).join("&");
    let groups = format!(
        "{groups}&{one}Groups.1.GroupId={web}&{one}Groups.1.Description=peer&{one}IpRanges.1.CidrIp=10.0.0.0/8&\
        TagSpecification.1.ResourceType=security-group-rule&TagSpecification.1.Tag.1.Key=k"
    );
    let answer = world.call(&ingress(&app, &groups));
    assert_eq!(answer.one("return"), "true");
    assert_eq!(answer.all("securityGroupRuleSet/item/securityGroupRuleId").len(), 2);
    assert_eq!(answer.items("securityGroupRuleSet/item/tagSet/item").len(), 2);
    assert_eq!(
        answer.items("securityGroupRuleSet/item/referencedGroupInfo"),
        [format!("groupId={web} userId=123456789012")]
    );
    let described = world.call(&format!("Action=DescribeSecurityGroups&GroupId.1={app}"));
    let item = "securityGroupInfo/item/ipPermissions/item";
    assert_eq!(
        described.items(item),
        ["fromPort=-1 ipProtocol=icmpv6 toPort=-1", "fromPort=80 ipProtocol=tcp toPort=80"]
    );
    assert_eq!(
        described.items(&format!("{item}/ipv6Ranges/item")),
        ["cidrIpv6=2001:db8::/32 description=six"]
    );
    assert_eq!(
        described.items(&format!("{item}/groups/item")),
        [format!("description=peer groupId={web} userId=123456789012")]
    );
}

#[test]
fn rules_that_cannot_be_made() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    world.call(&ingress(&web, "IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=0.0.0.0/0"));
    world.call(&ingress(&web, "IpProtocol=50&CidrIp=0.0.0.0/0"));
    world.call(&ingress(&web, "IpProtocol=-1&CidrIp=0.0.0.0/0"));
    world.call(&ingress(&web, "IpProtocol=icmp&FromPort=8&ToPort=-1&CidrIp=0.0.0.0/0"));
    let peer = format!(
        "IpPermissions.1.IpProtocol=udp&IpPermissions.1.FromPort=0&IpPermissions.1.ToPort=65535&IpPermissions.1.Groups.1.GroupId={app}"
    );
    world.call(&ingress(&web, &peer));
    let duplicate = |text: &str| {
        format!(
            "InvalidPermission.Duplicate: the specified rule \"peer: {text}, ALLOW\" already exists"
        )
    };
    let range = "InvalidParameterValue: Invalid value for portRange. Must specify both from and to ports with TCP/UDP.";
    let malformed = |text: &str| format!("InvalidParameterValue: CIDR block {text} is malformed");
    let twice = "InvalidParameterValue: The same permission must not appear multiple times";
    let no_peer = "InvalidParameterValue: The permission is missing mandatory parameter: exactly one of remote-security-group, \
                   remote-ip-range, remote-ipv6-range, or prefix-list-id must be present";
    for (asked, expected) in [
        (
            "IpProtocol=tcp&FromPort=22&ToPort=22&CidrIp=0.0.0.0/0",
            &*duplicate("0.0.0.0/0, TCP, from port: 22, to port: 22"),
        ),
        (
            "IpProtocol=6&FromPort=22&ToPort=22&CidrIp=1.2.3.4/0",
            &duplicate("0.0.0.0/0, TCP, from port: 22, to port: 22"),
        ),
        (
            "IpProtocol=50&FromPort=1&ToPort=2&CidrIp=0.0.0.0/0",
            &duplicate("0.0.0.0/0, protocol: 50"),
        ),
        ("IpProtocol=-1&FromPort=0&ToPort=0&CidrIp=0.0.0.0/0", &duplicate("0.0.0.0/0, ALL")),
        (
            "IpProtocol=icmp&FromPort=8&ToPort=-1&CidrIp=0.0.0.0/0",
            &duplicate("0.0.0.0/0, ICMP, type: 8, code: -1"),
        ),
        (&peer, &duplicate(&format!("{app}, UDP, from port: 0, to port: 65535"))),
        ("IpProtocol=tcp&FromPort=22&CidrIp=0.0.0.0/0", range),
        ("IpProtocol=udp&CidrIp=0.0.0.0/0", range),
        (
            "IpProtocol=tcp&FromPort=-1&ToPort=-1&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: TCP/UDP port (-1) out of range",
        ),
        (
            "IpProtocol=tcp&FromPort=1&ToPort=65536&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: TCP/UDP port (65536) out of range",
        ),
        (
            "IpProtocol=tcp&FromPort=2&ToPort=1&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: Invalid TCP/UDP port range (2:1)",
        ),
        (
            "IpProtocol=icmp&FromPort=256&ToPort=-1&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: ICMP type (256) out of range",
        ),
        (
            "IpProtocol=icmp&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: Invalid value for portRange. Must specify both from and to ports with ICMP.",
        ),
        (
            "CidrIp=0.0.0.0/0",
            "InvalidParameterValue: Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.",
        ),
        (
            "IpProtocol=all&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: Invalid value 'all' for IP protocol. Unknown protocol.",
        ),
        (
            "IpProtocol=256&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: Invalid value '256' for IP protocol. Unknown protocol.",
        ),
        (
            "IpProtocol=06&CidrIp=0.0.0.0/0",
            "InvalidParameterValue: Invalid value '06' for IP protocol. Unknown protocol.",
        ),
        ("IpProtocol=-1&CidrIp=10.0.0.1", &malformed("10.0.0.1")),
        ("IpProtocol=-1&CidrIp=10.0.0.0/33", &malformed("10.0.0.0/33")),
        ("IpProtocol=-1&CidrIp=::/0", &malformed("::/0")),
        ("IpProtocol=-1", "MissingParameter: The request must contain the parameter CidrIp"),
        ("IpPermissions.1.IpProtocol=-1", no_peer),
        ("", "MissingParameter: The request must contain the parameter ipPermissions"),
        (
            "IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=1.0.0.0/8&IpPermissions.1.IpRanges.2.CidrIp=1.1.0.0/8",
            twice,
        ),
        (
            &format!(
                "IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={app}&IpPermissions.1.Groups.2.GroupName=app"
            ),
            twice,
        ),
        (
            "IpPermissions.1.IpProtocol=icmp&IpPermissions.1.FromPort=-1&IpPermissions.1.ToPort=-1&IpPermissions.1.Ipv6Ranges.1.CidrIpv6=::/0",
            "InvalidParameterValue: The protocol icmp needs a peer of IPv4",
        ),
        (
            "IpPermissions.1.IpProtocol=-1&IpPermissions.1.PrefixListIds.1.PrefixListId=pl-12345678",
            "InvalidPrefixListID.NotFound: The prefix list ID 'pl-12345678' does not exist",
        ),
        (
            "IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId=sg-1",
            "InvalidGroupId.Malformed: The security group ID 'sg-1' is malformed",
        ),
        (
            "IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupName=zz",
            "InvalidGroup.NotFound: The security group 'zz' does not exist",
        ),
        (
            "IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.UserId=1",
            "MissingParameter: The request must contain the parameter groupName or groupId",
        ),
        (
            &format!("{peer}&IpPermissions.1.Groups.1.UserId=12"),
            "InvalidUserID.Malformed: Invalid user id: \"12\"",
        ),
        (
            &format!("{peer}&IpPermissions.1.Groups.1.UserId=000000000001"),
            &format!("InvalidGroup.NotFound: The security group '{app}' does not exist"),
        ),
        (
            "IpProtocol=-1&CidrIp=10.0.0.0/8&SourceSecurityGroupName=web",
            "InvalidParameterCombination: IpPermissions, an address range and a source group cannot be used together",
        ),
        (
            "IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp=1.0.0.0/8&IpPermissions.1.IpRanges.1.Description=%C3%A9",
            "InvalidParameterValue: Invalid rule description. Valid descriptions are strings less than 256 characters from the \
             following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ),
    ] {
        assert_eq!(world.refused(&ingress(&web, asked)), expected, "{asked}");
    }
    let egress = format!(
        "Action=AuthorizeSecurityGroupEgress&GroupId={web}&IpProtocol=-1&CidrIp=10.0.0.0/8"
    );
    assert_eq!(
        world.refused(&egress),
        "InvalidParameterCombination: Egress rules are given by IpPermissions only"
    );
    let vpc = world.second_vpc("10.0.0.0/16");
    let far = world.call(&format!(
        "Action=DescribeSecurityGroups&Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}"
    ));
    let far = far.one("securityGroupInfo/item/groupId");
    assert_eq!(
        world.refused(&ingress(&web, &peer.replace(&app, &far))),
        "InvalidGroup.NotFound: You have specified two resources that belong to different networks."
    );
}

/// One bad rule of many, and none is there.
#[test]
fn a_change_is_made_whole_or_not() {
    let world = World::new();
    let web = world.group("web");
    let part = |number: usize, cidr: &str| {
        format!(
            "IpPermissions.{number}.IpProtocol=-1&IpPermissions.{number}.IpRanges.1.CidrIp={cidr}"
        )
    };
    world.call(&ingress(&web, &part(1, "10.0.0.0/8")));
    world.refused(&ingress(&web, &[part(1, "11.0.0.0/8"), part(2, "10.0.0.0/8")].join("&")));
    let vpc = world.second_vpc("10.0.0.0/16");
    let query = format!("Action=CreateSecurityGroup&GroupName=far&GroupDescription=d&VpcId={vpc}");
    let far = world.call(&query).one("groupId");
    world.call(&ingress(&far, &part(1, "10.0.0.0/8")));
    let revoke = |group: &str, parts: &[String]| {
        format!("Action=RevokeSecurityGroupIngress&GroupId={group}&{}", parts.join("&"))
    };
    // Outside of the default VPC an unknown rule refuses the whole.
    let parts = [part(1, "10.0.0.0/8"), part(2, "11.0.0.0/8")];
    assert_eq!(
        world.refused(&revoke(&far, &parts)),
        "InvalidPermission.NotFound: The specified rule does not exist in this security group."
    );
    let answer = world.call(&revoke(&web, &parts));
    assert_eq!(answer.items("revokedSecurityGroupRuleSet/item").len(), 1);
    assert_eq!(answer.all("unknownIpPermissionSet/item/ipRanges/item/cidrIp"), ["11.0.0.0/8"]);
}

#[test]
fn rules_are_revoked_by_content_and_by_id() {
    let world = World::new();
    let web = world.group("web");
    let terraform = "IpPermissions.1.IpProtocol=-1&IpPermissions.1.FromPort=0&IpPermissions.1.ToPort=0&\
                     IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0&IpPermissions.1.IpRanges.1.Description=other";
    let answer = world.call(&format!("Action=RevokeSecurityGroupEgress&GroupId={web}&{terraform}"));
    assert_eq!(answer.all("revokedSecurityGroupRuleSet/item/isEgress"), ["true"]);
    let six =
        terraform.replace("IpRanges", "Ipv6Ranges").replace("CidrIp=0.0.0.0/0", "CidrIpv6=::/0");
    let answer = world.call(&format!("Action=RevokeSecurityGroupEgress&GroupId={web}&{six}"));
    assert_eq!(answer.all("unknownIpPermissionSet/item/ipv6Ranges/item/cidrIpv6"), ["::/0"]);

    let made = world.call(&ingress(&web, "SourceSecurityGroupName=web"));
    let ids = made.all("securityGroupRuleSet/item/securityGroupRuleId");
    assert_eq!(made.all("securityGroupRuleSet/item/ipProtocol"), ["tcp", "udp", "icmp"]);
    let by_id = |id: &str| {
        format!("Action=RevokeSecurityGroupIngress&GroupId={web}&SecurityGroupRuleId.1={id}")
    };
    let gone = world.call(&by_id(&ids[1]));
    assert_eq!(gone.all("revokedSecurityGroupRuleSet/item/referencedGroupId"), [&*web]);
    let absent = |id: &str| {
        format!(
            "InvalidSecurityGroupRuleId.NotFound: The security group rule ID '{id}' does not exist"
        )
    };
    assert_eq!(world.refused(&by_id(&ids[1])), absent(&ids[1]));
    assert_eq!(world.refused(&by_id("sgr-01234567")), absent("sgr-01234567"));
    assert_eq!(
        world.refused(&by_id("sgr-1")),
        "InvalidSecurityGroupRuleId.Malformed: The security group rule ID 'sgr-1' is malformed"
    );
    let egress = by_id(&ids[0]).replace("Ingress", "Egress");
    assert_eq!(world.refused(&egress), absent(&ids[0]));
    let left = world.call(&format!(
        "Action=DescribeSecurityGroupRules&Filter.1.Name=group-id&Filter.1.Value.1={web}"
    ));
    assert_eq!(left.all("securityGroupRuleSet/item/ipProtocol"), ["tcp", "icmp"]);
    // The same rule again is another rule.
    let again = world.call(&ingress(&web, "IpPermissions.1.IpProtocol=udp&IpPermissions.1.FromPort=0&IpPermissions.1.ToPort=65535&IpPermissions.1.Groups.1.GroupName=web"));
    assert_ne!(again.one("securityGroupRuleSet/item/securityGroupRuleId"), ids[1]);
}

#[test]
fn quotas_of_rules_hold_in_each_family() {
    let mut world = World::new();
    world.quotas.rules_per_group = 2;
    let (web, app) = (world.group("web"), world.group("app"));
    let refused = "RulesPerSecurityGroupLimitExceeded: The maximum number of rules per security group has been reached.";
    let four = |number: u8| {
        format!("IpPermissions.1.IpProtocol=-1&IpPermissions.1.IpRanges.1.CidrIp={number}.0.0.0/8")
    };
    let six = |number: u8| {
        format!(
            "IpPermissions.1.IpProtocol=-1&IpPermissions.1.Ipv6Ranges.1.CidrIpv6=200{number}::/32"
        )
    };
    for number in [1, 2] {
        world.call(&ingress(&web, &four(number)));
        world.call(&ingress(&web, &six(number)));
    }
    assert_eq!(world.refused(&ingress(&web, &four(3))), refused);
    assert_eq!(world.refused(&ingress(&web, &six(3))), refused);
    world.call(&ingress(&web, &six(3)).replace("Ingress", "Egress"));
    world.call(&ingress(&app, &four(1)));
    // A group counts in both families.
    let peer = format!("IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={web}");
    world.call(&ingress(&app, &peer));
    world.call(&ingress(&app, &six(1)));
    assert_eq!(world.refused(&ingress(&app, &six(2))), refused);
}
