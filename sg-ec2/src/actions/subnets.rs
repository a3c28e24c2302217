//! Subnets: made, deleted, modified.

use ipnet::IpNet;
use sg_store::{
    Expected, Key, SubnetId, Txn, Versioned,
    objects::{CidrBlock, NetworkInterface, Subnet, Tags, Vpc},
};

use super::{
    Outcome, addresses,
    blocks::{self, overlaps},
    ids, interface_tags,
    networks::{subnet_association, subnet_shown},
    tags, usage,
    vpcs::given,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        AssociateSubnetCidrBlockRequest, AssociateSubnetCidrBlockResult,
        CreateDefaultSubnetRequest, CreateDefaultSubnetResult, CreateSubnetRequest,
        CreateSubnetResult, DeleteSubnetRequest, DisassociateSubnetCidrBlockRequest,
        DisassociateSubnetCidrBlockResult, ModifySubnetAttributeRequest, ResourceType,
        SubnetCidrBlockStateCode,
    },
    seed::{self, ZONES},
};

/// EC2's length of an IPv6 block of a subnet.
const IPV6_LENGTH: u8 = 64;

pub(super) fn create(request: &CreateSubnetRequest, gate: &Gate<'_>) -> Result<Outcome, Error> {
    ids::VPC.check(&request.vpc_id)?;
    let text = request.cidr_block.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Error::missing("cidrBlock"))?;
    let ipv4 = blocks::ipv4(text, "InvalidSubnet.Range")?;
    let ipv6 = request.ipv6_cidr_block.as_deref().map(ipv6_block).transpose()?;
    let zone = zone(gate, request.availability_zone.as_deref())?;
    let quotas = gate.context.quotas;
    let tags = tags::of_new(&request.tag_specifications, ResourceType::Subnet, quotas)?;
    interface_tags::check_plain(&tags)?;

    let context = gate.open()?;
    let vpc = context.own_vpc(&request.vpc_id)?;
    for net in std::iter::once(&ipv4).chain(&ipv6) {
        check_block(context, &vpc, net)?;
    }
    let subnet = Subnet {
        ipv6: ipv6.map(|net| blocks::associated(context, "subnet", net)),
        tags,
        ..plain(context, &vpc, ipv4, zone)
    };
    let txn = made(context, &vpc, &subnet);
    let shown = Some(subnet_shown(context, &subnet));
    Ok(Outcome::change(CreateSubnetResult { subnet: shown }, txn, &subnet.id))
}

fn plain(context: &Context<'_>, vpc: &Vpc, ipv4: IpNet, availability_zone: String) -> Subnet {
    Subnet {
        id: SubnetId(context.draw_id()),
        account: context.caller.account,
        region: context.region.clone(),
        vpc: vpc.id,
        availability_zone,
        ipv4: Some(ipv4),
        ipv6: None,
        is_default: false,
        map_public_ip: false,
        assign_ipv6: false,
        tags: Tags::new(),
    }
}

/// No other subnet may have come since the snapshot, and the VPC's blocks stay.
fn made(context: &Context<'_>, vpc: &Versioned<'_, Vpc>, subnet: &Subnet) -> Txn {
    let mut txn = Txn::new();
    txn.expect(&usage::vpc_guard(vpc.id), usage::guard_unchanged(context, vpc.id));
    usage::use_vpc(&mut txn, vpc.id);
    txn.expect(&Key::Vpc(vpc.id), Expected::At(vpc.mod_revision));
    txn.create(subnet);
    txn
}

fn ipv6_block(text: &str) -> Result<IpNet, Error> {
    let net = blocks::ipv6(text)?;
    if net.prefix_len() == IPV6_LENGTH {
        return Ok(net);
    }
    let message =
        format!("The CIDR '{text}' is invalid. A subnet's IPv6 block is a /{IPV6_LENGTH}.");
    Err(Error::new("InvalidSubnet.Range", message))
}

/// Zones of the region, as DescribeAvailabilityZones has them; the first where none is named.
fn zone(gate: &Gate<'_>, asked: Option<&str>) -> Result<String, Error> {
    let zones = ZONES.map(|letter| format!("{}{letter}", gate.context.region));
    let Some(asked) = asked.filter(|zone| !zone.is_empty()) else { return Ok(zones[0].clone()) };
    zones.iter().find(|zone| *zone == asked).cloned().ok_or_else(|| {
        let expected = format!(
            "Subnets can currently only be created in the following availability zones: {}",
            zones.join(", ")
        );
        Error::invalid_value("availabilityZone", asked, &expected)
    })
}

