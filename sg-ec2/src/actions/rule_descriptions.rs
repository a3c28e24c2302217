//! UpdateSecurityGroupRuleDescriptionsIngress and -Egress: descriptions of rules that are there, all or nothing.

use sg_common::Direction;
use sg_store::Txn;

use super::{
    Outcome,
    groups::Named,
    ids,
    permission::read_distinct,
    rules::{absent_permission, is_asked},
    text,
};
use crate::{
    call::Gate,
    error::Error,
    generated::ec2::{
        IpPermission, SecurityGroupRuleDescription,
        UpdateSecurityGroupRuleDescriptionsEgressRequest,
        UpdateSecurityGroupRuleDescriptionsIngressRequest,
        UpdateSecurityGroupRuleDescriptionsIngressResult,
    },
};

/// A request of either direction.
pub(super) struct Update {
    direction: Direction,
    group_id: Option<String>,
    group_name: Option<String>,
    permissions: Vec<IpPermission>,
    by_id: Vec<SecurityGroupRuleDescription>,
}

/// Both requests have the same members.
macro_rules! update_from {
    ($request:ident, $direction:ident) => {
        impl From<$request> for Update {
            fn from(request: $request) -> Self {
                Self {
                    direction: Direction::$direction,
                    group_id: request.group_id,
                    group_name: request.group_name,
                    permissions: request.ip_permissions,
                    by_id: request.security_group_rule_descriptions,
                }
            }
        }
    };
}

update_from!(UpdateSecurityGroupRuleDescriptionsEgressRequest, Egress);
update_from!(UpdateSecurityGroupRuleDescriptionsIngressRequest, Ingress);

/// A rule without a description in the request loses the one that it has.
pub(super) fn update(update: &Update, gate: &Gate<'_>) -> Result<Outcome, Error> {
    let named = Named::read(update.group_id.as_deref(), update.group_name.as_deref())?;
    let asked = read_distinct(&update.permissions)?;
    let mut by_id: Vec<(&str, String)> = Vec::new();
    for SecurityGroupRuleDescription { description, security_group_rule_id } in &update.by_id {
        let id = security_group_rule_id.as_deref();
        let id = id.ok_or_else(|| Error::missing("SecurityGroupRuleId"))?;
        ids::RULE.check(id)?;
        if by_id.iter().any(|(other, _)| *other == id) {
            return Err(Error::invalid(format!("The rule '{id}' is specified more than once")));
        }
        let description = description.clone().unwrap_or_default();
        text::check_rule_description(&description)?;
        by_id.push((id, description));
    }
    match (asked.is_empty(), by_id.is_empty()) {
        (true, true) => {
            return Err(Error::missing("ipPermissions or securityGroupRuleDescriptions"));
        }
        (false, false) => {
            let message = "The parameter ipPermissions cannot be used with the parameter securityGroupRuleDescriptions";
            return Err(Error::combination(message));
        }
        _ => {}
    }

    let context = gate.open()?;
    let group = named.find(context)?;
    let mut changed = group.object.clone();
    let rules = changed.rules_mut(update.direction);
    for (id, description) in by_id {
        let rule = rules.iter_mut().find(|rule| rule.id.to_string() == id);
        rule.ok_or_else(|| ids::RULE.absent(id))?.description = description;
    }
    for asked in asked {
        let rule = rules.iter_mut().find(|rule| is_asked(context, &group, rule, &asked));
        rule.ok_or_else(absent_permission)?.description = asked.description;
    }
    let mut txn = Txn::new();
    if changed != *group.object {
        txn.replace(&changed, group.mod_revision);
    }
    let answer = UpdateSecurityGroupRuleDescriptionsIngressResult { r#return: Some(true) };
    Ok(Outcome::change(answer, txn, &group.id))
}
