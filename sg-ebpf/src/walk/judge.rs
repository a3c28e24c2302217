//! From a frame on a hook to a verdict that is counted. What IP packets get is in
//! [`super::packet`].

use sg_common::{Direction, image::flags};

use crate::{
    context::{Facts, Notes},
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
    let direction = |interface: u32| match (hook, interface & flags::PORT != 0) {
        (Hook::Receive, false) | (Hook::Send, true) => Direction::Ingress,
        (Hook::Receive, true) | (Hook::Send, false) => Direction::Egress,
    };
    let Some(facts) = Facts::of(frame.ifindex(), direction, true) else { return Verdict::Pass };
    if hook == Hook::Receive && facts.interface & flags::NO_ETHERNET == 0 && frame.was_in_tunnel() {
        // A tunnel's own interface, where nothing was judged yet, has no Ethernet header.
        return Verdict::Pass;
    }
    let mut notes = Notes::on(frame);
    let outcome = judge(&facts, frame, &mut notes);
    count(&facts, frame, &notes, outcome);
    if outcome.passes() { Verdict::Pass } else { Verdict::Drop }
}

/// Holds what XDP could not see of a packet, and let pass, against its headers. Counts what it drops.
#[inline(always)]
pub(crate) fn enforce_behind_xdp<F: Frame>(frame: &F) -> Verdict {
    let direction = |interface: u32| match interface & flags::PORT != 0 {
        false => Direction::Ingress,
        true => Direction::Egress,
    };
    let Some(facts) = Facts::of(frame.ifindex(), direction, true) else { return Verdict::Pass };
    let mut notes = Notes::on(frame);
    let payload = Payload::of(&facts, frame);
    notes.ip = payload.offset().wrapping_add(maps::zero());
    let refusal = if payload.is_v4() {
        headers::<V4, F>(frame, &notes)
    } else if payload.is_v6() {
        headers::<V6, F>(frame, &notes)
    } else {
        notes.ip = NO_IP;
        Refusal::unless_allowed(payload.reason())
    };
    if refusal.is_none() {
        return Verdict::Pass;
    }
    count(&facts, frame, &notes, Outcome::of(refusal.number()));
    Verdict::Drop
}

#[inline(always)]
fn count<F: Frame>(facts: &Facts, frame: &F, notes: &Notes, outcome: Outcome) {
    let told = events::tell(facts, frame, notes, outcome);
    let row = Row::of(facts.slot);
    row.count(facts.direction, outcome, notes.length);
    if !told {
        row.not_logged(facts.direction, notes.length);
    }
}

/// Judges a frame.
#[inline(always)]
pub(crate) fn judge<F: Frame>(facts: &Facts, frame: &F, notes: &mut Notes) -> Outcome {
    let payload = Payload::of(facts, frame);
    // A zero that the verifier does not know: the rest is checked once, not for every place where
    // an IP header can begin.
    notes.ip = payload.offset().wrapping_add(maps::zero());
    Outcome::of(if payload.is_v4() {
        packet::<V4, F>(facts, frame, notes)
    } else if payload.is_v6() {
        packet::<V6, F>(facts, frame, notes)
    } else {
        notes.ip = NO_IP;
        payload.reason()
    })
}
