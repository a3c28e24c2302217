//! CreateTags, DeleteTags, DescribeTags: over resources of every kind, all or nothing.

use sg_policy::id::{GroupId, RuleId, VpcId};
use sg_store::{
    InterfaceId, SubnetId, Txn, Versioned,
    objects::{NetworkInterface, OwnedPrefixList, SecurityGroup, Subnet, Tags, Vpc},
};

use super::{
    Outcome,
    filter::Filters,
    ids,
    interface_tags::{check_plain, set_interface_tags, set_vpc_tags},
    interface_view::Bound,
    page::Page,
    rules::{group_of_rule, rule_mut},
    tags,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        CreateTagsRequest, DeleteTagsRequest, DescribeTagsRequest, DescribeTagsResult,
        ResourceType, Tag, TagDescription,
    },
};

const MAX_RESOURCES: usize = 1000;

/// Checks the form of ids: each must be of a kind that has tags.
fn check_ids(resources: &[String]) -> Result<(), Error> {
    if resources.len() > MAX_RESOURCES {
        return Err(Error::invalid(format!("A request names at most {MAX_RESOURCES} resources")));
    }
    resources.iter().try_for_each(|id| kind_of(id).map(drop))
}

fn kind_of(id: &str) -> Result<ResourceType, Error> {
    let kinds = [
        (&ids::GROUP, ResourceType::SecurityGroup),
        (&ids::RULE, ResourceType::SecurityGroupRule),
        (&ids::INTERFACE, ResourceType::NetworkInterface),
        (&ids::SUBNET, ResourceType::Subnet),
        (&ids::VPC, ResourceType::Vpc),
        (&ids::PREFIX_LIST, ResourceType::PrefixList),
    ];
    let kind = kinds.into_iter().find(|(kind, _)| kind.check(id).is_ok());
    let invalid = || Error::new("InvalidID", format!("The ID '{id}' is not valid"));
    kind.map(|(_, resource_type)| resource_type).ok_or_else(invalid)
}

pub(super) fn create(request: &CreateTagsRequest, gate: &Gate<'_>) -> Result<Outcome, Error> {
    check_ids(&request.resources)?;
    let added = tags::read(&request.tags)?;
    let context = gate.open()?;
    let mut changes = Changes::new(context);
    for id in request.resources.iter() {
        changes.change(id, |tags| {
            tags.extend(added.iter().map(|(key, value)| (key.clone(), value.clone())));
        })?;
    }
    changes.finish()
}

pub(super) fn delete(request: &DeleteTagsRequest, gate: &Gate<'_>) -> Result<Outcome, Error> {
    check_ids(&request.resources)?;
    for tag in &request.tags {
        tags::check_key(tag.key.as_deref())?;
    }
    let context = gate.open()?;
    let mut changes = Changes::new(context);
    for id in request.resources.iter() {
        changes
            .change(id, |tags| tags.retain(|key, value| !is_named(&request.tags, key, value)))?;
    }
    changes.finish()
}

/// Whether DeleteTags names a tag: by key alone whatever its value, or by key and value. No tag at all names every one.
fn is_named(tags: &[Tag], key: &str, value: &str) -> bool {
    let names = |tag: &Tag| {
        tag.key.as_deref() == Some(key) && tag.value.as_deref().is_none_or(|named| named == value)
    };
    tags.is_empty() || tags.iter().any(names)
}

/// Changes of several resources in one transaction. Rules of one group are in one document.
struct Changes<'a> {
    context: &'a Context<'a>,
    bound: Bound,
    groups: Vec<(SecurityGroup, Versioned<'a, SecurityGroup>)>,
    txn: Txn,
    resources: Vec<String>,
}

impl<'a> Changes<'a> {
    fn new(context: &'a Context<'a>) -> Self {
        let (bound, groups, txn) = (Bound::read(context), Vec::new(), Txn::new());
        Self { context, bound, groups, txn, resources: Vec::new() }
    }

