//! All flows of both tables, one after the other.

use sg_common::{
    Family,
    flow::{Addresses4, Addresses6, Bucket, LANES, Tag},
    probe::IPV6,
};

use super::{
    entry::{FlowEntry, Shown},
    lane::{Lane, buckets, each_lane},
};
use crate::{error::Error, maps::region::Region};

/// What to do with a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Yes,
    No,
}

/// Visits every flow of a table and forgets those that `visit` does not keep; returns how many.
fn visit_table<A: Shown>(
    region: &Region,
    visit: &mut dyn FnMut(&FlowEntry) -> Keep,
) -> Result<u64, Error> {
    let mut forgotten = 0;
    each_lane(region, |lane: &Lane<A>| {
        if let Some((tag, entry)) = lane.read()
            && visit(&entry) == Keep::No
            && lane.forget(tag)
        {
            forgotten += 1;
        }
    })?;
    Ok(forgotten)
}

/// Forgets the verdicts on fragments of slots' interfaces.
pub(crate) fn forget_fragments<A: Shown>(region: &Region, slots: &[u16]) -> Result<(), Error> {
    each_lane(region, |lane: &Lane<A>| {
        let tag = lane.tag();
        // The highest bit of the slot is the direction.
        if tag.state().is_taken() && slots.contains(&(tag.slot() & 0x7fff)) {
            lane.forget(tag);
        }
    })
}

/// Visits both families' tables; see [`visit_table`].
pub fn visit(
    flows4: &Region,
    flows6: &Region,
    visit: &mut dyn FnMut(&FlowEntry) -> Keep,
) -> Result<u64, Error> {
    Ok(visit_table::<Addresses4>(flows4, visit)? + visit_table::<Addresses6>(flows6, visit)?)
}

/// Calls `each` with every flow of both families and the number of its lane, as a probe gives it.
pub fn each(
    flows4: &Region,
    flows6: &Region,
    each: &mut dyn FnMut(u32, Tag, &FlowEntry),
) -> Result<(), Error> {
    each_numbered::<Addresses4>(flows4, 0, each)?;
    each_numbered::<Addresses6>(flows6, IPV6, each)
}

fn each_numbered<A: Shown>(
    region: &Region,
    first: u32,
    each: &mut dyn FnMut(u32, Tag, &FlowEntry),
) -> Result<(), Error> {
    let mut number = first;
    each_lane(region, |lane: &Lane<A>| {
        if let Some((tag, entry)) = lane.read() {
            each(number, tag, &entry);
        }
        number += 1;
    })
}

/// The flow at a probe's number, `bucket << 2 | lane`.
pub fn at(region4: &Region, region6: &Region, family: Family, number: u32) -> Option<FlowEntry> {
    match family {
        Family::V4 => read_at::<Addresses4>(region4, number),
        Family::V6 => read_at::<Addresses6>(region6, number),
    }
}

fn read_at<A: Shown>(region: &Region, number: u32) -> Option<FlowEntry> {
    let size = size_of::<Bucket<A>>();
    let offset = buckets::<A>(region).0 + (number >> 2) as usize * size;
    let (mapping, at) = region.map(offset, size).ok()?;
    let lane = Lane::new(mapping.at::<Bucket<A>>(at), number as usize & (LANES - 1));
    lane.read().map(|(_, entry)| entry)
}
