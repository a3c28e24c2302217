//! Address blocks that come to a VPC and go from it.

use ipnet::IpNet;
use sg_store::{
    Txn, Versioned,
    objects::{CidrBlock, Subnet, Vpc},
};

use super::{
    Outcome,
    blocks::{self, AskedIpv6, MAX_BLOCKS, overlaps},
    ids,
    networks::{ipv4_association, ipv6_association},
    usage,
    vpcs::check_allowed,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        AssociateVpcCidrBlockRequest, AssociateVpcCidrBlockResult, DisassociateVpcCidrBlockRequest,
        DisassociateVpcCidrBlockResult, VpcCidrBlockStateCode,
    },
};

pub(super) fn associate(
    request: &AssociateVpcCidrBlockRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::VPC.check(&request.vpc_id)?;
    let ipv4 = request.cidr_block.as_deref().filter(|text| !text.is_empty());
    let ipv4 = ipv4.map(|text| blocks::ipv4(text, "InvalidVpc.Range")).transpose()?;
    let ipv6 = AskedIpv6::read(
        request.ipv6_cidr_block.as_deref(),
        request.amazon_provided_ipv6_cidr_block,
    )?;
    if ipv4.is_some() == ipv6.is_some() {
        let message = "A request associates one CIDR block, of IPv4 or of IPv6";
        return Err(Error::combination(message));
    }
    let context = gate.open()?;
    let vpc = context.own_vpc(&request.vpc_id)?;
    let net = ipv4.or_else(|| ipv6.map(|asked| asked.block(context)));
    let net = net.ok_or_else(|| Error::missing("cidrBlock"))?;
    check_allowed(context, &net)?;
    if let Some(other) = vpc.cidrs.iter().find(|block| overlaps(&block.cidr, &net)) {
        let message =
            format!("The CIDR '{net}' conflicts with the block {} of the VPC.", other.cidr);
        return Err(Error::new("InvalidVpc.Range", message));
    }
    let is_alike = |block: &&CidrBlock| block.cidr.addr().is_ipv4() == net.addr().is_ipv4();
    if vpc.cidrs.iter().filter(is_alike).count() >= MAX_BLOCKS {
        let message = format!("A VPC has at most {MAX_BLOCKS} CIDR blocks of a family.");
        return Err(Error::new("CidrBlockLimitExceeded", message));
    }
    let block = blocks::associated(context, "vpc", net);
    let mut changed = vpc.object.clone();
    changed.cidrs.push(block.clone());
    changed.allowed.push(net);
    let mut txn = Txn::new();
    txn.replace(&changed, vpc.mod_revision);
    let mut answer = AssociateVpcCidrBlockResult {
        vpc_id: Some(vpc.id.to_string()),
        ..AssociateVpcCidrBlockResult::default()
    };
    match net {
        IpNet::V4(_) => {
            answer.cidr_block_association =
                Some(ipv4_association(&block, VpcCidrBlockStateCode::Associated));
        }
        IpNet::V6(_) => {
            answer.ipv6_cidr_block_association =
                Some(ipv6_association(&block, VpcCidrBlockStateCode::Associated));
        }
    }
    Ok(Outcome::change(answer, txn, &vpc.id))
}

/// The own VPC that has a block, and the block.
fn find<'a>(
    context: &Context<'a>,
    association: &str,
) -> Result<(Versioned<'a, Vpc>, CidrBlock), Error> {
    let found = context.own::<Vpc>().find_map(|vpc| {
        let block = vpc.object.cidrs.iter().find(|block| block.association == association)?;
        Some((vpc, block.clone()))
    });
    found.ok_or_else(|| ids::VPC_BLOCK.absent(association))
}

pub(super) fn disassociate(
    request: &DisassociateVpcCidrBlockRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let association = &*request.association_id;
    ids::VPC_BLOCK.check(association)?;
    let context = gate.open()?;
    let (vpc, block) = find(context, association)?;
    let primary = vpc.cidrs.iter().find(|block| block.cidr.addr().is_ipv4());
    if primary == Some(&block) {
        let message = format!(
            "The vpc CIDR block with association ID {association} may not be disassociated. It is the primary IPv4 \
             CIDR block of the VPC"
        );
        return Err(Error::new("OperationNotPermitted", message));
    }
    let lies_in = |subnet: &Subnet| {
        let nets = subnet.ipv4.iter().chain(subnet.ipv6.iter().map(|block| &block.cidr));
        nets.into_iter().any(|net| block.cidr.contains(net))
    };
    let mut subnets = context.snapshot.all::<Subnet>().filter(|subnet| subnet.vpc == vpc.id);
    if subnets.any(|subnet| lies_in(&subnet)) {
        let message =
            format!("The vpc {} currently has a subnet within CIDR block {}", vpc.id, block.cidr);
        return Err(Error::new("InvalidCidrBlock.InUse", message));
    }
    let mut changed = vpc.object.clone();
    changed.cidrs.retain(|other| other != &block);
    changed.allowed.retain(|net| *net != block.cidr);
    let mut txn = Txn::new();
    txn.expect(&usage::vpc_guard(vpc.id), usage::guard_unchanged(context, vpc.id));
    txn.replace(&changed, vpc.mod_revision);
    let mut answer = DisassociateVpcCidrBlockResult {
        vpc_id: Some(vpc.id.to_string()),
        ..DisassociateVpcCidrBlockResult::default()
    };
    let state = VpcCidrBlockStateCode::Disassociated;
    match block.cidr {
        IpNet::V4(_) => answer.cidr_block_association = Some(ipv4_association(&block, state)),
        IpNet::V6(_) => answer.ipv6_cidr_block_association = Some(ipv6_association(&block, state)),
    }
    Ok(Outcome::change(answer, txn, &vpc.id))
}
