//! Prefix lists, described.

use sg_store::objects::{ListState, OwnedPrefixList};

use super::{
    Outcome, filter::Filters, ids, list_copies, list_entries::family_shown, page::Page, tags,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        DescribeManagedPrefixListsRequest, DescribeManagedPrefixListsResult,
        DescribePrefixListsRequest, DescribePrefixListsResult,
        GetManagedPrefixListAssociationsRequest, GetManagedPrefixListAssociationsResult,
        GetManagedPrefixListEntriesRequest, GetManagedPrefixListEntriesResult, ManagedPrefixList,
        PrefixListAssociation, PrefixListEntry, PrefixListState,
    },
};

pub(super) fn shown(context: &Context<'_>, list: &OwnedPrefixList) -> ManagedPrefixList {
    ManagedPrefixList {
        address_family: Some(family_shown(list.family).to_owned()),
        max_entries: i32::try_from(list.max_entries).ok(),
        owner_id: Some(list.account.to_string()),
        prefix_list_arn: Some(context.arn(list.account, "prefix-list", list.id)),
        prefix_list_id: Some(list.id.to_string()),
        prefix_list_name: Some(list.name.clone()),
        state: Some(match list.state {
            ListState::CreateComplete => PrefixListState::CreateComplete,
            ListState::ModifyComplete => PrefixListState::ModifyComplete,
            ListState::ModifyFailed => PrefixListState::ModifyFailed,
            ListState::RestoreComplete => PrefixListState::RestoreComplete,
            ListState::RestoreFailed => PrefixListState::RestoreFailed,
            ListState::DeleteFailed => PrefixListState::DeleteFailed,
        }),
        state_message: Some(list.state_message.clone()).filter(|message| !message.is_empty()),
        tags: tags::shown(&list.tags),
        version: Some(i64::from(list.version)),
    }
}

const FILTERS: &[&str] = &["owner-id", "prefix-list-id", "prefix-list-name"];

pub(super) fn describe(
    request: &DescribeManagedPrefixListsRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::PREFIX_LIST.check_all(&request.prefix_list_ids)?;
    let filters = Filters::read(&request.filters, FILTERS)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;

    let context = gate.open()?;
    let mut wanted = Vec::new();
    for id in &request.prefix_list_ids {
        wanted.push(context.own_list(id)?.id);
    }
    let values = |list: &OwnedPrefixList, filter: &str| match filter {
        "owner-id" => vec![list.account.to_string()],
        "prefix-list-id" => vec![list.id.to_string()],
        "prefix-list-name" => vec![list.name.clone()],
        _ => Vec::new(),
    };
    let found = context
        .own::<OwnedPrefixList>()
        .filter(|list| wanted.is_empty() || wanted.contains(&list.id))
        .filter(|list| filters.hold(&list.tags, |name| values(list, name)))
        .map(|list| (list.id.to_string(), shown(context, &list)));
    let (prefix_lists, next_token) = page.cut(found);
    Ok(Outcome::read(DescribeManagedPrefixListsResult { next_token, prefix_lists }))
}

pub(super) fn entries(
    request: &GetManagedPrefixListEntriesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::PREFIX_LIST.check(&request.prefix_list_id)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;
    let context = gate.open()?;
    let list = context.own_list(&request.prefix_list_id)?;
    let version = request.target_version.unwrap_or(i64::from(list.version));
    let absent =
        || Error::invalid(format!("The prefix list '{}' has no version {version}", list.id));
    let entries = u32::try_from(version).ok().ok_or_else(absent)?;
    let entries = context.entries_of(&list, entries).map_err(|_| absent())?;
    let items = entries.iter().map(|entry| {
        let shown = PrefixListEntry {
            cidr: Some(entry.cidr.to_string()),
            description: Some(entry.description.clone()).filter(|text| !text.is_empty()),
        };
        (entry.cidr.to_string(), shown)
    });
    let (entries, next_token) = page.cut(items);
    Ok(Outcome::read(GetManagedPrefixListEntriesResult { entries, next_token }))
}

pub(super) fn associations(
    request: &GetManagedPrefixListAssociationsRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::PREFIX_LIST.check(&request.prefix_list_id)?;
    let page = Page::read(request.max_results, request.next_token.as_deref())?;
    let context = gate.open()?;
    let list = context.own_list(&request.prefix_list_id)?;
    let items = list_copies::users(context, list.id).map(|group| {
        let association = PrefixListAssociation {
            resource_id: Some(group.id.to_string()),
            resource_owner: Some(group.account.to_string()),
        };
        (group.id.to_string(), association)
    });
    let (prefix_list_associations, next_token) = page.cut(items);
    Ok(Outcome::read(GetManagedPrefixListAssociationsResult {
        next_token,
        prefix_list_associations,
    }))
}

/// DescribePrefixLists: the lists of AWS's own services. This product has no such services, so there is none.
pub(super) fn describe_of_services(
    request: &DescribePrefixListsRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::PREFIX_LIST.check_all(&request.prefix_list_ids)?;
    Filters::read(&request.filters, &["prefix-list-id", "prefix-list-name"])?;
    Page::read(request.max_results, request.next_token.as_deref())?;
    gate.open()?;
    match request.prefix_list_ids.first() {
        Some(id) => Err(ids::PREFIX_LIST.absent(id)),
        None => Ok(Outcome::read(DescribePrefixListsResult::default())),
    }
}
