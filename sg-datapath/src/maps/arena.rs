//! The arena: where images lie, and the root word that says which is in force.
//!
//! An image is written beside the images that programs may be reading. It comes into force by one
//! 64-bit store. The room of the image before is used again when all programs that could have seen
//! it are done.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use sg_common::{
    control::{Control, IMAGE_ALIGN, Root},
    flow::{HASH_KEY_WORDS, Tick},
    image::header,
    view::{HeaderView, RecordWords},
};

use super::{handover::Handover, region::Region};
use crate::{
    bpf::syscall::{self, Mapping},
    error::Error,
};

/// Name of the map.
pub const ARENA: &str = "ARENA";

/// Arena units that an image takes.
type Extent = Range<usize>;

/// The writing end of the arena. There is one.
#[derive(Debug)]
pub struct Arena {
    control: Mapping,
    units: usize,
    /// In force, and the fallback of an unconfirmed change.
    live: Vec<Extent>,
    /// Were in force until publication number `.1`.
    retired: Vec<(Extent, u64)>,
    published: u64,
    /// Publications before which no program is running any more.
    quiet: Arc<AtomicU64>,
}

impl Arena {
    /// Opens the arena; a new one gets the hash key that the flow tables' hash has, or a first one.
    pub fn open(region: &Region, handover: &Handover) -> Result<Self, Error> {
        let (control, _) = region.map(0, size_of::<Control>())?;
        let mut arena = Self {
            control,
            units: (region.size / IMAGE_ALIGN).min(usize::from(u16::MAX) + 1),
            live: Vec::new(),
            retired: Vec::new(),
            published: 0,
            quiet: Arc::default(),
        };
        arena.ensure_hash_key(handover)?;
        let root = arena.root();
        for unit in [root.active(), root.fallback()] {
            if unit != 0 && !arena.live.iter().any(|extent| extent.start == usize::from(unit)) {
                let words = read_words(region, unit, 0..header::LEN as usize)?;
                let header = HeaderView::new(&words)
                    .map_err(|error| Error::Other(format!("{}: {error}", region.pin.display())))?;
                arena.live.push(extent(usize::from(unit), header.words() as usize));
            }
        }
        Ok(arena)
    }

    fn field<T>(&self, at: usize) -> *mut T {
        self.control.at(at)
    }

    fn root_word(&self) -> &AtomicU64 {
        // SAFETY: aligned shared memory that lives as long as the mapping.
        unsafe { AtomicU64::from_ptr(self.field(std::mem::offset_of!(Control, root))) }
    }

