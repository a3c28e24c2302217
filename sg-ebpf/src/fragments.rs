//! Later fragments go where the first one went. Functions of their own: few packets come here.

use sg_common::flow::{State, Timeout};

use crate::{
    conntrack::{self, Key},
    ip::Ip,
    judge::Context,
    net::Net,
};

/// Whether a later fragment passes: with its first, or because the rules allow its peer the whole
/// protocol.
#[inline(never)]
pub(crate) fn follows<N: Net>(context: &Context, ip: &Ip<N::Address>) -> bool {
    let key = Key::<N>::of_fragments(context, ip);
    if let Some(table) = N::fragments()
        && let Some(first) = conntrack::find::<N>(&table, context, &key)
        && !first.is_older(context, Timeout::Fragment)
    {
        return !first.tag.state().is_denied();
    }
    let (_, peer) = N::sides(context.direction, ip.source, ip.destination);
    context.rules.allow_all::<N>(context.direction, peer, ip.chain.protocol)
}

/// Keeps the verdict on a first fragment for those that follow.
#[inline(never)]
pub(crate) fn remember<N: Net>(context: &Context, ip: &Ip<N::Address>, allowed: bool) -> bool {
    let Some(table) = N::fragments() else { return false };
    let key = Key::<N>::of_fragments(context, ip);
    let state = State::first_fragment(allowed);
    match conntrack::find::<N>(&table, context, &key) {
        Some(mut found) => found.restart(context.now, state, 0),
        None => conntrack::insert::<N>(&key, state, 0),
    }
}