/// A subnet's block lies in one block of the VPC, and overlaps no other subnet's.
fn check_block(context: &Context<'_>, vpc: &Vpc, net: &IpNet) -> Result<(), Error> {
    if !vpc.cidrs.iter().any(|block| block.cidr.contains(net)) {
        return Err(Error::new("InvalidSubnet.Range", format!("The CIDR '{net}' is invalid.")));
    }
    if subnets_of(context, vpc).any(|subnet| nets(&subnet).any(|other| overlaps(&other, net))) {
        let message = format!("The CIDR '{net}' conflicts with another subnet");
        return Err(Error::new("InvalidSubnet.Conflict", message));
    }
    Ok(())
}

fn subnets_of<'a>(
    context: &Context<'a>,
    vpc: &Vpc,
) -> impl Iterator<Item = Versioned<'a, Subnet>> + use<'a> {
    let vpc = vpc.id;
    context.snapshot.all::<Subnet>().filter(move |subnet| subnet.vpc == vpc)
}

fn nets(subnet: &Subnet) -> impl Iterator<Item = IpNet> + use<> {
    let ipv6 = subnet.ipv6.as_ref().map(|block| block.cidr);
    subnet.ipv4.into_iter().chain(ipv6)
}

/// The first free block of the default VPC, as large as its other default subnets.
pub(super) fn create_default(
    request: &CreateDefaultSubnetRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let asked = request.availability_zone.as_deref().filter(|zone| !zone.is_empty());
    let zone = zone(gate, Some(asked.ok_or_else(|| Error::missing("availabilityZone"))?))?;
    let context = gate.open()?;
    let vpc = context.default_vpc().and_then(|vpc| context.snapshot.vpc(vpc));
    let vpc = vpc.ok_or_else(|| {
        let message = "No default VPC exists for this account in this region.";
        Error::new("DefaultVpcDoesNotExist", message)
    })?;
    let is_there = |subnet: &Subnet| subnet.is_default && subnet.availability_zone == zone;
    if subnets_of(context, &vpc).any(|subnet| is_there(&subnet)) {
        let message = format!("'{zone}' already has a default subnet.");
        return Err(Error::new("DefaultSubnetAlreadyExistsInAvailabilityZone", message));
    }
    let taken: Vec<_> = subnets_of(context, &vpc).flat_map(|subnet| nets(&subnet)).collect();
    let is_free = |net: &IpNet| !taken.iter().any(|other| overlaps(other, net));
    let block = vpc.cidrs.iter().map(|block| block.cidr).find(|cidr| cidr.addr().is_ipv4());
    let net = block.and_then(|cidr| seed::subnets_of(cidr).find(is_free)).ok_or_else(|| {
        let message = "The default VPC has no free block for a default subnet.";
        Error::new("InvalidSubnet.Conflict", message)
    })?;
    let subnet = Subnet { is_default: true, ..plain(context, &vpc, net, zone) };
    let txn = made(context, &vpc, &subnet);
    let shown = Some(subnet_shown(context, &subnet));
    Ok(Outcome::change(CreateDefaultSubnetResult { subnet: shown }, txn, &subnet.id))
}

pub(super) fn delete(request: &DeleteSubnetRequest, gate: &Gate<'_>) -> Result<Outcome, Error> {
    ids::SUBNET.check(&request.subnet_id)?;
    let context = gate.open()?;
    let subnet = context.own_subnet(&request.subnet_id)?;
    if interfaces_of(context, &subnet).next().is_some() {
        let id = subnet.id;
        let message = format!("The subnet '{id}' has dependencies and cannot be deleted.");
        return Err(Error::new("DependencyViolation", message));
    }
    let mut txn = Txn::new();
    let key = Key::Subnet(subnet.account, subnet.region.clone(), subnet.id);
    txn.expect(&usage::vpc_guard(subnet.vpc), usage::guard_unchanged(context, subnet.vpc));
    txn.remove(&key, subnet.mod_revision);
    Ok(Outcome::change((), txn, &subnet.id))
}

fn interfaces_of<'a>(
    context: &Context<'a>,
    subnet: &Subnet,
) -> impl Iterator<Item = Versioned<'a, NetworkInterface>> + use<'a> {
    let id = subnet.id;
    context.snapshot.interfaces_of(subnet.vpc).filter(move |interface| interface.subnet == id)
}

