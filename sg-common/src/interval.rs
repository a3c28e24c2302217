//! Interval maps: all compiled rules are kept in this one structure.
//!
//! A map gives each key of an ordered space (addresses, or protocol and port) a value. Only the
//! boundaries at which the value changes are stored, so prefixes of any length and port ranges of
//! any width cost the same. A *ref* is a word that names a map:
//!
//! ```text
//!  31 30 | 29 ............ 25 | 24 ........ 0
//!  kind  | order              | offset from the image's start, in 16-byte units
//!  LEAF  | value (30 bits): every key has it
//! ```
//!
//! | kind | at the offset |
//! |---|---|
//! | `RUN` | 2^order - 1 sorted keys, padding, then 2^order values: key `k` has value number (count of keys <= k) |
//! | `PARITY` | 2^order - 1 sorted keys: `k` is in the set if the count of keys <= k is odd |
//! | `TABLE` | `lo`, `last`, `shift`, then `last + 1` refs: what is below `lo`, equal ranges of 2^shift keys, what is above |
//!
//! Keys are 32 bits (one word), or 64 (two words, low half first: an aligned little-endian u64).
//! Values of runs are words, too, so a value can itself be a ref. An IPv6 lookup uses that: the
//! high half of the address leads to the map of the low halves under it.
//!
//! A table splits its range evenly. Its parts are tables or runs, at most [`MAX_TABLES`] deep. A
//! ruleset of random prefixes takes one table and one run of a cache line, whatever its size.

/// Read access to an image. Offsets are in words from the image's start, and wrap around.
pub trait Words {
    fn word(&self, offset: u32) -> u32;
    /// Two words from an even offset as one little-endian number.
    fn long(&self, offset: u32) -> u64;

    /// A word of the image's header.
    #[inline(always)]
    fn head(&self, field: u32) -> u32 {
        self.word(field)
    }

    /// A word of the interface record at `record`; the field is a constant.
    #[inline(always)]
    fn field(&self, record: u32, field: u32) -> u32 {
        self.word(record.wrapping_add(field))
    }

    /// [`rank`] of a 32-bit key. The BPF programs give it a body of its own.
    #[inline(always)]
    fn rank32(&self, keys: u32, order: u32, key: u32) -> u32
    where
        Self: Sized,
    {
        rank(self, keys, order, key)
    }

    /// [`rank`] of a 64-bit key.
    #[inline(always)]
    fn rank64(&self, keys: u32, order: u32, key: u64) -> u32
    where
        Self: Sized,
    {
        rank(self, keys, order, key)
    }

    /// A look-up calls this for each ref that it follows. User space finds damaged images by it (see
    /// [`crate::view`]); the BPF programs do nothing.
    #[inline(always)]
    fn meets(&self, _found: Ref, _expected: Kind) {}

    /// The highest bit in all bits. The BPF programs keep the compiler from making a branch of it.
    #[inline(always)]
    fn spread(number: u64) -> u64 {
        (number as i64 >> 63) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Leaf = 0,
    Run = 1,
    Table = 2,
    Parity = 3,
}

/// Tables on the way to a run, at most.
pub const MAX_TABLES: u32 = 3;
/// 2^20 keys in one run at most, far above what the quotas admit.
pub const MAX_ORDER: u32 = 20;
/// A table has no runs larger than of this order but where tables are [`MAX_TABLES`] deep. Smaller
/// runs are of this order or of half of it: see [`rank_small`].
pub const SMALL_ORDER: u32 = 4;
/// Words per unit of a ref's offset.
pub const UNIT: u32 = 4;

/// Names an interval map; see the module's text. [`Self::NONE`] by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Ref(pub u32);

impl Ref {
    /// A set that holds nothing.
    pub const NONE: Self = Self::leaf(0);
    /// A set that holds every key.
    pub const ALL: Self = Self::leaf(1);

    pub const fn leaf(value: u32) -> Self {
        Self(value & 0x3fff_ffff)
    }

    /// `unit` counts 16-byte units from the image's start.
    pub const fn at(kind: Kind, order: u32, unit: u32) -> Self {
        Self((kind as u32) << 30 | (order & 31) << 25 | unit & 0x1ff_ffff)
    }

