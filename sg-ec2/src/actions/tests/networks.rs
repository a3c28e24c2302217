//! VPCs and subnets: made, deleted, modified.

use sg_policy::id::AccountId;
use sg_store::objects::Account;

use super::World;

const ITEM: &str = "vpcSet/item";

fn vpc(world: &World, rest: &str) -> String {
    world.call(&format!("Action=CreateVpc&{rest}")).one("vpc/vpcId")
}

fn subnet(vpc: &str, rest: &str) -> String {
    format!("Action=CreateSubnet&VpcId={vpc}&{rest}")
}

fn vpcs(world: &World) -> Vec<String> {
    world.call("Action=DescribeVpcs").all(&format!("{ITEM}/vpcId"))
}

#[test]
fn a_vpc_is_made_with_its_default_group() {
    let mut world = World::new();
    let query = "Action=CreateVpc&CidrBlock=10.1.2.3/16&AmazonProvidedIpv6CidrBlock=true&\
                 TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=sg:on-revoke&TagSpecification.1.Tag.1.Value=cut";
    let made = world.call(query);
    let id = made.one("vpc/vpcId");
    assert_eq!(made.one("vpc/cidrBlock"), "10.1.0.0/16");
    assert_eq!(
        (made.one("vpc/isDefault"), made.one("vpc/state")),
        ("false".into(), "available".into())
    );
    let ipv6 = made.one("vpc/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock");
    assert!(ipv6.starts_with("fd") && ipv6.ends_with("/56"), "{ipv6}");
    let groups =
        format!("Action=DescribeSecurityGroups&Filter.1.Name=vpc-id&Filter.1.Value.1={id}");
    let group = world.call(&groups);
    assert_eq!(group.all("securityGroupInfo/item/groupName"), ["default"]);
    let out = "securityGroupInfo/item/ipPermissionsEgress/item";
    assert_eq!(group.all(&format!("{out}/ipv6Ranges/item/cidrIpv6")), ["::/0"]);
    assert_eq!(group.all(&format!("{out}/ipRanges/item/cidrIp")), ["0.0.0.0/0"]);
    let settings = world.snapshot().vpc(id.parse().expect("an id")).expect("a VPC").settings;
    assert_eq!(settings.on_revoke, sg_store::objects::RevokeMode::Cut);
    // A group of the same name may be in every VPC.
    world.group("web");
    world.call(&format!("Action=CreateSecurityGroup&GroupName=web&GroupDescription=d&VpcId={id}"));
    world.quotas.vpcs = 2;
    assert_eq!(
        world.refused("Action=CreateVpc&CidrBlock=10.2.0.0/16"),
        "VpcLimitExceeded: The maximum number of VPCs has been reached."
    );
    (world.quotas.vpcs, world.quotas.groups) = (5, 4);
    let full = world.refused("Action=CreateVpc&CidrBlock=10.2.0.0/16");
    assert!(full.starts_with("SecurityGroupLimitExceeded: "), "{full}");
}

