//! Managed prefix lists: made, modified, restored, deleted.

use sg_policy::id::PrefixListId;
use sg_store::{
    Index, Key, Txn,
    key::Counted,
    objects::{ListEntry, ListState, ListVersion, OwnedPrefixList},
};

use super::{
    Outcome, ids, interface_tags, list_copies, list_entries,
    list_view::shown,
    rule_quota::{self, Resized},
    tags, text,
    token::{Token, tokens_of},
    usage,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        CreateManagedPrefixListRequest, CreateManagedPrefixListResult,
        DeleteManagedPrefixListRequest, DeleteManagedPrefixListResult, ManagedPrefixList,
        ModifyManagedPrefixListRequest, ModifyManagedPrefixListResult, PrefixListState,
        ResourceType, RestoreManagedPrefixListVersionRequest,
        RestoreManagedPrefixListVersionResult,
    },
};

/// Versions of a list that are kept. EC2 keeps 1,000; a transaction of the store deletes at most 128 keys.
const KEPT_VERSIONS: u32 = 100;
/// Resources that a state message names.
const NAMED: usize = 10;

fn name(text: &str) -> Result<String, Error> {
    text::check(text, "prefix list name")?;
    if text.is_empty() {
        return Err(Error::missing("PrefixListName"));
    }
    if text.starts_with("com.amazonaws") {
        let message = "A prefix list name cannot start with com.amazonaws";
        return Err(Error::invalid(message));
    }
    Ok(text.to_owned())
}

fn size(context: &Gate<'_>, max_entries: i32) -> Result<u32, Error> {
    let limit = context.context.quotas.prefix_list_entries;
    let size = u32::try_from(max_entries).ok().filter(|size| (1..=limit).contains(size));
    let expected = format!("Expecting a value from 1 to {limit}");
    size.ok_or_else(|| Error::invalid_value("MaxEntries", &max_entries.to_string(), &expected))
}

pub(super) fn create(
    request: &CreateManagedPrefixListRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let name = name(&request.prefix_list_name)?;
    let max_entries = size(gate, request.max_entries)?;
    let family = list_entries::family(&request.address_family)?;
    let entries = list_entries::read_added(&request.entries)?;
    list_entries::check_family(&entries, family)?;
    list_entries::check_size(entries.len(), max_entries)?;
    let quotas = gate.context.quotas;
    let tags = tags::of_new(&request.tag_specifications, ResourceType::PrefixList, quotas)?;
    interface_tags::check_plain(&tags)?;
    let token = Token::read(request.client_token.as_deref(), request)?;

    let context = gate.open()?;
    let answer = |list: &OwnedPrefixList| CreateManagedPrefixListResult {
        prefix_list: Some(shown(context, list)),
    };
    let made = token.as_ref().map(|token| token.made::<PrefixListId>(context)).transpose()?;
    if let Some(made) = made.flatten().and_then(|id| context.list(id)) {
        return Ok(Outcome::change(answer(&made), Txn::new(), &made.id));
    }
    let list = OwnedPrefixList {
        id: PrefixListId(context.draw_id()),
        account: context.caller.account,
        region: context.region.clone(),
        name,
        family,
        max_entries,
        version: 1,
        oldest_version: 1,
        state: ListState::CreateComplete,
        state_message: String::new(),
        copied_to: Vec::new(),
        tags,
    };
    let mut txn = Txn::new();
    usage::count_up(context, &mut txn, Counted::PrefixLists, quotas.prefix_lists, || {
        let message = "The maximum number of prefix lists has been reached.";
        Error::new("PrefixListLimitExceeded", message)
    })?;
    txn.create(&list).create(&version(&list, entries));
    if let Some(token) = token {
        txn.create(&token.entry(context, &list.id));
    }
    Ok(Outcome::change(answer(&list), txn, &list.id))
}

fn version(list: &OwnedPrefixList, entries: Vec<ListEntry>) -> ListVersion {
    ListVersion {
        list: list.id,
        account: list.account,
        region: list.region.clone(),
        version: list.version,
        entries,
    }
}

pub(super) fn modify(
    request: &ModifyManagedPrefixListRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::PREFIX_LIST.check(&request.prefix_list_id)?;
    let name = request.prefix_list_name.as_deref().map(name).transpose()?;
    let max_entries = request.max_entries.map(|number| size(gate, number)).transpose()?;
    let added = list_entries::read_added(&request.add_entries)?;
    let removed = list_entries::read_removed(&request.remove_entries)?;
    let has_entries = !added.is_empty() || !removed.is_empty();
    if has_entries && max_entries.is_some() {
        let message = "Entries and MaxEntries cannot be modified in one request";
        return Err(Error::combination(message));
    }
    if name.is_none() && max_entries.is_none() && !has_entries {
        return Err(Error::combination("No modifications specified."));
    }

    let context = gate.open()?;
    let owned = context.own_list(&request.prefix_list_id)?;
    if let Some(version) = request.current_version {
        check_version(&owned, version)?;
    }
    let mut changed = owned.object.clone();
    let mut txn = Txn::new();
    let answer = |list: &OwnedPrefixList| ModifyManagedPrefixListResult {
        prefix_list: Some(shown(context, list)),
    };
    if let Some(name) = name {
        changed.name = name;
    }
    let present = context.entries_of(&owned, owned.version)?;
    let mut entries = present.to_vec();
    if has_entries {
        list_entries::check_family(&added, owned.family)?;
        entries = list_entries::changed(present, added, &removed)?;
        list_entries::check_size(entries.len(), owned.max_entries)?;
        changed.version += 1;
    }
    if let Some(max_entries) = max_entries {
        list_entries::check_size(entries.len(), max_entries)?;
        // Rules that are added meanwhile would not be counted.
        list_copies::depend_on_users(context, &mut txn, owned.id);
        let resized = Some(Resized { list: owned.id, max_entries });
        let too_small = list_copies::users(context, owned.id)
            .filter(|group| rule_quota::is_exceeded(context, group, resized));
        let too_small: Vec<_> = too_small.map(|group| group.id.to_string()).collect();
        if max_entries > owned.max_entries && !too_small.is_empty() {
            let mut failed = owned.object.clone();
            failed.state = ListState::ModifyFailed;
            failed.state_message = format!(
                "The quota of rules of these resources does not allow {max_entries} entries: {}",
                named(&too_small)
            );
            txn.replace(&failed, owned.mod_revision);
            return Ok(Outcome::change(answer(&failed), txn, &owned.id));
        }
        changed.max_entries = max_entries;
    }
    changed.state = ListState::ModifyComplete;
    changed.state_message.clear();
    write(context, &mut txn, &owned, &mut changed, entries);
    Ok(Outcome::change(answer(&changed), txn, &owned.id))
}

