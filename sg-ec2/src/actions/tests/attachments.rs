//! Addresses that come and go, attachments, and the source/destination check.

use sg_store::{
    HostName, InstanceId, InterfaceId,
    objects::{AdmittedAccounts, Claims, Host},
};

use super::World;

fn interface(world: &World, rest: &str) -> String {
    let subnet = &world.subnets()[0];
    let query = format!("Action=CreateNetworkInterface&SubnetId={subnet}{rest}");
    world.call(&query).one("networkInterface/networkInterfaceId")
}

fn addresses(world: &World, id: &str) -> Vec<String> {
    let query = format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={id}");
    world.call(&query).all("networkInterfaceSet/item/privateIpAddressesSet/item/privateIpAddress")
}

#[test]
fn secondary_addresses_come_and_go() {
    let world = World::new();
    let id = interface(&world, "&PrivateIpAddress=172.31.0.10");
    let assign = |id: &str, rest: &str| {
        format!("Action=AssignPrivateIpAddresses&NetworkInterfaceId={id}{rest}")
    };
    let made =
        world.call(&assign(&id, "&PrivateIpAddress.1=172.31.0.11&PrivateIpAddress.2=172.31.0.12"));
    let item = "assignedPrivateIpAddressesSet/item/privateIpAddress";
    assert_eq!(made.all(item), ["172.31.0.11", "172.31.0.12"]);
    assert_eq!(made.one("networkInterfaceId"), id);
    let automatic = world.call(&assign(&id, "&SecondaryPrivateIpAddressCount=2"));
    assert_eq!(automatic.all(item), ["172.31.0.4", "172.31.0.5"]);
    assert_eq!(
        addresses(&world, &id),
        ["172.31.0.10", "172.31.0.11", "172.31.0.12", "172.31.0.4", "172.31.0.5"]
    );
    for (rest, expected) in [
        ("", "MissingParameter: "),
        (
            "&PrivateIpAddress.1=172.31.0.13&SecondaryPrivateIpAddressCount=1",
            "InvalidParameterCombination: ",
        ),
        (
            "&PrivateIpAddress.1=172.31.0.13&PrivateIpAddress.2=172.31.0.13",
            "InvalidParameterValue: ",
        ),
        ("&PrivateIpAddress.1=10.0.0.1", "InvalidParameterValue: "),
        ("&PrivateIpAddress.1=172.31.0.12", "InvalidIPAddress.InUse: "),
        ("&SecondaryPrivateIpAddressCount=46", "PrivateIpAddressLimitExceeded: "),
        ("&SecondaryPrivateIpAddressCount=-1", "InvalidParameterValue: "),
    ] {
        let refused = world.refused(&assign(&id, rest));
        assert!(refused.starts_with(expected), "{rest}: {refused}");
    }
    // Another interface takes one over, if the request says so; a primary one stays.
    let other = interface(&world, "&PrivateIpAddress=172.31.0.20");
    let take = "&PrivateIpAddress.1=172.31.0.11&AllowReassignment=";
    assert!(
        world
            .refused(&assign(&other, &format!("{take}false")))
            .starts_with("InvalidIPAddress.InUse: ")
    );
    world.call(&assign(&other, &format!("{take}true")));
    assert_eq!(addresses(&world, &other), ["172.31.0.20", "172.31.0.11"]);
    assert!(!addresses(&world, &id).contains(&"172.31.0.11".to_owned()));
    let primary = assign(&other, "&PrivateIpAddress.1=172.31.0.10&AllowReassignment=true");
    assert!(world.refused(&primary).starts_with("InvalidIPAddress.InUse: "));
    let unassign = |id: &str, address: &str| {
        format!(
            "Action=UnassignPrivateIpAddresses&NetworkInterfaceId={id}&PrivateIpAddress.1={address}"
        )
    };
    for (query, expected) in [
        (unassign(&id, "172.31.0.10"), "InvalidParameterValue: The primary address"),
        (
            unassign(&id, "172.31.0.11"),
            "InvalidParameterValue: The address 172.31.0.11 is not assigned",
        ),
        (unassign(&id, "x"), "InvalidParameterValue: "),
        (
            format!("{}&PrivateIpAddress.2=172.31.0.99", unassign(&id, "172.31.0.12")),
            "InvalidParameterValue: ",
        ),
        (
            format!("Action=UnassignPrivateIpAddresses&NetworkInterfaceId={id}"),
            "MissingParameter: ",
        ),
    ] {
        let refused = world.refused(&query);
        assert!(refused.starts_with(expected), "{query}: {refused}");
    }
    world.call(&unassign(&other, "172.31.0.11"));
    interface(&world, "&PrivateIpAddress=172.31.0.11");
}

