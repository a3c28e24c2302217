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
use sg_policy::compile::Image;

use super::{
    Error,
    arena::Slice,
    flows::{Lane, Shown, each_lane},
    maps::Maps,
};

/// Cuts what `image` has to be held against and does not allow, as the programs would.
pub fn cut_denied(maps: &Maps, image: &Image, now: Tick) -> Result<(), Error> {
    let words = Slice(&image.words);
    if words.word(header::SETTINGS) & settings::RECHECK == 0 {
        return Ok(());
    }
    let since = words.word(header::CUT_SINCE);
    each_lane(&maps.flows4, |lane: &Lane<Addresses4>| cut_if_denied(&words, lane, since, now))?;
    each_lane(&maps.flows6, |lane: &Lane<Addresses6>| cut_if_denied(&words, lane, since, now))
}

fn cut_if_denied<A: Peer>(words: &Slice<'_>, lane: &Lane<A>, since: Tick, now: Tick) {
    let tag = lane.tag();
    if !tag.state().is_live() {
        return;
    }
    let newer = lane.seen().wrapping_sub(since) as i32 > 0;
    if newer || u32::from(tag.slot()) >= words.word(header::SLOTS) {
        return;
    }
    let record = image::record_of(words, tag.slot().into());
    if words.word(record + record::IFINDEX) == 0 || lane.is_over(tag, words, record, now) {
        return;
    }
    if !allows(words, record, tag, &lane.addresses()) && lane.exchange(tag, tag.state().cut()) {
        lane.set_seen(since);
    }
}

/// Whether the rules allow the packet that opened the flow.
fn allows<A: Peer>(words: &Slice<'_>, record: u32, tag: Tag, addresses: &A) -> bool {
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

trait Peer: Shown {
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
