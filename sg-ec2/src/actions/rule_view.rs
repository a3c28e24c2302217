//! Rules as DescribeSecurityGroupRules and the answers of changes show them: one item a peer.

use ipnet::IpNet;
use sg_common::Direction;
use sg_policy::{
    id::RuleId,
    model::{Peer, PortRange, Services},
};
use sg_store::objects::{GroupRule, SecurityGroup};

use super::{
    Outcome,
    filter::Filters,
    ids,
    page::Page,
    permission::{Asked, AskedPeer, owner_of, shown_services},
    tags,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        DescribeSecurityGroupRulesRequest, DescribeSecurityGroupRulesResult, IpPermission, IpRange,
        Ipv6Range, PrefixListId, ReferencedSecurityGroup, RevokedSecurityGroupRule,
        SecurityGroupRule, UserIdGroupPair,
    },
};

const FILTERS: &[&str] = &["group-id", "security-group-rule-id"];

pub(super) fn describe(
    request: &DescribeSecurityGroupRulesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::RULE.check_all(&request.security_group_rule_ids)?;
    let filters = Filters::read(&request.filters, FILTERS)?;
    for id in Filters::values(&request.filters, "group-id").filter(|id| !id.contains(['*', '?'])) {
        ids::GROUP.check(id)?;
    }
    let page = Page::read(request.max_results, request.next_token.as_deref())?;

    let context = gate.open()?;
    let mut wanted = Vec::new();
    for id in &request.security_group_rule_ids {
        wanted.push(ids::RULE.find::<RuleId, _>(id, Some)?);
    }
    let mut found = Vec::new();
    for group in context.own::<SecurityGroup>() {
        for (direction, rule) in group.object.all_rules() {
            let is_wanted = wanted.is_empty() || wanted.contains(&rule.id);
            let values = |name: &str| match name {
                "group-id" => vec![group.id.to_string()],
                "security-group-rule-id" => vec![rule.id.to_string()],
                _ => Vec::new(),
            };
            if is_wanted && filters.hold(&rule.tags, values) {
                found.push((rule.id, (group.object, direction, rule)));
            }
        }
    }
    let is_there = |id: &&RuleId| {
        !context
            .own::<SecurityGroup>()
            .any(|group| group.object.all_rules().any(|(_, rule)| rule.id == **id))
    };
    if let Some(absent) = wanted.iter().find(is_there) {
        return Err(ids::RULE.absent(&absent.to_string()));
    }
    let items = found.into_iter().map(|(id, item)| (id.to_string(), item));
    let (rules, next_token) = page.cut(items);
    let security_group_rules = rules
        .into_iter()
        .map(|(group, direction, rule)| rule_shown(context, group, direction, rule))
        .collect();
    Ok(Outcome::read(DescribeSecurityGroupRulesResult { next_token, security_group_rules }))
}

pub(super) fn rule_shown(
    context: &Context<'_>,
    group: &SecurityGroup,
    direction: Direction,
    rule: &GroupRule,
) -> SecurityGroupRule {
    let (protocol, from_port, to_port) = shown_services(rule.services, true);
    let referenced = match rule.peer {
        Peer::Group(peer) => Some(ReferencedSecurityGroup {
            group_id: Some(peer.to_string()),
            user_id: owner_of(context, peer),
            vpc_id: None,
        }),
        _ => None,
    };
    SecurityGroupRule {
        cidr_ipv4: net_of(rule, true),
        cidr_ipv6: net_of(rule, false),
        description: described(rule),
        from_port,
        group_id: Some(group.id.to_string()),
        group_owner_id: Some(group.account.to_string()),
        ip_protocol: Some(protocol),
        is_egress: Some(direction == Direction::Egress),
        prefix_list_id: list_of(rule),
        referenced_group_info: referenced,
        security_group_rule_arn: Some(context.arn(group.account, "security-group-rule", rule.id)),
        security_group_rule_id: Some(rule.id.to_string()),
        tags: tags::shown(&rule.tags),
        to_port,
    }
}

