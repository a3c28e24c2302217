//! VPCs and subnets, described.

use std::net::IpAddr;

use ipnet::IpNet;
use sg_store::objects::{CidrBlock, Subnet, Vpc};

use super::{Outcome, addresses, filter::Filters, ids, page::Page, tags};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        self, DescribeSubnetsRequest, DescribeSubnetsResult, DescribeVpcsRequest,
        DescribeVpcsResult, SubnetCidrBlockState, SubnetCidrBlockStateCode,
        SubnetIpv6CidrBlockAssociation, SubnetState, Tenancy, VpcCidrBlockAssociation,
        VpcCidrBlockState, VpcCidrBlockStateCode, VpcIpv6CidrBlockAssociation, VpcState,
    },
};

const VPC_FILTERS: &[&str] = &[
    "cidr",
    "cidr-block",
    "cidrBlock",
    "cidr-block-association.association-id",
    "cidr-block-association.cidr-block",
    "cidr-block-association.state",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.state",
    "is-default",
    "isDefault",
    "owner-id",
    "state",
    "vpc-id",
];

pub(super) fn describe_vpcs(
    request: &DescribeVpcsRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::VPC.check_all(&request.vpc_ids)?;
    let filters = Filters::read(&request.filters, VPC_FILTERS)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;

    let context = gate.open()?;
    let mut wanted = Vec::new();
    for id in &request.vpc_ids {
        wanted.push(context.own_vpc(id)?.id);
    }
    let found = context
        .own::<Vpc>()
        .filter(|vpc| wanted.is_empty() || wanted.contains(&vpc.id))
        .filter(|vpc| filters.hold(&vpc.tags, |name| vpc_values(vpc, name)))
        .map(|vpc| (vpc.id.to_string(), vpc));
    let (vpcs, next_token) = page.cut(found);
    let vpcs = vpcs.iter().map(|vpc| vpc_shown(vpc)).collect();
    Ok(Outcome::read(DescribeVpcsResult { next_token, vpcs }))
}

fn blocks(vpc: &Vpc, is_ipv4: bool) -> impl Iterator<Item = &CidrBlock> {
    vpc.cidrs.iter().filter(move |block| matches!(block.cidr, IpNet::V4(_)) == is_ipv4)
}

fn vpc_values(vpc: &Vpc, filter: &str) -> Vec<String> {
    let nets = |is_ipv4| blocks(vpc, is_ipv4).map(|block| block.cidr.to_string());
    let associations = |is_ipv4| blocks(vpc, is_ipv4).map(|block| block.association.clone());
    match filter {
        "cidr" | "cidr-block" | "cidrBlock" => nets(true).take(1).collect(),
        "cidr-block-association.cidr-block" => nets(true).collect(),
        "cidr-block-association.association-id" => associations(true).collect(),
        "cidr-block-association.state" => nets(true).map(|_| "associated".to_owned()).collect(),
        "ipv6-cidr-block-association.ipv6-cidr-block" => nets(false).collect(),
        "ipv6-cidr-block-association.association-id" => associations(false).collect(),
        "ipv6-cidr-block-association.state" => {
            nets(false).map(|_| "associated".to_owned()).collect()
        }
        "is-default" | "isDefault" => vec![vpc.is_default.to_string()],
        "owner-id" => vec![vpc.account.to_string()],
        "state" => vec!["available".to_owned()],
        "vpc-id" => vec![vpc.id.to_string()],
        _ => Vec::new(),
    }
}

/// An IPv4 block of a VPC with its association.
pub(super) fn ipv4_association(
    block: &CidrBlock,
    state: VpcCidrBlockStateCode,
) -> VpcCidrBlockAssociation {
    VpcCidrBlockAssociation {
        association_id: Some(block.association.clone()),
        cidr_block: Some(block.cidr.to_string()),
        cidr_block_state: Some(VpcCidrBlockState { state: Some(state), status_message: None }),
    }
}

pub(super) fn ipv6_association(
    block: &CidrBlock,
    state: VpcCidrBlockStateCode,
) -> VpcIpv6CidrBlockAssociation {
    VpcIpv6CidrBlockAssociation {
        association_id: Some(block.association.clone()),
        ipv6_cidr_block: Some(block.cidr.to_string()),
        ipv6_cidr_block_state: Some(VpcCidrBlockState { state: Some(state), status_message: None }),
    }
}

pub(super) fn vpc_shown(vpc: &Vpc) -> ec2::Vpc {
    let ipv4 = |block| ipv4_association(block, VpcCidrBlockStateCode::Associated);
    let ipv6 = |block| ipv6_association(block, VpcCidrBlockStateCode::Associated);
    ec2::Vpc {
        cidr_block: blocks(vpc, true).next().map(|block| block.cidr.to_string()),
        cidr_block_association_set: blocks(vpc, true).map(ipv4).collect(),
        instance_tenancy: Some(Tenancy::Default),
        ipv6_cidr_block_association_set: blocks(vpc, false).map(ipv6).collect(),
        is_default: Some(vpc.is_default),
        owner_id: Some(vpc.account.to_string()),
        state: Some(VpcState::Available),
        tags: tags::shown(&vpc.tags),
        vpc_id: Some(vpc.id.to_string()),
    }
}

