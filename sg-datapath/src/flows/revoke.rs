//! `on_revoke = "cut"`: ends the flows that an image does not allow, at once.
//!
//! The programs do so themselves when they next see a packet of such a flow. That is not enough: a
//! flow that stays silent over two changes would be held against the second one's rules only, and
//! come through if those bring its rule back, or if they are `"keep"`.

use sg_common::{
    flow::{Addresses4, Addresses6, Tag, Tick},
    image::{self, header, record, settings},
    interval::Words as _,
};

use super::{
    entry::FlowEntry,
    judge::{Peer, allows},
    lane::{Lane, each_lane},
};
use crate::{
    error::Error,
    maps::{arena::Slice, layout::Maps, region::Region},
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