#[test]
fn vpcs_that_cannot_be_made() {
    let world = World::new();
    for (rest, expected) in [
        ("", "MissingParameter: The request must contain the parameter cidrBlock"),
        ("CidrBlock=10.0.0.0/29", "InvalidVpc.Range: The CIDR '10.0.0.0/29' is invalid."),
        ("CidrBlock=10.0.0.0/7", "InvalidVpc.Range: The CIDR '10.0.0.0/7' is invalid."),
        (
            "CidrBlock=10.0.0.0",
            "InvalidParameterValue: Value (10.0.0.0) for parameter cidrBlock is invalid. This is not a valid CIDR block.",
        ),
        (
            "CidrBlock=10.0.0.0/16&Ipv6CidrBlock=10.0.0.0/8",
            "InvalidParameterValue: Value (10.0.0.0/8) for parameter ipv6CidrBlock is invalid. This is not a valid CIDR block.",
        ),
        (
            "CidrBlock=10.0.0.0/16&Ipv6CidrBlock=fd00::/56&AmazonProvidedIpv6CidrBlock=true",
            "InvalidParameterCombination: Ipv6CidrBlock and AmazonProvidedIpv6CidrBlock cannot be used together",
        ),
        (
            "CidrBlock=10.0.0.0/16&InstanceTenancy=dedicated",
            "InvalidParameterValue: Value (dedicated) for parameter InstanceTenancy is invalid. It must be default.",
        ),
        (
            "CidrBlock=10.0.0.0/16&TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=sg:pickup&TagSpecification.1.Tag.1.Value=x",
            "InvalidParameterValue: Value (x) for the tag sg:pickup is invalid. It must be a number of seconds from 0 to 86400.",
        ),
    ] {
        assert_eq!(world.refused(&format!("Action=CreateVpc&{rest}")), expected, "{rest}");
    }
    world.put(&Account {
        id: AccountId(123_456_789_012),
        name: "a".to_owned(),
        allow: Some(vec!["10.0.0.0/8".parse().expect("a network")]),
        is_first: false,
        root_key: None,
        sessions_revoked_at: 0,
        created_at: 0,
        tags: Default::default(),
    });
    assert_eq!(
        world.refused("Action=CreateVpc&CidrBlock=11.0.0.0/16"),
        "InvalidVpc.Range: The CIDR '11.0.0.0/16' is not within the prefixes of the account."
    );
    let inside = vpc(&world, "CidrBlock=10.0.0.0/16");
    let outside = format!("Action=AssociateVpcCidrBlock&VpcId={inside}&CidrBlock=11.0.0.0/16");
    assert!(world.refused(&outside).starts_with("InvalidVpc.Range: "));
}

#[test]
fn a_vpc_goes_when_nothing_is_in_it() {
    let world = World::new();
    let before = world.snapshot();
    let id = vpc(&world, "CidrBlock=10.0.0.0/16");
    let delete = format!("Action=DeleteVpc&VpcId={id}");
    let in_use =
        format!("DependencyViolation: The vpc '{id}' has dependencies and cannot be deleted.");
    let made = world.call(&subnet(&id, "CidrBlock=10.0.0.0/24")).one("subnet/subnetId");
    assert_eq!(world.refused(&delete), in_use);
    let create = format!("Action=CreateSecurityGroup&GroupName=web&GroupDescription=d&VpcId={id}");
    let group = world.call(&create).one("groupId");
    world.call(&format!("Action=DeleteSubnet&SubnetId={made}"));
    assert_eq!(world.refused(&delete), in_use);
    world.call(&format!("Action=DeleteSecurityGroup&GroupId={group}"));
    // Two that saw the same state: one of them decides anew.
    let [subnet, gone] =
        [subnet(&id, "CidrBlock=10.0.0.0/24"), delete.clone()].map(|call| world.transaction(&call));
    assert!(world.try_commit(subnet));
    assert!(!world.try_commit(gone));
    let left =
        world.call(&format!("Action=DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1={id}"));
    world.call(&format!("Action=DeleteSubnet&SubnetId={}", left.one("subnetSet/item/subnetId")));
    world.call(&delete);
    assert_eq!(world.snapshot().len(), before.len(), "everything of it is gone");
    assert_eq!(
        world.refused(&delete),
        format!("InvalidVpcID.NotFound: The vpc ID '{id}' does not exist")
    );
}

