//! Network interfaces, described.

use std::{collections::HashMap, net::IpAddr};

use sg_store::{
    HostName, InterfaceId, Key,
    objects::{Host, HostStatus, NetworkInterface, ObservedAddresses, Subnet},
};

use super::{Outcome, filter::Filters, ids, page::Page, tags};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        self, AttachmentStatus, AttributeBooleanValue, AttributeValue,
        ConnectionTrackingConfiguration, DescribeNetworkInterfaceAttributeRequest,
        DescribeNetworkInterfaceAttributeResult, DescribeNetworkInterfacesRequest,
        DescribeNetworkInterfacesResult, GroupIdentifier, NetworkInterfaceAttachment,
        NetworkInterfaceAttribute, NetworkInterfaceIpv6Address, NetworkInterfacePrivateIpAddress,
        NetworkInterfaceStatus, NetworkInterfaceType,
    },
};

/// Which hosts have bound which network interfaces, by their own reports.
#[derive(Debug)]
pub(super) struct Bound(HashMap<InterfaceId, HostName>);

impl Bound {
    pub(super) fn read(context: &Context<'_>) -> Self {
        let mut bound = HashMap::new();
        for observed in context.snapshot.all::<ObservedAddresses>() {
            bound.insert(observed.interface, observed.host.clone());
        }
        for status in context.snapshot.all::<HostStatus>() {
            bound.extend(status.bound.iter().map(|bound| (bound.interface, status.host.clone())));
        }
        Self(bound)
    }

    pub(super) fn host_of(&self, interface: InterfaceId) -> Option<&HostName> {
        self.0.get(&interface)
    }

    /// The instance id of the host, and what attaches the interface to it.
    fn attachment(
        &self,
        context: &Context<'_>,
        interface: &NetworkInterface,
    ) -> Option<NetworkInterfaceAttachment> {
        let host = context.snapshot.get::<Host>(&Key::Host(self.host_of(interface.id)?.clone()));
        let digits = interface.id.to_string().trim_start_matches("eni-").to_owned();
        Some(NetworkInterfaceAttachment {
            attachment_id: Some(format!("eni-attach-{digits}")),
            delete_on_termination: Some(false),
            device_index: i32::try_from(interface.device_index).ok(),
            instance_id: host.map(|host| host.instance.to_string()),
            instance_owner_id: Some(interface.account.to_string()),
            status: Some(AttachmentStatus::Attached),
        })
    }
}

const FILTERS: &[&str] = &[
    "addresses.primary",
    "addresses.private-ip-address",
    "attachment.attachment-id",
    "attachment.instance-id",
    "attachment.instance-owner-id",
    "attachment.status",
    "availability-zone",
    "description",
    "group-id",
    "group-name",
    "interface-type",
    "ipv6-addresses.ipv6-address",
    "mac-address",
    "network-interface-id",
    "owner-id",
    "private-ip-address",
    "requester-managed",
    "source-dest-check",
    "status",
    "subnet-id",
    "vpc-id",
];

pub(super) fn describe(
    request: &DescribeNetworkInterfacesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check_all(&request.network_interface_ids)?;
    if request.max_results.is_some() && !request.network_interface_ids.is_empty() {
        let message =
            "The parameter MaxResults cannot be used with the parameter NetworkInterfaceIds";
        return Err(Error::combination(message));
    }
    let filters = Filters::read(&request.filters, FILTERS)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;

    let context = gate.open()?;
    let mut wanted = Vec::new();
    for id in &request.network_interface_ids {
        wanted.push(context.own_interface(id)?.id);
    }
    let bound = Bound::read(context);
    let found = context
        .own::<NetworkInterface>()
        .filter(|interface| wanted.is_empty() || wanted.contains(&interface.id))
        .map(|interface| (interface, shown(context, &interface, &bound)))
        .filter(|(interface, shown)| filters.hold(&interface.tags, |name| values(shown, name)))
        .map(|(interface, shown)| (interface.id.to_string(), shown));
    let (network_interfaces, next_token) = page.cut(found);
    Ok(Outcome::read(DescribeNetworkInterfacesResult { network_interfaces, next_token }))
}

pub(super) fn describe_attribute(
    request: &DescribeNetworkInterfaceAttributeRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    let attribute = request.attribute.ok_or_else(|| Error::missing("attribute"))?;
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let shown = shown(context, &interface, &Bound::read(context));
    let mut answer = DescribeNetworkInterfaceAttributeResult {
        network_interface_id: shown.network_interface_id,
        ..DescribeNetworkInterfaceAttributeResult::default()
    };
    match attribute {
        NetworkInterfaceAttribute::Attachment => answer.attachment = shown.attachment,
        NetworkInterfaceAttribute::Description => {
            answer.description = Some(AttributeValue { value: shown.description });
        }
        NetworkInterfaceAttribute::GroupSet => answer.groups = shown.groups,
        NetworkInterfaceAttribute::SourceDestCheck => {
            answer.source_dest_check =
                Some(AttributeBooleanValue { value: shown.source_dest_check });
        }
    }
    Ok(Outcome::read(answer))
}

