//! ICMP errors: they pass if the packet they quote belongs to a flow that passed the other way.

use sg_common::{
    flow::{TCP, UDP},
    probe::NO_FLOW,
};

use crate::{
    context::RuleContext,
    flow::{key::Key, lane::find, verdict::is_to_be_cut},
    frame::{Frame, Scratch},
    global_fns::GlobalFns,
    headers::{Chain, Ip, Packet, Part, Transport},
    walk::ip::Header,
};

/// Bytes of an ICMP error before the packet it quotes.
const ERROR_HEADER: u32 = 8;

/// Replaces an error by what it quotes, if that can be what its receiver sent.
///
/// Then it is to be asked for its flow by [`flow`].
#[inline(never)]
pub(crate) fn quoted<N: Header, F: Frame>(frame: &F, packet: &mut Packet<N>) -> bool {
    let Ip { destination: sender, end, chain: Chain { transport, .. }, .. } = packet.ip;
    if N::quoted(frame, transport + ERROR_HEADER, end, &mut packet.ip).is_err() {
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
    Some(Transport::of(header.half(0), second))
}

/// The flow that an ICMP error belongs to: its number plus one; 0 for none.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct RelatedFlow(pub(crate) u64);

impl RelatedFlow {
    const NONE: Self = Self(0);
    /// A service that is open to all, without flows.
    const SERVICE: Self = Self::of(NO_FLOW);

    #[inline(always)]
    const fn of(flow: u32) -> Self {
        Self(flow as u64 + 1)
    }

    /// The flow's number, or [`NO_FLOW`]; `None`: the error belongs to none.
    #[inline(always)]
    pub(crate) fn number(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some((self.0 - 1) as u32) }
    }
}

/// The flow of a packet that went the other way, or the untracked service that it belongs to.
/// Touches no flow.
#[inline(always)]
pub(crate) fn flow<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    _: u32,
) -> RelatedFlow {
    let direction = context.direction.reverse();
    if context.rules.untracked::<N>(packet, direction) {
        return RelatedFlow::SERVICE;
    }
    *key = Key::of(context, direction, packet, 0);
    if !key.is_tracked() {
        return RelatedFlow::NONE;
    }
    match find::<N>(&N::flows(), key) {
        Some(flow)
            if flow.tag.state().is_live()
                && !flow.is_over(context, N::FAMILY)
                && !is_to_be_cut(context, key, &flow) =>
        {
            RelatedFlow::of(flow.number(N::FAMILY))
        }
        _ => RelatedFlow::NONE,
    }
}