    pub const fn kind(self) -> Kind {
        match self.0 >> 30 {
            0 => Kind::Leaf,
            1 => Kind::Run,
            2 => Kind::Table,
            _ => Kind::Parity,
        }
    }

    #[inline(always)]
    pub const fn is_leaf(self) -> bool {
        self.0 >> 30 == Kind::Leaf as u32
    }

    #[inline(always)]
    pub const fn is_table(self) -> bool {
        self.0 >> 30 == Kind::Table as u32
    }

    /// The value of a leaf.
    #[inline(always)]
    pub const fn value(self) -> u32 {
        self.0 & 0x3fff_ffff
    }

    #[inline(always)]
    pub const fn order(self) -> u32 {
        self.0 >> 25 & 31
    }

    /// Words from the image's start.
    #[inline(always)]
    pub const fn offset(self) -> u32 {
        (self.0 & 0x1ff_ffff) * UNIT
    }
}

/// A width of keys.
pub trait Key: Copy + PartialOrd {
    /// Words a key takes.
    const WORDS: u32;
    /// Words before a table's refs: `lo`, `last`, `shift`, padded to an even count.
    const TABLE_HEADER: u32;
    fn load<W: Words>(words: &W, offset: u32) -> Self;
    /// `(self - lo) >> shift` as a bucket number, saturated to 32 bits.
    fn bucket(self, lo: Self, shift: u32) -> u32;
    /// A number whose highest bit is set if `self` is less than `other`.
    fn borrow(self, other: Self) -> u64;
    /// [`rank`], by way of [`Words`].
    fn rank<W: Words>(self, words: &W, keys: u32, order: u32) -> u32;
}

impl Key for u32 {
    const WORDS: u32 = 1;
    const TABLE_HEADER: u32 = 4;

    #[inline(always)]
    fn load<W: Words>(words: &W, offset: u32) -> Self {
        words.word(offset)
    }

    #[inline(always)]
    fn bucket(self, lo: Self, shift: u32) -> u32 {
        self.wrapping_sub(lo) >> (shift & 31)
    }

    #[inline(always)]
    fn borrow(self, other: Self) -> u64 {
        (self as u64).wrapping_sub(other as u64)
    }

    #[inline(always)]
    fn rank<W: Words>(self, words: &W, keys: u32, order: u32) -> u32 {
        words.rank32(keys, order, self)
    }
}

impl Key for u64 {
    const WORDS: u32 = 2;
    const TABLE_HEADER: u32 = 4;

    #[inline(always)]
    fn load<W: Words>(words: &W, offset: u32) -> Self {
        words.long(offset)
    }

    #[inline(always)]
    fn bucket(self, lo: Self, shift: u32) -> u32 {
        let bucket = self.wrapping_sub(lo) >> (shift & 63);
        if bucket > u32::MAX as u64 - 2 { u32::MAX - 2 } else { bucket as u32 }
    }

    #[inline(always)]
    fn borrow(self, other: Self) -> u64 {
        (!self & other) | ((!self | other) & self.wrapping_sub(other))
    }

