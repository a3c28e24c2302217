//! Copies of prefix lists in the VPCs whose rules refer to them: hosts read nothing else.
//!
//! Four writers meet here: a rule begins to refer to a list, the last rule of a VPC stops, a list changes, a list is deleted.
//! Whoever refers writes the guard of the list and depends on its record. Whoever drops a copy, resizes a list or deletes it
//! depends on the guard. So one of two that meet decides anew.

use std::collections::BTreeSet;

use sg_policy::{
    id::{PrefixListId, VpcId},
    model::Peer,
};
use sg_store::{
    Expected, Index, Key, Txn,
    id::Digest,
    objects::{
        BlobPart, BlobReference, IndexEntry, ListEntries, ListEntry, OwnedPrefixList, PrefixList,
        SecurityGroup,
    },
};
use sha2::{Digest as _, Sha256};

use crate::{call::Context, error::Error};

/// Longer texts of entries lie in blobs.
const MAX_INLINE_BYTES: usize = 8 << 10;
/// The largest part of a blob.
const PART_BYTES: usize = 512 << 10;

/// The lists that rules of a group name.
fn lists_of(group: &SecurityGroup) -> BTreeSet<PrefixListId> {
    let list = |peer: Peer| match peer {
        Peer::PrefixList(id) => Some(id),
        _ => None,
    };
    group.all_rules().filter_map(|(_, rule)| list(rule.peer)).collect()
}

/// Groups with rules that name a list, in whatever VPC and account.
pub(super) fn users<'a>(
    context: &Context<'a>,
    list: PrefixListId,
) -> impl Iterator<Item = &'a SecurityGroup> + use<'a> {
    let peer = Peer::PrefixList(list);
    let names = move |group: &SecurityGroup| group.all_rules().any(|(_, rule)| rule.peer == peer);
    let groups = context.snapshot.all::<SecurityGroup>();
    groups.map(|group| group.object).filter(move |group| names(group))
}

/// Brings copies in step with a group that changes from `before` to `after`; `None`: it is deleted.
pub(super) fn follow(
    context: &Context<'_>,
    txn: &mut Txn,
    before: &SecurityGroup,
    after: Option<&SecurityGroup>,
) -> Result<(), Error> {
    let named = after.map(lists_of).unwrap_or_default();
    for list in &named {
        refer(context, txn, *list, before.vpc)?;
    }
    for list in lists_of(before).difference(&named) {
        let is_used =
            users(context, *list).any(|group| group.vpc == before.vpc && group.id != before.id);
        if !is_used {
            drop_copy(context, txn, *list, before.vpc);
        }
    }
    Ok(())
}

fn refer(
    context: &Context<'_>,
    txn: &mut Txn,
    list: PrefixListId,
    vpc: VpcId,
) -> Result<(), Error> {
    // A list that is gone has no record. Its rules match nothing.
    let Some(owned) = context.list(list) else { return Ok(()) };
    txn.put(&IndexEntry::guard(Index::ListUsers(list)));
    if owned.copied_to.contains(&vpc) {
        txn.expect(&owned_key(&owned), Expected::At(owned.mod_revision));
        txn.expect(&Key::PrefixList(vpc, list), Expected::Present);
        return Ok(());
    }
    let mut changed = owned.object.clone();
    changed.copied_to.push(vpc);
    txn.replace(&changed, owned.mod_revision);
    put_copy(context, txn, &changed, context.entries_of(&owned, owned.version)?, vpc);
    Ok(())
}

fn drop_copy(context: &Context<'_>, txn: &mut Txn, list: PrefixListId, vpc: VpcId) {
    let Some(owned) = context.list(list) else { return };
    if !owned.copied_to.contains(&vpc) {
        return;
    }
    depend_on_users(context, txn, list);
    let mut changed = owned.object.clone();
    changed.copied_to.retain(|other| *other != vpc);
    txn.replace(&changed, owned.mod_revision);
    delete_copy(context, txn, list, vpc);
}

