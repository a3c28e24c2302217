//! VPCs: made, deleted, their attributes.

use ipnet::IpNet;
use sg_policy::id::VpcId;
use sg_store::{
    EpochId, Index, Key, Txn,
    key::Counted,
    objects::{Account, AccountRegion, EpochRecord, NetworkInterface, SecurityGroup, Subnet, Vpc},
};

use super::{
    Outcome,
    blocks::{self, AskedIpv6},
    ids, interface_tags, list_copies,
    networks::vpc_shown,
    tags, usage,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        AttributeBooleanValue, CreateDefaultVpcRequest, CreateDefaultVpcResult, CreateVpcRequest,
        CreateVpcResult, DeleteVpcRequest, DescribeVpcAttributeRequest, DescribeVpcAttributeResult,
        ModifyVpcAttributeRequest, ResourceType, Tenancy, VpcAttributeName,
    },
    seed,
};

/// EC2's default VPC, for accounts that may have it anywhere.
const DEFAULT_CIDR: &str = "172.31.0.0/16";

pub(super) fn create(request: &CreateVpcRequest, gate: &Gate<'_>) -> Result<Outcome, Error> {
    let text = request.cidr_block.as_deref().filter(|text| !text.is_empty());
    let ipv4 = blocks::ipv4(text.ok_or_else(|| Error::missing("cidrBlock"))?, "InvalidVpc.Range")?;
    let ipv6 = AskedIpv6::read(
        request.ipv6_cidr_block.as_deref(),
        request.amazon_provided_ipv6_cidr_block,
    )?;
    if let Some(tenancy) = request.instance_tenancy.filter(|tenancy| *tenancy != Tenancy::Default) {
        let expected = "It must be default";
        return Err(Error::invalid_value("InstanceTenancy", tenancy.as_str(), expected));
    }
    let quotas = gate.context.quotas;
    let tags = tags::of_new(&request.tag_specifications, ResourceType::Vpc, quotas)?;
    let settings = interface_tags::vpc_settings(&tags)?;

    let context = gate.open()?;
    let mut vpc = Vpc {
        id: VpcId(context.draw_id()),
        epoch: epoch(context),
        account: context.caller.account,
        region: context.region.clone(),
        cidrs: vec![blocks::associated(context, "vpc", ipv4)],
        allowed: vec![ipv4],
        is_default: false,
        settings,
        dns_support: true,
        dns_hostnames: false,
        tags,
    };
    if let Some(net) = ipv6.map(|asked| asked.block(context)) {
        vpc.cidrs.push(blocks::associated(context, "vpc", net));
        vpc.allowed.push(net);
    }
    for net in &vpc.allowed {
        check_allowed(context, net)?;
    }
    let mut txn = Txn::new();
    count(context, &mut txn)?;
    txn.create(&vpc);
    seed::add_default_group(&mut txn, &vpc, context.draw);
    Ok(Outcome::change(CreateVpcResult { vpc: Some(vpc_shown(&vpc)) }, txn, &vpc.id))
}

/// One VPC and its default group.
fn count(context: &Context<'_>, txn: &mut Txn) -> Result<(), Error> {
    let quotas = context.quotas;
    usage::count_up(context, txn, Counted::Vpcs, quotas.vpcs, || {
        Error::new("VpcLimitExceeded", "The maximum number of VPCs has been reached.")
    })?;
    usage::count_up(context, txn, Counted::Groups, quotas.groups, || {
        let message = "The maximum number of security groups has been reached.";
        Error::new("SecurityGroupLimitExceeded", message)
    })
}

/// The store's identity, which every VPC carries.
fn epoch(context: &Context<'_>) -> EpochId {
    let record = context.snapshot.get::<EpochRecord>(&Key::Epoch).map(|record| record.epoch);
    // A store of tests may have no record; its VPCs know.
    record
        .or_else(|| context.snapshot.all::<Vpc>().next().map(|vpc| vpc.epoch))
        .unwrap_or(EpochId(0))
}

/// The prefixes that the account's VPCs must lie in; `None`: anywhere.
fn allow<'a>(context: &Context<'a>) -> Option<&'a [IpNet]> {
    let account = context.snapshot.get::<Account>(&Key::Account(context.caller.account))?;
    account.object.allow.as_deref()
}

pub(super) fn check_allowed(context: &Context<'_>, net: &IpNet) -> Result<(), Error> {
    match allow(context) {
        Some(allow) if !allow.iter().any(|prefix| prefix.contains(net)) => {
            let message = format!("The CIDR '{net}' is not within the prefixes of the account.");
            Err(Error::new("InvalidVpc.Range", message))
        }
        _ => Ok(()),
    }
}

pub(super) fn create_default(
    _: &CreateDefaultVpcRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let context = gate.open()?;
    let key = Key::Region(context.caller.account, context.region.clone());
    let region = context.snapshot.get::<AccountRegion>(&key);
    if region.is_some_and(|region| region.default_vpc.is_some()) {
        let message = "A Default VPC already exists for this account in this region.";
        return Err(Error::new("DefaultVpcAlreadyExists", message));
    }
    let allowed = allow(context).and_then(|allow| allow.iter().find(|net| net.addr().is_ipv4()));
    let cidr = allowed.copied().unwrap_or_else(|| DEFAULT_CIDR.parse().expect("a network"));
    let mut txn = Txn::new();
    count(context, &mut txn)?;
    let new = seed::NewVpc {
        account: context.caller.account,
        region: context.region,
        epoch: epoch(context),
        cidrs: &[cidr],
        draw: context.draw,
    };
    let vpc = seed::add_vpc_of_default(&mut txn, &new);
    let record = AccountRegion {
        account: context.caller.account,
        region: context.region.clone(),
        default_vpc: Some(vpc.id),
    };
    match region {
        Some(region) => txn.replace(&record, region.mod_revision),
        None => txn.create(&record),
    };
    Ok(Outcome::change(CreateDefaultVpcResult { vpc: Some(vpc_shown(&vpc)) }, txn, &vpc.id))
}