pub(super) fn modify_attribute(
    request: &ModifySubnetAttributeRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::SUBNET.check(&request.subnet_id)?;
    let public = given(request.map_public_ip_on_launch.as_ref(), "MapPublicIpOnLaunch")?;
    let assign =
        given(request.assign_ipv6_address_on_creation.as_ref(), "AssignIpv6AddressOnCreation")?;
    match [public, assign].into_iter().flatten().count() {
        0 => return Err(Error::combination("No attributes specified.")),
        1 => {}
        _ => return Err(Error::combination("Fields for multiple attribute types specified.")),
    }
    if public == Some(true) {
        let message = "There are no public addresses that an interface could be given";
        return Err(Error::invalid(message));
    }
    let context = gate.open()?;
    let subnet = context.own_subnet(&request.subnet_id)?;
    if assign == Some(true) && subnet.ipv6.is_none() {
        return Err(addresses::without_ipv6(&subnet));
    }
    let mut changed = subnet.object.clone();
    changed.map_public_ip = public.unwrap_or(changed.map_public_ip);
    changed.assign_ipv6 = assign.unwrap_or(changed.assign_ipv6);
    let mut txn = Txn::new();
    if changed != *subnet.object {
        txn.replace(&changed, subnet.mod_revision);
    }
    Ok(Outcome::change((), txn, &subnet.id))
}

pub(super) fn associate(
    request: &AssociateSubnetCidrBlockRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::SUBNET.check(&request.subnet_id)?;
    let text = request.ipv6_cidr_block.as_deref().filter(|text| !text.is_empty());
    let net = ipv6_block(text.ok_or_else(|| Error::missing("ipv6CidrBlock"))?)?;
    let context = gate.open()?;
    let subnet = context.own_subnet(&request.subnet_id)?;
    let vpc = context.own_vpc(&subnet.vpc.to_string())?;
    if let Some(block) = &subnet.ipv6 {
        let (id, cidr) = (subnet.id, block.cidr);
        let message = format!("The subnet '{id}' already has the IPv6 CIDR block {cidr}.");
        return Err(Error::new("InvalidSubnet.Conflict", message));
    }
    check_block(context, &vpc, &net)?;
    let block = blocks::associated(context, "subnet", net);
    let changed = Subnet { ipv6: Some(block.clone()), ..subnet.object.clone() };
    let mut txn = Txn::new();
    txn.expect(&usage::vpc_guard(vpc.id), usage::guard_unchanged(context, vpc.id));
    usage::use_vpc(&mut txn, vpc.id);
    txn.expect(&Key::Vpc(vpc.id), Expected::At(vpc.mod_revision));
    txn.replace(&changed, subnet.mod_revision);
    let answer = AssociateSubnetCidrBlockResult {
        ipv6_cidr_block_association: Some(subnet_association(
            &block,
            SubnetCidrBlockStateCode::Associated,
        )),
        subnet_id: Some(subnet.id.to_string()),
    };
    Ok(Outcome::change(answer, txn, &subnet.id))
}

pub(super) fn disassociate(
    request: &DisassociateSubnetCidrBlockRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let association = &*request.association_id;
    ids::SUBNET_BLOCK.check(association)?;
    let context = gate.open()?;
    let found = context.own::<Subnet>().find_map(|subnet| {
        let block = subnet.object.ipv6.as_ref().filter(|it| it.association == association)?;
        Some((subnet, block))
    });
    let (subnet, block): (_, &CidrBlock) =
        found.ok_or_else(|| ids::SUBNET_BLOCK.absent(association))?;
    let mut interfaces = interfaces_of(context, &subnet);
    if interfaces.any(|interface| interface.addresses.iter().any(|it| block.cidr.contains(it))) {
        let message = format!("The block {} of '{}' is in use.", block.cidr, subnet.id);
        return Err(Error::new("InvalidCidrBlock.InUse", message));
    }
    let mut txn = Txn::new();
    txn.expect(&usage::vpc_guard(subnet.vpc), usage::guard_unchanged(context, subnet.vpc));
    let changed = Subnet { ipv6: None, assign_ipv6: false, ..subnet.object.clone() };
    txn.replace(&changed, subnet.mod_revision);
    let answer = DisassociateSubnetCidrBlockResult {
        ipv6_cidr_block_association: Some(subnet_association(
            block,
            SubnetCidrBlockStateCode::Disassociated,
        )),
        subnet_id: Some(subnet.id.to_string()),
    };
    Ok(Outcome::change(answer, txn, &subnet.id))
}
