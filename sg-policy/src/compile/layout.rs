//! Words of an image under construction, and interval maps in them.

use foldhash::{HashMap, HashMapExt as _};
use sg_common::interval::{Kind, MAX_TABLES, Ref, SMALL_ORDER, UNIT};

use smallvec::SmallVec;

use super::{CompileError, check_size, services::Boundaries};

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

/// Of a run: most have three keys.
type Block = SmallVec<[u32; 16]>;

/// From this key on, this value.
pub(super) type Boundary = (u64, Ref);

/// An image's words. Equal blocks are stored once.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) words: Vec<u32>,
    /// Word offsets by hash. Of blocks with one hash the last is found again, which only costs room.
    blocks: HashMap<u64, usize>,
}

impl Layout {
    pub(super) fn with_room_for(blocks: usize, words: usize) -> Self {
        Self { words: Vec::with_capacity(words), blocks: HashMap::with_capacity(blocks) }
    }

    /// Stores a block and gives its unit. Blocks that fit a cache line do not straddle two.
    pub(super) fn block(&mut self, block: &[u32]) -> u32 {
        let hash = hash(block);
        if let Some(at) = self.blocks.get(&hash)
            && self.words[*at..].starts_with(block)
        {
            return (at / UNIT as usize) as u32;
        }
        let mut at = self.words.len().next_multiple_of(UNIT as usize);
        let room = LINE - at % LINE;
        if block.len() > room {
            at = at.next_multiple_of(LINE);
        }
        self.words.resize(at, 0);
        self.words.extend_from_slice(block);
        self.blocks.insert(hash, at);
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
    pub(super) fn map(&mut self, width: Width, base: Ref, boundaries: &[Boundary]) -> Ref {
        let mut merged: Vec<Boundary> = Vec::with_capacity(boundaries.len());
        let mut value = base;
        for boundary in boundaries {
            if boundary.1 != value {
                value = boundary.1;
                merged.push(*boundary);
            }
        }
        self.part(width, base, &merged, MAX_TABLES)
    }

    fn part(&mut self, width: Width, base: Ref, boundaries: &[Boundary], tables: u32) -> Ref {
        if boundaries.is_empty() && base.is_leaf() {
            return base;
        }
        if tables == 0 || order_for(boundaries.len()) <= SMALL_ORDER {
            return self.run(width, base, boundaries);
        }
        self.table(width, base, boundaries, tables)
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
    fn table(&mut self, width: Width, base: Ref, boundaries: &[Boundary], tables: u32) -> Ref {
        let low = boundaries[0].0;
        let range = boundaries[boundaries.len() - 1].0 - low;
        let bits = order_for(boundaries.len()) - 1;
        let shift = (u64::BITS - range.leading_zeros()).saturating_sub(bits);
        let parts = (range >> shift) as usize + 1;
        let mut block = Vec::with_capacity(parts + 6);
        width.push(&mut block, low);
        block.resize(2, 0);
        block.extend([parts as u32 + 1, shift]);
        // Below the first boundary; a value that is no leaf needs a run to stand in a table.
        block.push(self.part(width, base, &[], 0).0);
        let (mut value, mut at) = (base, 0);
        for part in 0..parts as u64 {
            let start = low + (part << shift);
            if boundaries.get(at).is_some_and(|boundary| boundary.0 == start) {
                value = boundaries[at].1;
                at += 1;
            }
            let here = boundaries[at..].iter().take_while(|(key, _)| (key - low) >> shift == part);
            let end = at + here.count();
            block.push(self.part(width, value, &boundaries[at..end], tables - 1).0);
            if end > at {
                value = boundaries[end - 1].1;
            }
            at = end;
        }
        block.push(self.part(width, value, &[], 0).0);
        Ref::at(Kind::Table, 0, self.block(&block))
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
