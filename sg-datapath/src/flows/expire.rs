//! Ends idled-out flows for good before a change of the rules brings longer timeouts.
//!
//! Programs judge expiry by time stamp, so no sweep of the tables is needed for a verdict. But a
//! flow that is over by one timeout would be live again under a longer one, if no other flow took
//! its lane meanwhile.

use sg_common::{
    ImageView,
    control::Root,
    flow::{Addresses4, Addresses6, Tick},
    usage::Table,
    view::{InterfaceRecord, RecordWords},
};

use super::{
    entry::Shown,
    lane::{Lane, each_lane},
    usage::UsageRows,
};
use crate::{
    error::Error,
    maps::{arena, layout::Maps},
};

/// Forgets flows that are over by the image in force, if the next image has a longer timeout.
pub fn before_longer_timeouts(
    maps: &Maps,
    root: Root,
    next: &[u32],
    now: Tick,
) -> Result<(), Error> {
    let records = arena::records(&maps.arena, root, now)?;
    if !has_longer_timeouts(&records, ImageView::new(next)?) {
        return Ok(());
    }
    let usage = UsageRows::map(&maps.usage)?;
    let present = (&records[..], &usage, now);
    each_lane(&maps.flows4, |lane: &Lane<Addresses4>| forget_if_over(present, lane))?;
    each_lane(&maps.flows6, |lane: &Lane<Addresses6>| forget_if_over(present, lane))
}

/// Records of the same slot are of the same interface, or the flows of the slot were forgotten.
fn has_longer_timeouts(records: &[RecordWords], next: ImageView<'_>) -> bool {
    records.iter().zip(next.records()).any(|(old, new)| {
        let (old, new) = (InterfaceRecord::new(old), InterfaceRecord::new(new));
        old.zip(new).is_some_and(|(old, new)| new.has_longer_timeouts(old))
    })
}

type Expiry<'a> = (&'a [RecordWords], &'a UsageRows, Tick);

fn forget_if_over<A: Shown>((records, usage, now): Expiry<'_>, lane: &Lane<A>) {
    let tag = lane.tag();
    let record = records.get(usize::from(tag.slot())).and_then(InterfaceRecord::new);
    if tag.state().is_taken()
        && record.is_some_and(|record| lane.is_over(tag, record, now))
        && lane.forget(tag)
    {
        usage.free_lane(Table::flows(A::FAMILY), tag);
    }
}
