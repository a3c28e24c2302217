//! The rules of an image, applied to the packet that opens a flow.

use sg_common::{
    Direction, ImageView, exempt,
    flow::{TCP, Tag, UDP, opening, ports},
    image::{flags, service},
    view::InterfaceView,
};

use super::{
    entry::{Ends, Opening, Shown},
    phase::Phase,
};

/// The rules' answer to an opening packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    Denied,
    /// It passes, and so does all that follows, each by the rules.
    Untracked,
    /// It passes and makes a flow.
    Tracked,
}

/// Judges an opening packet by the rules in `image`.
pub fn judge(image: ImageView<'_>, opening: &Opening) -> Opens {
    let opens = match (image.slot(opening.slot.into()), opening.ends()) {
        (Some(interface), Some(Ends::V4(addresses))) => judge_in(interface, opening, &addresses),
        (Some(interface), Some(Ends::V6(addresses))) => judge_in(interface, opening, &addresses),
        _ => None,
    };
    opens.unwrap_or(Opens::Denied)
}

/// `None`: the image is damaged.
fn judge_in<A: Shown>(
    interface: InterfaceView<'_>,
    opening: &Opening,
    addresses: &A,
) -> Option<Opens> {
    if matches!(opening.protocol, TCP | UDP) {
        let is_open =
            |side, port| interface.is_untracked(side, A::FAMILY, service(opening.protocol, port));
        if is_open(Direction::Ingress, opening.local.port())?
            || is_open(Direction::Egress, opening.remote.port())?
        {
            return Some(Opens::Untracked);
        }
    }
    let is_allowed = allows(interface, tag(opening, Phase::New), addresses)?;
    Some(if is_allowed { Opens::Tracked } else { Opens::Denied })
}

/// The tag of its flow when the connection has come this far.
pub(crate) fn tag(opening: &Opening, phase: Phase) -> Tag {
    let ports = match opening.protocol {
        TCP | UDP => ports(opening.local.port(), opening.remote.port()),
        _ => 0,
    };
    let state = phase.state(opening.protocol, opening.direction);
    Tag::new(ports, opening.slot, opening.protocol, state)
}

/// Whether the packet that opened the flow may do so, by the rules or as a call of an exempt service;
/// `None`: the image is damaged.
pub(crate) fn allows<A: Shown>(
    interface: InterfaceView<'_>,
    tag: Tag,
    addresses: &A,
) -> Option<bool> {
    let (direction, service) = opening(tag, A::FAMILY);
    let (_, peer) = addresses.sides();
    let calls_service = direction == Direction::Egress
        && matches!(tag.protocol(), TCP | UDP)
        && interface.record.flags() & flags::EXEMPT_SERVICES != 0
        && exempt::is_service(peer);
    if calls_service {
        return Some(true);
    }
    interface.allows(direction, peer, service)
}
