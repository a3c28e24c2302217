use super::World;

#[test]
fn a_group_is_made_and_deleted() {
    let world = World::new();
    let made = world.call(
        "Action=CreateSecurityGroup&GroupName=web+tier+&GroupDescription=d&TagSpecification.1.ResourceType=security-group\
         &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=x",
    );
    let id = made.one("groupId");
    assert_eq!(
        made.one("securityGroupArn"),
        format!("arn:aws:ec2:us-east-1:123456789012:security-group/{id}")
    );
    assert_eq!(made.items("tagSet/item"), ["key=Name value=x"]);
    let described = world.call(&format!("Action=DescribeSecurityGroups&GroupId.1={id}"));
    let item = "securityGroupInfo/item";
    assert_eq!(described.one(&format!("{item}/groupName")), "web tier");
    assert_eq!(described.one(&format!("{item}/vpcId")), world.vpc.to_string());
    assert_eq!(described.all(&format!("{item}/ipPermissions/item")).len(), 0);
    assert_eq!(described.items(&format!("{item}/ipPermissionsEgress/item")), ["ipProtocol=-1"]);
    assert_eq!(
        described.items(&format!("{item}/ipPermissionsEgress/item/ipRanges/item")),
        ["cidrIp=0.0.0.0/0"]
    );

    let deleted = world.call(&format!("Action=DeleteSecurityGroup&GroupId={id}"));
    assert_eq!((deleted.one("return"), deleted.one("groupId")), ("true".into(), id.clone()));
    let again = world.refused(&format!("Action=DeleteSecurityGroup&GroupId={id}"));
    assert_eq!(again, format!("InvalidGroup.NotFound: The security group '{id}' does not exist"));
    // The name is free again.
    world.group("web+tier");
}

#[test]
fn groups_that_cannot_be_made() {
    let world = World::new();
    world.group("web");
    let long = "a".repeat(256);
    let vpc = world.vpc;
    for (query, expected) in [
        (
            "GroupName=x",
            "MissingParameter: The request must contain the parameter GroupDescription",
        ),
        (
            "GroupName=x&GroupDescription=",
            "MissingParameter: The request must contain the parameter GroupDescription",
        ),
        (
            "GroupDescription=x",
            "MissingParameter: The request must contain the parameter GroupName",
        ),
        (
            "GroupName=++&GroupDescription=x",
            "MissingParameter: The request must contain the parameter GroupName",
        ),
        (
            "GroupName=WEB&GroupDescription=x",
            &format!(
                "InvalidGroup.Duplicate: The security group 'WEB' already exists for VPC '{vpc}'"
            ),
        ),
        (
            "GroupName=Default&GroupDescription=x",
            "InvalidParameterValue: Cannot use reserved security group name: default",
        ),
        (
            "GroupName=sg-x&GroupDescription=x",
            "InvalidParameterValue: Invalid group name 'sg-x'. Group names may not be in the format sg-*",
        ),
        (
            "GroupName=x&GroupDescription=%C3%A9",
            "InvalidParameterValue: Invalid security group description. Valid descriptions are strings less than 256 \
             characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*",
        ),
        (
            "GroupName=x&GroupDescription=x&VpcId=vpc-1",
            "InvalidVpcID.Malformed: Invalid id: \"vpc-1\"",
        ),
        (
            "GroupName=x&GroupDescription=x&VpcId=vpc-12345678",
            "InvalidVpcID.NotFound: The vpc ID 'vpc-12345678' does not exist",
        ),
        (
            "GroupName=x&GroupDescription=x&TagSpecification.1.ResourceType=vpc",
            "InvalidParameterValue: 'vpc' is not a valid taggable resource type for this operation: it makes a security-group.",
        ),
    ] {
        assert_eq!(
            world.refused(&format!("Action=CreateSecurityGroup&{query}")),
            expected,
            "{query}"
        );
    }
    let name =
        world.refused(&format!("Action=CreateSecurityGroup&GroupName={long}&GroupDescription=x"));
    assert!(name.starts_with("InvalidParameterValue: Invalid security group name."), "{name}");
}

#[test]
fn quotas_of_groups_hold() {
    let mut world = World::new();
    world.quotas.groups = 3;
    let one = world.group("a");
    world.group("b");
    let query = "Action=CreateSecurityGroup&GroupName=c&GroupDescription=d";
    let refused =
        "SecurityGroupLimitExceeded: The maximum number of security groups has been reached.";
    assert_eq!(world.refused(query), refused);
    world.call(&format!("Action=DeleteSecurityGroup&GroupId={one}"));
    world.call(query);
    assert_eq!(world.refused(&query.replace("=c&", "=e&")), refused);
}

#[test]
fn a_group_in_use_stays() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let peer = |group: &str, peer: &str| {
        format!(
            "GroupId={group}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={peer}"
        )
    };
    let delete = format!("Action=DeleteSecurityGroup&GroupId={web}");
    let refused = format!("DependencyViolation: resource {web} has a dependent object");
    world.call(&format!("Action=AuthorizeSecurityGroupIngress&{}", peer(&app, &web)));
    assert_eq!(world.refused(&delete), refused);
    world.call(&format!("Action=RevokeSecurityGroupIngress&{}", peer(&app, &web)));
    let subnet = world.subnets().remove(0);
    let interface = world
        .call(&format!("Action=CreateNetworkInterface&SubnetId={subnet}&SecurityGroupId.1={web}"))
        .one("networkInterface/networkInterfaceId");
    assert_eq!(world.refused(&delete), refused);
    world.call(&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={interface}"));
    // A rule of its own does not keep it.
    world.call(&format!("Action=AuthorizeSecurityGroupEgress&{}", peer(&web, &web)));
    world.call(&delete);
    let group = world.default_group();
    assert_eq!(
        world.refused(&format!("Action=DeleteSecurityGroup&GroupId={group}")),
        format!(
            "CannotDelete: the specified group: \"{group}\" name: \"default\" cannot be deleted by a user"
        )
    );
}