    /// Added to the clock by the tests.
    pub fn clock_offset(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.field(std::mem::offset_of!(Control, clock_offset))) }
    }

    /// Keys of the flow tables' hash.
    pub fn hash_key(&self) -> [u32; HASH_KEY_WORDS] {
        // SAFETY: aligned shared memory that nobody writes any more.
        unsafe {
            self.field::<[u32; HASH_KEY_WORDS]>(std::mem::offset_of!(Control, hash_key))
                .read_volatile()
        }
    }

    pub fn root(&self) -> Root {
        Root(self.root_word().load(Ordering::Acquire))
    }

    fn ensure_hash_key(&mut self, handover: &Handover) -> Result<(), Error> {
        let kept = self.field::<[u32; HASH_KEY_WORDS]>(std::mem::offset_of!(Control, hash_key));
        // SAFETY: valid, aligned, and only the agent writes it, before any program reads it.
        if unsafe { kept.read_volatile() } != [0; HASH_KEY_WORDS] {
            return Ok(());
        }
        let mut keys = handover.hash_key()?;
        if keys == [0; HASH_KEY_WORDS] {
            let len = size_of_val(&keys);
            // SAFETY: the buffer is as long as that.
            if unsafe { libc::getrandom(keys.as_mut_ptr().cast(), len, 0) } != len as isize {
                let error = std::io::Error::last_os_error();
                return Err(Error::kernel("getting random numbers", error));
            }
            handover.set_hash_key(keys)?;
        }
        // SAFETY: as above.
        unsafe { kept.write_volatile(keys) };
        Ok(())
    }

    /// Puts `image` in force; with `fallback`, until the tick that comes with it.
    ///
    /// [`Error::TooLarge`] when there is no room: the arena has to grow.
    pub fn publish(
        &mut self,
        region: &Region,
        image: &[u32],
        fallback: Option<(&[u32], Tick)>,
    ) -> Result<(), Error> {
        let active = self.place(region, image)?;
        let root = match fallback {
            None => Root::new(active.start as u16, active.start as u16, 0),
            Some((fallback, deadline)) => {
                // Kept out of the second one's way until the flip.
                self.live.push(active.clone());
                let placed = self.place(region, fallback);
                self.live.pop();
                let placed = placed?;
                let root = Root::new(active.start as u16, placed.start as u16, deadline.max(1));
                self.flip(root, vec![active, placed]);
                return Ok(());
            }
        };
        self.flip(root, vec![active]);
        Ok(())
    }

    /// Writes an image beside the others, until the next [`Self::publish`]: for [`Self::switch`].
    #[cfg(feature = "testing")]
    pub fn keep(&mut self, region: &Region, image: &[u32]) -> Result<u16, Error> {
        let extent = self.place(region, image)?;
        let start = extent.start as u16;
        self.live.push(extent);
        Ok(start)
    }

    /// Puts an image in force that is in its place already.
    #[cfg(feature = "testing")]
    pub fn switch(&self, start: u16) {
        self.root_word().store(Root::new(start, start, 0).0, Ordering::Release);
    }

    /// The one store that changes what every packet gets.
    fn flip(&mut self, root: Root, live: Vec<Extent>) {
        self.root_word().store(root.0, Ordering::Release);
        self.published += 1;
        let published = self.published;
        self.retired.extend(
            std::mem::replace(&mut self.live, live).into_iter().map(|old| (old, published)),
        );
        let quiet = Arc::clone(&self.quiet);
        // Not waited for: there is room for more images, and an apply must not take that long.
        let waiter = std::thread::Builder::new().name("grace".into()).stack_size(32 << 10);
        let wait = move || {
            syscall::wait_for_programs();
            quiet.fetch_max(published, Ordering::Release);
        };
        if waiter.spawn(wait).is_err() {
            // No thread to be had: `place` waits when it needs the room.
        }
    }

    /// Writes an image to where nothing else is.
    fn place(&mut self, region: &Region, image: &[u32]) -> Result<Extent, Error> {
        let words = image.len();
        let extent = match self.find_room(words) {
            Some(extent) => extent,
            None => {
                syscall::wait_for_programs();
                self.quiet.fetch_max(self.published, Ordering::Release);
                self.find_room(words).ok_or_else(|| {
                    Error::TooLarge(format!(
                        "the compiled rules take {} bytes and the arena has {} left",
                        words * 4,
                        (self.units - self.live.iter().map(ExactSizeIterator::len).sum::<usize>())
                            * IMAGE_ALIGN
                    ))
                })?
            }
        };
        let (mapping, at) = region.map(extent.start * IMAGE_ALIGN, words * 4)?;
        // SAFETY: the mapping has room for the image, and no program looks there.
        unsafe {
            std::ptr::copy_nonoverlapping(image.as_ptr(), mapping.at::<u32>(at), words);
        }
        Ok(extent)
    }

    /// First fit between the control page, live images and those not yet quiet.
    fn find_room(&mut self, words: usize) -> Option<Extent> {
        let quiet = self.quiet.load(Ordering::Acquire);
        self.retired.retain(|(_, until)| *until > quiet);
        let retired = self.retired.iter().map(|(extent, _)| extent);
        let mut taken: Vec<&Extent> = self.live.iter().chain(retired).collect();
        taken.sort_unstable_by_key(|extent| extent.start);
        let mut start = 1;
        for other in taken {
            if extent(start, words).end <= other.start {
                break;
            }
            start = start.max(other.end);
        }
        let found = extent(start, words);
        (found.end <= self.units).then_some(found)
    }

    /// Whether the images of a publication of `words` words would have room for themselves beside
    /// as many again; else the arena's size that they need.
    pub fn size_for(words: usize) -> usize {
        ((extent(1, words).end) * 3 * IMAGE_ALIGN).next_power_of_two()
    }

    /// Copies control page and images to a larger arena, which then says the same.
    pub fn copy_to(&self, from: &Region, to: &Region) -> Result<(), Error> {
        let end = self.live.iter().map(|extent| extent.end).max().unwrap_or(1) * IMAGE_ALIGN;
        let (source, _) = from.map(0, end)?;
        let (target, _) = to.map(0, end)?;
        // SAFETY: both mappings are `end` bytes long and apart; only this agent writes either.
        unsafe {
            std::ptr::copy_nonoverlapping(source.at::<u8>(0).cast_const(), target.at::<u8>(0), end);
        }
        Ok(())
    }
}

fn extent(start: usize, words: usize) -> Extent {
    start..start + (words * 4).div_ceil(IMAGE_ALIGN)
}

/// Words of the image at `unit`.
fn read_words(region: &Region, unit: u16, words: Range<usize>) -> Result<Vec<u32>, Error> {
    let offset = usize::from(unit) * IMAGE_ALIGN + words.start * 4;
    if offset + words.len() * 4 > region.size {
        return Err(Error::Other(format!("{} holds no valid image", region.pin.display())));
    }
    let (mapping, at) = region.map(offset, words.len() * 4)?;
    let word = |index: usize| {
        // SAFETY: within the mapping; nothing writes to a live image.
        unsafe { mapping.at::<u32>(at + index * 4).read_volatile() }
    };
    let first = (0..words.len()).map(word).collect();
    Ok(first)
}

/// Interface records of the image in force, by slot; none if no image was ever in force.
pub fn records(region: &Region, root: Root, now: Tick) -> Result<Vec<RecordWords>, Error> {
    let unit = root.in_force(now) / IMAGE_ALIGN as u32;
    if unit == 0 {
        return Ok(Vec::new());
    }
    let unit = unit as u16;
    let head = read_words(region, unit, 0..header::LEN as usize)?;
    let head = HeaderView::new(&head)
        .map_err(|error| Error::Other(format!("{}: {error}", region.pin.display())))?;
    let words = read_words(region, unit, head.records())?;
    Ok(words.as_chunks().0.to_vec())
}

/// The same of the arena as it is pinned now, for a reader beside the agent that writes it; and what is
/// added to the clock. `now` is the clock without that.
pub fn records_in_force(
    region: &Region,
    now: impl Fn() -> Tick,
) -> Result<(Vec<RecordWords>, Tick), Error> {
    let (control, _) = region.map(0, size_of::<Control>())?;
    // SAFETY: aligned shared memory that lives as long as the mapping.
    let (root, offset) = unsafe {
        (
            AtomicU64::from_ptr(control.at(std::mem::offset_of!(Control, root))),
            AtomicU32::from_ptr(control.at(std::mem::offset_of!(Control, clock_offset))),
        )
    };
    loop {
        let (before, offset) = (root.load(Ordering::Acquire), offset.load(Ordering::Relaxed));
        let records = records(region, Root(before), now().wrapping_add(offset));
        // The room of an image is used again only when another one is in force.
        if root.load(Ordering::Acquire) == before {
            return Ok((records?, offset));
        }
    }
}
