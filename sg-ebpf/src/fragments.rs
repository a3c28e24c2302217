//! Verdicts on first fragments, kept for those that follow.

use core::mem::MaybeUninit;

use sg_common::flow::{State, Timeout};

use crate::{
    conntrack::{self, Key},
    ip::Ip,
    judge::Context,
    net::Net,
};

/// No first fragment is known.
pub(crate) const UNKNOWN: u32 = 0;
pub(crate) const ALLOWED: u32 = 1;
pub(crate) const DENIED: u32 = 2;

/// The verdict on the first fragment of a later one. `key` is room to work in.
#[inline(never)]
pub(crate) fn verdict<N: Net>(
    context: &Context,
    ip: &Ip<N::Address>,
    key: &mut MaybeUninit<Key<N>>,
) -> u32 {
    let key = key.write(Key::of_fragments(context, ip));
    let Some(table) = N::fragments() else { return UNKNOWN };
    match conntrack::find::<N>(&table, context, key) {
        Some(first) if !first.is_older(context, Timeout::Fragment) => {
            if first.tag.state().is_denied() { DENIED } else { ALLOWED }
        }
        _ => UNKNOWN,
    }
}

/// The entry of a first fragment.
#[inline(always)]
pub(crate) fn key<'a, N: Net>(
    context: &Context,
    ip: &Ip<N::Address>,
    allowed: bool,
    key: &'a mut MaybeUninit<Key<N>>,
) -> &'a Key<N> {
    let key = key.write(Key::of_fragments(context, ip));
    key.set_state(State::first_fragment(allowed));
    key
}
