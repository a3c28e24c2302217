//! The rules' verdict: address -> class -> set of services -> in it or not.

use sg_common::{
    Direction,
    flow::{TCP, UDP},
    image::{self, record},
    interval::{self, Ref, Words},
};

use crate::{
    global_fns::Searches,
    headers::Packet,
    maps::{Arena, Image},
    net::AddressFamily,
};

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
        self.image.field(self.record, field)
    }

    #[inline(always)]
    fn row<N: AddressFamily>(&self, direction: Direction) -> Ref {
        let [ingress, egress] = Direction::BOTH
            .map(|way| image::family_ref(&self.image, self.record, N::FAMILY, image::row_of(way)));
        match direction {
            Direction::Ingress => ingress,
            Direction::Egress => egress,
        }
    }

    /// Whether a rule of this direction allows a peer a service.
    #[inline(always)]
    pub(crate) fn allow<N: Searches>(
        &self,
        direction: Direction,
        peer: N::Address,
        service: u32,
    ) -> bool {
        N::allow(self.image.start, self.row::<N>(direction), service, peer)
    }

    /// The same of a packet, without a call.
    #[inline(always)]
    pub(crate) fn allow_in_place<N: AddressFamily>(
        &self,
        direction: Direction,
        packet: &Packet<N>,
        peer: N::Address,
    ) -> bool {
        gives::<N>(&self.image, self.row::<N>(direction), packet.service(), peer)
    }

    /// Whether the rules of this direction allow a peer all of a protocol.
    #[inline(always)]
    pub(crate) fn allow_all<N: AddressFamily>(
        &self,
        direction: Direction,
        protocol: u8,
        peer: N::Address,
    ) -> bool {
        let first = image::service(protocol, 0);
        let set = services::<N>(&self.image, self.row::<N>(direction), peer);
        interval::contains_all(&self.image, set, first, first | 0xffff)
    }

    /// Whether a packet that goes in `direction` belongs to a service that is open to all and so not
    /// tracked: it goes to one or comes back from one.
    #[inline(always)]
    pub(crate) fn untracked<N: AddressFamily>(
        &self,
        packet: &Packet<N>,
        direction: Direction,
    ) -> bool {
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

/// Whether the row of the image at `start` has a service of the peer's.
#[inline(always)]
pub(crate) fn allow<N: AddressFamily>(
    start: u32,
    row: u32,
    service: u32,
    peer: N::Address,
) -> bool {
    gives::<N>(&Arena::open().image_at(start), Ref(row), service, peer)
}

#[inline(always)]
fn gives<N: AddressFamily>(image: &Image, row: Ref, service: u32, peer: N::Address) -> bool {
    interval::contains(image, services::<N>(image, row, peer), service)
}

/// The set of services that a row gives to a peer.
#[inline(always)]
fn services<N: AddressFamily>(image: &Image, row: Ref, peer: N::Address) -> Ref {
    if row.is_leaf() { row } else { image::services(image, row, N::class(image, peer)) }
}
