//! Network interfaces: made and deleted.

use std::net::IpAddr;

use sg_policy::id::{GroupId, VpcId};
use sg_store::{
    Expected, Index, InterfaceId, Key, Txn,
    key::Counted,
    objects::{IdleTimeouts, IndexEntry, InterfaceRole, MacAddress, NetworkInterface, Tags},
};
use sha2::{Digest as _, Sha256};

use super::{
    Outcome,
    addresses::AskedAddresses,
    groups, ids,
    interface_tags::{self, Meaning},
    interface_view, tags, text, usage,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        ConnectionTrackingSpecificationRequest, CreateNetworkInterfaceRequest,
        CreateNetworkInterfaceResult, DeleteNetworkInterfaceRequest, ResourceType,
    },
};

const MAX_TOKEN_CHARS: usize = 64;

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
    let token = Token::read(request)?;

    let context = gate.open()?;
    if let Some(made) = token.as_ref().and_then(|token| token.made(context).transpose()) {
        return answer(context, &made?, request.client_token.clone(), Txn::new());
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
        txn.create(&token.entry(context, interface.id));
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

/// A client token: the request that it came with first, as a digest.
struct Token {
    token: String,
    digest: String,
}

impl Token {
    fn read(request: &CreateNetworkInterfaceRequest) -> Result<Option<Self>, Error> {
        let Some(token) = request.client_token.clone().filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.len() > MAX_TOKEN_CHARS || !is_plain {
            let message = format!("ClientToken has at most {MAX_TOKEN_CHARS} characters of ASCII");
            return Err(Error::invalid(message));
        }
        let digest = Sha256::digest(format!("{request:?}"));
        let digest = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Self { token, digest }))
    }

    fn index(&self, context: &Context<'_>) -> Index {
        Index::ClientToken(context.caller.account, context.region.clone(), self.token.clone())
    }

    fn entry(&self, context: &Context<'_>, made: InterfaceId) -> IndexEntry {
        IndexEntry::held(self.index(context), &format!("{made} {}", self.digest))
    }

    /// The interface that the first request with the token made.
    fn made(&self, context: &Context<'_>) -> Result<Option<NetworkInterface>, Error> {
        let Some(entry) = context.snapshot.get::<IndexEntry>(&Key::Index(self.index(context)))
        else {
            return Ok(None);
        };
        let made = entry.holder.split_once(' ');
        match made {
            Some((id, digest)) if digest == self.digest => {
                let id = id.parse().ok();
                let made = id.and_then(|id| context.snapshot.interface(id));
                Ok(made.map(|made| made.object.clone()))
            }
            _ => {
                let message = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
                Err(Error::new("IdempotentParameterMismatch", message))
            }
        }
    }
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
    for key in interface.addresses.iter().map(address).chain(tokens_of(context, interface.id)) {
        txn.delete(&key);
    }
    usage::count_down(context, &mut txn, Counted::Interfaces);
    Ok(Outcome::change((), txn, &interface.id))
}

/// Client tokens of an interface: they go with it, or they would be kept for ever.
fn tokens_of<'a>(context: &Context<'a>, id: InterfaceId) -> impl Iterator<Item = Key> + use<'a> {
    let first = Index::ClientToken(context.caller.account, context.region.clone(), String::new());
    let prefix = format!("{id} ");
    let entries = context.snapshot.range::<IndexEntry>(Key::Index(first)..);
    let tokens = entries.take_while(|entry| matches!(entry.index, Index::ClientToken(..)));
    tokens
        .filter(move |entry| entry.holder.starts_with(&prefix))
        .map(|entry| Key::Index(entry.index.clone()))
}
