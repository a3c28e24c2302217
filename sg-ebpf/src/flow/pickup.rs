//! TCP that is picked up in mid-stream, because it is older than the filter.

use sg_common::flow::{State, opener_by_ports, tcp};

use super::{key::Key, verdict::is_still_allowed};
use crate::{context::RuleContext, global_fns::GlobalFns, headers::Packet, outcome::Answer};

/// Whether the rules let the connection of a segment open, and so pick it up. `allowed`: they let its sender
/// open it. Gives the key the state in which its flow starts.
///
/// The side with the only ephemeral port opened the connection. Where the ports do not tell, either may
/// have. A SYN is not of an older connection, so it needs the rules of its own direction.
#[inline(always)]
pub(crate) fn pick_up<N: GlobalFns>(
    context: &RuleContext<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    allowed: u32,
) -> Answer {
    let (sender, receiver) = (context.direction, context.direction.reverse());
    let tcp_flags = packet.transport.tcp_flags;
    let (local, remote) = packet.transport.ports(sender);
    let opener = opener_by_ports(local, remote);
    let is_syn = tcp::is_syn(tcp_flags);
    if allowed != 0 && (is_syn || opener.is_none_or(|opener| opener as u8 == sender as u8)) {
        key.set_state(State::picked_up(sender, sender, tcp_flags));
        return Answer::of(true);
    }
    if is_syn || opener.is_some_and(|opener| opener as u8 == sender as u8) {
        return Answer::of(false);
    }
    key.set_state(State::picked_up(receiver, sender, tcp_flags));
    Answer::of(is_still_allowed::<N>(context, key, key.tag))
}