pub(super) fn shown(
    context: &Context<'_>,
    interface: &NetworkInterface,
    bound: &Bound,
) -> ec2::NetworkInterface {
    let subnet = context.snapshot.subnet(interface.subnet);
    let attachment = bound.attachment(context, interface);
    let ipv4: Vec<_> = interface.addresses.iter().filter(|address| address.is_ipv4()).collect();
    let private = |(place, address): (usize, &&IpAddr)| NetworkInterfacePrivateIpAddress {
        primary: Some(place == 0),
        private_ip_address: Some(address.to_string()),
    };
    let ipv6 =
        |address: &IpAddr| NetworkInterfaceIpv6Address { ipv6_address: Some(address.to_string()) };
    let group = |id: &sg_policy::id::GroupId| GroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: context.snapshot.group(*id).map(|group| group.name.clone()),
    };
    let seconds = |value: Option<u32>| value.and_then(|value| i32::try_from(value).ok());
    let timeouts = interface.timeouts;
    let tracking = ConnectionTrackingConfiguration {
        tcp_established_timeout: seconds(timeouts.tcp_established),
        udp_stream_timeout: seconds(timeouts.udp_stream),
        udp_timeout: seconds(timeouts.udp),
    };
    ec2::NetworkInterface {
        availability_zone: subnet
            .map(|subnet: sg_store::Versioned<'_, Subnet>| subnet.availability_zone.clone()),
        connection_tracking_configuration: (timeouts != Default::default()).then_some(tracking),
        description: Some(interface.description.clone()),
        groups: interface.groups.iter().map(group).collect(),
        interface_type: Some(NetworkInterfaceType::Interface),
        ipv6_addresses: interface
            .addresses
            .iter()
            .filter(|address| address.is_ipv6())
            .map(ipv6)
            .collect(),
        mac_address: Some(interface.mac.unwrap_or(interface.shown_mac).to_string()),
        network_interface_id: Some(interface.id.to_string()),
        owner_id: Some(interface.account.to_string()),
        private_ip_address: ipv4.first().map(ToString::to_string),
        private_ip_addresses: ipv4.iter().enumerate().map(private).collect(),
        requester_managed: Some(false),
        source_dest_check: Some(interface.source_dest_check),
        status: Some(match attachment {
            Some(_) => NetworkInterfaceStatus::InUse,
            None => NetworkInterfaceStatus::Available,
        }),
        attachment,
        subnet_id: Some(interface.subnet.to_string()),
        tag_set: tags::shown(&interface.tags),
        vpc_id: Some(interface.vpc.to_string()),
    }
}

/// Filters look at the values that the answer shows.
fn values(shown: &ec2::NetworkInterface, filter: &str) -> Vec<String> {
    let text = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
    let truth = |value: Option<bool>| value.iter().map(ToString::to_string).collect::<Vec<_>>();
    let attachment = shown.attachment.as_ref();
    let private = &shown.private_ip_addresses;
    match filter {
        "addresses.primary" => private.iter().flat_map(|entry| truth(entry.primary)).collect(),
        "addresses.private-ip-address" => {
            private.iter().flat_map(|entry| text(&entry.private_ip_address)).collect()
        }
        "attachment.attachment-id" => {
            attachment.map(|found| text(&found.attachment_id)).unwrap_or_default()
        }
        "attachment.instance-id" => {
            attachment.map(|found| text(&found.instance_id)).unwrap_or_default()
        }
        "attachment.instance-owner-id" => {
            attachment.map(|found| text(&found.instance_owner_id)).unwrap_or_default()
        }
        "attachment.status" => attachment
            .and_then(|found| found.status)
            .map(|status| vec![status.as_str().to_owned()])
            .unwrap_or_default(),
        "availability-zone" => text(&shown.availability_zone),
        "description" => text(&shown.description),
        "group-id" => shown.groups.iter().flat_map(|group| text(&group.group_id)).collect(),
        "group-name" => shown.groups.iter().flat_map(|group| text(&group.group_name)).collect(),
        "interface-type" => {
            shown.interface_type.iter().map(|kind| kind.as_str().to_owned()).collect()
        }
        "ipv6-addresses.ipv6-address" => {
            shown.ipv6_addresses.iter().flat_map(|entry| text(&entry.ipv6_address)).collect()
        }
        "mac-address" => text(&shown.mac_address),
        "network-interface-id" => text(&shown.network_interface_id),
        "owner-id" => text(&shown.owner_id),
        "private-ip-address" => text(&shown.private_ip_address),
        "requester-managed" => truth(shown.requester_managed),
        "source-dest-check" => truth(shown.source_dest_check),
        "status" => shown.status.iter().map(|status| status.as_str().to_owned()).collect(),
        "subnet-id" => text(&shown.subnet_id),
        "vpc-id" => text(&shown.vpc_id),
        _ => Vec::new(),
    }
}
