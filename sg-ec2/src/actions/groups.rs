//! Security groups: made, deleted, described.

use sg_policy::{
    id::{GroupId, MASK, RuleId, VpcId},
    model::{Peer, Services},
};
use sg_store::{
    Index, Key, Txn,
    key::Counted,
    objects::{GroupRule, IndexEntry, SecurityGroup, Tags},
    snapshot::Versioned,
};

use super::{
    Outcome, filter::Filters, find::no_default_vpc, ids, interface_tags, list_copies, page::Page,
    permission, tags, text, usage,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        self, CreateSecurityGroupRequest, CreateSecurityGroupResult, DeleteSecurityGroupRequest,
        DeleteSecurityGroupResult, DescribeSecurityGroupsRequest, DescribeSecurityGroupsResult,
        GetSecurityGroupsForVpcRequest, GetSecurityGroupsForVpcResult, ResourceType,
        SecurityGroupForVpc,
    },
};

/// Rules that allow everything out, as every new group has them.
pub(crate) fn default_egress(has_ipv6: bool, draw: &dyn Fn() -> u128) -> Vec<GroupRule> {
    let all = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a network"));
    let kept = if has_ipv6 { &all[..] } else { &all[..1] };
    let rule = |net: &ipnet::IpNet| GroupRule {
        id: RuleId(draw() & MASK),
        services: Services::All,
        peer: Peer::Cidr(*net),
        description: String::new(),
        tags: Tags::new(),
    };
    kept.iter().map(rule).collect()
}

pub(super) fn create(
    request: &CreateSecurityGroupRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let name = text::group_name(&request.group_name)?;
    if request.description.is_empty() {
        return Err(Error::missing("GroupDescription"));
    }
    text::check(&request.description, "security group description")?;
    if let Some(vpc) = &request.vpc_id {
        ids::VPC.check(vpc)?;
    }
    let quotas = gate.context.quotas;
    let tags = tags::of_new(&request.tag_specifications, ResourceType::SecurityGroup, quotas)?;
    interface_tags::check_plain(&tags)?;

    let context = gate.open()?;
    let vpc = match &request.vpc_id {
        Some(id) => context.own_vpc(id)?,
        None => {
            let vpc = context.default_vpc().and_then(|vpc| context.snapshot.vpc(vpc));
            vpc.ok_or_else(no_default_vpc)?
        }
    };
    let index = Index::group_name(vpc.id, name);
    if context.snapshot.get::<IndexEntry>(&Key::Index(index.clone())).is_some() {
        let message = format!("The security group '{name}' already exists for VPC '{}'", vpc.id);
        return Err(Error::new("InvalidGroup.Duplicate", message));
    }
    let group = SecurityGroup {
        id: GroupId(context.draw_id()),
        account: context.caller.account,
        region: context.region.clone(),
        vpc: vpc.id,
        name: name.to_owned(),
        description: request.description.clone(),
        ingress: Vec::new(),
        egress: default_egress(vpc.has_ipv6(), context.draw),
        tags,
    };
    let mut txn = Txn::new();
    usage::count_up(context, &mut txn, Counted::Groups, quotas.groups, || {
        let message = "The maximum number of security groups has been reached.";
        Error::new("SecurityGroupLimitExceeded", message)
    })?;
    usage::use_vpc(&mut txn, vpc.id);
    txn.create(&group).create(&IndexEntry::held(index, &group.id));
    let answer = CreateSecurityGroupResult {
        group_id: Some(group.id.to_string()),
        security_group_arn: Some(context.arn(group.account, "security-group", group.id)),
        tags: tags::shown(&group.tags),
    };
    Ok(Outcome::change(answer, txn, &group.id))
}

