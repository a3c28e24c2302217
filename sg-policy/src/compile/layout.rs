//! Words of an image under construction, and interval maps in them.

use std::ops::RangeInclusive;

use foldhash::HashMap;
use sg_common::interval::{Kind, MAX_TABLES, Ref, SMALL_ORDER, UNIT};

use smallvec::SmallVec;

use super::{CompileError, check_size, services::Boundaries};

/// Words before a table's refs; see [`sg_common::interval::Key::TABLE_HEADER`].
const TABLE_HEADER: usize = 4;

/// Words of a cache line.
const LINE: usize = 16;

/// Width of an interval map's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Narrow,
    Wide,
}

impl Width {
    fn push(self, words: &mut impl Extend<u32>, key: u64) {
        let words_of_key = if self == Self::Wide { 2 } else { 1 };
        words.extend([key as u32, (key >> 32) as u32].into_iter().take(words_of_key));
    }

    pub(super) fn last_key(self) -> u64 {
        match self {
            Self::Narrow => u64::from(u32::MAX),
            Self::Wide => u64::MAX,
        }
    }
}

/// The words of a run: most have three keys.
type Block = SmallVec<[u32; 16]>;

/// From this key on, this value.
pub(super) type Boundary = (u64, Ref);

/// An image's words. Equal blocks are stored once.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) words: Vec<u32>,
    /// Word offsets by hash. If blocks share a hash, only the last is found again, which costs no
    /// more than room.
    blocks: HashMap<u64, usize>,
}

impl Layout {
    pub(super) fn make_room(&mut self, blocks: usize, words: usize) {
        self.blocks.reserve(blocks);
        self.words.reserve(words);
    }

    /// Stores a block and gives its unit. Blocks that fit a cache line do not straddle two.
    pub(super) fn block(&mut self, block: &[u32]) -> u32 {
        let hash = hash(block);
        if let Some(at) = self.blocks.get(&hash)
            && self.words[*at..].starts_with(block)
        {
            return (at / UNIT as usize) as u32;
        }
        let unit = self.append(block);
        self.blocks.insert(hash, unit as usize * UNIT as usize);
        unit
    }

    /// As [`Self::block`], for one that may change: it is never given to anybody else.
    pub(super) fn own_block(&mut self, block: &[u32]) -> u32 {
        self.append(block)
    }

    fn append(&mut self, block: &[u32]) -> u32 {
        let mut at = self.words.len().next_multiple_of(UNIT as usize);
        let room = LINE - at % LINE;
        if block.len() > room {
            at = at.next_multiple_of(LINE);
        }
        self.words.resize(at, 0);
        self.words.extend_from_slice(block);
        (at / UNIT as usize) as u32
    }

    /// Room for `words` words from a multiple of `align` words; their word offset.
    pub(super) fn reserve(&mut self, words: usize, align: usize) -> usize {
        let at = self.words.len().next_multiple_of(align);
        self.words.resize(at + words, 0);
        at
    }

    /// Called on the way too, so that what does not fit takes no more memory than what does.
    pub(super) fn check_size(&self) -> Result<(), CompileError> {
        check_size(self.words.len())
    }

    /// The set whose members change at `boundaries`, starting with none.
    pub(super) fn set(&mut self, mut boundaries: Boundaries) -> Ref {
        match &boundaries[..] {
            [] => return Ref::NONE,
            [0] => return Ref::ALL,
            _ => {}
        }
        let order = run_order(boundaries.len());
        boundaries.resize((1 << order) - 1, u32::MAX);
        Ref::at(Kind::Parity, order, self.block(&boundaries))
    }

    /// The map that has `base` below the first boundary. Keys rise; equal neighbours are merged.
    pub(super) fn map(&mut self, width: Width, base: Ref, boundaries: Vec<Boundary>) -> Ref {
        let shape = Shape { width, is_open: false, tables: MAX_TABLES };
        self.part(shape, base, &merged(base, boundaries))
    }

    /// As [`Self::map`], for one whose [`Parts`] may be written anew.
    pub(super) fn open_map(&mut self, width: Width, base: Ref, boundaries: Vec<Boundary>) -> Ref {
        let shape = Shape { width, is_open: true, tables: MAX_TABLES };
        self.part(shape, base, &merged(base, boundaries))
    }

    /// The parts of a map that [`Self::open_map`] wrote; none if the map is no table.
    pub(super) fn parts(&self, width: Width, map: Ref) -> Option<Parts> {
        let shape = Shape { width, is_open: true, tables: MAX_TABLES };
        self.parts_of(shape, map)
    }

    /// The parts of a part that is a table itself.
    pub(super) fn parts_within(&self, parts: &Parts, part: u64) -> Option<Parts> {
        self.parts_of(parts.shape.within(), Ref(self.words[parts.refs + part as usize]))
    }

    fn parts_of(&self, shape: Shape, map: Ref) -> Option<Parts> {
        if !map.is_table() {
            return None;
        }
        let at = map.offset() as usize;
        let high = if shape.width == Width::Wide { u64::from(self.words[at + 1]) << 32 } else { 0 };
        let low = u64::from(self.words[at]) | high;
        let (last, shift) = (self.words[at + 2], self.words[at + 3]);
        // The first ref is for what lies below.
        Some(Parts { shape, low, shift, count: u64::from(last) - 1, refs: at + TABLE_HEADER + 1 })
    }

