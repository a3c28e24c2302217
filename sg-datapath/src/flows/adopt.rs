//! Flows of connections that are older than the filter: judged by an image as their opening packets
//! would be, and put into the table as the programs put theirs.

use sg_common::{
    ImageView,
    flow::{Addresses, Addresses4, Addresses6, MAX_PICKUP, TCP, Tag, Tick, Timeout, lasts},
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
    pub evidence: OpenerEvidence,
}

/// How we know who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenerEvidence {
    /// A listening socket or conntrack says it.
    Kernel,
    /// One port is such that only an opener gets it.
    Ports,
    /// We do not know: the connection is given once for each direction.
    None,
}

/// Connections whose lanes an adoption changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Connections that have a new flow.
    pub kept: u64,
    /// Connections that are newly cut.
    pub cut: u64,
}

/// Puts those that `image` lets open and tracks into the tables. Leaves out a connection for which there is
/// no free lane, because nothing gives way to it.
///
/// Cuts TCP that `image` does not let open, if there is evidence of its opener and pickup would take the next
/// segment of the other side for the opening one. Evidence from ports does not cut a flow that the
/// programs have opened since: they saw its SYN.
pub fn adopt(
    maps: &Maps,
    image: &[u32],
    present: &Present<'_>,
    connections: &[AdoptedConnection],
) -> Result<Adopted, Error> {
    let image = ImageView::new(image)?;
    // Mapped whole, since connections hit it everywhere, and only for as long as this takes.
    let tables = Tables { v4: Table::map(&maps.flows4)?, v6: Table::map(&maps.flows6)? };
    let mut adopted = Adopted::default();
    let mut denied = Vec::new();
    for connection in connections {
        match judge(image, &connection.opening) {
            Opens::Tracked => adopted.kept += u64::from(tables.keep(present, connection)),
            Opens::Denied => denied.push(connection),
            Opens::Untracked => {}
        }
    }
    // Last: a cut flow takes no lane from one that goes on.
    for connection in denied {
        if let Some(phase) = needs_cut(image, present.now, connection) {
            adopted.cut += u64::from(tables.cut(present, connection, phase));
        }
    }
    Ok(adopted)
}

/// Whether pickup would take a segment of the side that did not open the connection; if so, the phase
/// whose idle timeout lasts until pickup ends.
fn needs_cut(image: ImageView<'_>, now: Tick, connection: &AdoptedConnection) -> Option<Phase> {
    let AdoptedConnection { opening, evidence, .. } = connection;
    let reverse = Opening { direction: opening.direction.reverse(), ..*opening };
    let record = image.slot(opening.slot.into())?.record;
    let until = record.pickup_until();
    let is_needed = opening.protocol == TCP
        && *evidence != OpenerEvidence::None
        && lasts(now, until, MAX_PICKUP)
        && judge(image, &reverse) == Opens::Tracked;
    let is_short = until.wrapping_sub(now) <= record.timeout(Timeout::TcpOpening);
    is_needed.then_some(if is_short { Phase::Replied } else { Phase::Established })
}

struct Tables {
    v4: Table<Addresses4>,
    v6: Table<Addresses6>,
}

impl Tables {
    /// Whether the connection's flow is new.
    fn keep(&self, present: &Present<'_>, connection: &AdoptedConnection) -> bool {
        let AdoptedConnection { opening, phase, .. } = connection;
        let tag = tag(opening, *phase);
        match opening.ends() {
            Some(Ends::V4(ends)) => self.v4.insert(present, tag, &Contents::new(ends, present.now)),
            Some(Ends::V6(ends)) => self.v6.insert(present, tag, &Contents::new(ends, present.now)),
            None => false,
        }
    }

    /// Whether the connection is newly cut.
    fn cut(&self, present: &Present<'_>, connection: &AdoptedConnection, phase: Phase) -> bool {
        let AdoptedConnection { opening, evidence, .. } = connection;
        let tag = tag(opening, phase);
        match opening.ends() {
            Some(Ends::V4(ends)) => cut_in(&self.v4, present, tag, ends, *evidence),
            Some(Ends::V6(ends)) => cut_in(&self.v6, present, tag, ends, *evidence),
            None => false,
        }
    }
}

fn cut_in<A: Shown + Addresses + PartialEq>(
    table: &Table<A>,
    present: &Present<'_>,
    tag: Tag,
    ends: A,
    evidence: OpenerEvidence,
) -> bool {
    let contents = Contents::new(ends, present.now);
    match evidence {
        OpenerEvidence::Kernel => table.cut(present, tag, &contents),
        _ => table.insert(present, tag.with_state(tag.state().cut()), &contents),
    }
}