#[test]
fn a_default_vpc_is_made_again() {
    let world = World::new();
    let there =
        "DefaultVpcAlreadyExists: A Default VPC already exists for this account in this region.";
    assert_eq!(world.refused("Action=CreateDefaultVpc"), there);
    for id in world.subnets() {
        world.call(&format!("Action=DeleteSubnet&SubnetId={id}"));
    }
    let no_vpc = "Action=CreateDefaultSubnet&AvailabilityZone=us-east-1b";
    let made = world.call(no_vpc);
    assert_eq!(made.one("subnet/cidrBlock"), "172.31.0.0/20");
    assert_eq!(
        (made.one("subnet/defaultForAz"), made.one("subnet/availabilityZone")),
        ("true".into(), "us-east-1b".into())
    );
    assert!(world.refused(no_vpc).starts_with("DefaultSubnetAlreadyExistsInAvailabilityZone: "));
    let next = world.call(&no_vpc.replace("1b", "1a"));
    assert_eq!(next.one("subnet/cidrBlock"), "172.31.16.0/20");
    assert!(world.refused(&no_vpc.replace("1b", "1z")).starts_with("InvalidParameterValue: "));
    for id in world.subnets() {
        world.call(&format!("Action=DeleteSubnet&SubnetId={id}"));
    }
    world.call(&format!("Action=DeleteVpc&VpcId={}", world.vpc));
    assert!(vpcs(&world).is_empty());
    assert!(world.refused(no_vpc).starts_with("DefaultVpcDoesNotExist: "));
    let group = world.refused("Action=CreateSecurityGroup&GroupName=a&GroupDescription=d");
    assert_eq!(group, "VPCIdNotSpecified: No default VPC for this user");
    let made = world.call("Action=CreateDefaultVpc");
    assert_eq!(
        (made.one("vpc/cidrBlock"), made.one("vpc/isDefault")),
        ("172.31.0.0/16".into(), "true".into())
    );
    assert_eq!(world.subnets().len(), 3);
    world.group("web");
    assert_eq!(world.refused("Action=CreateDefaultVpc"), there);
}

#[test]
fn attributes_of_a_vpc_are_modified_one_at_a_time() {
    let world = World::new();
    let id = vpc(&world, "CidrBlock=10.0.0.0/16");
    let value = |name: &str| {
        let query = format!("Action=DescribeVpcAttribute&VpcId={id}&Attribute={name}");
        world.call(&query).one(&format!("{name}/value"))
    };
    let all = || {
        ["enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"].map(value)
    };
    assert_eq!(all(), ["true", "false", "false"]);
    let modify = |rest: &str| format!("Action=ModifyVpcAttribute&VpcId={id}{rest}");
    world.call(&modify("&EnableDnsSupport.Value=false"));
    world.call(&modify("&EnableDnsHostnames.Value=true"));
    world.call(&modify("&EnableNetworkAddressUsageMetrics.Value=false"));
    assert_eq!(all(), ["false", "true", "false"]);
    for (rest, expected) in [
        ("", "InvalidParameterCombination: No attributes specified."),
        (
            "&EnableDnsSupport.Value=true&EnableDnsHostnames.Value=true",
            "InvalidParameterCombination: Fields for multiple attribute types specified.",
        ),
        (
            "&EnableNetworkAddressUsageMetrics.Value=true",
            "InvalidParameterValue: There are no metrics of network address usage",
        ),
    ] {
        assert_eq!(world.refused(&modify(rest)), expected);
    }
}

