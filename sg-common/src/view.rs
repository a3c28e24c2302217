//! [`ImageView`]: user space reads an image here and nowhere else.
//!
//! The look-ups are those of the BPF programs ([`crate::image`], [`crate::interval`]); a view gives
//! them words that it holds to the image's bounds. Every function is total: an image that is
//! damaged, or made to do harm, gives `None` or [`ImageError`], never a panic and never a loop
//! without end. An answer that is not `None` comes from words of the image, and from no others.

use core::{cell::Cell, fmt, net::IpAddr};

use crate::{
    Direction, Family,
    flow::{TIMEOUTS, Tick, Timeout},
    image::{self, flags, header, record},
    interval::{self, Kind, Ref, Words},
    usage::Allowance,
};

/// Words of an interface record.
pub type RecordWords = [u32; record::LEN as usize];

/// Why words are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// There are fewer words than a header has.
    NoHeader { words: usize },
    /// The image is of another version, or none.
    Magic { found: u32 },
    /// The header has another length than the words.
    Length { header: u32, words: usize },
    /// The interface hash, or the interface records, reach beyond the image.
    Records,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader { words } => write!(f, "an image has a header; this has {words} words"),
            Self::Magic { found } => {
                let expected = image::MAGIC;
                write!(f, "an image begins with {expected:#010x}; this begins with {found:#010x}")
            }
            Self::Length { header, words } => {
                write!(f, "the image's header says {header} words; there are {words}")
            }
            Self::Records => write!(f, "the image's interface records reach beyond its end"),
        }
    }
}

impl core::error::Error for ImageError {}

/// An image's header, without the rest of the image.
#[derive(Clone, Copy, Debug)]
pub struct HeaderView<'a>(&'a [u32; header::LEN as usize]);

impl<'a> HeaderView<'a> {
    /// Takes the first words of an image.
    pub fn new(words: &'a [u32]) -> Result<Self, ImageError> {
        let found = words.first_chunk().ok_or(ImageError::NoHeader { words: words.len() })?;
        let header = Self(found);
        match header.word(header::MAGIC) {
            image::MAGIC => {}
            found => return Err(ImageError::Magic { found }),
        }
        let (words, slots) = (u64::from(header.words()), u64::from(header.slots()));
        let places = u64::from(header.word(header::HASH_MASK)) + u64::from(image::MAX_PROBES);
        let hash_end = u64::from(header::LEN) + (places + 1) * 2;
        let records = u64::from(header.word(header::RECORDS));
        let records_end = records + slots * u64::from(record::LEN);
        let is_aligned = records.is_multiple_of(u64::from(record::LEN));
        if hash_end > records || records_end > words || !is_aligned {
            return Err(ImageError::Records);
        }
        Ok(header)
    }

    fn word(self, field: u32) -> u32 {
        self.0[field as usize]
    }

    /// Length of the image in words.
    pub fn words(self) -> u32 {
        self.word(header::WORDS)
    }

    /// Number of interface records.
    pub fn slots(self) -> u32 {
        self.word(header::SLOTS)
    }

    /// Word offsets of the interface records, by slot.
    pub fn records(self) -> core::ops::Range<usize> {
        let start = self.word(header::RECORDS) as usize;
        start..start + self.slots() as usize * record::LEN as usize
    }

    /// Revision of the rules.
    pub fn revision(self) -> u64 {
        u64::from(self.word(header::REVISION)) | u64::from(self.word(header::REVISION + 1)) << 32
    }

    /// Number of classes by family.
    pub fn class_counts(self) -> [u32; 2] {
        Family::BOTH.map(|family| self.word(header::CLASS_COUNTS + family as u32))
    }

    /// The map from address to class.
    pub fn classes(self, family: Family) -> Ref {
        Ref(self.word(header::CLASSES + family as u32))
    }
}

/// A whole image.
#[derive(Clone, Copy, Debug)]
pub struct ImageView<'a> {
    header: HeaderView<'a>,
    words: &'a [u32],
}

