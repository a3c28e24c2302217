//! Network interfaces: made and deleted.

use std::net::IpAddr;

use sg_policy::id::{GroupId, VpcId};
use sg_store::{
    Expected, Index, InterfaceId, Key, Txn,
    key::Counted,
    objects::{IdleTimeouts, IndexEntry, InterfaceRole, MacAddress, NetworkInterface, Tags},
};

use super::{
    Outcome,
    addresses::AskedAddresses,
    groups, ids,
    interface_tags::{self, Meaning},
    interface_view, tags, text,
    token::{Token, tokens_of},
    usage,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        ConnectionTrackingSpecificationRequest, CreateNetworkInterfaceRequest,
        CreateNetworkInterfaceResult, DeleteNetworkInterfaceRequest, ResourceType,
    },
};

pub(super) fn create(
    request: &CreateNetworkInterfaceRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::SUBNET.check(&request.subnet_id)?;
    ids::INTERFACE_GROUP.check_all(&request.groups)?;
    let asked = AskedAddresses::read(request)?;
    let timeouts = timeouts(request.connection_tracking_specification.as_ref())?;
    let description = request.description.clone().unwrap_or_default();
    text::check(&description, "network interface description")?;
    let quotas = gate.context.quotas;
    let tags = tags::of_new(&request.tag_specifications, ResourceType::NetworkInterface, quotas)?;
    Meaning::read(&tags)?;
    let token = Token::read(request.client_token.as_deref(), request)?;

    let context = gate.open()?;
    let made = token.as_ref().map(|token| token.made(context)).transpose()?.flatten();
    if let Some(made) = made.and_then(|id| context.snapshot.interface(id)) {
        return answer(context, &made, request.client_token.clone(), Txn::new());
    }
    let subnet = context.own_subnet(&request.subnet_id)?;
    let groups = groups_of(context, &request.groups, subnet.vpc, &format!("subnet {}", subnet.id))?;
    let mut interface = NetworkInterface {
        id: InterfaceId(context.draw_id()),
        account: context.caller.account,
        region: context.region.clone(),
        vpc: subnet.vpc,
        subnet: subnet.id,
        description,
        addresses: asked.assign(context, &subnet)?,
        groups,
        source_dest_check: true,
        timeouts,
        role: InterfaceRole::Port,
        mac: None,
        shown_mac: made_up_mac((context.draw)()),
        max_flows: None,
        bind: None,
        host: None,
        device_index: 0,
        bound_revision: None,
        created_at: u64::try_from(context.now.0).unwrap_or(0),
        tags: Tags::new(),
    };
    interface_tags::set_interface_tags(&mut interface, tags, false, None)?;
    let mut txn = Txn::new();
    usage::count_up(context, &mut txn, Counted::Interfaces, quotas.network_interfaces, || {
        let message = "The maximum number of network interfaces has been reached.";
        Error::new("NetworkInterfaceLimitExceeded", message)
    })?;
    usage::use_vpc(&mut txn, subnet.vpc);
    let subnet_key = Key::Subnet(subnet.account, subnet.region.clone(), subnet.id);
    txn.expect(&subnet_key, Expected::Present);
    for group in &interface.groups {
        usage::refer_to_group(&mut txn, subnet.vpc, *group);
    }
    for address in &interface.addresses {
        txn.create(&IndexEntry::held(Index::Address(subnet.vpc, *address), &interface.id));
    }
    if let Some(token) = token {
        txn.create(&token.entry(context, &interface.id));
    }
    txn.create(&interface);
    answer(context, &interface, request.client_token.clone(), txn)
}

fn answer(
    context: &Context<'_>,
    interface: &NetworkInterface,
    client_token: Option<String>,
    txn: Txn,
) -> Result<Outcome, Error> {
    let bound = interface_view::Bound::read(context);
    let network_interface = Some(interface_view::shown(context, interface, &bound));
    let answer = CreateNetworkInterfaceResult { client_token, network_interface };
    Ok(Outcome::change(answer, txn, &interface.id))
}

/// A locally administered address (IEEE 802, bit 1 of the first byte).
fn made_up_mac(drawn: u128) -> MacAddress {
    let [a, b, c, d, e, ..] = drawn.to_le_bytes();
    MacAddress([0x02, a, b, c, d, e])
}

/// The groups of a network interface, in the caller's order, none twice; the VPC's default group where none is named.
/// `place` is what the groups must be in one VPC with.
pub(super) fn groups_of(
    context: &Context<'_>,
    asked: &[String],
    vpc: VpcId,
    place: &str,
) -> Result<Vec<GroupId>, Error> {
    if asked.is_empty() {
        return Ok(vec![groups::default_of(context, vpc)?.id]);
    }
    let mut groups = Vec::new();
    for id in asked {
        let group = context.own_group(&ids::INTERFACE_GROUP, id)?;
        if group.vpc != vpc {
            let message = format!("Security group {id} and {place} belong to different networks.");
            return Err(Error::invalid(message));
        }
        if !groups.contains(&group.id) {
            groups.push(group.id);
        }
    }
    if groups.len() > context.quotas.groups_per_interface {
        let message = "The maximum number of security groups per interface has been reached.";
        return Err(Error::new("SecurityGroupsPerInterfaceLimitExceeded", message));
    }
    Ok(groups)
}

/// Seconds, each in EC2's range.
pub(super) fn timeouts(
    asked: Option<&ConnectionTrackingSpecificationRequest>,
) -> Result<IdleTimeouts, Error> {
    let Some(asked) = asked else { return Ok(IdleTimeouts::default()) };
    let seconds = |value: Option<i32>, range: std::ops::RangeInclusive<u32>, name: &str| {
        let Some(value) = value else { return Ok(None) };
        let seconds = u32::try_from(value).ok().filter(|seconds| range.contains(seconds));
        let expected = || format!("Expecting a value from {} to {}", range.start(), range.end());
        seconds.map(Some).ok_or_else(|| Error::invalid_value(name, &value.to_string(), &expected()))
    };
    Ok(IdleTimeouts {
        tcp_established: seconds(
            asked.tcp_established_timeout,
            60..=432_000,
            "TcpEstablishedTimeout",
        )?,
        udp: seconds(asked.udp_timeout, 30..=60, "UdpTimeout")?,
        udp_stream: seconds(asked.udp_stream_timeout, 60..=180, "UdpStreamTimeout")?,
    })
}

pub(super) fn delete(
    request: &DeleteNetworkInterfaceRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let bound = interface_view::Bound::read(context);
    if bound.host_of(interface.id).is_some() {
        let message = format!("Network interface '{}' is currently in use.", interface.id);
        return Err(Error::new("InvalidNetworkInterface.InUse", message));
    }
    let mut txn = Txn::new();
    txn.remove(&Key::Interface(interface.vpc, interface.id), interface.mod_revision);
    let address = |address: &IpAddr| Key::Index(Index::Address(interface.vpc, *address));
    for key in interface.addresses.iter().map(address).chain(tokens_of(context, &interface.id)) {
        txn.delete(&key);
    }
    usage::count_down(context, &mut txn, Counted::Interfaces);
    Ok(Outcome::change((), txn, &interface.id))
}
