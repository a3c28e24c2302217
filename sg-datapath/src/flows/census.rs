//! The census: frees the lanes of flows that have idled out, and holds the counts of lanes against the
//! tables.
//!
//! An allowance is of live flows, and programs count lanes. The agent therefore frees the lanes of
//! flows that have idled out. Counts go wrong where an agent died between a lane and its count, and
//! where programs of an older agent, which count nothing, have used the same tables. Without an
//! agent the counts go on: a flow that has idled out then counts until its interface or another one
//! takes the lane.

use std::{
    io,
    path::{Path, PathBuf},
};

use sg_common::{
    flow::{Addresses4, Addresses6, Tag, Tick, Timeout, is_over},
    usage::Table,
    view::{InterfaceRecord, RecordWords},
};

use super::{
    entry::Shown,
    lane::{Lane, each_lane},
    usage::UsageRows,
};
use crate::{
    clock::Clock,
    error::Error,
    maps::{
        arena::{self, ARENA},
        layout::Maps,
        region::Region,
    },
};

/// The parts of the data path that the census needs, with descriptors of its own: it may run beside its owner.
#[derive(Debug)]
pub struct Census {
    flows4: Region,
    flows6: Region,
    fragments4: Region,
    fragments6: Region,
    usage: Region,
    clock: Clock,
    /// Where the arena is pinned, which is another one when it has grown.
    maps_dir: PathBuf,
}

/// The result of a census.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CensusResult {
    /// Lanes of flows that had idled out.
    pub freed: u64,
    /// By how many lanes counts were wrong, too high or too low.
    pub corrected: u64,
}

impl Census {
    pub(crate) fn open(maps: &Maps, maps_dir: &Path, clock: &Clock) -> io::Result<Self> {
        Ok(Self {
            flows4: maps.flows4.try_clone()?,
            flows6: maps.flows6.try_clone()?,
            fragments4: maps.fragments4.try_clone()?,
            fragments6: maps.fragments6.try_clone()?,
            usage: maps.usage.try_clone()?,
            clock: clock.try_clone()?,
            maps_dir: maps_dir.to_owned(),
        })
    }

    /// Takes a census of all tables.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn take(&self) -> Result<CensusResult, Error> {
        // After a detach there is none.
        let Some(arena) = Region::pinned(&self.maps_dir, ARENA)? else {
            return Ok(CensusResult::default());
        };
        let (records, offset) = arena::records_in_force(&arena, || self.clock.now())?;
        let now = self.clock.now().wrapping_add(offset);
        let usage = UsageRows::map(&self.usage)?;
        let mut result = CensusResult::default();
        let mut of = |table, region| {
            let done = match table {
                Table::Flows4 | Table::Fragments4 => {
                    of_table::<Addresses4>(region, table, &usage, &records, now)
                }
                Table::Flows6 | Table::Fragments6 => {
                    of_table::<Addresses6>(region, table, &usage, &records, now)
                }
            }?;
            result.freed += done.freed;
            result.corrected += done.corrected;
            Ok::<_, Error>(())
        };
        of(Table::Flows4, &self.flows4)?;
        of(Table::Flows6, &self.flows6)?;
        of(Table::Fragments4, &self.fragments4)?;
        of(Table::Fragments6, &self.fragments6)?;
        Ok(result)
    }
}

fn of_table<A: Shown>(
    region: &Region,
    table: Table,
    usage: &UsageRows,
    records: &[RecordWords],
    now: Tick,
) -> Result<CensusResult, Error> {
    let before = usage.all(table);
    let mut lanes = vec![0_i64; before.len()];
    let mut freed = vec![0_i64; before.len()];
    each_lane(region, |lane: &Lane<A>| {
        let tag = lane.tag();
        let slot = usize::from(tag.owner());
        if !tag.state().is_taken() || slot >= lanes.len() {
            return;
        }
        if has_idled_out(records, lane, tag, table, now) && lane.forget(tag) {
            usage.free_lane(table, tag);
            freed[slot] += 1;
        } else {
            lanes[slot] += 1;
        }
    })?;
    let after = usage.all(table);
    let mut result = CensusResult::default();
    for slot in 0..lanes.len() {
        // Flows open and end meanwhile: the middle of both counts is of the middle of the census. It is
        // right but for what happens in that time, and the next census starts from the lanes anew.
        let began = i64::from(before[slot] as i32) - freed[slot];
        let counted = (began + i64::from(after[slot] as i32)) / 2;
        let wrong = counted - lanes[slot];
        usage.add(slot as u16, table, -wrong as i32);
        result.freed += freed[slot] as u64;
        result.corrected += wrong.unsigned_abs();
    }
    Ok(result)
}

/// Whether a lane's flow is over, and the flow log has had the time to see the last of it.
fn has_idled_out<A: Shown>(
    records: &[RecordWords],
    lane: &Lane<A>,
    tag: Tag,
    table: Table,
    now: Tick,
) -> bool {
    // The flows of interfaces that are gone go with their slots.
    let record = records.get(usize::from(tag.owner())).and_then(InterfaceRecord::new);
    let Some(record) = record else { return false };
    let timeout = match table {
        Table::Fragments4 | Table::Fragments6 => Timeout::Fragment,
        Table::Flows4 | Table::Flows6 => match tag.state().timeout(A::FAMILY, tag.protocol()) {
            Timeout::TcpEnded => Timeout::TcpReset,
            other => other,
        },
    };
    is_over(now, lane.seen(), record.timeout(timeout))
}
