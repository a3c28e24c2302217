//! DescribeSecurityGroupReferences, DescribeStaleSecurityGroups, GetSecurityGroupsForVpc.

use sg_policy::{
    id::{GroupId, RuleId},
    model::{Peer, PortRange, Services},
};
use sg_store::objects::{GroupRule, Tags};

use super::World;

/// Puts a rule into a group that no action of this version could make.
fn plant(world: &World, group: &str, peer: GroupId) {
    let snapshot = world.snapshot();
    let mut group = snapshot.group(group.parse().expect("an id")).expect("a group").object.clone();
    group.ingress.push(GroupRule {
        id: RuleId(world.draw()),
        services: Services::Tcp(PortRange { from: 80, to: 81 }),
        peer: Peer::Group(peer),
        description: "planted".to_owned(),
        tags: Tags::new(),
    });
    world.put(&group);
}

#[test]
fn references_are_those_of_other_vpcs() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let peer = format!(
        "Action=AuthorizeSecurityGroupIngress&GroupId={app}&IpPermissions.1.IpProtocol=-1&IpPermissions.1.Groups.1.GroupId={web}"
    );
    world.call(&peer);
    let query = format!("Action=DescribeSecurityGroupReferences&GroupId.1={web}&GroupId.2={app}");
    assert!(world.call(&query).all("securityGroupReferenceSet/item").is_empty());
    let vpc = world.second_vpc("10.0.0.0/16");
    for name in ["far", "further"] {
        let made =
            format!("Action=CreateSecurityGroup&GroupName={name}&GroupDescription=d&VpcId={vpc}");
        let far = world.call(&made).one("groupId");
        plant(&world, &far, web.parse().expect("an id"));
    }
    assert_eq!(
        world.call(&query).items("securityGroupReferenceSet/item"),
        [format!("groupId={web} referencingVpcId={vpc}")]
    );
}

#[test]
fn rules_whose_peer_is_gone_are_stale() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let query = format!("Action=DescribeStaleSecurityGroups&VpcId={}", world.vpc);
    assert!(world.call(&query).all("staleSecurityGroupSet/item").is_empty());
    plant(&world, &web, GroupId(0xdead));
    plant(&world, &app, web.parse().expect("an id"));
    let stale = world.call(&query);
    let item = "staleSecurityGroupSet/item";
    assert_eq!(stale.all(&format!("{item}/groupId")), [&*web]);
    let permission = format!("{item}/staleIpPermissions/item");
    assert_eq!(stale.items(&permission), ["fromPort=80 ipProtocol=tcp toPort=81"]);
    assert_eq!(
        stale.items(&format!("{permission}/groups/item")),
        ["description=planted groupId=sg-0000000000000dead"]
    );
    assert_eq!(stale.all(&format!("{item}/staleIpPermissionsEgress")), [""]);
    for (part, expected) in [
        ("&MaxResults=4", "InvalidParameterValue: "),
        ("&MaxResults=256", "InvalidParameterValue: "),
        ("&NextToken=zz", "InvalidNextToken: "),
    ] {
        assert!(world.refused(&format!("{query}{part}")).starts_with(expected), "{part}");
    }
}

#[test]
fn groups_for_a_vpc_are_its_own() {
    let world = World::new();
    let web = world.group("web");
    let vpc = world.second_vpc("10.0.0.0/16");
    let query = |vpc: &dyn std::fmt::Display| format!("Action=GetSecurityGroupsForVpc&VpcId={vpc}");
    let item = "securityGroupForVpcSet/item";
    assert_eq!(world.call(&query(&vpc)).all(&format!("{item}/groupName")), ["default"]);
    let own = world.call(&query(&world.vpc));
    assert_eq!(own.all(&format!("{item}/groupName")).len(), 2);
    for (filter, value, expected) in [
        ("group-id", &*web, 1),
        ("group-name", "w*", 1),
        ("description", "d", 1),
        ("owner-id", "123456789012", 2),
        ("primary-vpc-id", &world.vpc.to_string(), 2),
        ("primary-vpc-id", &vpc.to_string(), 0),
    ] {
        let query =
            format!("{}&Filter.1.Name={filter}&Filter.1.Value.1={value}", query(&world.vpc));
        let found = world.call(&query);
        assert_eq!(found.all(&format!("{item}/groupId")).len(), expected, "{filter}");
        assert!(
            found
                .all(&format!("{item}/primaryVpcId"))
                .iter()
                .all(|id| *id == world.vpc.to_string())
        );
    }
    let bad = format!("{}&Filter.1.Name=vpc-id&Filter.1.Value.1=a", query(&world.vpc));
    assert_eq!(world.refused(&bad), "InvalidParameterValue: The filter 'vpc-id' is invalid");
}
