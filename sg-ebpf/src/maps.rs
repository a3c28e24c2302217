//! Map memory. The agent creates all maps as arrays with one large element, whose address is a
//! constant in the programs. Behind that address is plain memory under a mask that the verifier
//! knows. Sizes are powers of two, and the masks are constants set when the programs are loaded.

use core::{arch::asm, cell::UnsafeCell, ptr};

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_jiffies64};
use sg_common::{
    control::{Control, IMAGE_ALIGN, Root},
    flow::{Bucket, LANES, Tick},
    image::record,
    interval::{self, SMALL_ORDER, Words},
};

use crate::{
    global_fns::{sg_rank32, sg_rank64},
    verifier::opaque,
};

/// Where a map's memory begins. To compiler and aya this is a small variable in a section of its
/// own, named `.bss.` and the map's name. The agent puts the map in its place when it loads the
/// programs.
#[repr(transparent)]
pub(crate) struct Memory(UnsafeCell<u64>);

// SAFETY: only its address is used.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    #[inline(always)]
    pub(crate) fn start(&'static self) -> *mut u8 {
        // LLVM must know neither the content nor its size.
        opaque(self.0.get() as usize) as *mut u8
    }
}

/// Control page, then images.
#[unsafe(link_section = ".bss.ARENA")]
static ARENA: Memory = Memory::new();
#[unsafe(link_section = ".bss.FLOWS4")]
static FLOWS4: Memory = Memory::new();
#[unsafe(link_section = ".bss.FLOWS6")]
static FLOWS6: Memory = Memory::new();
#[unsafe(link_section = ".bss.FRAGMENTS4")]
static FRAGMENTS4: Memory = Memory::new();
#[unsafe(link_section = ".bss.FRAGMENTS6")]
static FRAGMENTS6: Memory = Memory::new();
#[unsafe(link_section = ".bss.COUNTERS")]
static COUNTERS: Memory = Memory::new();

/// Size of the arena less 4: the offset of its last word.
#[unsafe(no_mangle)]
static ARENA_MASK: u32 = 0;
/// Offset of a table's last bucket from its first.
#[unsafe(no_mangle)]
static FLOWS4_MASK: u32 = 0;
#[unsafe(no_mangle)]
static FLOWS6_MASK: u32 = 0;
#[unsafe(no_mangle)]
static FRAGMENTS4_MASK: u32 = 0;
#[unsafe(no_mangle)]
static FRAGMENTS6_MASK: u32 = 0;
/// Offset of a table's first bucket, behind the marks.
#[unsafe(no_mangle)]
static FLOWS4_BUCKETS: u32 = 0;
#[unsafe(no_mangle)]
static FLOWS6_BUCKETS: u32 = 0;
#[unsafe(no_mangle)]
static FRAGMENTS4_BUCKETS: u32 = 0;
#[unsafe(no_mangle)]
static FRAGMENTS6_BUCKETS: u32 = 0;
/// Offset of the last row of counters.
#[unsafe(no_mangle)]
static COUNTERS_MASK: u32 = 0;
/// Bytes of counters for one CPU.
#[unsafe(no_mangle)]
static COUNTERS_CPU_SIZE: u32 = 0;
/// Jiffies are shifted right by this to make ticks.
#[unsafe(no_mangle)]
static TICK_SHIFT: u32 = 0;

#[inline(always)]
pub(crate) fn constant(of: &u32) -> u32 {
    // SAFETY: a valid reference; volatile because the loader sets the value.
    unsafe { ptr::read_volatile(of) }
}

/// The control page and the images.
#[derive(Clone, Copy)]
pub(crate) struct Arena {
    base: *mut u8,
    mask: u32,
}

impl Arena {
    #[inline(always)]
    pub(crate) fn open() -> Self {
        Self { base: ARENA.start(), mask: constant(&ARENA_MASK) }
    }

    #[inline(always)]
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: the arena starts with the control page and is far larger than it.
        unsafe { &*self.base.cast::<Control>() }
    }

    #[inline(always)]
    pub(crate) fn now(&self) -> Tick {
        // SAFETY: the helper takes nothing and returns a number.
        let jiffies = unsafe { bpf_jiffies64() };
        let offset = volatile(&self.control().clock_offset);
        ((jiffies >> (constant(&TICK_SHIFT) & 63)) as u32).wrapping_add(offset)
    }

    /// The image in force, if there is one.
    #[inline(always)]
    pub(crate) fn image(self, now: Tick) -> Option<Image> {
        let root = Root(volatile(&self.control().root));
        let start = root.in_force(now);
        if start == 0 { None } else { Some(self.image_at(start)) }
    }

    #[inline(always)]
    pub(crate) fn image_at(self, start: u32) -> Image {
        Image { arena: self, start }
    }
}

/// Reads what user space may be writing, once.
#[inline(always)]
fn volatile<T: Copy>(of: &T) -> T {
    // SAFETY: a valid reference.
    unsafe { ptr::read_volatile(of) }
}

/// Compiled rules in the arena; see [`sg_common::image`].
#[derive(Clone, Copy)]
pub(crate) struct Image {
    arena: Arena,
    /// Bytes from the arena's start.
    pub(crate) start: u32,
}

/// [`Image::zero`] where there is no image at hand.
#[inline(always)]
pub(crate) fn zero() -> u32 {
    volatile(&Arena::open().control()._reserved)
}

impl Image {
    /// 0, which the verifier does not know. Added to a number that decides an address, it makes
    /// ways that differ only in that number one way: the verifier follows the rest once.
    #[inline(always)]
    pub(crate) fn zero(&self) -> u32 {
        volatile(&self.control()._reserved)
    }

