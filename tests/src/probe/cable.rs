//! Stands between a host's tap and a guest, as vhost-net and a virtio-net driver do: frames go over with their
//! headers, as they are.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::vnet::{LENGTH, Tap, is_unfinished};

/// Frames that went one way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub frames: u64,
    /// Bytes of the largest one.
    pub largest: usize,
    /// Frames whose checksum was yet to be written.
    pub unfinished: u64,
    /// Frames that the kernel at the other end did not take.
    pub refused: u64,
}

/// Two taps, each of which gets what the other sends.
#[derive(Debug)]
pub struct Cable {
    ends: Arc<AtomicBool>,
    ways: [JoinHandle<Carried>; 2],
}

impl Cable {
    pub fn between(near: Tap, far: Tap) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let taps = Arc::new([near, far]);
        let ways = [[0, 1], [1, 0]].map(|[from, to]| {
            let (ends, taps) = (Arc::clone(&ends), Arc::clone(&taps));
            thread::spawn(move || carry(&taps[from], &taps[to], &ends))
        });
        Self { ends, ways }
    }

    /// Counts of the way from the first tap to the second, and of the way back.
    ///
    /// # Panics
    /// A tap is gone.
    pub fn pulled(self) -> [Carried; 2] {
        self.ends.store(true, Ordering::Relaxed);
        self.ways.map(|way| way.join().expect("a tap"))
    }
}

fn carry(from: &Tap, to: &Tap, ends: &AtomicBool) -> Carried {
    let mut carried = Carried::default();
    let mut bytes = vec![0; 1 << 17];
    while !ends.load(Ordering::Relaxed) {
        let Some(length) = from.read(&mut bytes).expect("an open tap") else {
            from.wait();
            continue;
        };
        carried.frames += 1;
        carried.largest = carried.largest.max(length - LENGTH);
        carried.unfinished += u64::from(is_unfinished(&bytes));
        carried.refused += u64::from(to.write(&bytes[..length]).is_err());
    }
    carried
}