/// Only a VPC with nothing but its default group goes.
pub(super) fn delete(request: &DeleteVpcRequest, gate: &Gate<'_>) -> Result<Outcome, Error> {
    ids::VPC.check(&request.vpc_id)?;
    let context = gate.open()?;
    let vpc = context.own_vpc(&request.vpc_id)?;
    let mut groups = context.snapshot.groups_of(vpc.id).collect::<Vec<_>>();
    groups.retain(|group| group.name != "default");
    let has_subnets = context.snapshot.all::<Subnet>().any(|subnet| subnet.vpc == vpc.id);
    let has_interfaces =
        context.snapshot.all::<NetworkInterface>().any(|interface| interface.vpc == vpc.id);
    if has_subnets || has_interfaces || !groups.is_empty() {
        let message = format!("The vpc '{}' has dependencies and cannot be deleted.", vpc.id);
        return Err(Error::new("DependencyViolation", message));
    }
    let mut txn = Txn::new();
    usage::forget_vpc(context, &mut txn, vpc.id);
    txn.remove(&Key::Vpc(vpc.id), vpc.mod_revision);
    for group in context.snapshot.groups_of(vpc.id) {
        delete_default_group(context, &mut txn, &group)?;
    }
    usage::count_down(context, &mut txn, Counted::Vpcs);
    if vpc.is_default {
        let key = Key::Region(vpc.account, vpc.region.clone());
        if let Some(region) = context.snapshot.get::<AccountRegion>(&key) {
            let record = AccountRegion { default_vpc: None, ..region.object.clone() };
            txn.replace(&record, region.mod_revision);
        }
    }
    Ok(Outcome::change((), txn, &vpc.id))
}

fn delete_default_group(
    context: &Context<'_>,
    txn: &mut Txn,
    group: &sg_store::Versioned<'_, SecurityGroup>,
) -> Result<(), Error> {
    txn.remove(&Key::Group(group.vpc, group.id), group.mod_revision);
    txn.delete(&Key::Index(Index::group_name(group.vpc, &group.name)));
    list_copies::follow(context, txn, group, None)?;
    usage::forget_group(context, txn, group.id);
    usage::count_down(context, txn, Counted::Groups);
    Ok(())
}

pub(super) fn describe_attribute(
    request: &DescribeVpcAttributeRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::VPC.check(&request.vpc_id)?;
    let context = gate.open()?;
    let vpc = context.own_vpc(&request.vpc_id)?;
    let mut answer = DescribeVpcAttributeResult {
        vpc_id: Some(vpc.id.to_string()),
        ..DescribeVpcAttributeResult::default()
    };
    let value = |value| Some(AttributeBooleanValue { value: Some(value) });
    match request.attribute {
        VpcAttributeName::EnableDnsSupport => answer.enable_dns_support = value(vpc.dns_support),
        VpcAttributeName::EnableDnsHostnames => {
            answer.enable_dns_hostnames = value(vpc.dns_hostnames);
        }
        VpcAttributeName::EnableNetworkAddressUsageMetrics => {
            answer.enable_network_address_usage_metrics = value(false);
        }
    }
    Ok(Outcome::read(answer))
}

pub(super) fn modify_attribute(
    request: &ModifyVpcAttributeRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::VPC.check(&request.vpc_id)?;
    let (support, hostnames, metrics) = (
        given(request.enable_dns_support.as_ref(), "EnableDnsSupport")?,
        given(request.enable_dns_hostnames.as_ref(), "EnableDnsHostnames")?,
        given(
            request.enable_network_address_usage_metrics.as_ref(),
            "EnableNetworkAddressUsageMetrics",
        )?,
    );
    match [support, hostnames, metrics].into_iter().flatten().count() {
        0 => return Err(Error::combination("No attributes specified.")),
        1 => {}
        _ => return Err(Error::combination("Fields for multiple attribute types specified.")),
    }
    if metrics == Some(true) {
        let message = "There are no metrics of network address usage";
        return Err(Error::invalid(message));
    }
    let context = gate.open()?;
    let vpc = context.own_vpc(&request.vpc_id)?;
    let mut changed = vpc.object.clone();
    changed.dns_support = support.unwrap_or(changed.dns_support);
    changed.dns_hostnames = hostnames.unwrap_or(changed.dns_hostnames);
    let mut txn = Txn::new();
    if changed != *vpc.object {
        txn.replace(&changed, vpc.mod_revision);
    }
    Ok(Outcome::change((), txn, &vpc.id))
}

/// The value of an attribute that is given, which must be there.
pub(super) fn given(
    attribute: Option<&AttributeBooleanValue>,
    name: &str,
) -> Result<Option<bool>, Error> {
    let Some(attribute) = attribute else { return Ok(None) };
    attribute.value.map(Some).ok_or_else(|| Error::missing(format!("{name}.Value")))
}
