//! The quota of rules in a group: per direction and family, by weight.

use ipnet::IpNet;
use sg_common::{Direction, Family};
use sg_policy::{id::PrefixListId, model::Peer};
use sg_store::objects::{GroupRule, SecurityGroup};

use crate::{call::Context, error::Error};

/// The size that a list is to have.
#[derive(Clone, Copy)]
pub(super) struct Resized {
    pub(super) list: PrefixListId,
    pub(super) max_entries: u32,
}

/// Refuses a group whose rules weigh more than the quota.
pub(super) fn check(context: &Context<'_>, group: &SecurityGroup) -> Result<(), Error> {
    if !is_exceeded(context, group, None) {
        return Ok(());
    }
    let message = "The maximum number of rules per security group has been reached.";
    Err(Error::new("RulesPerSecurityGroupLimitExceeded", message))
}

pub(super) fn is_exceeded(
    context: &Context<'_>,
    group: &SecurityGroup,
    resized: Option<Resized>,
) -> bool {
    let directions = [Direction::Ingress, Direction::Egress];
    let families = [Family::V4, Family::V6];
    directions.into_iter().any(|direction| {
        let rules = group.rules(direction);
        families.into_iter().any(|family| {
            let weights = rules.iter().map(|rule| weight(context, rule, family, resized));
            weights.sum::<usize>() > context.quotas.rules_per_group
        })
    })
}

/// An address range weighs in its own family, a group in both, a list by its size in its own.
fn weight(
    context: &Context<'_>,
    rule: &GroupRule,
    family: Family,
    resized: Option<Resized>,
) -> usize {
    let is_ipv4 = family == Family::V4;
    match rule.peer {
        Peer::Cidr(net) => usize::from(matches!(net, IpNet::V4(_)) == is_ipv4),
        Peer::Group(_) => 1,
        Peer::PrefixList(list) => match context.list(list) {
            Some(owned) if owned.family != family => 0,
            Some(owned) => {
                let resized = resized.filter(|resized| resized.list == list);
                resized.map_or(owned.max_entries, |resized| resized.max_entries) as usize
            }
            None => 1,
        },
    }
}
