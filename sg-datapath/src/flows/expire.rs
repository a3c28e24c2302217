//! What has idled out stays ended, also when a change of the rules brings longer timeouts.
//!
//! Programs judge expiry by time stamp, so nothing has to sweep the tables; but an entry that is over
//! by one timeout would be live again under a longer one, if its lane was not taken meanwhile.

use sg_common::{
    control::Root,
    flow::{Addresses4, Addresses6, TIMEOUTS, Tick},
    image::{header, record},
};

use super::{
    entry::Shown,
    lane::{Lane, each_lane},
};
use crate::{
    error::Error,
    maps::{
        arena::{self, Slice},
        layout::Maps,
    },
};

/// Forgets what is over by the image in force, if the one that is to follow has a longer timeout.
pub fn before_longer_timeouts(
    maps: &Maps,
    root: Root,
    next: &[u32],
    now: Tick,
) -> Result<(), Error> {
    let records = arena::records(&maps.arena, root, now)?;
    if !has_longer_timeouts(&records, next) {
        return Ok(());
    }
    each_lane(&maps.flows4, |lane: &Lane<Addresses4>| forget_if_over(&records, lane, now))?;
    each_lane(&maps.flows6, |lane: &Lane<Addresses6>| forget_if_over(&records, lane, now))
}

/// Records of the same slot are of the same interface, or the flows of the slot were forgotten.
fn has_longer_timeouts(records: &[u32], next: &[u32]) -> bool {
    let at = next[header::RECORDS as usize] as usize;
    let slots = next[header::SLOTS as usize] as usize;
    let timeouts = record::TIMEOUTS as usize..record::TIMEOUTS as usize + TIMEOUTS;
    records
        .chunks_exact(record::LEN as usize)
        .zip(next[at..].chunks_exact(record::LEN as usize).take(slots))
        .any(|(old, new)| {
            let mut pairs = old[timeouts.clone()].iter().zip(&new[timeouts.clone()]);
            pairs.any(|(old, new)| new > old)
        })
}

fn forget_if_over<A: Shown>(records: &[u32], lane: &Lane<A>, now: Tick) {
    let tag = lane.tag();
    let record = u32::from(tag.slot()) * record::LEN;
    if tag.state().is_taken()
        && (record as usize) < records.len()
        && lane.is_over(tag, &Slice(records), record, now)
    {
        lane.forget(tag);
    }
}
