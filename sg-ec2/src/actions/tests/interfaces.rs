use sg_store::objects::{BoundInterface, Host, HostStatus};

use super::World;

const ID: &str = "networkInterface/networkInterfaceId";

impl World {
    fn interface(&self, rest: &str) -> super::Answered {
        let subnet = self.subnets().remove(0);
        self.call(&format!("Action=CreateNetworkInterface&SubnetId={subnet}&{rest}"))
    }

    #[track_caller]
    fn no_interface(&self, rest: &str) -> String {
        let subnet = self.subnets().remove(0);
        self.refused(&format!("Action=CreateNetworkInterface&SubnetId={subnet}&{rest}"))
    }

    /// The host's report that it has bound an interface.
    fn bind(&self, interface: &str) {
        let host = "h1".parse::<sg_store::HostName>().expect("a name");
        self.put(&Host {
            name: host.clone(),
            instance: sg_store::InstanceId(7),
            machine_id: None,
            vpcs: vec![self.vpc],
            allow: Vec::new(),
            claims: sg_store::objects::Claims::Own,
            accounts: sg_store::objects::AdmittedAccounts::All,
            interfaces: None,
            is_fenced: false,
            tags: sg_store::objects::Tags::new(),
        });
        self.put(&HostStatus {
            host,
            epoch: sg_store::EpochId(1),
            enforced: Default::default(),
            durable: Default::default(),
            boot: String::new(),
            machine_id: String::new(),
            version: String::new(),
            bound: vec![BoundInterface {
                interface: interface.parse().expect("an id"),
                device: "h1/tap0".parse().expect("a device"),
            }],
            faults: Vec::new(),
        });
    }
}

#[test]
fn an_interface_is_made_with_what_was_asked_for() {
    let world = World::new();
    let web = world.group("web");
    let made = world.interface(&format!(
        "SecurityGroupId.1={web}&Description=d&PrivateIpAddresses.1.PrivateIpAddress=172.31.0.9&PrivateIpAddresses.2.PrivateIpAddress=172.31.0.7\
         &PrivateIpAddresses.2.Primary=true&ConnectionTrackingSpecification.UdpTimeout=60&TagSpecification.1.ResourceType=network-interface\
         &TagSpecification.1.Tag.1.Key=sg:mac&TagSpecification.1.Tag.1.Value=02:00:00:00:00:0A&ClientToken=t-1"
    ));
    let at = |path: &str| made.one(&format!("networkInterface/{path}"));
    assert_eq!(at("privateIpAddress"), "172.31.0.7");
    assert_eq!(
        made.items("networkInterface/privateIpAddressesSet/item"),
        ["primary=true privateIpAddress=172.31.0.7", "primary=false privateIpAddress=172.31.0.9"]
    );
    assert_eq!(
        made.items("networkInterface/groupSet/item"),
        [format!("groupId={web} groupName=web")]
    );
    assert_eq!(made.items("networkInterface/connectionTrackingConfiguration"), ["udpTimeout=60"]);
    assert_eq!(at("macAddress"), "02:00:00:00:00:0a");
    assert_eq!(
        (at("status"), at("sourceDestCheck"), at("description")),
        ("available".into(), "true".into(), "d".into())
    );
    assert_eq!((at("vpcId"), at("availabilityZone")), (world.vpc.to_string(), "us-east-1a".into()));
    assert_eq!(made.one("clientToken"), "t-1");
    let plain = world.interface("");
    assert_eq!(plain.one("networkInterface/groupSet/item/groupName"), "default");
    assert_eq!(plain.one("networkInterface/privateIpAddress"), "172.31.0.4");
    assert_eq!(plain.all("networkInterface/connectionTrackingConfiguration"), Vec::<String>::new());
}

