//! Flows of connections that are older than the filter: judged by an image as their opening packets
//! would be, and put into the table as the programs put theirs.

use sg_common::{
    ImageView,
    flow::{Addresses, Addresses4, Addresses6, MAX_PICKUP, TCP, Tag, Tick, Timeout, lasts},
    usage,
};

use super::{
    entry::{Ends, Opening, Shown},
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
    /// Whether a listening socket or conntrack says who opened it. Else the ports do, or the connection is
    /// given once for each direction.
    pub is_opener_known: bool,
}

/// Connections whose lanes an adoption changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Connections that have a new flow.
    pub kept: u64,
    /// Connections that are newly cut.
    pub cut: u64,
}

/// Puts connections into the tables that `image` lets open and tracks. Leaves out a connection for
/// which there is no free lane, because nothing gives way to it, or whose interface has used up its
/// allowance.
///
/// Cuts TCP that `image` does not let open, if its opener is known and the rules would let the other side
/// open it. Pickup might take that side for the opener.
pub fn adopt(
    maps: &Maps,
    image: &[u32],
    present: &Present<'_>,
    connections: &[AdoptedConnection],
) -> Result<Adopted, Error> {
    let image = ImageView::new(image)?;
    // Mapped whole, since connections hit it everywhere, and only for as long as this takes.
    let tables =
        Tables { image, present, v4: Table::map(&maps.flows4)?, v6: Table::map(&maps.flows6)? };
    let mut adopted = Adopted::default();
    let mut denied = Vec::new();
    for connection in connections {
        match judge(image, &connection.opening) {
            Opens::Tracked => adopted.kept += u64::from(tables.keep(connection)),
            Opens::Denied => denied.push(connection),
            Opens::Untracked => {}
        }
    }
    // Last: a cut flow takes no lane from one that goes on.
    for connection in denied {
        if let Some(phase) = needs_cut(image, present.now, connection) {
            adopted.cut += u64::from(tables.cut(connection, phase));
        }
    }
    Ok(adopted)
}

/// Whether the rules would let the side that did not open the connection do so; if so, the phase
/// whose idle timeout lasts until pickup ends.
fn needs_cut(image: ImageView<'_>, now: Tick, connection: &AdoptedConnection) -> Option<Phase> {
    let AdoptedConnection { opening, is_opener_known, .. } = connection;
    let reverse = Opening { direction: opening.direction.reverse(), ..*opening };
    let record = image.slot(opening.slot.into())?.record;
    let until = record.pickup_until();
    let is_needed = opening.protocol == TCP
        && *is_opener_known
        && lasts(now, until, MAX_PICKUP)
        && judge(image, &reverse) == Opens::Tracked;
    let is_short = until.wrapping_sub(now) <= record.timeout(Timeout::TcpOpening);
    is_needed.then_some(if is_short { Phase::Replied } else { Phase::Established })
}

struct Tables<'a> {
    image: ImageView<'a>,
    present: &'a Present<'a>,
    v4: Table<Addresses4>,
    v6: Table<Addresses6>,
}

impl Tables<'_> {
    /// Whether the connection's flow is new.
    fn keep(&self, connection: &AdoptedConnection) -> bool {
        let AdoptedConnection { opening, phase, .. } = connection;
        let tag = tag(opening, *phase);
        match opening.ends() {
            Some(Ends::V4(ends)) => self.insert(&self.v4, tag, ends),
            Some(Ends::V6(ends)) => self.insert(&self.v6, tag, ends),
            None => false,
        }
    }

    /// Whether the connection is newly cut.
    fn cut(&self, connection: &AdoptedConnection, phase: Phase) -> bool {
        let AdoptedConnection { opening, .. } = connection;
        let tag = tag(opening, phase);
        match opening.ends() {
            Some(Ends::V4(ends)) => self.cut_in(&self.v4, tag, ends),
            Some(Ends::V6(ends)) => self.cut_in(&self.v6, tag, ends),
            None => false,
        }
    }

    fn cut_in<A: Shown + Addresses + PartialEq>(
        &self,
        table: &Table<A>,
        tag: Tag,
        ends: A,
    ) -> bool {
        let contents = Contents::new(ends, self.present.now);
        let cut = table.cut(self.present, tag, &contents);
        let refused = tag.with_state(tag.state().cut());
        cut.unwrap_or_else(|| self.insert(table, refused, ends))
    }

    /// Whether the flow was not there, its interface may have one more, and it is there now.
    fn insert<A: Shown + Addresses + PartialEq>(
        &self,
        table: &Table<A>,
        tag: Tag,
        ends: A,
    ) -> bool {
        let lanes = usage::Table::flows(A::FAMILY);
        let count = self.present.usage.map_or(0, |usage| usage.get(tag.slot(), lanes));
        let interface = self.image.slot(tag.slot().into());
        let has_room = |most: usage::Allowance| !most.is_used_up(count, table.lanes() as u32);
        interface.is_some_and(|interface| has_room(interface.record.max_flows()))
            && table.insert(self.present, tag, &Contents::new(ends, self.present.now))
    }
}