const SUBNET_FILTERS: &[&str] = &[
    "availability-zone",
    "availabilityZone",
    "available-ip-address-count",
    "cidr",
    "cidr-block",
    "cidrBlock",
    "default-for-az",
    "defaultForAz",
    "ipv6-cidr-block-association.association-id",
    "ipv6-cidr-block-association.ipv6-cidr-block",
    "ipv6-cidr-block-association.state",
    "map-public-ip-on-launch",
    "owner-id",
    "state",
    "subnet-arn",
    "subnet-id",
    "vpc-id",
];

pub(super) fn describe_subnets(
    request: &DescribeSubnetsRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::SUBNET.check_all(&request.subnet_ids)?;
    let filters = Filters::read(&request.filters, SUBNET_FILTERS)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;

    let context = gate.open()?;
    let mut wanted = Vec::new();
    for id in &request.subnet_ids {
        wanted.push(context.own_subnet(id)?.id);
    }
    let found = context
        .own::<Subnet>()
        .filter(|subnet| wanted.is_empty() || wanted.contains(&subnet.id))
        .filter(|subnet| filters.hold(&subnet.tags, |name| subnet_values(context, subnet, name)))
        .map(|subnet| (subnet.id.to_string(), subnet));
    let (subnets, next_token) = page.cut(found);
    let subnets = subnets.iter().map(|subnet| subnet_shown(context, subnet)).collect();
    Ok(Outcome::read(DescribeSubnetsResult { next_token, subnets }))
}

/// Free IPv4 addresses that can be given automatically.
fn free_addresses(context: &Context<'_>, subnet: &Subnet) -> i32 {
    let Some(IpNet::V4(net)) = subnet.ipv4 else { return 0 };
    let Some((first, last)) = addresses::automatic(net) else { return 0 };
    let interfaces = context.snapshot.interfaces_of(subnet.vpc);
    let used = interfaces.flat_map(|interface| &interface.object.addresses);
    let is_here = |address: &&IpAddr| match address {
        IpAddr::V4(address) => (first..=last).contains(&address.to_bits()),
        IpAddr::V6(_) => false,
    };
    let free = i64::from(last) - i64::from(first) + 1 - used.filter(is_here).count() as i64;
    i32::try_from(free.max(0)).unwrap_or(i32::MAX)
}

fn subnet_values(context: &Context<'_>, subnet: &Subnet, filter: &str) -> Vec<String> {
    let ipv6 = |text: fn(&CidrBlock) -> String| subnet.ipv6.iter().map(text).collect();
    match filter {
        "availability-zone" | "availabilityZone" => vec![subnet.availability_zone.clone()],
        "available-ip-address-count" => vec![free_addresses(context, subnet).to_string()],
        "cidr" | "cidr-block" | "cidrBlock" => {
            subnet.ipv4.iter().map(ToString::to_string).collect()
        }
        "default-for-az" | "defaultForAz" => vec![subnet.is_default.to_string()],
        "ipv6-cidr-block-association.association-id" => ipv6(|block| block.association.clone()),
        "ipv6-cidr-block-association.ipv6-cidr-block" => ipv6(|block| block.cidr.to_string()),
        "ipv6-cidr-block-association.state" => ipv6(|_| "associated".to_owned()),
        "map-public-ip-on-launch" => vec![subnet.map_public_ip.to_string()],
        "owner-id" => vec![subnet.account.to_string()],
        "state" => vec!["available".to_owned()],
        "subnet-arn" => vec![context.arn(subnet.account, "subnet", subnet.id)],
        "subnet-id" => vec![subnet.id.to_string()],
        "vpc-id" => vec![subnet.vpc.to_string()],
        _ => Vec::new(),
    }
}

/// An IPv6 block of a subnet with its association.
pub(super) fn subnet_association(
    block: &CidrBlock,
    state: SubnetCidrBlockStateCode,
) -> SubnetIpv6CidrBlockAssociation {
    SubnetIpv6CidrBlockAssociation {
        association_id: Some(block.association.clone()),
        ipv6_cidr_block: Some(block.cidr.to_string()),
        ipv6_cidr_block_state: Some(SubnetCidrBlockState {
            state: Some(state),
            status_message: None,
        }),
    }
}

pub(super) fn subnet_shown(context: &Context<'_>, subnet: &Subnet) -> ec2::Subnet {
    let ipv6 = |block| subnet_association(block, SubnetCidrBlockStateCode::Associated);
    ec2::Subnet {
        assign_ipv6_address_on_creation: Some(subnet.assign_ipv6),
        availability_zone: Some(subnet.availability_zone.clone()),
        available_ip_address_count: Some(free_addresses(context, subnet)),
        cidr_block: subnet.ipv4.map(|net| net.to_string()),
        default_for_az: Some(subnet.is_default),
        ipv6_cidr_block_association_set: subnet.ipv6.iter().map(ipv6).collect(),
        map_public_ip_on_launch: Some(subnet.map_public_ip),
        owner_id: Some(subnet.account.to_string()),
        state: Some(SubnetState::Available),
        subnet_arn: Some(context.arn(subnet.account, "subnet", subnet.id)),
        subnet_id: Some(subnet.id.to_string()),
        tags: tags::shown(&subnet.tags),
        vpc_id: Some(subnet.vpc.to_string()),
    }
}