fn check_version(list: &OwnedPrefixList, version: i64) -> Result<(), Error> {
    if version == i64::from(list.version) {
        return Ok(());
    }
    let message = format!(
        "The prefix list has the version {}, and the request names {version} as the current one",
        list.version
    );
    Err(Error::new("PrefixListVersionMismatch", message))
}

/// Writes a list with its new version, if it has one, and its copies.
fn write(
    context: &Context<'_>,
    txn: &mut Txn,
    owned: &sg_store::Versioned<'_, OwnedPrefixList>,
    changed: &mut OwnedPrefixList,
    entries: Vec<ListEntry>,
) {
    let oldest = (changed.version + 1).saturating_sub(KEPT_VERSIONS).max(changed.oldest_version);
    for version in changed.oldest_version..oldest {
        txn.delete(&version_key(changed, version));
    }
    changed.oldest_version = oldest;
    txn.replace(changed, owned.mod_revision);
    for vpc in &changed.copied_to {
        list_copies::put_copy(context, txn, changed, &entries, *vpc);
    }
    if changed.version != owned.version {
        txn.create(&version(changed, entries));
    }
}

fn version_key(list: &OwnedPrefixList, version: u32) -> Key {
    Key::ListVersion(list.account, list.region.clone(), list.id, version)
}

pub(super) fn restore(
    request: &RestoreManagedPrefixListVersionRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::PREFIX_LIST.check(&request.prefix_list_id)?;
    let context = gate.open()?;
    let owned = context.own_list(&request.prefix_list_id)?;
    check_version(&owned, request.current_version)?;
    let previous = u32::try_from(request.previous_version).ok();
    let previous = previous.filter(|version| *version < owned.version);
    let entries = previous.and_then(|version| context.entries_of(&owned, version).ok());
    let entries = entries.ok_or_else(|| {
        let (id, version) = (owned.id, request.previous_version);
        Error::invalid(format!("The prefix list '{id}' has no previous version {version}"))
    })?;
    list_entries::check_size(entries.len(), owned.max_entries)?;
    let mut changed = owned.object.clone();
    changed.version += 1;
    changed.state = ListState::RestoreComplete;
    changed.state_message.clear();
    let mut txn = Txn::new();
    write(context, &mut txn, &owned, &mut changed, entries.to_vec());
    let prefix_list = Some(shown(context, &changed));
    Ok(Outcome::change(RestoreManagedPrefixListVersionResult { prefix_list }, txn, &owned.id))
}

/// A list that is used stays, and its state says who uses it.
pub(super) fn delete(
    request: &DeleteManagedPrefixListRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::PREFIX_LIST.check(&request.prefix_list_id)?;
    let context = gate.open()?;
    let owned = context.own_list(&request.prefix_list_id)?;
    let mut txn = Txn::new();
    let users: Vec<_> =
        list_copies::users(context, owned.id).map(|group| group.id.to_string()).collect();
    if !users.is_empty() {
        let mut failed = owned.object.clone();
        failed.state = ListState::DeleteFailed;
        failed.state_message = format!("The prefix list is in use by: {}", named(&users));
        txn.replace(&failed, owned.mod_revision);
        let prefix_list = Some(shown(context, &failed));
        return Ok(Outcome::change(DeleteManagedPrefixListResult { prefix_list }, txn, &owned.id));
    }
    txn.remove(&list_copies::owned_key(&owned), owned.mod_revision);
    for version in owned.oldest_version..=owned.version {
        txn.delete(&version_key(&owned, version));
    }
    for vpc in &owned.copied_to {
        list_copies::delete_copy(context, &mut txn, owned.id, *vpc);
    }
    list_copies::depend_on_users(context, &mut txn, owned.id);
    txn.delete(&Key::Index(Index::ListUsers(owned.id)));
    for key in tokens_of(context, &owned.id) {
        txn.delete(&key);
    }
    usage::count_down(context, &mut txn, Counted::PrefixLists);
    let shown = shown(context, &owned);
    let state = Some(PrefixListState::DeleteComplete);
    let prefix_list = Some(ManagedPrefixList { state, ..shown });
    Ok(Outcome::change(DeleteManagedPrefixListResult { prefix_list }, txn, &owned.id))
}

/// The first of these, in one text.
fn named(resources: &[String]) -> String {
    resources[..resources.len().min(NAMED)].join(", ")
}