    fn change(&mut self, id: &str, change: impl Fn(&mut Tags)) -> Result<(), Error> {
        if self.resources.iter().any(|done| done == id) {
            return Ok(());
        }
        self.resources.push(id.to_owned());
        let context = self.context;
        let changed = |tags: &Tags| {
            let mut tags = tags.clone();
            change(&mut tags);
            tags::check_count(&tags, context.quotas).map(|()| tags)
        };
        match kind_of(id)? {
            ResourceType::SecurityGroup => {
                let group = context.own_group(&ids::GROUP, id)?;
                let tags = changed(&group.tags)?;
                check_plain(&tags)?;
                self.group(group).tags = tags;
            }
            ResourceType::SecurityGroupRule => {
                let (group, tags) = ids::RULE.find(id, |id: RuleId| group_of_rule(context, id))?;
                let tags = changed(&tags)?;
                check_plain(&tags)?;
                let rule: RuleId = id.parse().map_err(|_| ids::RULE.absent(id))?;
                let rule = rule_mut(self.group(group), rule).ok_or_else(|| ids::RULE.absent(id))?;
                rule.tags = tags;
            }
            ResourceType::NetworkInterface => {
                let found = context.own_interface(id)?;
                let mut interface = found.object.clone();
                let tags = changed(&interface.tags)?;
                let is_bound =
                    self.bound.host_of(interface.id).is_some() || interface.bind.is_some();
                set_interface_tags(&mut interface, tags, is_bound, Some(found.mod_revision))?;
                if interface.tags != found.tags {
                    self.txn.replace(&interface, found.mod_revision);
                }
            }
            ResourceType::Subnet => {
                let found = context.own_subnet(id)?;
                let mut subnet = found.object.clone();
                subnet.tags = changed(&subnet.tags)?;
                check_plain(&subnet.tags)?;
                if subnet.tags != found.tags {
                    self.txn.replace(&subnet, found.mod_revision);
                }
            }
            ResourceType::Vpc => {
                let found = context.own_vpc(id)?;
                let mut vpc = found.object.clone();
                let tags = changed(&vpc.tags)?;
                set_vpc_tags(&mut vpc, tags)?;
                if vpc.tags != found.tags {
                    self.txn.replace(&vpc, found.mod_revision);
                }
            }
            ResourceType::PrefixList => {
                let found = context.own_list(id)?;
                let mut list = found.object.clone();
                list.tags = changed(&list.tags)?;
                check_plain(&list.tags)?;
                if list.tags != found.tags {
                    self.txn.replace(&list, found.mod_revision);
                }
            }
        }
        Ok(())
    }

    /// The copy of a group that all changes of it go to.
    fn group(&mut self, group: Versioned<'a, SecurityGroup>) -> &mut SecurityGroup {
        let place = self.groups.iter().position(|(copy, _)| copy.id == group.id);
        let place = place.unwrap_or_else(|| {
            self.groups.push((group.object.clone(), group));
            self.groups.len() - 1
        });
        &mut self.groups[place].0
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        for (copy, group) in &self.groups {
            if copy != group.object {
                self.txn.replace(copy, group.mod_revision);
            }
        }
        Ok(Outcome { answer: Box::new(()), txn: Some(self.txn), resources: self.resources })
    }
}

const FILTERS: &[&str] = &["key", "resource-id", "resource-type", "value"];
const MAX_RESULTS: std::ops::RangeInclusive<i32> = 5..=1000;

pub(super) fn describe(request: &DescribeTagsRequest, gate: &Gate<'_>) -> Result<Outcome, Error> {
    let filters = Filters::read(&request.filters, FILTERS)?;
    if let Some(max) = request.max_results.filter(|max| !MAX_RESULTS.contains(max)) {
        let expected = "Expecting a value from 5 to 1000";
        return Err(Error::invalid_value("MaxResults", &max.to_string(), expected));
    }
    let page = Page::read(request.max_results, request.next_token.as_deref())?;

    let context = gate.open()?;
    let mut found = Vec::new();
    for (id, kind, tags) in all(context) {
        for (key, value) in tags {
            let one = Tags::from([(key.clone(), value.clone())]);
            let values = |name: &str| match name {
                "key" => vec![key.clone()],
                "resource-id" => vec![id.clone()],
                "resource-type" => vec![kind.as_str().to_owned()],
                "value" => vec![value.clone()],
                _ => Vec::new(),
            };
            if filters.hold(&one, values) {
                let description = TagDescription {
                    key: Some(key.clone()),
                    resource_id: Some(id.clone()),
                    resource_type: Some(kind),
                    value: Some(value.clone()),
                };
                // A resource's tags are told apart by their keys.
                found.push((format!("{id} {key}"), description));
            }
        }
    }
    let (tags, next_token) = page.cut(found.into_iter());
    Ok(Outcome::read(DescribeTagsResult { next_token, tags }))
}

/// Every own resource with its tags.
fn all<'a>(context: &Context<'a>) -> Vec<(String, ResourceType, &'a Tags)> {
    let mut all = Vec::new();
    for group in context.own::<SecurityGroup>() {
        all.push((GroupId::to_string(&group.id), ResourceType::SecurityGroup, &group.object.tags));
        let rules = group.object.all_rules();
        all.extend(
            rules.map(|(_, rule)| {
                (rule.id.to_string(), ResourceType::SecurityGroupRule, &rule.tags)
            }),
        );
    }
    for interface in context.own::<NetworkInterface>() {
        let id = InterfaceId::to_string(&interface.id);
        all.push((id, ResourceType::NetworkInterface, &interface.object.tags));
    }
    for list in context.own::<OwnedPrefixList>() {
        all.push((list.id.to_string(), ResourceType::PrefixList, &list.object.tags));
    }
    for subnet in context.own::<Subnet>() {
        all.push((SubnetId::to_string(&subnet.id), ResourceType::Subnet, &subnet.object.tags));
    }
    for vpc in context.own::<Vpc>() {
        all.push((VpcId::to_string(&vpc.id), ResourceType::Vpc, &vpc.object.tags));
    }
    all
}