/// Deletes a copy and its blob.
pub(super) fn delete_copy(context: &Context<'_>, txn: &mut Txn, list: PrefixListId, vpc: VpcId) {
    let key = Key::PrefixList(vpc, list);
    if let Some(copy) = context.snapshot.get::<PrefixList>(&key) {
        txn.remove(&key, copy.mod_revision);
        delete_blob(context, txn, &copy, None);
    }
}

/// Nobody may have come to refer to the list since the snapshot.
pub(super) fn depend_on_users(context: &Context<'_>, txn: &mut Txn, list: PrefixListId) {
    let guard = Key::Index(Index::ListUsers(list));
    let expected = context.snapshot.mod_revision(&guard).map_or(Expected::Absent, Expected::At);
    txn.expect(&guard, expected);
}

pub(super) fn owned_key(list: &OwnedPrefixList) -> Key {
    Key::OwnedList(list.account, list.region.clone(), list.id)
}

/// Writes the copy of a list in a VPC. Long lists have no descriptions there, so that they fit into one transaction.
pub(super) fn put_copy(
    context: &Context<'_>,
    txn: &mut Txn,
    list: &OwnedPrefixList,
    entries: &[ListEntry],
    vpc: VpcId,
) {
    let inline = ListEntries::Inline(entries.to_vec());
    let entries = match text_of(entries) {
        text if text.len() <= MAX_INLINE_BYTES => inline,
        _ => {
            let bare =
                |entry: &ListEntry| ListEntry { description: String::new(), ..entry.clone() };
            let text = text_of(&entries.iter().map(bare).collect::<Vec<_>>());
            ListEntries::Blob(put_blob(txn, &text, vpc))
        }
    };
    if let Some(before) = context.snapshot.get::<PrefixList>(&Key::PrefixList(vpc, list.id)) {
        delete_blob(context, txn, &before, Some(&entries));
    }
    txn.put(&PrefixList {
        used_in: vpc,
        id: list.id,
        account: list.account,
        name: list.name.clone(),
        family: list.family,
        max_entries: list.max_entries,
        version: list.version,
        entries,
    });
}

fn text_of(entries: &[ListEntry]) -> String {
    serde_json::to_string(entries).expect("entries have no keys that JSON cannot have")
}

fn put_blob(txn: &mut Txn, text: &str, vpc: VpcId) -> BlobReference {
    let digest = Digest(Sha256::digest(text).into());
    // Entries without descriptions are ASCII, so that any byte ends a letter.
    let parts = text.as_bytes().chunks(PART_BYTES).map(String::from_utf8_lossy);
    let mut count = 0;
    for part in parts {
        txn.put(&BlobPart { vpc, digest, part: count, text: part.into_owned() });
        count += 1;
    }
    BlobReference { digest, parts: count }
}

/// Deletes the blob of a copy, unless `kept` or another list of the VPC has the same. Whoever uses a blob writes it anew, so
/// that a deletion beside it fails.
fn delete_blob(
    context: &Context<'_>,
    txn: &mut Txn,
    copy: &PrefixList,
    kept: Option<&ListEntries>,
) {
    let ListEntries::Blob(blob) = &copy.entries else { return };
    let first = Key::PrefixList(copy.used_in, PrefixListId(0));
    let last = Key::PrefixList(copy.used_in, PrefixListId(u128::MAX));
    let mut others = context.snapshot.range::<PrefixList>(first..=last);
    let is_used = kept == Some(&copy.entries)
        || others.any(|other| other.id != copy.id && other.entries == copy.entries);
    if is_used {
        return;
    }
    for part in 0..blob.parts {
        let key = Key::Blob(copy.used_in, blob.digest, part);
        if let Some(revision) = context.snapshot.mod_revision(&key) {
            txn.remove(&key, revision);
        }
    }
}