#[test]
fn ipv6_addresses_come_and_go() {
    let world = World::new();
    let vpc = world
        .call("Action=CreateVpc&CidrBlock=10.0.0.0/16&Ipv6CidrBlock=fd00:1::/56")
        .one("vpc/vpcId");
    let subnet =
        format!("Action=CreateSubnet&VpcId={vpc}&CidrBlock=10.0.0.0/24&Ipv6CidrBlock=fd00:1::/64");
    let subnet = world.call(&subnet);
    let block = subnet.one("subnet/ipv6CidrBlockAssociationSet/item/associationId");
    let query = format!("Action=CreateNetworkInterface&SubnetId={}", subnet.one("subnet/subnetId"));
    let id = world.call(&query).one("networkInterface/networkInterfaceId");
    let assign = |rest: &str| format!("Action=AssignIpv6Addresses&NetworkInterfaceId={id}{rest}");
    let made = world.call(&assign("&Ipv6Addresses.1=fd00:1::9"));
    assert_eq!(made.all("assignedIpv6Addresses/item"), ["fd00:1::9"]);
    assert_eq!(
        world.call(&assign("&Ipv6AddressCount=2")).all("assignedIpv6Addresses/item").len(),
        2
    );
    for (rest, expected) in [
        ("", "MissingParameter: "),
        ("&Ipv6Addresses.1=fd00:1::9", "InvalidIPAddress.InUse: "),
        ("&Ipv6Addresses.1=fd00:2::9", "InvalidParameterValue: "),
        ("&Ipv6Addresses.1=10.0.0.9", "InvalidParameterValue: "),
    ] {
        let refused = world.refused(&assign(rest));
        assert!(refused.starts_with(expected), "{rest}: {refused}");
    }
    let unassign =
        format!("Action=UnassignIpv6Addresses&NetworkInterfaceId={id}&Ipv6Addresses.1=fd00:1::9");
    assert_eq!(world.call(&unassign).all("unassignedIpv6Addresses/item"), ["fd00:1::9"]);
    assert!(world.refused(&unassign).starts_with("InvalidParameterValue: "));
    let shown = world.call(&format!("Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={id}"));
    let left = shown.all("networkInterfaceSet/item/ipv6AddressesSet/item/ipv6Address");
    for address in &left {
        world.call(&unassign.replace("fd00:1::9", address));
    }
    // A block goes from under a new address, or the address is refused.
    let disassociate = format!("Action=DisassociateSubnetCidrBlock&AssociationId={block}");
    let [gone, made] =
        [disassociate, assign("&Ipv6AddressCount=1")].map(|call| world.transaction(&call));
    assert!(world.try_commit(made));
    assert!(!world.try_commit(gone));
}

fn host(world: &World, name: &str, instance: u128, accounts: AdmittedAccounts) -> String {
    let instance = InstanceId(instance);
    world.put(&Host {
        name: name.parse::<HostName>().expect("a name"),
        instance,
        machine_id: None,
        vpcs: Vec::new(),
        allow: Vec::new(),
        claims: Claims::Own,
        accounts,
        interfaces: None,
        is_fenced: false,
        tags: [("Name".to_owned(), name.to_owned())].into(),
    });
    instance.to_string()
}