#[test]
fn blocks_of_a_vpc_come_and_go() {
    let world = World::new();
    let id = vpc(&world, "CidrBlock=10.0.0.0/16");
    let associate = |rest: &str| format!("Action=AssociateVpcCidrBlock&VpcId={id}&{rest}");
    let second = world.call(&associate("CidrBlock=10.1.0.0/16"));
    let second = second.one("cidrBlockAssociation/associationId");
    let six = world.call(&associate("Ipv6CidrBlock=fd00:1::/56"));
    assert_eq!(six.one("ipv6CidrBlockAssociation/ipv6CidrBlockState/state"), "associated");
    let six = six.one("ipv6CidrBlockAssociation/associationId");
    for (rest, expected) in [
        ("CidrBlock=10.0.128.0/17", "InvalidVpc.Range: "),
        ("CidrBlock=10.0.0.0/8", "InvalidVpc.Range: "),
        ("Ipv6CidrBlock=fd00:1::/64", "InvalidVpc.Range: "),
        ("CidrBlock=10.2.0.0/16&Ipv6CidrBlock=fd00:2::/56", "InvalidParameterCombination: "),
        ("", "InvalidParameterCombination: "),
    ] {
        let refused = world.refused(&associate(rest));
        assert!(refused.starts_with(expected), "{rest}: {refused}");
    }
    for number in 2..5 {
        world.call(&associate(&format!("CidrBlock=10.{number}.0.0/16")));
    }
    let sixth = world.refused(&associate("CidrBlock=10.9.0.0/16"));
    assert!(sixth.starts_with("CidrBlockLimitExceeded: "), "{sixth}");
    let made = world.call(&subnet(&id, "CidrBlock=10.1.3.0/24&Ipv6CidrBlock=fd00:1:0:7::/64"));
    let made = made.one("subnet/subnetId");
    let disassociate = |id: &str| format!("Action=DisassociateVpcCidrBlock&AssociationId={id}");
    for id in [&second, &six] {
        let refused = world.refused(&disassociate(id));
        assert!(refused.starts_with("InvalidCidrBlock.InUse: "), "{refused}");
    }
    let shown = world.call(&format!("Action=DescribeVpcs&VpcId.1={id}"));
    let first = shown.all(&format!("{ITEM}/cidrBlockAssociationSet/item/associationId")).remove(0);
    let refused = world.refused(&disassociate(&first));
    assert!(refused.starts_with("OperationNotPermitted: "), "{refused}");
    world.call(&format!("Action=DeleteSubnet&SubnetId={made}"));
    // A subnet that comes meanwhile keeps its block.
    let [made, gone] = [subnet(&id, "CidrBlock=10.1.3.0/24"), disassociate(&second)]
        .map(|call| world.transaction(&call));
    assert!(world.try_commit(made));
    assert!(!world.try_commit(gone));
    let gone = world.call(&disassociate(&six));
    assert_eq!(gone.one("ipv6CidrBlockAssociation/ipv6CidrBlockState/state"), "disassociated");
    assert_eq!(
        world.refused(&disassociate(&six)),
        format!(
            "InvalidVpcCidrBlockAssociationID.NotFound: The vpc CIDR block association ID '{six}' does not exist"
        )
    );
    let allowed = world.snapshot().vpc(id.parse().expect("an id")).expect("a VPC").allowed.len();
    assert_eq!(allowed, 5, "observed addresses count in the blocks that are left");
}