    #[inline(always)]
    fn rank<W: Words>(self, words: &W, keys: u32, order: u32) -> u32 {
        words.rank64(keys, order, self)
    }
}

/// The number of keys of a sorted run that are `<= key`, capped at 2^order - 1.
#[inline(always)]
pub fn rank<K: Key, W: Words>(words: &W, keys: u32, order: u32, key: K) -> u32 {
    if order <= SMALL_ORDER {
        return rank_small(words, keys, order, key);
    }
    let mut below = 0u32;
    // Not a `for`: LLVM would unroll it, and the verifier sees the end of halving by itself. The
    // mask tells the verifier nothing new on each way through, so that it walks each step once
    // instead of every path.
    let mut step = 1u32 << (order & 31) >> 1;
    while step != 0 {
        below = halve(words, keys, key, below, step) & ((1 << MAX_ORDER) - 1);
        step >>= 1;
    }
    below
}

/// [`rank`] of an order up to [`SMALL_ORDER`], which is 2 or 4. Each step loads three keys at once,
/// so that no load waits for another key, and leaves a quarter of the run.
#[inline(always)]
pub fn rank_small<K: Key, W: Words>(words: &W, keys: u32, order: u32, key: K) -> u32 {
    let quarter = if order > 2 { 4 * passed(words, keys + 3 * K::WORDS, 4, key) } else { 0 };
    quarter + passed(words, keys + quarter * K::WORDS, 1, key)
}

/// How many of three keys, `stride` apart, are `<= key`.
#[inline(always)]
fn passed<K: Key, W: Words>(words: &W, keys: u32, stride: u32, key: K) -> u32 {
    let below = |index: u32| {
        let at = keys.wrapping_add(index * stride * K::WORDS);
        // Not a branch: with random keys the processor would guess every other one wrong.
        W::spread(key.borrow(K::load(words, at))) as u32
    };
    3u32.wrapping_add(below(0)).wrapping_add(below(1)).wrapping_add(below(2))
}

/// Goes past `step` more keys if they are `<= key`.
#[inline(always)]
fn halve<K: Key, W: Words>(words: &W, keys: u32, key: K, below: u32, step: u32) -> u32 {
    let last = K::load(words, keys + (below + step - 1) * K::WORDS);
    below + (step & !W::spread(key.borrow(last)) as u32)
}

/// The value that `key` has in the map `root`: a leaf, or the ref of a further map.
#[inline(always)]
pub fn find<K: Key, W: Words>(words: &W, root: Ref, key: K) -> Ref {
    let mut at = root;
    for _ in 0..MAX_TABLES {
        if !at.is_table() {
            break;
        }
        words.meets(at, Kind::Table);
        let table = at.offset();
        let lo = K::load(words, table);
        let last = words.word(table + K::TABLE_HEADER - 2);
        let shift = words.word(table + K::TABLE_HEADER - 1);
        let entry = if key < lo {
            0
        } else {
            let bucket = key.bucket(lo, shift);
            if bucket < last { bucket + 1 } else { last }
        };
        at = Ref(words.word((table + K::TABLE_HEADER).wrapping_add(entry)));
    }
    if at.is_leaf() {
        return at;
    }
    words.meets(at, Kind::Run);
    let order = at.order();
    let values = at.offset().wrapping_add(values_offset::<K>(order));
    let below = key.rank(words, at.offset(), order);
    Ref(words.word(values.wrapping_add(below)))
}

/// Words from a run's start to its values.
#[inline(always)]
pub const fn values_offset<K: Key>(order: u32) -> u32 {
    ((1 << order) - 1) * K::WORDS
}

/// Whether the set `set` (a leaf or a parity run) holds `key`.
///
/// ```
/// use sg_common::interval::{Kind, Ref, Words, contains};
///
/// struct Image<'a>(&'a [u32]);
///
/// impl Words for Image<'_> {
///     fn word(&self, offset: u32) -> u32 {
///         self.0[offset as usize]
///     }
///
///     fn long(&self, offset: u32) -> u64 {
///         u64::from(self.word(offset)) | u64::from(self.word(offset + 1)) << 32
///     }
/// }
///
/// // The keys 80 to 89, and all from 443 on: a boundary stands where membership changes.
/// let image = Image(&[80, 90, 443]);
/// let set = Ref::at(Kind::Parity, 2, 0);
/// let ports = [79, 80, 89, 90, 442, 443, 65535];
/// let held = ports.map(|port| contains(&image, set, port));
/// assert_eq!(held, [false, true, true, false, false, true, true]);
/// ```
#[inline(always)]
pub fn contains<W: Words>(words: &W, set: Ref, key: u32) -> bool {
    if set.is_leaf() {
        return set.value() != 0;
    }
    words.meets(set, Kind::Parity);
    key.rank(words, set.offset(), set.order()) & 1 != 0
}

/// Whether the set holds every key from `first` to `last`.
#[inline(always)]
pub fn contains_all<W: Words>(words: &W, set: Ref, first: u32, last: u32) -> bool {
    if set.is_leaf() {
        return set.value() != 0;
    }
    words.meets(set, Kind::Parity);
    let below = first.rank(words, set.offset(), set.order());
    below & 1 != 0 && last.rank(words, set.offset(), set.order()) == below
}
