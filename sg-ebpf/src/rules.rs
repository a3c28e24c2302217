//! What the rules say: address -> class -> set of services -> in it or not.

use sg_common::{
    Direction,
    flow::{TCP, UDP},
    image::{self, record},
    interval::{self, Ref, Words},
};

use crate::{conntrack::Key, judge::Context, maps::Image, net::Net, packet::Packet};

/// An interface's rules.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) image: Image,
    /// Word offset of the interface's record.
    pub(crate) record: u32,
}

impl Rules {
    #[inline(always)]
    pub(crate) fn field(&self, field: u32) -> u32 {
        self.image.word(self.record + field)
    }

    #[inline(always)]
    fn services<N: Net>(&self, direction: Direction, peer: N::Address) -> Ref {
        let row = image::family_ref(&self.image, self.record, N::FAMILY, image::row_of(direction));
        if row.is_leaf() {
            return row;
        }
        image::services(&self.image, row, N::class(&self.image, peer))
    }

    /// Whether a packet that goes in `direction` belongs to a service that is open to all and so not
    /// tracked: it goes to one or comes back from one.
    #[inline(always)]
    pub(crate) fn untracked<N: Net>(&self, packet: &Packet<N>, direction: Direction) -> bool {
        let protocol = packet.ip.chain.protocol;
        if protocol != TCP && protocol != UDP {
            return false;
        }
        let (local, remote) = packet.transport.ports(direction);
        let sets = |which| image::family_ref(&self.image, self.record, N::FAMILY, which);
        let here = sets(record::UNTRACKED_IN);
        let there = sets(record::UNTRACKED_OUT);
        interval::contains(&self.image, here, image::service(protocol, local))
            || interval::contains(&self.image, there, image::service(protocol, remote))
    }
}

/// A service (see [`image::service`]) and a direction, as [`allow`] takes them.
#[inline(always)]
pub(crate) fn question(direction: Direction, service: u32) -> u32 {
    (direction as u32) << 31 | service
}

/// Whether a rule allows the key's peer a [`question`]'s service.
#[inline(always)]
pub(crate) fn allow<N: Net>(
    context: &Context,
    _: &Packet<N>,
    key: &mut Key<N>,
    question: u32,
) -> u64 {
    let direction = if question >> 31 == 0 { Direction::Ingress } else { Direction::Egress };
    let set = context.rules.services::<N>(direction, N::remote(&key.addresses));
    interval::contains(&context.rules.image, set, question & !(1 << 31)) as u64
}

/// Whether the rules allow the key's peer all of the packet's protocol.
#[inline(always)]
pub(crate) fn allow_all<N: Net>(
    context: &Context,
    packet: &Packet<N>,
    key: &mut Key<N>,
    _: u32,
) -> u64 {
    let first = image::service(packet.ip.chain.protocol, 0);
    let set = context.rules.services::<N>(context.direction, N::remote(&key.addresses));
    interval::contains_all(&context.rules.image, set, first, first | 0xffff) as u64
}
