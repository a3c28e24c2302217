//! An image read the way the data path reads it: by sg-common's lookups and nothing else.

use std::net::IpAddr;

use sg_common::{
    Direction, Family,
    flow::Timeout,
    image::{self, header, record},
    interval::{self, Ref, Words},
};

use crate::compile::Image;

/// Words that panic on a read outside of the image.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u32]);

impl Words for Reader<'_> {
    fn word(&self, offset: u32) -> u32 {
        self.0[offset as usize]
    }

    fn long(&self, offset: u32) -> u64 {
        assert_eq!(offset % 2, 0, "BPF loads need aligned addresses");
        u64::from(self.word(offset)) | u64::from(self.word(offset + 1)) << 32
    }
}

/// An interface's record in an image.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    image: Reader<'a>,
    at: u32,
}

impl<'a> Reader<'a> {
    pub fn of(image: &'a Image) -> Self {
        let reader = Self(&image.words);
        assert_eq!(reader.word(header::MAGIC), image::MAGIC);
        assert_eq!(reader.word(header::WORDS) as usize, image.words.len());
        reader
    }

    pub fn slot(&self, ifindex: u32) -> Option<u32> {
        image::slot_of(self, ifindex)
    }

    pub fn interface(&self, ifindex: u32) -> Record<'a> {
        let slot = self.slot(ifindex).expect("the interface is filtered");
        assert!(slot < self.word(header::SLOTS));
        let record = Record { image: *self, at: image::record_of(self, slot) };
        assert_eq!(record.field(record::IFINDEX), ifindex);
        record
    }

    pub fn classes(&self, family: Family) -> Ref {
        Ref(self.word(header::CLASSES + family as u32))
    }

    fn lookup(&self, map: Ref, address: IpAddr) -> u32 {
        match address {
            IpAddr::V4(address) => image::class4(self, map, address.to_bits()),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                image::class6(self, map, (bits >> 64) as u64, bits as u64)
            }
        }
    }
}

impl Record<'_> {
    pub fn field(&self, field: u32) -> u32 {
        assert!(field < record::LEN);
        self.image.word(self.at + field)
    }

    pub fn row(&self, family: Family, direction: Direction) -> Ref {
        image::family_ref(&self.image, self.at, family, image::row_of(direction))
    }

    /// What the rules of a direction let this peer do.
    pub fn services(&self, direction: Direction, peer: IpAddr) -> Ref {
        let family = family_of(peer);
        let row = self.row(family, direction);
        if row.is_leaf() {
            return row;
        }
        let class = self.image.lookup(self.image.classes(family), peer);
        image::services(&self.image, row, class)
    }

    pub fn allows(&self, direction: Direction, peer: IpAddr, protocol: u8, detail: u16) -> bool {
        let set = self.services(direction, peer);
        interval::contains(&self.image, set, image::service(protocol, detail))
    }

    pub fn allows_all(&self, direction: Direction, peer: IpAddr, protocol: u8) -> bool {
        let first = image::service(protocol, 0);
        let set = self.services(direction, peer);
        interval::contains_all(&self.image, set, first, first | 0xffff)
    }

    /// Whether a service is untracked: on the instance's side (ingress) or on the peers' (egress).
    pub fn untracked(&self, side: Direction, family: Family, protocol: u8, port: u16) -> bool {
        let which = match side {
            Direction::Ingress => record::UNTRACKED_IN,
            Direction::Egress => record::UNTRACKED_OUT,
        };
        let set = image::family_ref(&self.image, self.at, family, which);
        interval::contains(&self.image, set, image::service(protocol, port))
    }

    /// Whether the source check takes an address for the instance's.
    pub fn owns(&self, address: IpAddr) -> bool {
        let map = Ref(self.field(record::OWN + family_of(address) as u32));
        self.image.lookup(map, address) != 0
    }

    pub fn timeout(&self, timeout: Timeout) -> u32 {
        self.field(record::TIMEOUTS + timeout as u32)
    }
}

pub fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}
