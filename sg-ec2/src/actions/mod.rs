//! The actions. Each checks its parameters, opens the gate, then decides over the snapshot.

mod addresses;
mod attachments;
mod blocks;
mod change;
mod filter;
mod find;
mod groups;
mod identity;
mod ids;
mod interface_addresses;
mod interface_tags;
mod interface_view;
mod interfaces;
mod list_copies;
mod list_entries;
mod list_view;
mod lists;
mod modify_interface;
mod modify_rules;
mod networks;
mod page;
mod permission;
mod references;
mod resource_tags;
mod rule_descriptions;
mod rule_quota;
mod rule_view;
mod rules;
mod subnets;
mod tags;
mod text;
mod token;
mod usage;
mod vpc_blocks;
mod vpcs;

pub(crate) use groups::default_egress;
use sg_store::Txn;

use crate::{
    answer::Response,
    call::{Context, Decision, Gate, Inner},
    codec::xml::Members,
    error::Error,
    generated::{ec2, sts},
};

/// The members of an action's answer, and its changes.
struct Outcome {
    answer: Box<dyn Members>,
    txn: Option<Txn>,
    resources: Vec<String>,
}

impl Outcome {
    fn read(answer: impl Members + 'static) -> Self {
        Self { answer: Box::new(answer), txn: None, resources: Vec::new() }
    }

    fn change(answer: impl Members + 'static, txn: Txn, resource: &impl ToString) -> Self {
        Self { answer: Box::new(answer), txn: Some(txn), resources: vec![resource.to_string()] }
    }
}

pub(crate) fn decide(request: Inner, gate: &Gate<'_>) -> Result<Decision, Error> {
    match request {
        Inner::Ec2(request) => {
            let action = request.action();
            let outcome = ec2(*request, gate)?;
            Ok(decision(outcome, |answer, id| Response::ec2(action, answer, id), gate.context))
        }
        Inner::Sts(request) => {
            let action = request.action();
            let sts::Request::GetCallerIdentity(_) = request;
            let outcome = identity::get_caller_identity(gate)?;
            Ok(decision(outcome, |answer, id| Response::sts(action, answer, id), gate.context))
        }
    }
}

fn decision(
    outcome: Outcome,
    respond: impl FnOnce(&dyn Members, &str) -> Response,
    context: &Context<'_>,
) -> Decision {
    let Outcome { answer, txn, resources } = outcome;
    let response = respond(&*answer, context.request_id);
    // A transaction without writes is a change that changes nothing.
    Decision { response, txn: txn.filter(|txn| !txn.is_empty()), resources }
}

fn ec2(request: ec2::Request, gate: &Gate<'_>) -> Result<Outcome, Error> {
    use ec2::Request as R;
    match request {
        R::AssignIpv6Addresses(request) => interface_addresses::assign_ipv6(&request, gate),
        R::AssignPrivateIpAddresses(request) => interface_addresses::assign(&request, gate),
        R::AssociateSubnetCidrBlock(request) => subnets::associate(&request, gate),
        R::AssociateVpcCidrBlock(request) => vpc_blocks::associate(&request, gate),
        R::AttachNetworkInterface(request) => attachments::attach(&request, gate),
        R::AuthorizeSecurityGroupEgress(request) => rules::authorize(&request.try_into()?, gate),
        R::AuthorizeSecurityGroupIngress(request) => rules::authorize(&request.try_into()?, gate),
        R::CreateDefaultSubnet(request) => subnets::create_default(&request, gate),
        R::CreateDefaultVpc(request) => vpcs::create_default(&request, gate),
        R::CreateManagedPrefixList(request) => lists::create(&request, gate),
        R::CreateNetworkInterface(request) => interfaces::create(&request, gate),
        R::CreateSecurityGroup(request) => groups::create(&request, gate),
        R::CreateSubnet(request) => subnets::create(&request, gate),
        R::CreateTags(request) => resource_tags::create(&request, gate),
        R::CreateVpc(request) => vpcs::create(&request, gate),
        R::DeleteManagedPrefixList(request) => lists::delete(&request, gate),
        R::DeleteNetworkInterface(request) => interfaces::delete(&request, gate),
        R::DeleteSecurityGroup(request) => groups::delete(&request, gate),
        R::DeleteSubnet(request) => subnets::delete(&request, gate),
        R::DeleteTags(request) => resource_tags::delete(&request, gate),
        R::DeleteVpc(request) => vpcs::delete(&request, gate),
        R::DescribeManagedPrefixLists(request) => list_view::describe(&request, gate),
        R::DescribeNetworkInterfaceAttribute(request) => {
            interface_view::describe_attribute(&request, gate)
        }
        R::DescribeNetworkInterfaces(request) => interface_view::describe(&request, gate),
        R::DescribePrefixLists(request) => list_view::describe_of_services(&request, gate),
        R::DescribeSecurityGroupReferences(request) => references::describe(&request, gate),
        R::DescribeSecurityGroupRules(request) => rule_view::describe(&request, gate),
        R::DescribeSecurityGroups(request) => groups::describe(&request, gate),
        R::DescribeStaleSecurityGroups(request) => references::describe_stale(&request, gate),
        R::DescribeSubnets(request) => networks::describe_subnets(&request, gate),
        R::DescribeTags(request) => resource_tags::describe(&request, gate),
        R::DescribeVpcAttribute(request) => vpcs::describe_attribute(&request, gate),
        R::DescribeVpcs(request) => networks::describe_vpcs(&request, gate),
        R::DetachNetworkInterface(request) => attachments::detach(&request, gate),
        R::DisassociateSubnetCidrBlock(request) => subnets::disassociate(&request, gate),
        R::DisassociateVpcCidrBlock(request) => vpc_blocks::disassociate(&request, gate),
        R::GetManagedPrefixListAssociations(request) => list_view::associations(&request, gate),
        R::GetManagedPrefixListEntries(request) => list_view::entries(&request, gate),
        R::GetSecurityGroupsForVpc(request) => groups::of_vpc(&request, gate),
        R::ModifyManagedPrefixList(request) => lists::modify(&request, gate),
        R::ModifyNetworkInterfaceAttribute(request) => modify_interface::modify(&request, gate),
        R::ModifySecurityGroupRules(request) => modify_rules::modify(&request, gate),
        R::ModifySubnetAttribute(request) => subnets::modify_attribute(&request, gate),
        R::ModifyVpcAttribute(request) => vpcs::modify_attribute(&request, gate),
        R::ResetNetworkInterfaceAttribute(request) => modify_interface::reset(&request, gate),
        R::RestoreManagedPrefixListVersion(request) => lists::restore(&request, gate),
        R::RevokeSecurityGroupEgress(request) => rules::revoke(&request.try_into()?, gate),
        R::RevokeSecurityGroupIngress(request) => rules::revoke(&request.try_into()?, gate),
        R::UnassignIpv6Addresses(request) => interface_addresses::unassign_ipv6(&request, gate),
        R::UnassignPrivateIpAddresses(request) => interface_addresses::unassign(&request, gate),
        R::UpdateSecurityGroupRuleDescriptionsEgress(request) => {
            rule_descriptions::update(&request.into(), gate)
        }
        R::UpdateSecurityGroupRuleDescriptionsIngress(request) => {
            rule_descriptions::update(&request.into(), gate)
        }
    }
}

#[cfg(test)]
mod tests;
