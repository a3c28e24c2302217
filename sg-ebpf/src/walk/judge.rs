//! From a frame on a hook to a verdict that is counted. The steps of an IP packet are in
//! [`super::packet`].

use sg_common::{Direction, image::flags};

use crate::{
    context::{PacketContext, PacketMeta},
    counters::Row,
    events,
    frame::Frame,
    maps,
    net::{V4, V6},
    outcome::{Outcome, Refusal},
    walk::{
        link::Payload,
        packet::{headers, packet},
    },
};

/// Where a program sits, from the kernel's point of view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Receive,
    Send,
}

pub(crate) enum Verdict {
    Pass,
    Drop,
}

/// Offset of an IP header where there is none: beyond any frame.
const NO_IP: u32 = u32::MAX;

/// Judges a packet on the way, and counts it.
#[inline(always)]
pub(crate) fn enforce<F: Frame>(frame: &F, hook: Hook) -> Verdict {
    // A port's instance sends what the kernel receives there.
    let direction = |interface: u32| match (hook, flags::instance_sends(interface)) {
        (Hook::Receive, false) | (Hook::Send, true) => Direction::Ingress,
        (Hook::Receive, true) | (Hook::Send, false) => Direction::Egress,
    };
    let Some(context) = PacketContext::of(frame.ifindex(), direction, false) else {
        return Verdict::Pass;
    };
    if hook == Hook::Receive && context.interface & flags::NO_ETHERNET == 0 && frame.was_in_tunnel()
    {
        // A tunnel's own interface, where nothing was judged yet, has no Ethernet header.
        return Verdict::Pass;
    }
    let mut meta = PacketMeta::on(frame);
    let outcome = judge(&context, frame, &mut meta);
    count(&context, frame, &meta, outcome);
    if outcome.passes() { Verdict::Pass } else { Verdict::Drop }
}

/// Judges metadata that XDP could not see, of a packet that XDP let pass. Counts only its drops.
#[inline(always)]
pub(crate) fn enforce_behind_xdp<F: Frame>(frame: &F) -> Verdict {
    let direction = |interface: u32| match flags::instance_sends(interface) {
        false => Direction::Ingress,
        true => Direction::Egress,
    };
    let Some(context) = PacketContext::of(frame.ifindex(), direction, false) else {
        return Verdict::Pass;
    };
    let mut meta = PacketMeta::on(frame);
    let payload = Payload::of(&context, frame);
    meta.ip = payload.offset().wrapping_add(maps::zero());
    let refusal = if payload.is_v4() {
        headers::<V4, F>(frame, &meta)
    } else if payload.is_v6() {
        headers::<V6, F>(frame, &meta)
    } else {
        meta.ip = NO_IP;
        Refusal::unless_allowed(payload.reason())
    };
    if refusal.is_none() {
        return Verdict::Pass;
    }
    count(&context, frame, &meta, Outcome::of(refusal.number()));
    Verdict::Drop
}

#[inline(always)]
fn count<F: Frame>(context: &PacketContext, frame: &F, meta: &PacketMeta, outcome: Outcome) {
    let told = events::tell(context, frame, meta, outcome);
    let row = Row::of(context.slot);
    row.count(context.direction, outcome, meta.length);
    if !told {
        row.not_logged(context.direction, meta.length);
    }
}

/// Judges a frame.
#[inline(always)]
pub(crate) fn judge<F: Frame>(
    context: &PacketContext,
    frame: &F,
    meta: &mut PacketMeta,
) -> Outcome {
    let payload = Payload::of(context, frame);
    // A zero that the verifier does not know: the rest is checked once, not for every place where
    // an IP header can begin.
    meta.ip = payload.offset().wrapping_add(maps::zero());
    Outcome::of(if payload.is_v4() {
        packet::<V4, F>(context, frame, meta)
    } else if payload.is_v6() {
        packet::<V6, F>(context, frame, meta)
    } else {
        meta.ip = NO_IP;
        payload.reason()
    })
}