    /// Writes a part anew: `base` below its first boundary.
    pub(super) fn rewrite(
        &mut self,
        parts: &Parts,
        part: u64,
        mut base: Ref,
        mut within: Vec<Boundary>,
    ) {
        if within.first().is_some_and(|(key, _)| *key == parts.start(part)) {
            base = within.remove(0).1;
        }
        let written = self.part(parts.shape.within(), base, &merged(base, within));
        self.words[parts.refs + part as usize] = written.0;
    }

    fn part(&mut self, shape: Shape, base: Ref, boundaries: &[Boundary]) -> Ref {
        if boundaries.is_empty() && base.is_leaf() {
            return base;
        }
        if shape.tables == 0 || order_for(boundaries.len()) <= SMALL_ORDER {
            return self.run(shape.width, base, boundaries);
        }
        self.table(shape, base, boundaries)
    }

    fn run(&mut self, width: Width, base: Ref, boundaries: &[Boundary]) -> Ref {
        let order = run_order(boundaries.len());
        let keys = (1usize << order) - 1;
        let mut block: Block = SmallVec::with_capacity(keys * 3 + 1);
        for index in 0..keys {
            width.push(&mut block, boundaries.get(index).map_or(width.last_key(), |b| b.0));
        }
        block.push(base.0);
        let last = boundaries.last().map_or(base, |boundary| boundary.1);
        for index in 0..keys {
            block.push(boundaries.get(index).map_or(last, |boundary| boundary.1).0);
        }
        Ref::at(Kind::Run, order, self.block(&block))
    }

    /// About half as many equal parts as there are boundaries, over the range that they span.
    fn table(&mut self, shape: Shape, base: Ref, boundaries: &[Boundary]) -> Ref {
        let low = boundaries[0].0;
        let range = boundaries[boundaries.len() - 1].0 - low;
        let bits = order_for(boundaries.len()) - 1;
        let shift = (u64::BITS - range.leading_zeros()).saturating_sub(bits);
        let parts = (range >> shift) as usize + 1;
        let mut block = Vec::with_capacity(parts + TABLE_HEADER + 2);
        shape.width.push(&mut block, low);
        block.resize(2, 0);
        block.extend([parts as u32 + 1, shift]);
        // Below the first boundary; a value that is no leaf needs a run to stand in a table.
        block.push(self.part(shape.end(), base, &[]).0);
        let (mut value, mut at) = (base, 0);
        for part in 0..parts as u64 {
            let start = low + (part << shift);
            if boundaries.get(at).is_some_and(|boundary| boundary.0 == start) {
                value = boundaries[at].1;
                at += 1;
            }
            let here = boundaries[at..].iter().take_while(|(key, _)| (key - low) >> shift == part);
            let end = at + here.count();
            block.push(self.part(shape.within(), value, &boundaries[at..end]).0);
            if end > at {
                value = boundaries[end - 1].1;
            }
            at = end;
        }
        block.push(self.part(shape.end(), value, &[]).0);
        let unit = if shape.is_open { self.own_block(&block) } else { self.block(&block) };
        Ref::at(Kind::Table, 0, unit)
    }
}

/// How a map is laid out.
#[derive(Clone, Copy, Debug)]
struct Shape {
    width: Width,
    /// Its tables may change, so that nothing else may refer to them.
    is_open: bool,
    /// Tables on the way to a run, at most.
    tables: u32,
}

impl Shape {
    fn within(self) -> Self {
        Self { tables: self.tables - 1, ..self }
    }

    fn end(self) -> Self {
        Self { tables: 0, ..self }
    }
}

/// Without boundaries at which nothing changes.
fn merged(base: Ref, mut boundaries: Vec<Boundary>) -> Vec<Boundary> {
    let mut value = base;
    boundaries.retain(|boundary| std::mem::replace(&mut value, boundary.1) != boundary.1);
    boundaries
}

/// The equal parts of the keys that a table covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    shape: Shape,
    low: u64,
    shift: u32,
    pub(super) count: u64,
    /// Word offset of the first one's ref.
    pub(super) refs: usize,
}

impl Parts {
    /// The one that holds a key.
    pub(super) fn holding(&self, key: u64) -> Option<u64> {
        let part = key.checked_sub(self.low)? >> self.shift;
        (part < self.count).then_some(part)
    }

    /// The parts that hold the keys from `start` to `end`, if all these keys are in the table.
    pub(super) fn range(&self, start: u64, end: u64) -> Option<RangeInclusive<u64>> {
        Some(self.holding(start)?..=self.holding(end)?)
    }

    pub(super) fn start(&self, part: u64) -> u64 {
        self.low + (part << self.shift)
    }

    /// One past the last key, if there is any behind it.
    pub(super) fn end(&self, part: u64) -> Option<u64> {
        let end = self.start(part).checked_add(1 << self.shift)?;
        (end <= self.shape.width.last_key()).then_some(end)
    }
}

/// The order of a run of `keys`. Small ones are searched three keys at a time.
fn run_order(keys: usize) -> u32 {
    match order_for(keys) {
        0..=2 => SMALL_ORDER / 2,
        3 => SMALL_ORDER,
        order => order,
    }
}

/// The smallest order whose run holds `keys`.
fn order_for(keys: usize) -> u32 {
    (keys + 1).next_power_of_two().trailing_zeros()
}

/// Nobody gains by making blocks collide.
fn hash(block: &[u32]) -> u64 {
    let start = block.len() as u64;
    block.iter().fold(start, |hash, word| {
        let mixed = (hash ^ u64::from(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    })
}