#[test]
fn an_interface_is_attached_to_a_host_that_admits_its_account() {
    let world = World::new();
    let own = AdmittedAccounts::Only(vec![world.caller.account]);
    let (one, two) = (host(&world, "h1", 7, own.clone()), host(&world, "h2", 8, own));
    let foreign = host(&world, "h3", 9, AdmittedAccounts::default());
    let (first, second) = (interface(&world, ""), interface(&world, ""));
    let attach = |interface: &str, instance: &str, index: i32| {
        format!(
            "Action=AttachNetworkInterface&NetworkInterfaceId={interface}&InstanceId={instance}&DeviceIndex={index}"
        )
    };
    let attachment = world.call(&attach(&first, &one, 1)).one("attachmentId");
    assert_eq!(attachment, first.replace("eni-", "eni-attach-"));
    let record = || {
        let snapshot = world.snapshot();
        let id: InterfaceId = first.parse().expect("an id");
        snapshot.interface(id).expect("an interface").object.clone()
    };
    assert_eq!(record().host.map(|host| host.to_string()), Some("h1".to_owned()));
    assert_eq!((record().device_index, record().tags["sg:host"].clone()), (1, "h1".to_owned()));
    for (query, expected) in [
        (attach(&first, &two, 1), format!("InvalidNetworkInterface.InUse: Interface: [{first}] in use.")),
        (
            attach(&second, &one, 1),
            format!("InvalidParameterValue: Instance '{one}' already has an interface attached at device index '1'."),
        ),
        (attach(&second, &foreign, 1), format!("InvalidInstanceID.NotFound: The instance ID '{foreign}' does not exist")),
        (attach(&second, "i-x", 1), "InvalidInstanceID.Malformed: Invalid id: \"i-x\"".to_owned()),
        (attach(&second, &one, -1), "InvalidParameterValue: Value (-1) for parameter DeviceIndex is invalid. Expecting a value of 0 or more.".to_owned()),
    ] {
        assert_eq!(world.refused(&query), expected);
    }
    world.call(&attach(&second, &two, 1));
    let bind = format!(
        "Action=CreateTags&ResourceId.1={first}&Tag.1.Key=sg:bind&Tag.1.Value=h1/tap0&Tag.2.Key=sg:role&Tag.2.Value=host"
    );
    assert!(world.try_call(&bind).is_ok());
    let detach = format!("Action=DetachNetworkInterface&AttachmentId={attachment}");
    assert_eq!(world.call(&detach).one("return"), "true");
    let detached = record();
    assert_eq!((detached.host, detached.bind, detached.device_index), (None, None, 0));
    assert_eq!(detached.tags.keys().collect::<Vec<_>>(), ["sg:role"], "its role stays");
    let absent =
        format!("InvalidAttachmentID.NotFound: The attachment ID '{attachment}' does not exist");
    assert_eq!(world.refused(&detach), absent);
    assert!(
        world
            .refused(&detach.replace("eni-attach-", "eni-"))
            .starts_with("InvalidAttachmentID.Malformed: ")
    );
    world.call(&attach(&first, &one, 1));
}

#[test]
fn the_check_of_source_and_destination_is_reset() {
    let world = World::new();
    let id = interface(&world, "");
    let check = || {
        let query = format!(
            "Action=DescribeNetworkInterfaceAttribute&NetworkInterfaceId={id}&Attribute=sourceDestCheck"
        );
        world.call(&query).one("sourceDestCheck/value")
    };
    let modify = format!(
        "Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={id}&SourceDestCheck.Value=false"
    );
    world.call(&modify);
    assert_eq!(check(), "false");
    let reset = format!("Action=ResetNetworkInterfaceAttribute&NetworkInterfaceId={id}");
    assert_eq!(world.refused(&reset), "InvalidParameterCombination: No attributes specified.");
    world.call(&format!("{reset}&SourceDestCheck=true"));
    assert_eq!(check(), "true");
}