pub(super) fn delete(
    request: &DeleteSecurityGroupRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let named = Named::read(request.group_id.as_deref(), request.group_name.as_deref())?;
    let context = gate.open()?;
    let group = named.find(context)?;
    if group.name == "default" {
        let message = format!(
            "the specified group: \"{}\" name: \"default\" cannot be deleted by a user",
            group.id
        );
        return Err(Error::new("CannotDelete", message));
    }
    if is_used(context, &group) {
        let message = format!("resource {} has a dependent object", group.id);
        return Err(Error::new("DependencyViolation", message));
    }
    let mut txn = Txn::new();
    txn.remove(&Key::Group(group.vpc, group.id), group.mod_revision);
    txn.delete(&Key::Index(Index::group_name(group.vpc, &group.name)));
    list_copies::follow(context, &mut txn, &group, None)?;
    usage::forget_group(context, &mut txn, group.id);
    usage::count_down(context, &mut txn, Counted::Groups);
    let id = group.id.to_string();
    let answer = DeleteSecurityGroupResult { group_id: Some(id.clone()), r#return: Some(true) };
    Ok(Outcome::change(answer, txn, &id))
}

/// Whether a network interface carries the group, or a rule of another group names it. Its own rules do not count.
fn is_used(context: &Context<'_>, group: &SecurityGroup) -> bool {
    let carries = context.snapshot.all::<sg_store::objects::NetworkInterface>();
    let peer = Peer::Group(group.id);
    let names = |other: &SecurityGroup| other.all_rules().any(|(_, rule)| rule.peer == peer);
    carries.into_iter().any(|interface| interface.groups.contains(&group.id))
        || context
            .snapshot
            .all::<SecurityGroup>()
            .any(|other| other.id != group.id && names(&other))
}

/// A group by its id, or by its name in the default VPC.
pub(super) enum Named<'r> {
    Id(&'r str),
    Name(&'r str),
}

impl<'r> Named<'r> {
    pub(super) fn read(id: Option<&'r str>, name: Option<&'r str>) -> Result<Self, Error> {
        match (id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty())) {
            (Some(id), None) => {
                ids::GROUP.check(id)?;
                Ok(Self::Id(id))
            }
            (None, Some(name)) => Ok(Self::Name(name)),
            (None, None) => Err(Error::missing("groupName or groupId")),
            (Some(_), Some(_)) => {
                let message = "The parameter groupName cannot be used with the parameter groupId";
                Err(Error::combination(message))
            }
        }
    }

    pub(super) fn find<'a>(
        &self,
        context: &Context<'a>,
    ) -> Result<Versioned<'a, SecurityGroup>, Error> {
        match self {
            Self::Id(id) => context.own_group(&ids::GROUP, id),
            Self::Name(name) => context.group_named_by_default(name),
        }
    }
}

/// Filters over the group itself. Filters over its rules begin with `ip-permission.`, or with `egress.` before it.
const FILTERS: &[&str] = &[
    "description",
    "group-id",
    "group-name",
    "owner-id",
    "vpc-id",
    "ip-permission.cidr",
    "ip-permission.from-port",
    "ip-permission.group-id",
    "ip-permission.group-name",
    "ip-permission.ipv6-cidr",
    "ip-permission.prefix-list-id",
    "ip-permission.protocol",
    "ip-permission.to-port",
    "ip-permission.user-id",
    "egress.ip-permission.cidr",
    "egress.ip-permission.from-port",
    "egress.ip-permission.group-id",
    "egress.ip-permission.group-name",
    "egress.ip-permission.ipv6-cidr",
    "egress.ip-permission.prefix-list-id",
    "egress.ip-permission.protocol",
    "egress.ip-permission.to-port",
    "egress.ip-permission.user-id",
];

