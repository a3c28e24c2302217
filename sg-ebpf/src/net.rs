//! The two address families: what differs between them, and nothing else.

use sg_common::{
    Direction, Family, exempt,
    flow::{Addresses, Addresses4, Addresses6, ICMP, ICMPV6},
    image::{self, header},
    interval::{Ref, Words},
};

use crate::{
    maps::{self, Image, Table},
    verifier::opaque,
};

pub(crate) trait AddressFamily {
    type Address: Copy;
    type Addresses: Addresses;
    const FAMILY: Family;
    /// The protocol number of the family's own ICMP.
    const ICMP: u8;

    /// Addresses as a flow keeps them.
    fn addresses(local: Self::Address, remote: Self::Address) -> Self::Addresses;
    fn same(a: Self::Address, b: Self::Address) -> bool;
    fn find(image: &Image, map: Ref, address: Self::Address) -> u32;
    /// Link-local cloud services that are never filtered.
    fn is_exempt_service(address: Self::Address) -> bool;
    fn is_multicast(address: Self::Address) -> bool;
    /// Whether a DHCP server may be there: broadcast, link-local and private addresses.
    fn is_near(address: Self::Address) -> bool;
    fn flows() -> Table<Self::Addresses>;
    fn fragments() -> Table<Self::Addresses>;
    /// The peer's address of a flow.
    fn remote(addresses: &Self::Addresses) -> Self::Address;
    /// The request type of a query or of its reply, and whether this is the request.
    fn query(icmp_type: u8) -> Option<(u8, bool)>;
    /// Whether an ICMP message quotes the packet it is about.
    fn is_error(icmp_type: u8) -> bool;
    /// Whether the source check reads the target of an ICMP message: neighbour discovery (RFC 4861).
    fn is_claim(icmp_type: u8) -> bool;

    /// Class of a peer address.
    #[inline(always)]
    fn class(image: &Image, address: Self::Address) -> u32 {
        let map = Ref(image.head(header::CLASSES + Self::FAMILY as u32));
        Self::find(image, map, address)
    }

    /// The address, in registers.
    #[inline(always)]
    fn loaded(address: Self::Address) -> Self::Address {
        address
    }

    /// The instance's address and the peer's.
    #[inline(always)]
    fn sides(
        direction: Direction,
        source: Self::Address,
        destination: Self::Address,
    ) -> (Self::Address, Self::Address) {
        let (source, destination) = (Self::loaded(source), Self::loaded(destination));
        match direction {
            Direction::Ingress => (destination, source),
            Direction::Egress => (source, destination),
        }
    }
}

pub(crate) enum V4 {}

impl AddressFamily for V4 {
    type Address = u32;
    type Addresses = Addresses4;
    const FAMILY: Family = Family::V4;
    const ICMP: u8 = ICMP;

    #[inline(always)]
    fn addresses(local: u32, remote: u32) -> Addresses4 {
        [(local as u64) << 32 | remote as u64]
    }

    #[inline(always)]
    fn same(a: u32, b: u32) -> bool {
        a == b
    }

    #[inline(always)]
    fn find(image: &Image, map: Ref, address: u32) -> u32 {
        image::class4(image, map, address)
    }

    #[inline(always)]
    fn is_exempt_service(address: u32) -> bool {
        exempt::is_service4(address)
    }

    #[inline(always)]
    fn is_multicast(address: u32) -> bool {
        address >> 28 == 0xe
    }

    #[inline(always)]
    fn is_near(address: u32) -> bool {
        address == u32::MAX
            // RFC 1918
            || address >> 24 == 10
            || address >> 20 == 0xac1
            || address >> 16 == 0xc0a8
            // RFC 6598: 100.64.0.0/10
            || address >> 22 == 0x6440_0000 >> 22
            // RFC 3927: 169.254.0.0/16
            || address >> 16 == 0xa9fe
    }

    #[inline(always)]
    fn flows() -> Table<Addresses4> {
        maps::flows4()
    }

    #[inline(always)]
    fn fragments() -> Table<Addresses4> {
        maps::fragments4()
    }

    #[inline(always)]
    fn remote(addresses: &Addresses4) -> u32 {
        addresses[0] as u32
    }

    #[inline(always)]
    fn query(icmp_type: u8) -> Option<(u8, bool)> {
        match icmp_type {
            8 | 13 | 15 | 17 | 42 => Some((icmp_type, true)),
            0 => Some((8, false)),
            14 | 16 | 18 | 43 => Some((icmp_type - 1, false)),
            _ => None,
        }
    }

    #[inline(always)]
    fn is_error(icmp_type: u8) -> bool {
        matches!(icmp_type, 3 | 11 | 12)
    }

    #[inline(always)]
    fn is_claim(_: u8) -> bool {
        false
    }
}

pub(crate) enum V6 {}

impl AddressFamily for V6 {
    type Address = (u64, u64);
    type Addresses = Addresses6;

    /// Loads both before it chooses: LLVM would else choose between the addresses in memory by
    /// arithmetic on stack pointers, which the verifier refuses.
    #[inline(always)]
    fn loaded(address: (u64, u64)) -> (u64, u64) {
        (opaque(address.0 as usize) as u64, opaque(address.1 as usize) as u64)
    }

    const FAMILY: Family = Family::V6;
    const ICMP: u8 = ICMPV6;

    #[inline(always)]
    fn addresses(local: (u64, u64), remote: (u64, u64)) -> Addresses6 {
        [local.0, local.1, remote.0, remote.1]
    }

    #[inline(always)]
    fn same(a: (u64, u64), b: (u64, u64)) -> bool {
        a.0 == b.0 && a.1 == b.1
    }

    #[inline(always)]
    fn find(image: &Image, map: Ref, address: (u64, u64)) -> u32 {
        image::class6(image, map, address.0, address.1)
    }

    #[inline(always)]
    fn is_exempt_service(address: (u64, u64)) -> bool {
        exempt::is_service6(address.0, address.1)
    }

    #[inline(always)]
    fn is_multicast(address: (u64, u64)) -> bool {
        address.0 >> 56 == 0xff
    }

    #[inline(always)]
    fn is_near(address: (u64, u64)) -> bool {
        // Link-local, multicast, unique local (RFC 4193).
        address.0 >> 54 == 0xfe80 >> 6 || address.0 >> 56 == 0xff || address.0 >> 57 == 0xfc >> 1
    }

    #[inline(always)]
    fn flows() -> Table<Addresses6> {
        maps::flows6()
    }

    #[inline(always)]
    fn fragments() -> Table<Addresses6> {
        maps::fragments6()
    }

    #[inline(always)]
    fn remote(addresses: &Addresses6) -> (u64, u64) {
        (addresses[2], addresses[3])
    }

    #[inline(always)]
    fn query(icmp_type: u8) -> Option<(u8, bool)> {
        match icmp_type {
            128 | 139 | 160 => Some((icmp_type, true)),
            129 | 140 | 161 => Some((icmp_type - 1, false)),
            _ => None,
        }
    }

    #[inline(always)]
    fn is_error(icmp_type: u8) -> bool {
        matches!(icmp_type, 1..=4)
    }

    #[inline(always)]
    fn is_claim(icmp_type: u8) -> bool {
        matches!(icmp_type, 135 | 136)
    }
}
