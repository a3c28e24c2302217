//! Verdicts on first fragments, kept for those that follow.

use sg_common::flow::{State, Timeout};

use crate::{
    conntrack::{self, Key},
    context::Context,
    headers::Packet,
    net::Net,
};

/// No first fragment is known.
pub(crate) const UNKNOWN: u64 = 0;
pub(crate) const ALLOWED: u64 = 1;
const DENIED: u64 = 2;

/// The verdict on the first fragment of a later one. Writes the key.
#[inline(always)]
pub(crate) fn verdict<N: Net>(
    context: &Context<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    _: u32,
) -> u64 {
    *key = Key::of_fragments(context, &packet.ip);
    match conntrack::find::<N>(&N::fragments(), key) {
        Some(first) if !first.is_older(context, Timeout::Fragment) => {
            if first.tag.state().is_denied() { DENIED } else { ALLOWED }
        }
        _ => UNKNOWN,
    }
}

/// Keeps the verdict on a first fragment, if there is room.
#[inline(always)]
pub(crate) fn remember<N: Net>(
    context: &Context<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    allowed: u32,
) -> u64 {
    *key = Key::of_fragments(context, &packet.ip);
    key.set_state(State::first_fragment(allowed != 0));
    conntrack::open::<N>(context, packet, key, 0)
}

/// Whether the rules allow the key's peer all of the packet's protocol.
#[inline(always)]
pub(crate) fn allow_all<N: Net>(
    context: &Context<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    _: u32,
) -> u64 {
    let protocol = packet.ip.chain.protocol;
    context.rules.allow_all::<N>(context.direction, protocol, key.remote()) as u64
}
