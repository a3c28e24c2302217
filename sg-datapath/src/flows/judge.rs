//! What the rules of an image say to the packet that opens a flow.

use sg_common::{
    flow::{Addresses4, Addresses6, TCP, Tag, UDP, opening, ports},
    image::{self, header, record, service},
    interval::{self, Ref, Words},
};

use super::{
    entry::{Ends, Opening, Shown},
    phase::Phase,
};
use crate::maps::arena::Slice;

/// What rules say to an opening packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    Denied,
    /// It passes, and so does all that follows, each by the rules.
    Untracked,
    /// It passes and makes a flow.
    Tracked,
}

/// What the rules in `image` say to an opening packet.
pub fn judge(image: &[u32], opening: &Opening) -> Opens {
    let words = Slice(image);
    match opening.ends() {
        Some(Ends::V4(addresses)) => judge_in(&words, opening, &addresses),
        Some(Ends::V6(addresses)) => judge_in(&words, opening, &addresses),
        None => Opens::Denied,
    }
}

fn judge_in<A: Peer>(words: &Slice<'_>, opening: &Opening, addresses: &A) -> Opens {
    if u32::from(opening.slot) >= words.word(header::SLOTS) {
        return Opens::Denied;
    }
    let record = image::record_of(words, opening.slot.into());
    if words.word(record + record::IFINDEX) == 0 {
        return Opens::Denied;
    }
    let is_open = |which, port| {
        let set = image::family_ref(words, record, A::FAMILY, which);
        interval::contains(words, set, service(opening.protocol, port))
    };
    if matches!(opening.protocol, TCP | UDP)
        && (is_open(record::UNTRACKED_IN, opening.local.port())
            || is_open(record::UNTRACKED_OUT, opening.remote.port()))
    {
        return Opens::Untracked;
    }
    if allows(words, record, tag(opening, Phase::New), addresses) {
        Opens::Tracked
    } else {
        Opens::Denied
    }
}

/// The tag of its flow when the connection has come this far.
pub(crate) fn tag(opening: &Opening, phase: Phase) -> Tag {
    let ports = match opening.protocol {
        TCP | UDP => ports(opening.local.port(), opening.remote.port()),
        _ => 0,
    };
    let state = phase.state(opening.protocol, opening.direction);
    Tag::new(ports, opening.slot, opening.protocol, state)
}

/// Whether the rules allow the packet that opened the flow.
pub(crate) fn allows<A: Peer>(words: &Slice<'_>, record: u32, tag: Tag, addresses: &A) -> bool {
    let (direction, service) = opening(tag, A::FAMILY);
    let row = image::family_ref(words, record, A::FAMILY, image::row_of(direction));
    let set = if row.is_leaf() {
        row
    } else {
        let map = Ref(words.word(header::CLASSES + A::FAMILY as u32));
        image::services(words, row, addresses.class(words, map))
    };
    interval::contains(words, set, service)
}

pub(crate) trait Peer: Shown {
    /// Class of the peer's address.
    fn class(&self, words: &Slice<'_>, map: Ref) -> u32;
}

impl Peer for Addresses4 {
    fn class(&self, words: &Slice<'_>, map: Ref) -> u32 {
        image::class4(words, map, self[0] as u32)
    }
}

impl Peer for Addresses6 {
    fn class(&self, words: &Slice<'_>, map: Ref) -> u32 {
        image::class6(words, map, self[2], self[3])
    }
}