/// A decision over an old snapshot does not commit where somebody came to refer to the group meanwhile.
#[test]
fn a_group_is_not_deleted_from_under_a_new_rule() {
    use sg_iam::Service;
    use sg_store::{TxnError, store::Store as _};
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let old = world.snapshot();
    let authorize = format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={app}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={web}"
    );
    let delete = format!("Action=DeleteSecurityGroup&GroupId={web}");
    let commit = |query: &str| {
        let decision = world.decide(Service::Ec2, query, &old).expect("a decision");
        super::wait(world.store.commit(decision.txn.expect("a change")))
    };
    commit(&authorize).expect("the first one");
    assert!(matches!(commit(&delete), Err(TxnError::Conflict { .. })));

    let (web, app) = (world.group("web-2"), world.group("app-2"));
    let old = world.snapshot();
    let authorize = format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={app}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={web}"
    );
    let commit = |query: &str| {
        let decision = world.decide(Service::Ec2, query, &old).expect("a decision");
        super::wait(world.store.commit(decision.txn.expect("a change")))
    };
    commit(&format!("Action=DeleteSecurityGroup&GroupId={web}")).expect("the first one");
    assert!(matches!(commit(&authorize), Err(TxnError::Conflict { .. })));
}

#[test]
fn groups_are_filtered_and_paged() {
    let world = World::new();
    let ids: Vec<_> = ["a-1", "a-2", "b-1"].map(|name| world.group(name)).into();
    world
        .call(&format!("Action=CreateTags&ResourceId.1={}&Tag.1.Key=Tier&Tag.1.Value=web", ids[0]));
    world.call(&format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={}&IpProtocol=tcp&FromPort=22&ToPort=23&CidrIp=10.0.0.0/8", ids[1]
    ));
    let found = |filter: &str| {
        let answer = world.call(&format!("Action=DescribeSecurityGroups&{filter}"));
        answer.all("securityGroupInfo/item/groupName")
    };
    let filter = |name: &str, value: &str| format!("Filter.1.Name={name}&Filter.1.Value.1={value}");
    for (name, value, expected) in [
        ("group-name", "a-*", &["a-1", "a-2"][..]),
        ("group-name", "A-*", &[]),
        ("group-name", "?-1", &["a-1", "b-1"]),
        ("group-id", &ids[2], &["b-1"]),
        ("group-id", "sg-0123456789abcdef0", &[]),
        ("owner-id", "123456789012", &["default", "a-1", "a-2", "b-1"]),
        ("description", "d", &["a-1", "a-2", "b-1"]),
        ("tag:Tier", "w*", &["a-1"]),
        ("tag-key", "Tier", &["a-1"]),
        ("tag-value", "web", &["a-1"]),
        ("tag:tier", "web", &[]),
        ("ip-permission.cidr", "10.0.0.0/8", &["a-2"]),
        ("ip-permission.from-port", "22", &["a-2"]),
        ("ip-permission.to-port", "23", &["a-2"]),
        ("ip-permission.protocol", "tcp", &["a-2"]),
        ("ip-permission.group-name", "default", &["default"]),
        ("ip-permission.user-id", "123456789012", &["default"]),
        ("egress.ip-permission.cidr", "10.0.0.0/8", &[]),
        ("egress.ip-permission.cidr", "0.0.0.0/0", &["default", "a-1", "a-2", "b-1"]),
    ] {
        assert_eq!(found(&filter(name, value)), expected, "{name} {value}");
    }
    let both = filter("group-name", "a-*") + "&Filter.2.Name=tag-key&Filter.2.Value.1=Tier";
    assert_eq!(found(&both), ["a-1"]);
    let either = filter("group-name", "a-1") + "&Filter.1.Value.2=b-1";
    assert_eq!(found(&either), ["a-1", "b-1"]);
    for (query, expected) in [
        (filter("colour", "x"), "InvalidParameterValue: The filter 'colour' is invalid"),
        (
            "Filter.1.Name=vpc-id".to_owned(),
            "InvalidParameterValue: The filter 'vpc-id' has no value",
        ),
        (
            "Filter.1.Value.1=x".to_owned(),
            "MissingParameter: The request must contain the parameter Filter.Name",
        ),
        (
            "GroupId.1=foobar".to_owned(),
            "InvalidGroupId.Malformed: The security group ID 'foobar' is malformed",
        ),
        (
            "GroupName.1=z".to_owned(),
            "InvalidGroup.NotFound: The security group 'z' does not exist",
        ),
        ("NextToken=zz".to_owned(), "InvalidNextToken: The token that NextToken has is not valid"),
    ] {
        assert_eq!(world.refused(&format!("Action=DescribeSecurityGroups&{query}")), expected);
    }
    for number in 0..4 {
        world.group(&format!("c-{number}"));
    }
    let first = world.call("Action=DescribeSecurityGroups&MaxResults=5");
    let token = first.one("nextToken");
    let second =
        world.call(&format!("Action=DescribeSecurityGroups&MaxResults=5&NextToken={token}"));
    assert!(second.all("nextToken").is_empty());
    let pages = [first, second].map(|page| page.all("securityGroupInfo/item/groupId")).concat();
    assert_eq!(pages.len(), 8);
    assert_eq!(
        pages,
        world.call("Action=DescribeSecurityGroups").all("securityGroupInfo/item/groupId")
    );
}
