//! A flow table for more flows takes the place of the one that an earlier agent left, under traffic.
//!
//! 1. Copy the flows of the smaller table into the larger one, and pin it. Put the smaller one's
//!    pin aside.
//! 2. All links change to programs that use the larger one.
//! 3. Copy the flows that have opened or moved on in the smaller one meanwhile.
//!
//! An agent that dies on the way leaves both pins; the next one goes on at 2. A connection that
//! opens between 1 and 2 is not in the larger table until 3. A reply to it in between is judged
//! without a flow: for some milliseconds, a new connection may have to send again. Flows that were
//! there before notice nothing.

use std::{fs, path::Path};

use sg_common::flow::{Addresses, Addresses4, Addresses6, HASH_KEY_WORDS, LANES, buckets_in};

use super::region::{PredecessorDir, Region};
use crate::{
    bpf::syscall,
    error::Error,
    flows::{
        entry::Shown,
        lane::each_lane,
        table::{Present, Table},
    },
};

/// Suffix of the smaller table's pin meanwhile.
const ASIDE: &str = "_OLD";

/// Opens the table called `name` with at least `size` bytes if that can be had; the second one is the
/// smaller one that programs still use.
pub fn open<A: Shown + Addresses + PartialEq>(
    dir: &Path,
    from: PredecessorDir<'_>,
    name: &str,
    size: usize,
    hash_key: [u32; HASH_KEY_WORDS],
) -> Result<(Region, Option<Region>), Error> {
    let aside = format!("{name}{ASIDE}");
    if let Some(smaller) = Region::pinned(dir, &aside)? {
        if let Some(larger) = Region::pinned(dir, name)? {
            return Ok((larger, Some(smaller)));
        }
        rename(dir, &aside, name)?;
    }
    let mut region = Region::take_over(dir, from, name, size)?;
    // Another ABI's programs use their maps until interfaces are attached anew.
    if from.is_some() || region.size >= size {
        return Ok((region, None));
    }
    let larger = match Region::unpinned(dir, name, size) {
        Ok(larger) => larger,
        Err(error) => {
            let capacity = buckets_in::<A>(region.size) * LANES;
            tracing::warn!(capacity, %error, "the flow table stays as large as it was");
            return Ok((region, None));
        }
    };
    copy::<A>(&region, &larger, hash_key)?;
    rename(dir, name, &aside)?;
    region.pin = dir.join(&aside);
    larger.pin()?;
    tracing::info!(table = name, flows = buckets_in::<A>(size) * LANES, "grows");
    Ok((larger, Some(region)))
}

fn rename(dir: &Path, from: &str, to: &str) -> Result<(), Error> {
    fs::rename(dir.join(from), dir.join(to))
        .map_err(|error| Error::kernel(format!("renaming {}", dir.join(from).display()), error))
}

fn copy<A: Shown + Addresses + PartialEq>(
    from: &Region,
    to: &Region,
    hash_key: [u32; HASH_KEY_WORDS],
) -> Result<(), Error> {
    let table = Table::<A>::map(to)?;
    // No records: only lanes that never had a flow are free.
    let present = Present { records: &[], hash_key, now: 0, usage: None };
    let mut left_out = 0;
    each_lane::<A>(from, |lane| {
        if let Some((tag, contents)) = lane.contents()
            && !table.join(&present, tag, &contents)
        {
            left_out += 1;
        }
    })?;
    if left_out > 0 {
        tracing::warn!(flows = left_out, "had no lane in the larger table");
    }
    Ok(())
}

/// The smaller tables that programs used until now.
#[derive(Debug, Default)]
pub struct OldTables {
    pub v4: Option<Region>,
    pub v6: Option<Region>,
}

impl OldTables {
    pub fn is_empty(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }

    /// Step 3, when all links have changed.
    pub fn bring_after(
        self,
        flows4: &Region,
        flows6: &Region,
        hash_key: [u32; HASH_KEY_WORDS],
    ) -> Result<(), Error> {
        let bring_after = || {
            self.v4.as_ref().map_or(Ok(()), |v4| copy::<Addresses4>(v4, flows4, hash_key))?;
            self.v6.as_ref().map_or(Ok(()), |v6| copy::<Addresses6>(v6, flows6, hash_key))
        };
        // Copy at once, and again when programs that were running are done.
        bring_after()?;
        syscall::wait_for_programs();
        bring_after()?;
        for region in self.v4.into_iter().chain(self.v6) {
            fs::remove_file(&region.pin).map_err(|error| {
                Error::kernel(format!("removing {}", region.pin.display()), error)
            })?;
        }
        Ok(())
    }
}