impl<'a> ImageView<'a> {
    pub fn new(words: &'a [u32]) -> Result<Self, ImageError> {
        let header = HeaderView::new(words)?;
        if header.words() as usize != words.len() {
            return Err(ImageError::Length { header: header.words(), words: words.len() });
        }
        Ok(Self { header, words })
    }

    pub fn header(self) -> HeaderView<'a> {
        self.header
    }

    /// Records of the interfaces, by slot; of slots that are not in use, too.
    pub fn records(self) -> &'a [RecordWords] {
        // `HeaderView::new` has held the range to the image.
        self.words.get(self.header.records()).unwrap_or_default().as_chunks().0
    }

    /// The interface with this index; `None` if it is not filtered.
    pub fn interface(self, ifindex: u32) -> Option<InterfaceView<'a>> {
        let slot = bounded(self.words, |words| image::slot_of(words, ifindex))??;
        self.slot(slot).filter(|interface| interface.record.ifindex() == ifindex)
    }

    /// The interface in a slot; `None` if the slot is not in use.
    pub fn slot(self, slot: u32) -> Option<InterfaceView<'a>> {
        let record = InterfaceRecord::new(self.records().get(slot as usize)?)?;
        Some(InterfaceView { image: self, slot, record })
    }

    /// The interfaces that are filtered, by slot.
    pub fn interfaces(self) -> impl Iterator<Item = InterfaceView<'a>> {
        (0..self.header.slots()).filter_map(move |slot| self.slot(slot))
    }
}

/// An interface's record, without the rules that it leads to.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceRecord<'a>(&'a RecordWords);

impl<'a> InterfaceRecord<'a> {
    /// `None` for the record of a slot that is not in use.
    pub fn new(words: &'a RecordWords) -> Option<Self> {
        (words[record::IFINDEX as usize] != 0).then_some(Self(words))
    }

    fn word(self, field: u32) -> u32 {
        self.0[field as usize]
    }

    pub fn ifindex(self) -> u32 {
        self.word(record::IFINDEX)
    }

    /// Bits of [`flags`].
    pub fn flags(self) -> u32 {
        self.word(record::FLAGS)
    }

    /// Until when mid-stream TCP is picked up; 0 = not at all.
    pub fn pickup_until(self) -> Tick {
        self.word(record::PICKUP_UNTIL)
    }

    /// Flows not seen since this tick are held against the rules once more; `None`: none are.
    pub fn cut_since(self) -> Option<Tick> {
        (self.flags() & flags::RECHECK != 0).then_some(self.word(record::CUT_SINCE))
    }

    /// An idle timeout in ticks.
    pub fn timeout(self, timeout: Timeout) -> Tick {
        self.word(record::TIMEOUTS + timeout as u32)
    }

    /// The most lanes of each flow table.
    pub fn max_flows(self) -> Allowance {
        Allowance(self.word(record::MAX_FLOWS))
    }

    /// The same of each table of fragments.
    pub fn max_fragmented(self) -> Allowance {
        Allowance(self.word(record::MAX_FRAGMENTED))
    }

    /// Whether any idle timeout is longer than that of `other`.
    pub fn has_longer_timeouts(self, other: InterfaceRecord<'_>) -> bool {
        self.timeouts().iter().zip(other.timeouts()).any(|(own, other)| own > other)
    }

    fn timeouts(self) -> &'a [Tick] {
        let first = record::TIMEOUTS as usize;
        &self.0[first..first + TIMEOUTS]
    }

    /// The instance's MAC address, where it is part of the source check.
    pub fn mac(self) -> Option<[u8; 6]> {
        let [[a, b, c, d], [_, _, e, f]] =
            [0, 1].map(|half| self.word(record::MAC + half).to_be_bytes());
        (self.flags() & flags::MAC != 0).then_some([a, b, c, d, e, f])
    }

    /// The row of services by class.
    pub fn row(self, family: Family, direction: Direction) -> Ref {
        self.family_ref(family, image::row_of(direction))
    }

    fn family_ref(self, family: Family, which: u32) -> Ref {
        Ref(self.word(record::FAMILIES + family as u32 * 4 + which))
    }
}