pub(super) fn describe(
    request: &DescribeSecurityGroupsRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::GROUP.check_all(&request.group_ids)?;
    let filters = Filters::read(&request.filters, FILTERS)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;

    let context = gate.open()?;
    let mut wanted: Option<Vec<GroupId>> = None;
    for id in &request.group_ids {
        wanted.get_or_insert_default().push(context.own_group(&ids::GROUP, id)?.id);
    }
    for name in &request.group_names {
        wanted.get_or_insert_default().push(context.group_named_by_default(name)?.id);
    }
    let named: Vec<_> = match &wanted {
        Some(ids) => ids.iter().filter_map(|id| context.snapshot.group(*id)).collect(),
        None => context.own::<SecurityGroup>().collect(),
    };
    let mut found: Vec<_> = named
        .into_iter()
        .filter(|group| filters.hold(&group.tags, |name| values(context, group, name)))
        .map(|group| (group.id.to_string(), group))
        .collect();
    found.dedup_by(|one, other| one.0 == other.0);
    let (groups, next_token) = page.cut(found.into_iter());
    let security_groups = groups.iter().map(|group| shown(context, group)).collect();
    Ok(Outcome::read(DescribeSecurityGroupsResult { next_token, security_groups }))
}

fn shown(context: &Context<'_>, group: &SecurityGroup) -> ec2::SecurityGroup {
    ec2::SecurityGroup {
        description: Some(group.description.clone()),
        group_id: Some(group.id.to_string()),
        group_name: Some(group.name.clone()),
        ip_permissions: permission::grouped(context, &group.ingress),
        ip_permissions_egress: permission::grouped(context, &group.egress),
        owner_id: Some(group.account.to_string()),
        security_group_arn: Some(context.arn(group.account, "security-group", group.id)),
        tags: tags::shown(&group.tags),
        vpc_id: Some(group.vpc.to_string()),
    }
}

fn values(context: &Context<'_>, group: &SecurityGroup, filter: &str) -> Vec<String> {
    let one = |value: &dyn ToString| vec![value.to_string()];
    match filter {
        "description" => one(&group.description),
        "group-id" => one(&group.id),
        "group-name" => one(&group.name),
        "owner-id" => one(&group.account),
        "primary-vpc-id" | "vpc-id" => one(&group.vpc),
        filter => {
            let (rules, filter) = match filter.strip_prefix("egress.") {
                Some(filter) => (&group.egress, filter),
                None => (&group.ingress, filter),
            };
            let field = filter.trim_start_matches("ip-permission.");
            rules.iter().filter_map(|rule| permission::filtered(context, rule, field)).collect()
        }
    }
}

const FILTERS_OF_VPC: &[&str] =
    &["description", "group-id", "group-name", "owner-id", "primary-vpc-id"];

/// GetSecurityGroupsForVpc: the groups that an interface in the VPC can have.
pub(super) fn of_vpc(
    request: &GetSecurityGroupsForVpcRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::VPC.check(&request.vpc_id)?;
    let filters = Filters::read(&request.filters, FILTERS_OF_VPC)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;
    let context = gate.open()?;
    let vpc = context.own_vpc(&request.vpc_id)?.id;
    let found = context
        .snapshot
        .groups_of(vpc)
        .filter(|group| filters.hold(&group.tags, |name| values(context, group, name)));
    let shown = |group: &SecurityGroup| SecurityGroupForVpc {
        description: Some(group.description.clone()),
        group_id: Some(group.id.to_string()),
        group_name: Some(group.name.clone()),
        owner_id: Some(group.account.to_string()),
        primary_vpc_id: Some(group.vpc.to_string()),
        tags: tags::shown(&group.tags),
    };
    let items = found.map(|group| (group.id.to_string(), shown(group.object)));
    let (security_group_for_vpcs, next_token) = page.cut(items);
    Ok(Outcome::read(GetSecurityGroupsForVpcResult { next_token, security_group_for_vpcs }))
}

/// The group that a network interface gets where none is named.
pub(super) fn default_of<'a>(
    context: &Context<'a>,
    vpc: VpcId,
) -> Result<Versioned<'a, SecurityGroup>, Error> {
    context.group_named(vpc, "default")
}