#[test]
fn an_address_exists_once_in_a_vpc() {
    let world = World::new();
    let fixed = "PrivateIpAddress=172.31.0.4";
    let first = world.interface(fixed).one(ID);
    assert_eq!(world.no_interface(fixed), "InvalidIPAddress.InUse: Address 172.31.0.4 is in use.");
    assert_eq!(world.interface("").one("networkInterface/privateIpAddress"), "172.31.0.5");
    world.call(&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={first}"));
    world.interface(fixed);
    let two = world.interface("SecondaryPrivateIpAddressCount=2");
    let addresses = two.all("networkInterface/privateIpAddressesSet/item/privateIpAddress");
    assert_eq!(addresses, ["172.31.0.6", "172.31.0.7", "172.31.0.8"]);
    let free = |world: &World| {
        world.call("Action=DescribeSubnets").all("subnetSet/item/availableIpAddressCount")
    };
    assert_eq!(free(&world)[0], (4096 - 5 - 5).to_string());
}

#[test]
fn a_full_subnet_gives_no_address() {
    let mut world = World::new();
    world.quotas.network_interfaces = 12;
    world.second_vpc("10.0.0.0/28");
    let subnet =
        world.call("Action=DescribeSubnets&Filter.1.Name=cidr-block&Filter.1.Value.1=10.0.0.0/28");
    let create =
        format!("Action=CreateNetworkInterface&SubnetId={}", subnet.one("subnetSet/item/subnetId"));
    for _ in 0..11 {
        world.call(&create);
    }
    assert_eq!(
        world.refused(&create),
        "InsufficientFreeAddressesInSubnet: The specified subnet does not have enough free addresses to satisfy the request."
    );
    // Explicit ones may be any of the subnet.
    world.call(&format!("{create}&PrivateIpAddress=10.0.0.0"));
    assert_eq!(
        world.refused(&format!("{create}&PrivateIpAddress=10.0.0.15")),
        "NetworkInterfaceLimitExceeded: The maximum number of network interfaces has been reached."
    );
}

#[test]
fn interfaces_that_cannot_be_made() {
    let world = World::new();
    let group = world.group("g0");
    let six: Vec<_> = (1..7)
        .map(|number| format!("SecurityGroupId.{number}={}", world.group(&format!("g{number}"))))
        .collect();
    let other = world.second_vpc("10.0.0.0/16");
    let far = world
        .call(&format!(
            "Action=DescribeSecurityGroups&Filter.1.Name=vpc-id&Filter.1.Value.1={other}"
        ))
        .one("securityGroupInfo/item/groupId");
    let subnet = world.subnets().remove(0);
    for (asked, expected) in [
        ("SecurityGroupId.1=sg-1", "InvalidSecurityGroupId.Malformed: Invalid id: \"sg-1\"".to_owned()),
        ("SecurityGroupId.1=sg-12345678", "InvalidSecurityGroupID.NotFound: The security group 'sg-12345678' does not exist".into()),
        (&six.join("&"), "SecurityGroupsPerInterfaceLimitExceeded: The maximum number of security groups per interface has been reached.".into()),
        (
            &format!("SecurityGroupId.1={group}&SecurityGroupId.2={far}"),
            format!("InvalidParameterValue: Security group {far} and subnet {subnet} belong to different networks."),
        ),
        ("PrivateIpAddress=10.0.0.1", format!("InvalidParameterValue: The address 10.0.0.1 does not lie in the subnet '{subnet}'")),
        ("PrivateIpAddress=x", "InvalidParameterValue: invalid value for parameter address: x".into()),
        ("Ipv6AddressCount=1", format!("InvalidParameterValue: The subnet '{subnet}' has no IPv6 CIDR block")),
        ("Ipv6Addresses.1.Ipv6Address=2001:db8::1", format!("InvalidParameterValue: The address 2001:db8::1 does not lie in the subnet '{subnet}'")),
        ("SecondaryPrivateIpAddressCount=-1", "InvalidParameterValue: Value (-1) for parameter SecondaryPrivateIpAddressCount is invalid. Expecting a value of 0 or more.".into()),
        ("SecondaryPrivateIpAddressCount=50", "PrivateIpAddressLimitExceeded: A network interface has at most 50 private IP addresses".into()),
        (
            "PrivateIpAddress=172.31.0.9&PrivateIpAddresses.1.PrivateIpAddress=172.31.0.9",
            "InvalidParameterValue: The address 172.31.0.9 is specified more than once".into(),
        ),
        (
            "PrivateIpAddress=172.31.0.9&PrivateIpAddresses.1.PrivateIpAddress=172.31.0.8&PrivateIpAddresses.1.Primary=true",
            "InvalidParameterCombination: Only one primary private IP address can be specified".into(),
        ),
        ("ConnectionTrackingSpecification.TcpEstablishedTimeout=59", "InvalidParameterValue: Value (59) for parameter TcpEstablishedTimeout is invalid. Expecting a value from 60 to 432000.".into()),
        ("ConnectionTrackingSpecification.UdpStreamTimeout=181", "InvalidParameterValue: Value (181) for parameter UdpStreamTimeout is invalid. Expecting a value from 60 to 180.".into()),
        ("Ipv4PrefixCount=1", "UnknownParameter: The parameter Ipv4PrefixCount is not recognized".into()),
    ] {
        assert_eq!(world.no_interface(asked), expected, "{asked}");
    }
    for (tag, value, expected) in [
        ("sg:bind", "h1", "Value (h1) for the tag sg:bind is invalid. It must be HOST/IFNAME."),
        ("sg:host", "a/b", "Value (a/b) for the tag sg:host is invalid. It must be a host's name."),
        (
            "sg:role",
            "guest",
            "Value (guest) for the tag sg:role is invalid. It must be port or host.",
        ),
        (
            "sg:mac",
            "02",
            "Value (02) for the tag sg:mac is invalid. It must be a MAC address, 02:00:00:00:00:01.",
        ),
        (
            "sg:max-flows",
            "0",
            "Value (0) for the tag sg:max-flows is invalid. It must be a number from 1 to 16777216.",
        ),
        ("sg:colour", "x", "The tag 'sg:colour' has no meaning on this resource"),
        (
            "sg:managed-by",
            "me",
            "Value (me) for the tag sg:managed-by is invalid. It must be rules.toml.",
        ),
    ] {
        let tags = format!(
            "TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key={tag}&TagSpecification.1.Tag.1.Value={value}"
        );
        assert_eq!(world.no_interface(&tags), format!("InvalidParameterValue: {expected}"));
    }
}

#[test]
fn a_client_token_makes_one_interface() {
    let world = World::new();
    let first = world.interface("ClientToken=t").one(ID);
    let revision = world.store.revision();
    assert_eq!(world.interface("ClientToken=t").one(ID), first);
    assert_eq!(world.store.revision(), revision);
    assert_eq!(
        world.no_interface("ClientToken=t&Description=x"),
        "IdempotentParameterMismatch: Arguments on this idempotent request are inconsistent with arguments used in previous request(s)."
    );
    world.call(&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={first}"));
    assert_ne!(world.interface("ClientToken=t&Description=x").one(ID), first);
    assert_eq!(
        world.no_interface(&format!("ClientToken={}", "t".repeat(65))),
        "InvalidParameterValue: ClientToken has at most 64 characters of ASCII"
    );
}

#[test]
fn attributes_are_modified_one_at_a_time() {
    let world = World::new();
    let (web, app) = (world.group("web"), world.group("app"));
    let id = world.interface("").one(ID);
    let modify = |rest: &str| {
        format!("Action=ModifyNetworkInterfaceAttribute&NetworkInterfaceId={id}&{rest}")
    };
    let attribute = |name: &str| {
        world.call(&format!(
            "Action=DescribeNetworkInterfaceAttribute&NetworkInterfaceId={id}&Attribute={name}"
        ))
    };
    world.call(&modify(&format!(
        "SecurityGroupId.1={web}&SecurityGroupId.2={app}&SecurityGroupId.3={web}"
    )));
    assert_eq!(attribute("groupSet").all("groupSet/item/groupId"), [web.clone(), app]);
    world.call(&modify("SourceDestCheck.Value=false"));
    assert_eq!(attribute("sourceDestCheck").one("sourceDestCheck/value"), "false");
    world.call(&modify("Description.Value=new"));
    assert_eq!(attribute("description").one("description/value"), "new");
    world.call(&modify("ConnectionTrackingSpecification.TcpEstablishedTimeout=350"));
    let shown = world.call("Action=DescribeNetworkInterfaces");
    assert_eq!(
        shown.items("networkInterfaceSet/item/connectionTrackingConfiguration"),
        ["tcpEstablishedTimeout=350"]
    );
    // It keeps the group from being deleted.
    let refused = world.refused(&format!("Action=DeleteSecurityGroup&GroupId={web}"));
    assert!(refused.starts_with("DependencyViolation"), "{refused}");
    let revision = world.store.revision();
    world.call(&modify("Description.Value=new"));
    assert_eq!(world.store.revision(), revision, "nothing has changed");
    for (asked, expected) in [
        ("", "InvalidParameterCombination: No attributes specified."),
        (
            "Description.Value=a&SourceDestCheck.Value=true",
            "InvalidParameterCombination: Fields for multiple attribute types specified.",
        ),
        (
            "SourceDestCheck.Value=",
            "InvalidParameterValue: Value () for parameter SourceDestCheck.Value is invalid. It must be true or false.",
        ),
        (
            "Attachment.AttachmentId=x",
            "UnknownParameter: The parameter Attachment is not recognized",
        ),
    ] {
        assert_eq!(world.refused(&modify(asked)), expected, "{asked}");
    }
}

#[test]
fn a_bound_interface_is_in_use() {
    let world = World::new();
    let id = world.interface("").one(ID);
    world.bind(&id);
    let shown = world.call("Action=DescribeNetworkInterfaces&Filter.1.Name=attachment.status&Filter.1.Value.1=attached");
    let at = |path: &str| shown.one(&format!("networkInterfaceSet/item/{path}"));
    assert_eq!(at("status"), "in-use");
    assert_eq!(at("attachment/instanceId"), "i-00000000000000007");
    assert_eq!(
        world.refused(&format!("Action=DeleteNetworkInterface&NetworkInterfaceId={id}")),
        format!("InvalidNetworkInterface.InUse: Network interface '{id}' is currently in use.")
    );
    let role = format!("Action=CreateTags&ResourceId.1={id}&Tag.1.Key=sg:role&Tag.1.Value=host");
    assert_eq!(
        world.refused(&role),
        format!("InvalidParameterValue: The role of '{id}' is fixed while it is bound")
    );
}

#[test]
fn bindings_by_tag_are_records_fields() {
    let world = World::new();
    let id = world.interface("").one(ID);
    let tag = |key: &str, value: &str| {
        world.call(&format!(
            "Action=CreateTags&ResourceId.1={id}&Tag.1.Key={key}&Tag.1.Value={value}"
        ));
        let snapshot = world.snapshot();
        let found = snapshot.interface(id.parse().expect("an id")).expect("the interface");
        (found.object.clone(), found.bound_at(found.mod_revision), found.mod_revision)
    };
    let (_, _, _) = tag("sg:role", "host");
    let (interface, bound_at, revision) = tag("sg:bind", "h1/eth0");
    assert_eq!(interface.bind.expect("bound").to_string(), "h1/eth0");
    assert_eq!(bound_at, Some(revision));
    // The claim's age does not change with another tag.
    let (interface, still, later) = tag("Name", "x");
    assert_eq!(still, bound_at);
    assert!(later > revision);
    assert_eq!(interface.role, sg_store::objects::InterfaceRole::Host);
    world.call(&format!("Action=DeleteTags&ResourceId.1={id}&Tag.1.Key=sg:bind"));
    let snapshot = world.snapshot();
    let found = snapshot.interface(id.parse().expect("an id")).expect("the interface");
    assert_eq!((&found.bind, found.tags.len()), (&None, 2));
}

#[test]
fn interfaces_are_filtered() {
    let world = World::new();
    let web = world.group("web");
    let id = world
        .interface(&format!("SecurityGroupId.1={web}&PrivateIpAddress=172.31.0.77&Description=x"))
        .one(ID);
    world.interface("");
    for (name, value) in [
        ("network-interface-id", &*id),
        ("group-id", &web),
        ("group-name", "web"),
        ("private-ip-address", "172.31.0.77"),
        ("addresses.private-ip-address", "*.77"),
        ("description", "x"),
    ] {
        let query = format!(
            "Action=DescribeNetworkInterfaces&Filter.1.Name={name}&Filter.1.Value.1={value}"
        );
        assert_eq!(
            world.call(&query).all("networkInterfaceSet/item/networkInterfaceId"),
            [&*id],
            "{name}"
        );
    }
    for (name, value) in [
        ("owner-id", "123456789012"),
        ("status", "available"),
        ("vpc-id", "*"),
        ("subnet-id", "subnet-*"),
        ("source-dest-check", "true"),
        ("availability-zone", "us-east-1a"),
        ("interface-type", "interface"),
        ("requester-managed", "false"),
        ("addresses.primary", "true"),
        ("mac-address", "02:*"),
    ] {
        let query = format!(
            "Action=DescribeNetworkInterfaces&Filter.1.Name={name}&Filter.1.Value.1={value}"
        );
        assert_eq!(world.call(&query).all("networkInterfaceSet/item").len(), 2, "{name}");
    }
    assert_eq!(
        world.refused(&format!(
            "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1={id}&MaxResults=5"
        )),
        "InvalidParameterCombination: The parameter MaxResults cannot be used with the parameter NetworkInterfaceIds"
    );
}
