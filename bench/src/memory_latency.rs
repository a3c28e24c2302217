//! The latency of memory on this machine: the least time that a table of so many entries can add to
//! a packet.

use std::{num::NonZeroUsize, ptr::NonNull, time::Instant};

use anyhow::{Context as _, Result};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Cache lines spread over memory in pages of 4 KiB, which is what maps are made of. Each says which is
/// the next, in random order.
#[derive(Debug)]
pub struct MemoryLatency {
    memory: NonNull<u64>,
    bytes: NonZeroUsize,
    at: usize,
}

impl MemoryLatency {
    /// `lines` cache lines anywhere in `bytes` of memory.
    pub fn new(bytes: usize, lines: usize) -> Result<Self> {
        let bytes = NonZeroUsize::new(bytes).context("no memory at all")?;
        let (access, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
        // SAFETY: a mapping of its own.
        let memory = unsafe { mmap_anonymous(None, bytes, access, flags) }.context("memory")?;
        // SAFETY: the whole of that mapping.
        unsafe { madvise(memory, bytes.get(), MmapAdvise::MADV_NOHUGEPAGE) }
            .context("4 KiB pages")?;
        let mut order: Vec<usize> = (0..bytes.get() / LINE).collect();
        order.shuffle(&mut SmallRng::seed_from_u64(1));
        order.truncate(lines);
        let latency = Self { memory: memory.cast(), bytes, at: order[0] };
        for (from, to) in order.iter().zip(order.iter().cycle().skip(1)) {
            // SAFETY: each is the number of a line in the mapping.
            unsafe { latency.line(*from).write(*to as u64) };
        }
        Ok(latency)
    }

    fn line(&self, number: usize) -> NonNull<u64> {
        // SAFETY: callers have the numbers of `new`, all within the mapping.
        unsafe { self.memory.byte_add(number * LINE) }
    }

    /// Nanoseconds of a load that waits for the one before, by so many of them.
    pub fn time(&mut self, loads: u32) -> f64 {
        let began = Instant::now();
        for _ in 0..loads {
            // SAFETY: `new` has written the number of another line there.
            self.at = unsafe { self.line(self.at).read_volatile() } as usize;
        }
        began.elapsed().as_nanos() as f64 / f64::from(loads)
    }
}

impl Drop for MemoryLatency {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nothing else points into.
        let _ = unsafe { munmap(self.memory.cast(), self.bytes.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_are_visited_before_one_comes_again() {
        let mut latency = MemoryLatency::new(1 << 20, 1000).unwrap();
        let start = latency.at;
        latency.time(1);
        let mut visited = 1;
        while latency.at != start {
            latency.time(1);
            visited += 1;
        }
        assert_eq!(visited, 1000);
    }
}