/// A rule that was revoked.
pub(super) fn revoked(
    group: &SecurityGroup,
    direction: Direction,
    rule: &GroupRule,
) -> RevokedSecurityGroupRule {
    let (protocol, from_port, to_port) = shown_services(rule.services, true);
    let referenced = match rule.peer {
        Peer::Group(peer) => Some(peer.to_string()),
        _ => None,
    };
    RevokedSecurityGroupRule {
        cidr_ipv4: net_of(rule, true),
        cidr_ipv6: net_of(rule, false),
        description: described(rule),
        from_port,
        group_id: Some(group.id.to_string()),
        ip_protocol: Some(protocol),
        is_egress: Some(direction == Direction::Egress),
        prefix_list_id: list_of(rule),
        referenced_group_id: referenced,
        security_group_rule_id: Some(rule.id.to_string()),
        to_port,
    }
}

fn net_of(rule: &GroupRule, is_ipv4: bool) -> Option<String> {
    match rule.peer {
        Peer::Cidr(net) if matches!(net, IpNet::V4(_)) == is_ipv4 => Some(net.to_string()),
        _ => None,
    }
}

fn list_of(rule: &GroupRule) -> Option<String> {
    match rule.peer {
        Peer::PrefixList(list) => Some(list.to_string()),
        _ => None,
    }
}

fn described(rule: &GroupRule) -> Option<String> {
    Some(rule.description.clone()).filter(|description| !description.is_empty())
}

/// A permission that no rule has, as RevokeSecurityGroupIngress answers it.
pub(super) fn unknown_shown(group: &SecurityGroup, asked: &Asked) -> IpPermission {
    let (protocol, from_port, to_port) = shown_services(asked.services, false);
    let mut permission =
        IpPermission { from_port, ip_protocol: Some(protocol), to_port, ..IpPermission::default() };
    match &asked.peer {
        AskedPeer::Cidr(net @ IpNet::V4(_)) => {
            permission
                .ip_ranges
                .push(IpRange { cidr_ip: Some(net.to_string()), description: None });
        }
        AskedPeer::Cidr(net @ IpNet::V6(_)) => permission
            .ipv6_ranges
            .push(Ipv6Range { cidr_ipv6: Some(net.to_string()), description: None }),
        AskedPeer::PrefixList(id) => permission
            .prefix_list_ids
            .push(PrefixListId { prefix_list_id: Some(id.clone()), description: None }),
        AskedPeer::Group { id, name, account } => {
            permission.user_id_group_pairs.push(UserIdGroupPair {
                group_id: id.clone(),
                group_name: name.clone(),
                user_id: account.clone().or_else(|| Some(group.account.to_string())),
                ..UserIdGroupPair::default()
            });
        }
    }
    permission
}

/// The refusal of a rule that is there already.
pub(super) fn duplicate(rule: &GroupRule) -> Error {
    let peer = match rule.peer {
        Peer::Cidr(net) => net.to_string(),
        Peer::Group(group) => group.to_string(),
        Peer::PrefixList(list) => list.to_string(),
    };
    let ports =
        |name: &str, PortRange { from, to }| format!("{name}, from port: {from}, to port: {to}");
    let services = match rule.services {
        Services::All => "ALL".to_owned(),
        Services::Tcp(range) => ports("TCP", range),
        Services::Udp(range) => ports("UDP", range),
        Services::Icmp(matched) | Services::Icmpv6(matched) => {
            let number = |byte: Option<u8>| byte.map_or("-1".to_owned(), |byte| byte.to_string());
            let name = if matches!(rule.services, Services::Icmp(_)) { "ICMP" } else { "ICMPv6" };
            format!("{name}, type: {}, code: {}", number(matched.kind), number(matched.code))
        }
        Services::Protocol(number) => format!("protocol: {number}"),
    };
    Error::new(
        "InvalidPermission.Duplicate",
        format!("the specified rule \"peer: {peer}, {services}, ALLOW\" already exists"),
    )
}
