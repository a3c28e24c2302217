//! Verdicts on first fragments, kept for later fragments. Beside them stand answers that are expected of
//! exempt services, which were called while the flow table had no room. These pass by address and port.

use sg_common::flow::{State, Timeout};

use crate::{
    context::RuleContext,
    flow::{key::Key, lane::find, open::open},
    global_fns::GlobalFns,
    headers::Packet,
    net::AddressFamily,
    outcome::Answer,
};

/// The verdict on the first fragment of a datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct FirstVerdict(pub(crate) u64);

impl FirstVerdict {
    /// No first fragment is known.
    pub(crate) const UNKNOWN: Self = Self(0);
    pub(crate) const ALLOWED: Self = Self(1);
    const DENIED: Self = Self(2);
}

/// In the place of a verdict: an answer of an exempt service is looked for or expected.
pub(crate) const ANSWER: u32 = 2;

/// The verdict on the first fragment of a later one, or on an [`ANSWER`]. Writes the key.
#[inline(always)]
pub(crate) fn verdict<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    kind: u32,
) -> FirstVerdict {
    *key = key_of(context, packet, kind);
    match find::<N>(&N::fragments(), key) {
        Some(first) if !first.is_older(context, Timeout::Fragment) => {
            if first.tag.state().is_denied() { FirstVerdict::DENIED } else { FirstVerdict::ALLOWED }
        }
        _ => FirstVerdict::UNKNOWN,
    }
}

/// Keeps the verdict on a first fragment, 0 or 1, or an [`ANSWER`], if there is room.
#[inline(always)]
pub(crate) fn remember<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    kind: u32,
) -> Answer {
    *key = key_of(context, packet, kind);
    key.set_state(State::first_fragment(kind != 0));
    open::<N>(context, packet, key, 0)
}

#[inline(always)]
fn key_of<N: AddressFamily>(context: &RuleContext<'_>, packet: &Packet<N>, kind: u32) -> Key<N> {
    match kind {
        ANSWER => Key::of_answers(context, packet),
        _ => Key::of_fragments(context, &packet.ip),
    }
}

/// Whether the rules allow the key's peer all of the packet's protocol.
#[inline(always)]
pub(crate) fn allow_all<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    _: u32,
) -> Answer {
    let protocol = packet.ip.chain.protocol;
    Answer::of(context.rules.allow_all::<N>(context.direction, protocol, key.remote()))
}
