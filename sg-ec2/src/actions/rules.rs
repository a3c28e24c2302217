//! AuthorizeSecurityGroupIngress, RevokeSecurityGroupIngress and their twins for egress: all rules
//! of a request change, or none.

use sg_policy::{id::RuleId, model::Peer};
use sg_store::{
    Txn, Versioned,
    objects::{GroupRule, SecurityGroup, Tags},
};

use super::{
    Outcome,
    change::Change,
    ids, interface_tags, list_copies,
    permission::{Asked, AskedPeer, repeated},
    rule_quota,
    rule_view::{duplicate, revoked, rule_shown, unknown_shown},
    tags, usage,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        AuthorizeSecurityGroupIngressResult, ResourceType, RevokeSecurityGroupIngressResult,
    },
};

/// Adds rules to a group, one for each peer of each permission.
///
/// Parameters are checked before the gate opens, so a dry run reports their faults and knows
/// nothing of the store. The transaction holds only if nobody changes the group meanwhile, and if
/// every group or list that a new rule names stays.
///
/// # Errors
/// `InvalidPermission.Duplicate` if the group has such a rule, whatever its description.
/// `InvalidParameterValue` if the request has a rule twice, in two spellings of a group, say.
/// `RulesPerSecurityGroupLimitExceeded` beyond the quota of one direction and family.
pub(super) fn authorize(change: &Change, gate: &Gate<'_>) -> Result<Outcome, Error> {
    let named = change.group()?;
    let asked = change.asked()?;
    if asked.is_empty() {
        return Err(Error::missing("ipPermissions"));
    }
    let quotas = gate.context.quotas;
    let tags = tags::of_new(&change.tag_specifications, ResourceType::SecurityGroupRule, quotas)?;
    interface_tags::check_plain(&tags)?;

    let context = gate.open()?;
    let group = named.find(context)?;
    let mut txn = Txn::new();
    let mut changed = group.object.clone();
    let before = changed.rules(change.direction).len();
    for asked in asked {
        let rule = GroupRule {
            id: RuleId(context.draw_id()),
            services: asked.services,
            peer: peer_of(context, &group, &asked.peer)?,
            description: asked.description,
            tags: tags.clone(),
        };
        let rules = changed.rules_mut(change.direction);
        if let Some(there) = rules.iter().position(|other| other.is_same_permission(&rule)) {
            return Err(if there < before { duplicate(&rule) } else { repeated() });
        }
        if let Peer::Group(peer) = rule.peer
            && peer != group.id
        {
            usage::refer_to_group(&mut txn, group.vpc, peer);
        }
        rules.push(rule);
    }
    rule_quota::check(context, &changed)?;
    list_copies::follow(context, &mut txn, &group, Some(&changed))?;
    txn.replace(&changed, group.mod_revision);
    let made = &changed.rules(change.direction)[before..];
    let security_group_rules =
        made.iter().map(|rule| rule_shown(context, &changed, change.direction, rule)).collect();
    // Both directions answer with the same members.
    let answer = AuthorizeSecurityGroupIngressResult { r#return: Some(true), security_group_rules };
    Ok(Outcome::change(answer, txn, &changed.id))
}

/// Finds the peer of a new rule: it must exist, and a group must be of the same VPC.
pub(super) fn peer_of(
    context: &Context<'_>,
    group: &SecurityGroup,
    asked: &AskedPeer,
) -> Result<Peer, Error> {
    match asked {
        AskedPeer::Cidr(net) => Ok(Peer::Cidr(*net)),
        AskedPeer::PrefixList(id) => Ok(Peer::PrefixList(context.own_list(id)?.id)),
        AskedPeer::Group { id, name, account } => {
            let found = match (id, name) {
                (Some(id), _) => context.own_group(&ids::GROUP, id)?,
                (None, Some(name)) => context.group_named(group.vpc, name)?,
                (None, None) => return Err(Error::missing("groupName or groupId")),
            };
            if account.as_ref().is_some_and(|account| *account != found.account.to_string()) {
                return Err(ids::GROUP.absent(&found.id.to_string()));
            }
            if found.vpc != group.vpc {
                let message = "You have specified two resources that belong to different networks.";
                return Err(Error::new("InvalidGroup.NotFound", message));
            }
            Ok(Peer::Group(found.id))
        }
    }
}

/// Removes rules of a group, by their ids or by their permissions.
///
/// # Errors
/// `InvalidPermission.NotFound` if a permission has no rule. In the default VPC it is none: the
/// answer lists such permissions as unknown, and the others are revoked.
pub(super) fn revoke(change: &Change, gate: &Gate<'_>) -> Result<Outcome, Error> {
    let named = change.group()?;
    let asked = change.asked()?;
    ids::RULE.check_all(&change.rule_ids)?;
    match (asked.is_empty(), change.rule_ids.is_empty()) {
        (true, true) => return Err(Error::missing("ipPermissions or securityGroupRuleIds")),
        (false, false) => {
            let message = "The parameter ipPermissions cannot be used with the parameter securityGroupRuleIds";
            return Err(Error::combination(message));
        }
        _ => {}
    }
    let context = gate.open()?;
    let group = named.find(context)?;
    let mut kept = group.object.clone();
    let rules = kept.rules_mut(change.direction);
    let mut gone = Vec::new();
    for id in &change.rule_ids {
        let place = rules.iter().position(|rule| rule.id.to_string() == *id);
        gone.push(rules.remove(place.ok_or_else(|| ids::RULE.absent(id))?));
    }
    let mut unknown = Vec::new();
    for asked in asked {
        match rules.iter().position(|rule| is_asked(context, &group, rule, &asked)) {
            Some(place) => gone.push(rules.remove(place)),
            None => unknown.push(asked),
        }
    }
    let is_default_vpc = context.default_vpc() == Some(group.vpc);
    if !unknown.is_empty() && !is_default_vpc {
        return Err(absent_permission());
    }
    let mut txn = Txn::new();
    if !gone.is_empty() {
        list_copies::follow(context, &mut txn, &group, Some(&kept))?;
        txn.replace(&kept, group.mod_revision);
    }
    let answer = RevokeSecurityGroupIngressResult {
        r#return: Some(true),
        revoked_security_group_rules: gone
            .iter()
            .map(|rule| revoked(&kept, change.direction, rule))
            .collect(),
        unknown_ip_permissions: unknown.iter().map(|asked| unknown_shown(&group, asked)).collect(),
    };
    Ok(Outcome::change(answer, txn, &kept.id))
}

/// The refusal of a permission that no rule has.
pub(super) fn absent_permission() -> Error {
    let message = "The specified rule does not exist in this security group.";
    Error::new("InvalidPermission.NotFound", message)
}

/// Returns true if a rule is the one that was asked for; descriptions do not count. The request may
/// name a group that does not exist: no rule has it.
pub(super) fn is_asked(
    context: &Context<'_>,
    group: &SecurityGroup,
    rule: &GroupRule,
    asked: &Asked,
) -> bool {
    let is_peer = match (&asked.peer, rule.peer) {
        (AskedPeer::Cidr(net), Peer::Cidr(other)) => *net == other,
        (AskedPeer::PrefixList(id), Peer::PrefixList(other)) => *id == other.to_string(),
        (AskedPeer::Group { .. }, Peer::Group(_)) => {
            peer_of(context, group, &asked.peer) == Ok(rule.peer)
        }
        _ => false,
    };
    is_peer && rule.services == asked.services
}

/// The rule with this id, to be changed; `None` where the group has none.
pub(super) fn rule_mut(group: &mut SecurityGroup, id: RuleId) -> Option<&mut GroupRule> {
    let rules = group.ingress.iter_mut().chain(&mut group.egress);
    rules.into_iter().find(|rule| rule.id == id)
}

/// The caller's group that has a rule, and the rule's tags.
pub(super) fn group_of_rule<'a>(
    context: &Context<'a>,
    id: RuleId,
) -> Option<(Versioned<'a, SecurityGroup>, Tags)> {
    context.own::<SecurityGroup>().find_map(|group| {
        let (_, rule) = group.object.all_rules().find(|(_, rule)| rule.id == id)?;
        Some((group, rule.tags.clone()))
    })
}