    #[inline(always)]
    pub(crate) fn control(&self) -> &Control {
        self.arena.control()
    }
}

/// Bytes of an interface record.
const RECORD: u32 = record::LEN * 4;

impl Image {
    /// A word of a block of `size` bytes; the image aligns such blocks to that size. The field is a
    /// constant, so that all fields of a block are loaded off one address.
    #[inline(always)]
    fn field_of(&self, block: u32, size: u32, field: u32) -> u32 {
        let at = block & self.arena.mask & !(size - 1);
        // SAFETY: the mask keeps the whole block within the arena.
        unsafe { *self.arena.base.add(at as usize).cast::<u32>().add(field as usize) }
    }
}

impl Words for Image {
    #[inline(always)]
    fn head(&self, field: u32) -> u32 {
        self.field_of(self.start, IMAGE_ALIGN as u32, field)
    }

    #[inline(always)]
    fn field(&self, record: u32, field: u32) -> u32 {
        self.field_of(self.start.wrapping_add(record << 2), RECORD, field)
    }

    #[inline(always)]
    fn word(&self, offset: u32) -> u32 {
        let at = self.start.wrapping_add(offset << 2) & self.arena.mask;
        // SAFETY: the mask keeps the offset within the arena and aligned.
        unsafe { *self.arena.base.add(at as usize).cast::<u32>() }
    }

    #[inline(always)]
    fn long(&self, offset: u32) -> u64 {
        let at = self.start.wrapping_add(offset << 2) & self.arena.mask & !4;
        // SAFETY: as above; without bit 2 there are eight bytes left.
        unsafe { *self.arena.base.add(at as usize).cast::<u64>() }
    }

    #[inline(always)]
    fn rank32(&self, keys: u32, order: u32, key: u32) -> u32 {
        if order <= SMALL_ORDER {
            interval::rank_small(self, keys, order, key)
        } else {
            sg_rank32(self.start, keys, order, key)
        }
    }

    #[inline(always)]
    fn rank64(&self, keys: u32, order: u32, key: u64) -> u32 {
        sg_rank64(self.start, keys, order, key)
    }

    #[inline(always)]
    fn spread(mut number: u64) -> u64 {
        // SAFETY: a shift.
        unsafe { asm!("{0} s>>= 63", inout(reg) number, options(pure, nomem, nostack)) };
        number
    }
}

/// A table of buckets.
pub(crate) struct Table<A> {
    marks: *mut u8,
    buckets: *mut Bucket<A>,
    mask: u32,
}

/// From this size of all buckets on, marks are too many for a CPU's own cache, too.
const FAR: u32 = 24 << 20;

impl<A> Table<A> {
    /// Whether its lines are mostly waited for. A constant to the kernel.
    #[inline(always)]
    pub(crate) fn exceeds_cache(&self) -> bool {
        self.mask > FAR
    }

    /// The bucket that a hash names. Its low bits fall under the bucket's size and are not used.
    #[inline(always)]
    pub(crate) fn bucket(&self, hash: u32) -> *mut Bucket<A> {
        let at = hash & self.mask;
        // SAFETY: the mask is the offset of the last bucket.
        unsafe { self.buckets.byte_add(at as usize) }
    }

    /// The marks of the lanes of a bucket.
    #[inline(always)]
    pub(crate) fn marks(&self, hash: u32) -> *mut [u8; LANES] {
        let at = (hash & self.mask) / (size_of::<Bucket<A>>() / LANES) as u32;
        // SAFETY: there are as many as lanes.
        unsafe { self.marks.add(at as usize).cast() }
    }

    #[inline(always)]
    pub(crate) fn lanes(&self) -> u32 {
        self.mask / (size_of::<Bucket<A>>() / LANES) as u32 + LANES as u32
    }

    /// A bucket's number, for user space.
    #[inline(always)]
    pub(crate) fn number(&self, hash: u32) -> u32 {
        (hash & self.mask) / size_of::<Bucket<A>>() as u32
    }
}

macro_rules! tables {
    ($($name:ident: $map:ident, $buckets:ident, $mask:ident;)+) => {$(
        #[inline(always)]
        pub(crate) fn $name<A>() -> Table<A> {
            let marks = $map.start();
            // SAFETY: the buckets follow the marks.
            let buckets = unsafe { marks.add(constant(&$buckets) as usize).cast() };
            Table { marks, buckets, mask: constant(&$mask) }
        }
    )+};
}

tables! {
    flows4: FLOWS4, FLOWS4_BUCKETS, FLOWS4_MASK;
    flows6: FLOWS6, FLOWS6_BUCKETS, FLOWS6_MASK;
    fragments4: FRAGMENTS4, FRAGMENTS4_BUCKETS, FRAGMENTS4_MASK;
    fragments6: FRAGMENTS6, FRAGMENTS6_BUCKETS, FRAGMENTS6_MASK;
}

/// The CPU's number.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { bpf_get_smp_processor_id() }
}

/// The row of counters at byte `offset` in this CPU's.
#[inline(always)]
pub(crate) fn counters(offset: u32) -> *mut u8 {
    let at = cpu().wrapping_mul(constant(&COUNTERS_CPU_SIZE)).wrapping_add(offset);
    let at = at & constant(&COUNTERS_MASK);
    // SAFETY: the mask is the offset of the last row.
    unsafe { COUNTERS.start().add(at as usize) }
}
