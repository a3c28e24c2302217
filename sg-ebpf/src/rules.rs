//! What the rules say: address -> class -> set of services -> in it or not.

use sg_common::{
    Direction,
    image::{self, record},
    interval::{self, Ref, Words},
};

use crate::{maps::Image, net::Net};

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

    /// Whether a rule allows the peer this service; see [`image::service`].
    #[inline(always)]
    pub(crate) fn allow<N: Net>(&self, direction: Direction, peer: N::Address, service: u32) -> bool {
        interval::contains(&self.image, self.services::<N>(direction, peer), service)
    }

    /// Whether the rules allow the peer all ports (or types) of a protocol.
    #[inline(never)]
    pub(crate) fn allow_all<N: Net>(
        &self,
        direction: Direction,
        peer: N::Address,
        protocol: u8,
    ) -> bool {
        let first = image::service(protocol, 0);
        let set = self.services::<N>(direction, peer);
        interval::contains_all(&self.image, set, first, first | 0xffff)
    }

    /// Whether a packet belongs to a service that is open to all and so not tracked: it goes to one
    /// or comes back from one.
    #[inline(always)]
    pub(crate) fn untracked<N: Net>(&self, protocol: u8, local: u16, remote: u16) -> bool {
        let sets = |which| image::family_ref(&self.image, self.record, N::FAMILY, which);
        let here = sets(record::UNTRACKED_IN);
        let there = sets(record::UNTRACKED_OUT);
        interval::contains(&self.image, here, image::service(protocol, local))
            || interval::contains(&self.image, there, image::service(protocol, remote))
    }
}
