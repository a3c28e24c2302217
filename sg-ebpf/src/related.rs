//! ICMP errors: they pass if the packet they quote belongs to a flow that passed the other way.

use sg_common::{
    flow::{TCP, UDP},
    probe::NO_FLOW,
};

use crate::{
    conntrack::{self, Key},
    frame::Frame,
    ip::{Header, Ip, Part},
    judge::Context,
    transport::Transport,
};

/// Bytes of an ICMP error before the packet it quotes.
const ERROR_HEADER: u32 = 8;

/// Whether the quoted packet belongs to a live flow, or to an untracked service. Touches nothing.
///
/// The flow's number plus one, or [`NO_FLOW`] plus one for a service; 0 if it is related to nothing.
#[inline(never)]
pub(crate) fn is_related<N: Header, F: Frame>(
    context: &Context,
    frame: &F,
    ip: &Ip<N::Address>,
) -> u64 {
    quoted_flow::<N, F>(context, frame, ip).map_or(0, |number| number as u64 + 1)
}

#[inline(always)]
fn quoted_flow<N: Header, F: Frame>(
    context: &Context,
    frame: &F,
    ip: &Ip<N::Address>,
) -> Option<u32> {
    let quote = N::quoted(frame, ip.chain.transport + ERROR_HEADER, ip.end).ok()?;
    // An error goes to the sender of what it quotes.
    if quote.chain.transport > ip.end
        || quote.chain.part == Part::Later
        || !N::same(quote.source, ip.destination) {
        return None;
    }
    let transport = quoted_transport::<N, F>(frame, &quote.chain, ip.end)?;
    let direction = context.direction.reverse();
    if quote.chain.protocol == TCP || quote.chain.protocol == UDP {
        let (local, remote) = transport.ports(direction);
        if context.rules.untracked::<N>(quote.chain.protocol, local, remote) {
            return Some(NO_FLOW);
        }
    }
    let key = Key::<N>::of(context, direction, &quote, &transport)?;
    let found = conntrack::find::<N>(&N::flows()?, context, &key)?;
    (found.tag.state().is_live() && !found.is_over(context)).then_some(found.number())
}

/// The first eight bytes of the quoted packet's transport header, all that RFC 792 promises.
#[inline(always)]
fn quoted_transport<N: Header, F: Frame>(
    frame: &F,
    chain: &crate::ip::Chain,
    end: u32,
) -> Option<Transport> {
    let protocol = chain.protocol;
    if protocol != TCP && protocol != UDP && protocol != N::ICMP {
        return Some(Transport::default());
    }
    if chain.transport + 8 > end {
        return None;
    }
    let header = frame.header::<8>(chain.transport)?;
    let second = if protocol == N::ICMP { header.half(4) } else { header.half(2) };
    Some(Transport { source: header.half(0), destination: second, tcp_flags: 0 })
}
