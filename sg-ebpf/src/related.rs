//! ICMP errors: they pass if the packet they quote belongs to a flow that passed the other way.

use core::mem::MaybeUninit;

use sg_common::{
    flow::{TCP, UDP},
    probe::NO_FLOW,
};

use crate::{
    conntrack::{self, Key},
    frame::{Frame, Scratch},
    ip::{Chain, Header, Ip, Part},
    judge::Context,
    packet::Packet,
    transport::Transport,
};

/// Bytes of an ICMP error before the packet it quotes.
const ERROR_HEADER: u32 = 8;

/// Whether the error belongs to a flow or to an untracked service, by the packet that it quotes,
/// which takes its place. Touches no flow.
///
/// The flow's number plus one, or [`NO_FLOW`] plus one for a service; 0 if it is related to nothing.
#[inline(always)]
pub(crate) fn flow<N: Header, F: Frame>(
    context: &Context,
    frame: &F,
    packet: &mut Packet<N>,
    key: &mut MaybeUninit<Key<N>>,
) -> u64 {
    if quoted::<N, F>(frame, packet) { flow_of::<N>(context, packet, key) } else { 0 }
}

/// Replaces an error by what it quotes, if that can be what its receiver sent.
#[inline(never)]
fn quoted<N: Header, F: Frame>(frame: &F, packet: &mut Packet<N>) -> bool {
    let Ip { destination: sender, end, chain: Chain { transport, .. }, .. } = packet.ip;
    // SAFETY: an initialised place may be written again.
    let ip = unsafe { &mut *(&raw mut packet.ip).cast::<MaybeUninit<_>>() };
    if N::quoted(frame, transport + ERROR_HEADER, end, ip).is_err() {
        return false;
    }
    let chain = &packet.ip.chain;
    if chain.transport > end || chain.part == Part::Later || !N::same(packet.ip.source, sender) {
        return false;
    }
    match first_bytes::<N, F>(frame, chain, end) {
        Some(transport) => {
            packet.transport = transport;
            true
        }
        None => false,
    }
}

/// The first eight bytes of the quoted packet's transport header, all that RFC 792 promises.
#[inline(always)]
fn first_bytes<N: Header, F: Frame>(frame: &F, chain: &Chain, end: u32) -> Option<Transport> {
    let protocol = chain.protocol;
    if protocol != TCP && protocol != UDP && protocol != N::ICMP {
        return Some(Transport::default());
    }
    if chain.transport + 8 > end {
        return None;
    }
    let mut scratch = Scratch::new();
    let header = frame.header::<8>(chain.transport, &mut scratch)?;
    let second = if protocol == N::ICMP { header.half(4) } else { header.half(2) };
    Some(Transport { source: header.half(0), destination: second, tcp_flags: 0 })
}

/// The flow of a packet that went the other way.
#[inline(never)]
fn flow_of<N: Header>(
    context: &Context,
    packet: &Packet<N>,
    key: &mut MaybeUninit<Key<N>>,
) -> u64 {
    let direction = context.direction.reverse();
    let protocol = packet.ip.chain.protocol;
    if protocol == TCP || protocol == UDP {
        let (local, remote) = packet.transport.ports(direction);
        if context.rules.untracked::<N>(protocol, local, remote) {
            return NO_FLOW as u64 + 1;
        }
    }
    let key = key.write(Key::of(context, direction, packet, 0));
    if !key.is_tracked() {
        return 0;
    }
    let Some(table) = N::flows() else { return 0 };
    match conntrack::find::<N>(&table, context, key) {
        Some(flow) if flow.tag.state().is_live() && !flow.is_over(context) => {
            flow.number() as u64 + 1
        }
        _ => 0,
    }
}