/// An interface's record with the rules that it leads to.
///
/// Services are keys as [`image::service`] makes them. `None`: the image is damaged.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceView<'a> {
    image: ImageView<'a>,
    slot: u32,
    pub record: InterfaceRecord<'a>,
}

impl InterfaceView<'_> {
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// Whether a rule of a direction allows a peer a service.
    pub fn allows(self, direction: Direction, peer: IpAddr, service: u32) -> Option<bool> {
        self.ask(|words| interval::contains(words, self.services(words, direction, peer), service))
    }

    /// Whether the rules of a direction allow a peer every service of a protocol.
    pub fn allows_all(self, direction: Direction, peer: IpAddr, protocol: u8) -> Option<bool> {
        let first = image::service(protocol, 0);
        self.ask(|words| {
            let set = self.services(words, direction, peer);
            interval::contains_all(words, set, first, first | 0xffff)
        })
    }

    /// Whether a service is open to all and not tracked: one of the instance's (`Ingress`), or one
    /// of the peers' (`Egress`).
    pub fn is_untracked(self, side: Direction, family: Family, service: u32) -> Option<bool> {
        let which = match side {
            Direction::Ingress => record::UNTRACKED_IN,
            Direction::Egress => record::UNTRACKED_OUT,
        };
        let set = self.record.family_ref(family, which);
        self.ask(|words| interval::contains(words, set, service))
    }

    /// Whether the source check takes an address for the instance's own.
    pub fn owns(self, address: IpAddr) -> Option<bool> {
        let map = Ref(self.record.word(record::OWN + Family::of(address) as u32));
        self.ask(|words| value_of(words, map, address) != 0)
    }

    fn services(self, words: &Bounded<'_>, direction: Direction, peer: IpAddr) -> Ref {
        let family = Family::of(peer);
        let row = self.record.row(family, direction);
        if row.is_leaf() {
            return row;
        }
        let class = value_of(words, self.image.header.classes(family), peer);
        image::services(words, row, class)
    }

    fn ask<T>(self, question: impl FnOnce(&Bounded<'_>) -> T) -> Option<T> {
        bounded(self.image.words, question)
    }
}

/// The value of an address in a map of addresses.
fn value_of<W: Words>(words: &W, map: Ref, address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => image::class4(words, map, address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            image::class6(words, map, (bits >> 64) as u64, bits as u64)
        }
    }
}

/// The answer that `words` give to a look-up; `None` if the look-up left them, or met a ref that
/// does not belong where it stands.
pub fn bounded<T>(words: &[u32], question: impl FnOnce(&Bounded<'_>) -> T) -> Option<T> {
    let words = Bounded { words, is_damaged: Cell::new(false) };
    let answer = question(&words);
    (!words.is_damaged.get()).then_some(answer)
}

/// Words of an image for one question to [`bounded`]. Outside of them there are zeros.
#[derive(Debug)]
pub struct Bounded<'a> {
    words: &'a [u32],
    is_damaged: Cell<bool>,
}

impl Words for Bounded<'_> {
    fn word(&self, offset: u32) -> u32 {
        let word = self.words.get(offset as usize).copied();
        word.unwrap_or_else(|| {
            self.is_damaged.set(true);
            0
        })
    }

    fn long(&self, offset: u32) -> u64 {
        // The programs load both words at once, from an aligned address.
        if !offset.is_multiple_of(2) {
            self.is_damaged.set(true);
        }
        u64::from(self.word(offset)) | u64::from(self.word(offset.wrapping_add(1))) << 32
    }

    fn meets(&self, found: Ref, expected: Kind) {
        if found.kind() != expected {
            self.is_damaged.set(true);
        }
    }
}
