//! Rules that name groups: from other VPCs, and groups that are gone.

use sg_policy::model::Peer;
use sg_store::objects::{GroupRule, SecurityGroup};

use super::{Outcome, ids, page::Page, permission::shown_services};
use crate::{
    call::Gate,
    error::Error,
    generated::ec2::{
        DescribeSecurityGroupReferencesRequest, DescribeSecurityGroupReferencesResult,
        DescribeStaleSecurityGroupsRequest, DescribeStaleSecurityGroupsResult,
        SecurityGroupReference, StaleIpPermission, StaleSecurityGroup, UserIdGroupPair,
    },
};

/// VPCs, other than a group's own, that have rules which name the group.
pub(super) fn describe(
    request: &DescribeSecurityGroupReferencesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::GROUP.check_all(&request.group_id)?;
    let context = gate.open()?;
    let mut references = Vec::new();
    for id in request.group_id.iter() {
        let group = context.own_group(&ids::GROUP, id)?;
        let peer = Peer::Group(group.id);
        let names = |other: &SecurityGroup| other.all_rules().any(|(_, rule)| rule.peer == peer);
        let others = context.snapshot.all::<SecurityGroup>();
        let mut vpcs: Vec<_> = others
            .filter(|other| other.vpc != group.vpc && names(other.object))
            .map(|other| other.vpc)
            .collect();
        // Groups come in the order of their VPCs.
        vpcs.dedup();
        references.extend(vpcs.into_iter().map(|vpc| SecurityGroupReference {
            group_id: Some(id.clone()),
            referencing_vpc_id: Some(vpc.to_string()),
        }));
    }
    let security_group_reference_set = references;
    Ok(Outcome::read(DescribeSecurityGroupReferencesResult { security_group_reference_set }))
}

/// Groups of a VPC with rules whose peer group is gone.
pub(super) fn describe_stale(
    request: &DescribeStaleSecurityGroupsRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::VPC.check(&request.vpc_id)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;
    let context = gate.open()?;
    let vpc = context.own_vpc(&request.vpc_id)?.id;
    let stale = |rules: &[GroupRule]| {
        let gone = rules.iter().filter_map(|rule| match rule.peer {
            Peer::Group(peer) if context.snapshot.group(peer).is_none() => Some((rule, peer)),
            _ => None,
        });
        let permission = |(rule, peer): (&GroupRule, sg_policy::id::GroupId)| {
            let (protocol, from_port, to_port) = shown_services(rule.services, false);
            let pair = UserIdGroupPair {
                description: Some(rule.description.clone()).filter(|text| !text.is_empty()),
                group_id: Some(peer.to_string()),
                ..UserIdGroupPair::default()
            };
            StaleIpPermission {
                from_port,
                ip_protocol: Some(protocol),
                to_port,
                user_id_group_pairs: vec![pair],
                ..StaleIpPermission::default()
            }
        };
        gone.map(permission).collect::<Vec<_>>()
    };
    let shown = |group: &SecurityGroup| StaleSecurityGroup {
        description: Some(group.description.clone()),
        group_id: Some(group.id.to_string()),
        group_name: Some(group.name.clone()),
        stale_ip_permissions: stale(&group.ingress),
        stale_ip_permissions_egress: stale(&group.egress),
        vpc_id: Some(group.vpc.to_string()),
    };
    let groups = context.snapshot.groups_of(vpc).map(|group| shown(group.object));
    let is_stale = |group: &StaleSecurityGroup| {
        !group.stale_ip_permissions.is_empty() || !group.stale_ip_permissions_egress.is_empty()
    };
    let groups = groups.filter(is_stale);
    let items = groups.map(|group| (group.group_id.clone().unwrap_or_default(), group));
    let (stale_security_group_set, next_token) = page.cut(items);
    Ok(Outcome::read(DescribeStaleSecurityGroupsResult { next_token, stale_security_group_set }))
}
