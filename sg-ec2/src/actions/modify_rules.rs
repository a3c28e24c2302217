//! ModifySecurityGroupRules: rules of one group are replaced under their ids, all or nothing.

use ipnet::IpNet;
use sg_common::Direction;
use sg_policy::{id::RuleId, model::Peer};
use sg_store::{Txn, objects::GroupRule};

use super::{
    Outcome, ids, list_copies,
    permission::{self, Asked, AskedPeer, repeated},
    rule_quota,
    rule_view::duplicate,
    rules::{peer_of, rule_mut},
    text, usage,
};
use crate::{
    call::Gate,
    error::Error,
    generated::ec2::{
        ModifySecurityGroupRulesRequest, ModifySecurityGroupRulesResult, SecurityGroupRuleRequest,
    },
};

pub(super) fn modify(
    request: &ModifySecurityGroupRulesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::GROUP.check(&request.group_id)?;
    let mut updates: Vec<(&str, Asked)> = Vec::new();
    for update in request.security_group_rules.iter() {
        let id = &*update.security_group_rule_id;
        ids::RULE.check(id)?;
        if updates.iter().any(|(other, _)| *other == id) {
            return Err(Error::invalid(format!("The rule '{id}' is specified more than once")));
        }
        let asked = update.security_group_rule.as_ref();
        let asked = asked.ok_or_else(|| Error::missing("SecurityGroupRule"))?;
        updates.push((id, read(asked)?));
    }

    let context = gate.open()?;
    let group = context.own_group(&ids::GROUP, &request.group_id)?;
    let mut changed = group.object.clone();
    let mut txn = Txn::new();
    let mut modified = Vec::new();
    for (text, asked) in updates {
        let peer = peer_of(context, &group, &asked.peer)?;
        let id: RuleId = text.parse().map_err(|_| ids::RULE.absent(text))?;
        let rule = rule_mut(&mut changed, id).ok_or_else(|| ids::RULE.absent(text))?;
        if kind(peer) != kind(rule.peer) {
            let message = format!("Invalid rule type for security group rule '{text}'");
            return Err(Error::invalid(message));
        }
        if let Peer::Group(named) = peer
            && named != group.id
            && rule.peer != peer
        {
            usage::refer_to_group(&mut txn, group.vpc, named);
        }
        (rule.services, rule.peer, rule.description) = (asked.services, peer, asked.description);
        modified.push(id);
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        check_distinct(changed.rules(direction), &modified)?;
    }
    rule_quota::check(context, &changed)?;
    if changed == *group.object {
        txn = Txn::new();
    } else {
        list_copies::follow(context, &mut txn, &group, Some(&changed))?;
        txn.replace(&changed, group.mod_revision);
    }
    let answer = ModifySecurityGroupRulesResult { r#return: Some(true) };
    Ok(Outcome::change(answer, txn, &group.id))
}

/// A rule as it shall be, with exactly one peer.
fn read(asked: &SecurityGroupRuleRequest) -> Result<Asked, Error> {
    let services =
        permission::services(asked.ip_protocol.as_deref(), asked.from_port, asked.to_port)?;
    let given = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
    let ipv4 = given(&asked.cidr_ipv4);
    let ipv6 = given(&asked.cidr_ipv6);
    let (list, group) = (given(&asked.prefix_list_id), given(&asked.referenced_group_id));
    let peer = match (ipv4, ipv6, list, group) {
        (Some(net), None, None, None) => {
            AskedPeer::Cidr(permission::cidr(Some(&net), "CidrIpv4", true)?)
        }
        (None, Some(net), None, None) => {
            AskedPeer::Cidr(permission::cidr(Some(&net), "CidrIpv6", false)?)
        }
        (None, None, Some(list), None) => {
            ids::PREFIX_LIST.check(&list)?;
            AskedPeer::PrefixList(list)
        }
        (None, None, None, Some(group)) => AskedPeer::group(&group)?,
        (None, None, None, None) => {
            let message = "The request must contain exactly one of: cidrIp, cidrIpv6, prefixListId, or referencedGroupId";
            return Err(Error::new("MissingParameter", message));
        }
        _ => {
            let message =
                "Only one of cidrIp, cidrIpv6, prefixListId, or referencedGroupId can be specified";
            return Err(Error::combination(message));
        }
    };
    permission::check_family(services, &peer)?;
    let description = asked.description.clone().unwrap_or_default();
    text::check_rule_description(&description)?;
    Ok(Asked { services, peer, description })
}

/// A rule keeps the kind of its peer.
fn kind(peer: Peer) -> u8 {
    match peer {
        Peer::Cidr(IpNet::V4(_)) => 0,
        Peer::Cidr(IpNet::V6(_)) => 1,
        Peer::PrefixList(_) => 2,
        Peer::Group(_) => 3,
    }
}

/// No two rules of a direction may allow the same. Rules that the request modifies may take each other's place.
fn check_distinct(rules: &[GroupRule], modified: &[RuleId]) -> Result<(), Error> {
    let is_modified = |rule: &GroupRule| modified.contains(&rule.id);
    for (place, rule) in rules.iter().enumerate() {
        let same = rules[..place].iter().find(|other| other.is_same_permission(rule));
        match same {
            Some(other) if is_modified(other) && is_modified(rule) => return Err(repeated()),
            Some(_) => return Err(duplicate(rule)),
            None => {}
        }
    }
    Ok(())
}
