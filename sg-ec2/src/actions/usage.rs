//! Quotas and guards in transactions, so that they hold with any number of servers writing.

use sg_policy::id::{GroupId, VpcId};
use sg_store::{Index, Key, Txn, key::Counted, objects::IndexEntry, txn::Expected};

use crate::{call::Context, error::Error};

/// Counts one more, or refuses where `limit` is reached.
pub(super) fn count_up(
    context: &Context<'_>,
    txn: &mut Txn,
    counted: Counted,
    limit: u64,
    refusal: impl FnOnce() -> Error,
) -> Result<(), Error> {
    let index = count_index(context, counted);
    let now = context.snapshot.get::<IndexEntry>(&Key::Index(index.clone()));
    match now {
        Some(now) if now.count >= limit => Err(refusal()),
        None if limit == 0 => Err(refusal()),
        Some(now) => {
            txn.replace(&IndexEntry::counted(index, now.count + 1), now.mod_revision);
            Ok(())
        }
        None => {
            txn.create(&IndexEntry::counted(index, 1));
            Ok(())
        }
    }
}

pub(super) fn count_down(context: &Context<'_>, txn: &mut Txn, counted: Counted) {
    let index = count_index(context, counted);
    if let Some(now) = context.snapshot.get::<IndexEntry>(&Key::Index(index.clone())) {
        txn.replace(&IndexEntry::counted(index, now.count.saturating_sub(1)), now.mod_revision);
    }
}

fn count_index(context: &Context<'_>, counted: Counted) -> Index {
    Index::Count(context.caller.account, context.region.clone(), counted)
}

/// The transaction refers to a group: the group must stay, and a transaction that deletes it must
/// notice.
pub(super) fn refer_to_group(txn: &mut Txn, vpc: VpcId, group: GroupId) {
    txn.expect(&Key::Group(vpc, group), Expected::Present);
    txn.put(&IndexEntry::guard(Index::GroupUsers(group)));
}

/// The transaction puts something into a VPC.
pub(super) fn use_vpc(txn: &mut Txn, vpc: VpcId) {
    txn.expect(&Key::Vpc(vpc), Expected::Present);
    txn.put(&IndexEntry::guard(Index::VpcUsers(vpc)));
}

pub(super) fn vpc_guard(vpc: VpcId) -> Key {
    Key::Index(Index::VpcUsers(vpc))
}

/// Nobody may have put anything into the VPC since the snapshot.
pub(super) fn guard_unchanged(context: &Context<'_>, vpc: VpcId) -> Expected {
    context.snapshot.mod_revision(&vpc_guard(vpc)).map_or(Expected::Absent, Expected::At)
}

/// The VPC goes, and its guard with it.
pub(super) fn forget_vpc(context: &Context<'_>, txn: &mut Txn, vpc: VpcId) {
    let guard = vpc_guard(vpc);
    txn.expect(&guard, guard_unchanged(context, vpc)).delete(&guard);
}

/// Nobody may have come to refer to the group since the snapshot. Its guard goes with it.
pub(super) fn forget_group(context: &Context<'_>, txn: &mut Txn, group: GroupId) {
    let guard = Key::Index(Index::GroupUsers(group));
    match context.snapshot.mod_revision(&guard) {
        Some(revision) => txn.remove(&guard, revision),
        None => txn.expect(&guard, Expected::Absent),
    };
}
