//! The image: the compiled rules of the host as one relocatable block of words.
//!
//! Header, hash of interface indexes, interface records, then interval maps, rows and pages, all
//! found by offsets from the image's start (words, or 16-byte units inside a [`Ref`]). A packet's
//! lookup has four steps:
//!
//! 1. ifindex to interface record
//! 2. peer address to class
//! 3. the record's row for (family, direction) to a page of 64 classes, and there to a set of
//!    services
//! 4. (protocol, port) is in the set, or not
//!
//! See docs/internals/data-path.md.

use crate::{
    Direction, Family,
    interval::{self, Kind, Ref, Words},
};

/// First word of every image.
pub const MAGIC: u32 = 0x7367_0000 | crate::ABI;

/// Word offsets in the header.
pub mod header {
    pub const MAGIC: u32 = 0;
    /// Length of the image in words.
    pub const WORDS: u32 = 1;
    /// Home positions in the interface hash, less one; a power of two less one.
    pub const HASH_MASK: u32 = 4;
    /// Number of interface records.
    pub const SLOTS: u32 = 6;
    /// Word offset of the first interface record.
    pub const RECORDS: u32 = 7;
    /// Address maps (refs) by family: address -> class.
    pub const CLASSES: u32 = 8;
    /// Revision of the rules (64 bits).
    pub const REVISION: u32 = 10;
    /// Number of classes by family, for people.
    pub const CLASS_COUNTS: u32 = 12;
    /// Behind the header is the interface hash: pairs of ifindex and slot, ifindex 0 = free.
    pub const LEN: u32 = 16;
}

/// Word offsets in an interface record.
pub mod record {
    /// 0 = slot not in use.
    pub const IFINDEX: u32 = 0;
    /// Bits of [`super::flags`].
    pub const FLAGS: u32 = 1;
    /// Tick until which mid-stream TCP is picked up; 0 = not at all.
    pub const PICKUP_UNTIL: u32 = 2;
    /// Tick: flows not seen since then are held against the rules once more. Only looked at with
    /// [`super::flags::RECHECK`].
    pub const CUT_SINCE: u32 = 3;
    /// Four refs by family: [`UNTRACKED_IN`], [`UNTRACKED_OUT`], [`ROW_IN`], [`ROW_OUT`].
    pub const FAMILIES: u32 = 4;
    /// Set of services on the instance's side that are open to all: `(protocol, local port)`.
    pub const UNTRACKED_IN: u32 = 0;
    /// Set of services on the peers' side that are open to all: `(protocol, remote port)`.
    pub const UNTRACKED_OUT: u32 = 1;
    /// Row of services by class; a leaf stands for all classes. See [`super::services`].
    pub const ROW_IN: u32 = 2;
    pub const ROW_OUT: u32 = 3;
    /// The instance's own addresses (refs by family, value 1), for the source check.
    pub const OWN: u32 = 12;
    /// The instance's MAC address: first four bytes, then two, each big-endian.
    pub const MAC: u32 = 14;
    /// Idle timeouts in ticks, by [`crate::flow::Timeout`].
    pub const TIMEOUTS: u32 = 16;
    /// The most lanes that the interface may have: of each flow table, and of each table of fragments. An
    /// [`crate::usage::Allowance`] each.
    pub const MAX_FLOWS: u32 = 30;
    pub const MAX_FRAGMENTED: u32 = 31;
    /// Records start at multiples of their size.
    pub const LEN: u32 = 32;
}

/// Bits of [`record::FLAGS`].
pub mod flags {
    /// Role: the instance sits behind the interface.
    pub const PORT: u32 = 1;
    pub const SOURCE_CHECK: u32 = 2;
    /// The MAC address is known and is part of the source check.
    pub const MAC: u32 = 4;
    /// Frames have no Ethernet header (tun, WireGuard, ipip).
    pub const NO_ETHERNET: u32 = 8;
    /// ICMP errors pass if they are about a flow.
    pub const RELATED_ICMP: u32 = 16;
    /// The link-local cloud services are never filtered.
    pub const EXEMPT_SERVICES: u32 = 32;
    /// Hold tracked flows against the rules once after [`super::record::CUT_SINCE`].
    pub const RECHECK: u32 = 64;
    /// The kernel delivers packets that it receives on the interface to the instance (macvtap), in
    /// port role, too.
    pub const DELIVERS: u32 = 128;

    /// Whether packets that the kernel receives on the interface come from the instance.
    #[inline(always)]
    pub const fn instance_sends(flags: u32) -> bool {
        flags & (PORT | DELIVERS) == PORT
    }
}

/// Places in the interface hash that a lookup may visit; the compiler grows the hash until all
/// interfaces are within that.
pub const MAX_PROBES: u32 = 4;

/// Classes on one page of a row.
pub const PAGE_CLASSES: u32 = 64;

#[inline(always)]
pub const fn hash_ifindex(ifindex: u32, mask: u32) -> u32 {
    (ifindex.wrapping_mul(0x9e37_79b1) >> 8) & mask
}

/// Slot of the interface, if it is filtered.
#[inline(always)]
pub fn slot_of<W: Words>(words: &W, ifindex: u32) -> Option<u32> {
    let home = hash_ifindex(ifindex, words.head(header::HASH_MASK));
    let mut at = header::LEN.wrapping_add(home.wrapping_mul(2));
    for _ in 0..MAX_PROBES {
        let entry = words.long(at);
        if entry as u32 == ifindex {
            return Some((entry >> 32) as u32);
        }
        if entry as u32 == 0 {
            return None;
        }
        at = at.wrapping_add(2);
    }
    None
}

/// Word offset of a slot's record.
#[inline(always)]
pub fn record_of<W: Words>(words: &W, slot: u32) -> u32 {
    words.head(header::RECORDS).wrapping_add(slot.wrapping_mul(record::LEN))
}

/// Class of an IPv4 address (host byte order).
#[inline(always)]
pub fn class4<W: Words>(words: &W, map: Ref, address: u32) -> u32 {
    interval::find(words, map, address).value()
}

/// Class of an IPv6 address: its halves as numbers.
#[inline(always)]
pub fn class6<W: Words>(words: &W, map: Ref, high: u64, low: u64) -> u32 {
    let found = interval::find(words, map, high);
    if found.is_leaf() { found.value() } else { interval::find(words, found, low).value() }
}

/// The ref at `which` (of [`record`]) for a family.
#[inline(always)]
pub fn family_ref<W: Words>(words: &W, record: u32, family: Family, which: u32) -> Ref {
    Ref(words.field(record, record::FAMILIES + family as u32 * 4 + which))
}

#[inline(always)]
pub const fn row_of(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => record::ROW_IN,
        Direction::Egress => record::ROW_OUT,
    }
}

/// Set of services that a row gives to a class.
///
/// A row that is no leaf is a list of words, one for [`PAGE_CLASSES`] classes: the unit offset of
/// the page with a ref for each class.
#[inline(always)]
pub fn services<W: Words>(words: &W, row: Ref, class: u32) -> Ref {
    words.meets(row, Kind::Run);
    let page = words.word(row.offset() + class / PAGE_CLASSES);
    Ref(words.word(page.wrapping_mul(interval::UNIT).wrapping_add(class % PAGE_CLASSES)))
}

/// Key of a service: `protocol << 16 | port`, or `protocol << 16 | type << 8 | code`; protocols
/// without either use `protocol << 16`.
#[inline(always)]
pub const fn service(protocol: u8, detail: u16) -> u32 {
    (protocol as u32) << 16 | detail as u32
}
