//! `on_revoke = "cut"`: ends the flows that an image does not allow, at once.
//!
//! The programs do so themselves when they next see a packet of such a flow. That is not enough: a
//! flow that stays silent over two changes would be held against the second one's rules only, and
//! come through if those bring its rule back, or if they are `"keep"`.

use sg_common::{
    flow::{Addresses4, Addresses6, Tag, Tick, opening},
    image::{self, header, record, settings},
    interval::{self, Ref, Words},
};

use super::{
    Error, FlowEntry,
    arena::Slice,
    flows::{Lane, Shown, each_lane},
    maps::{Maps, Region},
};

/// Whether an image is one of rules that cut.
pub fn cuts(image: &[u32]) -> bool {
    image[header::SETTINGS as usize] & settings::RECHECK != 0
}

/// Cuts the flows that `image` does not allow and that `which` says, as the programs would; returns how
/// many. Their idle time counts from `now`.
pub fn cut_denied(
    maps: &Maps,
    image: &[u32],
    now: Tick,
    which: &mut dyn FnMut(&FlowEntry) -> bool,
) -> Result<u64, Error> {
    let words = Slice(image);
    let of_v4 = cut_in::<Addresses4>(&maps.flows4, &words, now, which)?;
    Ok(of_v4 + cut_in::<Addresses6>(&maps.flows6, &words, now, which)?)
}

fn cut_in<A: Peer>(
    table: &Region,
    words: &Slice<'_>,
    now: Tick,
    which: &mut dyn FnMut(&FlowEntry) -> bool,
) -> Result<u64, Error> {
    let mut cut = 0;
    each_lane(table, |lane: &Lane<A>| {
        let tag = lane.tag();
        if is_denied(words, lane, tag, now)
            && lane.read().is_some_and(|(_, flow)| which(&flow))
            && lane.exchange(tag, tag.state().cut())
        {
            lane.set_seen(now);
            cut += 1;
        }
    })?;
    Ok(cut)
}

/// Whether a live flow is in the lane that the rules would not allow to be opened.
fn is_denied<A: Peer>(words: &Slice<'_>, lane: &Lane<A>, tag: Tag, now: Tick) -> bool {
    if !tag.state().is_live() || u32::from(tag.slot()) >= words.word(header::SLOTS) {
        return false;
    }
    let record = image::record_of(words, tag.slot().into());
    words.word(record + record::IFINDEX) != 0
        && !lane.is_over(tag, words, record, now)
        && !allows(words, record, tag, &lane.addresses())
}

/// Whether the rules allow the packet that opened the flow.
pub(super) fn allows<A: Peer>(words: &Slice<'_>, record: u32, tag: Tag, addresses: &A) -> bool {
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

pub(super) trait Peer: Shown {
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
