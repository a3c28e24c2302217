//! `on_revoke = "cut"`: ends the flows that an image does not allow, at once.
//!
//! The programs do so themselves when they next see a packet of such a flow. But a flow may stay
//! silent over two changes. Only the second change's rules would judge it then. It would pass if
//! they bring its rule back, or if they are `"keep"`.

use sg_common::{
    ImageView,
    flow::{Addresses4, Addresses6, Tag, Tick},
};

use super::{
    entry::{FlowEntry, Shown},
    judge::allows,
    lane::{Lane, each_lane},
};
use crate::{
    error::Error,
    maps::{layout::Maps, region::Region},
};

/// Whether flows in a slot end with the rule that let them begin.
pub fn cuts(image: ImageView<'_>, slot: u16) -> bool {
    image.slot(slot.into()).is_some_and(|interface| interface.record.cut_since().is_some())
}

/// Whether flows in any slot do.
pub fn any_cuts(image: ImageView<'_>) -> bool {
    image.interfaces().any(|interface| interface.record.cut_since().is_some())
}

/// Cuts the flows that `image` does not allow and that `which` says, as the programs would; returns how
/// many. Their idle time counts from `now`.
pub fn cut_denied(
    maps: &Maps,
    image: &[u32],
    now: Tick,
    which: &mut dyn FnMut(&FlowEntry) -> bool,
) -> Result<u64, Error> {
    let image = ImageView::new(image)?;
    let of_v4 = cut_in::<Addresses4>(&maps.flows4, image, now, which)?;
    Ok(of_v4 + cut_in::<Addresses6>(&maps.flows6, image, now, which)?)
}

fn cut_in<A: Shown>(
    table: &Region,
    image: ImageView<'_>,
    now: Tick,
    which: &mut dyn FnMut(&FlowEntry) -> bool,
) -> Result<u64, Error> {
    let mut cut = 0;
    each_lane(table, |lane: &Lane<A>| {
        let tag = lane.tag();
        if is_denied(image, lane, tag, now)
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
fn is_denied<A: Shown>(image: ImageView<'_>, lane: &Lane<A>, tag: Tag, now: Tick) -> bool {
    tag.state().is_live()
        && image.slot(tag.slot().into()).is_some_and(|interface| {
            !lane.is_over(tag, interface.record, now)
                && allows(interface, tag, &lane.addresses()) == Some(false)
        })
}