#[test]
fn subnets_lie_in_their_vpc_and_do_not_overlap() {
    let world = World::new();
    let id = vpc(&world, "CidrBlock=10.0.0.0/16&Ipv6CidrBlock=fd00:1::/56");
    let made = world.call(&subnet(
        &id,
        "CidrBlock=10.0.1.9/24&AvailabilityZone=us-east-1b&TagSpecification.1.ResourceType=subnet&\
         TagSpecification.1.Tag.1.Key=k",
    ));
    let item = made.items("subnet").remove(0);
    for part in [
        "cidrBlock=10.0.1.0/24",
        "availabilityZone=us-east-1b",
        "defaultForAz=false",
        "state=available",
        "availableIpAddressCount=251",
    ] {
        assert!(item.contains(part), "{part} in {item}");
    }
    let own = made.one("subnet/subnetId");
    for (rest, expected) in [
        ("", "MissingParameter: The request must contain the parameter cidrBlock"),
        ("CidrBlock=10.1.0.0/24", "InvalidSubnet.Range: The CIDR '10.1.0.0/24' is invalid."),
        ("CidrBlock=10.0.0.0/15", "InvalidSubnet.Range: The CIDR '10.0.0.0/15' is invalid."),
        ("CidrBlock=10.0.0.0/29", "InvalidSubnet.Range: The CIDR '10.0.0.0/29' is invalid."),
        (
            "CidrBlock=10.0.1.128/25",
            "InvalidSubnet.Conflict: The CIDR '10.0.1.128/25' conflicts with another subnet",
        ),
        (
            "CidrBlock=10.0.0.0/16",
            "InvalidSubnet.Conflict: The CIDR '10.0.0.0/16' conflicts with another subnet",
        ),
        (
            "CidrBlock=10.0.2.0/24&Ipv6CidrBlock=fd00:1::/60",
            "InvalidSubnet.Range: The CIDR 'fd00:1::/60' is invalid. A subnet's IPv6 block is a /64.",
        ),
        (
            "CidrBlock=10.0.2.0/24&Ipv6CidrBlock=fd00:2::/64",
            "InvalidSubnet.Range: The CIDR 'fd00:2::/64' is invalid.",
        ),
        (
            "CidrBlock=10.0.2.0/24&AvailabilityZone=us-east-1d",
            "InvalidParameterValue: Value (us-east-1d) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: us-east-1a, us-east-1b, us-east-1c.",
        ),
    ] {
        assert_eq!(world.refused(&subnet(&id, rest)), expected, "{rest}");
    }
    let [one, two] = ["10.0.2.0/24", "10.0.2.0/25"]
        .map(|cidr| world.transaction(&subnet(&id, &format!("CidrBlock={cidr}"))));
    assert!(world.try_commit(one));
    assert!(!world.try_commit(two), "they overlap");
    let interface = world.call(&format!("Action=CreateNetworkInterface&SubnetId={own}"));
    let interface = interface.one("networkInterface/networkInterfaceId");
    let delete = format!("Action=DeleteSubnet&SubnetId={own}");
    assert_eq!(
        world.refused(&delete),
        format!("DependencyViolation: The subnet '{own}' has dependencies and cannot be deleted.")
    );
    world.call(&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={interface}"));
    let [made, gone] = [format!("Action=CreateNetworkInterface&SubnetId={own}"), delete]
        .map(|call| world.transaction(&call));
    assert!(world.try_commit(made));
    assert!(!world.try_commit(gone));
}

#[test]
fn a_subnet_gives_ipv6_addresses_where_it_says_so() {
    let world = World::new();
    let id = vpc(&world, "CidrBlock=10.0.0.0/16&Ipv6CidrBlock=fd00:1::/56");
    let own = world.call(&subnet(&id, "CidrBlock=10.0.1.0/24")).one("subnet/subnetId");
    let modify = |rest: &str| format!("Action=ModifySubnetAttribute&SubnetId={own}{rest}");
    let on = modify("&AssignIpv6AddressOnCreation.Value=true");
    let without = format!("InvalidParameterValue: The subnet '{own}' has no IPv6 CIDR block");
    assert_eq!(world.refused(&on), without);
    let associate =
        format!("Action=AssociateSubnetCidrBlock&SubnetId={own}&Ipv6CidrBlock=fd00:1:0:1::/64");
    let block = world.call(&associate).one("ipv6CidrBlockAssociation/associationId");
    let twice = world.refused(&associate.replace("0:1::", "0:2::"));
    assert!(twice.starts_with("InvalidSubnet.Conflict: "), "{twice}");
    let create = format!("Action=CreateNetworkInterface&SubnetId={own}");
    let addresses = "networkInterface/ipv6AddressesSet/item/ipv6Address";
    assert!(world.call(&create).all(addresses).is_empty());
    world.call(&on);
    let made = world.call(&create);
    assert_eq!(made.all(addresses).len(), 1);
    let named = world.call(&format!("{create}&Ipv6Addresses.1.Ipv6Address=fd00:1:0:1::9"));
    assert_eq!(named.all(addresses), ["fd00:1:0:1::9"], "those that are named are all");
    for (rest, expected) in [
        ("", "InvalidParameterCombination: No attributes specified."),
        (
            "&MapPublicIpOnLaunch.Value=true",
            "InvalidParameterValue: There are no public addresses that an interface could be given",
        ),
        (
            "&MapPublicIpOnLaunch.Value=false&AssignIpv6AddressOnCreation.Value=true",
            "InvalidParameterCombination: Fields for multiple attribute types specified.",
        ),
    ] {
        assert_eq!(world.refused(&modify(rest)), expected);
    }
    world.call(&modify("&MapPublicIpOnLaunch.Value=false"));
    let disassociate = format!("Action=DisassociateSubnetCidrBlock&AssociationId={block}");
    assert!(world.refused(&disassociate).starts_with("InvalidCidrBlock.InUse: "));
    for made in [made, named] {
        let id = made.one("networkInterface/networkInterfaceId");
        world.call(&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={id}"));
    }
    let gone = world.call(&disassociate);
    assert_eq!(gone.one("ipv6CidrBlockAssociation/ipv6CidrBlockState/state"), "disassociated");
    assert!(
        world.refused(&disassociate).starts_with("InvalidSubnetCidrBlockAssociationID.NotFound: ")
    );
    assert!(world.call(&create).all(addresses).is_empty());
}
