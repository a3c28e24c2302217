//! Flows of connections that are older than the filter: judged by an image as their opening packets
//! would be, and put into the table as the programs put theirs.

use sg_common::{
    ImageView,
    flow::{Addresses4, Addresses6},
};

use super::{
    entry::{Ends, Opening},
    judge::{Opens, judge, tag},
    lane::Contents,
    phase::Phase,
    table::{Present, Table},
};
use crate::{error::Error, maps::layout::Maps};

/// A connection whose flow is to be in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdoptedConnection {
    pub opening: Opening,
    pub phase: Phase,
}

/// Puts those that `image` lets open and tracks into the tables; returns how many are new there. One
/// for which there is no free lane is left out: nothing gives way to it.
pub fn adopt(
    maps: &Maps,
    image: &[u32],
    present: &Present<'_>,
    connections: &[AdoptedConnection],
) -> Result<u64, Error> {
    let image = ImageView::new(image)?;
    // Mapped whole, since connections hit it everywhere, and only for as long as this takes.
    let v4 = Table::<Addresses4>::map(&maps.flows4)?;
    let v6 = Table::<Addresses6>::map(&maps.flows6)?;
    let mut inserted = 0;
    for AdoptedConnection { opening, phase } in connections {
        if judge(image, opening) != Opens::Tracked {
            continue;
        }
        let tag = tag(opening, *phase);
        let is_new = match opening.ends() {
            Some(Ends::V4(addresses)) => {
                v4.insert(present, tag, &Contents::new(addresses, present.now))
            }
            Some(Ends::V6(addresses)) => {
                v6.insert(present, tag, &Contents::new(addresses, present.now))
            }
            None => false,
        };
        inserted += u64::from(is_new);
    }
    Ok(inserted)
}
