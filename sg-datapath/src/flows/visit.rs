//! All flows of both tables, one after the other.

use sg_common::{
    Family,
    flow::{Addresses4, Addresses6, Bucket, LANES, Tag},
    usage::Table,
};

use super::{
    entry::{FlowEntry, Shown},
    lane::{Lane, LaneNumber, buckets, each_lane},
    usage::UsageRows,
};
use crate::{
    error::Error,
    maps::{layout::Maps, region::Region},
};

/// A visitor's decision on a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Yes,
    No,
}

/// Visits every flow of a table and forgets those that `visit` does not keep; returns how many.
fn visit_table<A: Shown>(
    region: &Region,
    usage: &UsageRows,
    visit: &mut dyn FnMut(&FlowEntry) -> Keep,
) -> Result<u64, Error> {
    let mut forgotten = 0;
    each_lane(region, |lane: &Lane<A>| {
        if let Some((tag, entry)) = lane.read()
            && visit(&entry) == Keep::No
            && lane.forget(tag)
        {
            usage.free_lane(Table::flows(A::FAMILY), tag);
            forgotten += 1;
        }
    })?;
    Ok(forgotten)
}

/// Forgets the verdicts on fragments of slots' interfaces.
pub(crate) fn forget_fragments(maps: &Maps, slots: &[u16]) -> Result<(), Error> {
    let usage = UsageRows::map(&maps.usage)?;
    forget_fragments_in::<Addresses4>(&maps.fragments4, &usage, slots)?;
    forget_fragments_in::<Addresses6>(&maps.fragments6, &usage, slots)
}

fn forget_fragments_in<A: Shown>(
    region: &Region,
    usage: &UsageRows,
    slots: &[u16],
) -> Result<(), Error> {
    each_lane(region, |lane: &Lane<A>| {
        let tag = lane.tag();
        if tag.state().is_taken() && slots.contains(&tag.owner()) && lane.forget(tag) {
            usage.free_lane(Table::fragments(A::FAMILY), tag);
        }
    })
}

/// Visits both families' tables; see [`visit_table`].
pub fn visit(maps: &Maps, visit: &mut dyn FnMut(&FlowEntry) -> Keep) -> Result<u64, Error> {
    let usage = UsageRows::map(&maps.usage)?;
    Ok(visit_table::<Addresses4>(&maps.flows4, &usage, visit)?
        + visit_table::<Addresses6>(&maps.flows6, &usage, visit)?)
}

/// Calls `each` with every flow of both families and the number of its lane.
pub fn each(
    flows4: &Region,
    flows6: &Region,
    each: &mut dyn FnMut(LaneNumber, Tag, &FlowEntry),
) -> Result<(), Error> {
    each_numbered::<Addresses4>(flows4, each)?;
    each_numbered::<Addresses6>(flows6, each)
}

fn each_numbered<A: Shown>(
    region: &Region,
    each: &mut dyn FnMut(LaneNumber, Tag, &FlowEntry),
) -> Result<(), Error> {
    let mut number = LaneNumber::first(A::FAMILY);
    each_lane(region, |lane: &Lane<A>| {
        if let Some((tag, entry)) = lane.read() {
            each(number, tag, &entry);
        }
        number = number.next();
    })
}

/// How far a look at all flows has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCursor {
    family: Family,
    bucket: usize,
}

impl FlowCursor {
    pub const START: Self = Self { family: Family::V4, bucket: 0 };
}

/// Buckets that are looked at without a pause.
const BUCKETS_AT_ONCE: usize = 512;

/// Calls `each` with the flows of some lanes, from where the last look ended. The next look goes on at what
/// this returns; `None`: that was all.
pub fn some(
    maps: &Maps,
    from: FlowCursor,
    each: &mut dyn FnMut(&FlowEntry),
) -> Result<Option<FlowCursor>, Error> {
    let FlowCursor { family, bucket } = from;
    let (next, other) = match family {
        Family::V4 => (some_of::<Addresses4>(&maps.flows4, bucket, each)?, Some(Family::V6)),
        Family::V6 => (some_of::<Addresses6>(&maps.flows6, bucket, each)?, None),
    };
    Ok(match next {
        Some(bucket) => Some(FlowCursor { family, bucket }),
        None => other.map(|family| FlowCursor { family, bucket: 0 }),
    })
}

/// The bucket after the last one that was looked at.
fn some_of<A: Shown>(
    region: &Region,
    bucket: usize,
    each: &mut dyn FnMut(&FlowEntry),
) -> Result<Option<usize>, Error> {
    let size = size_of::<Bucket<A>>();
    let (first, end) = buckets::<A>(region);
    let start = first + bucket * size;
    let len = (BUCKETS_AT_ONCE * size).min(end.saturating_sub(start));
    if len > 0 {
        let (mapping, at) = region.map(start, len)?;
        for at in (at..at + len).step_by(size) {
            for index in 0..LANES {
                if let Some((_, entry)) = Lane::new(mapping.at::<Bucket<A>>(at), index).read() {
                    each(&entry);
                }
            }
        }
    }
    Ok((start + len < end).then(|| bucket + BUCKETS_AT_ONCE))
}

/// The flow that has a lane.
pub fn at(region4: &Region, region6: &Region, number: LaneNumber) -> Option<FlowEntry> {
    match number.family() {
        Family::V4 => read_at::<Addresses4>(region4, number),
        Family::V6 => read_at::<Addresses6>(region6, number),
    }
}

fn read_at<A: Shown>(region: &Region, number: LaneNumber) -> Option<FlowEntry> {
    let size = size_of::<Bucket<A>>();
    let offset = buckets::<A>(region).0 + number.bucket() * size;
    let (mapping, at) = region.map(offset, size).ok()?;
    let lane = Lane::new(mapping.at::<Bucket<A>>(at), number.index());
    lane.read().map(|(_, entry)| entry)
}
