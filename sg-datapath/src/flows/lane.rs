//! A lane of the flow table: read, claimed, changed and forgotten through memory, a window at a time.

use std::sync::atomic::{AtomicU64, Ordering};

use sg_common::{
    Family,
    flow::{Bucket, LANES, State, Tag, Tick, buckets_in, is_over, marks_size, table_size},
    probe::{IPV6, NO_FLOW},
    view::InterfaceRecord,
};

use super::entry::{FlowEntry, Shown, entry};
use crate::{error::Error, maps::region::Region};

/// Mapped at a time: enough that mapping costs little, little enough not to count.
const WINDOW: usize = 1 << 20;

/// A lane without its tag, as [`Bucket`] has it.
#[derive(Clone, Copy)]
pub(crate) struct Contents<A> {
    addresses: A,
    seen: Tick,
    packets: u32,
    volume: u64,
}

impl<A> Contents<A> {
    /// A lane of a flow without packets.
    pub(crate) fn new(addresses: A, now: Tick) -> Self {
        Self { addresses, seen: now, packets: 0, volume: 0 }
    }

    pub(crate) fn addresses(&self) -> &A {
        &self.addresses
    }

    pub(crate) fn seen(&self) -> Tick {
        self.seen
    }
}

/// Which lane a flow has: family, bucket and place in the bucket in one word, as a probe answers it
/// ([`sg_common::probe::Answer::flow`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct LaneNumber(u32);

impl LaneNumber {
    /// Returns `None` where the probe found no flow.
    pub fn of_answer(flow: u32) -> Option<Self> {
        (flow != NO_FLOW).then_some(Self(flow))
    }

    /// The first lane of a family's table.
    pub(crate) fn first(family: Family) -> Self {
        match family {
            Family::V4 => Self(0),
            Family::V6 => Self(IPV6),
        }
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub fn family(self) -> Family {
        if self.0 & IPV6 == 0 { Family::V4 } else { Family::V6 }
    }

    pub fn bucket(self) -> usize {
        (self.0 & !IPV6) as usize / LANES
    }

    /// Place in the bucket.
    pub fn index(self) -> usize {
        self.0 as usize % LANES
    }
}

/// A lane in mapped memory.
pub(crate) struct Lane<A> {
    bucket: *mut Bucket<A>,
    index: usize,
}

impl<A: Shown> Lane<A> {
    pub(crate) fn new(bucket: *mut Bucket<A>, index: usize) -> Self {
        Self { bucket, index }
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: aligned shared memory within a mapping that outlives the lane.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.bucket).lanes[self.index].tag) }
    }

    pub(crate) fn tag(&self) -> Tag {
        Tag(self.word().load(Ordering::Acquire))
    }

    pub(crate) fn seen(&self) -> Tick {
        // SAFETY: within the mapping; programs write concurrently, so it is read once.
        unsafe { (&raw const (*self.bucket).lanes[self.index].seen).read_volatile() }
    }

    pub(crate) fn addresses(&self) -> A {
        // SAFETY: as above.
        unsafe { (&raw const (*self.bucket).lanes[self.index].addresses).read_volatile() }
    }

    /// Gives the lane another state unless a program was faster; whether it did.
    pub(crate) fn exchange(&self, tag: Tag, state: State) -> bool {
        let new = tag.with_state(state).0;
        self.word().compare_exchange(tag.0, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn set_seen(&self, tick: Tick) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.bucket).lanes[self.index].seen).write_volatile(tick) }
    }

    pub(crate) fn read(&self) -> Option<(Tag, FlowEntry)> {
        let (tag, Contents { addresses, seen, packets, volume }) = self.contents()?;
        Some((tag, entry(tag, &addresses, seen, packets, volume)))
    }

    /// The flow that has the lane.
    pub(crate) fn contents(&self) -> Option<(Tag, Contents<A>)> {
        let tag = self.tag();
        if !tag.state().is_taken() {
            return None;
        }
        let bucket = self.bucket;
        // SAFETY: within the mapping; programs write concurrently, so each field is read once.
        let (packets, volume) = unsafe {
            (
                (&raw const (*bucket).lanes[self.index].packets).read_volatile(),
                (&raw const (*bucket).lanes[self.index].volume).read_volatile(),
            )
        };
        let (addresses, seen) = (self.addresses(), self.seen());
        // Replaced while it was read: the new one is for the next time.
        let is_same = self.tag().identity() == tag.identity();
        is_same.then_some((tag, Contents { addresses, seen, packets, volume }))
    }

    /// Whether its flow has idled out by the timeouts of an interface record.
    pub(crate) fn is_over(&self, tag: Tag, record: InterfaceRecord<'_>, now: Tick) -> bool {
        let timeout = tag.state().timeout(A::FAMILY, tag.protocol());
        is_over(now, self.seen(), record.timeout(timeout))
    }

    /// Whether a flow with this identity and these addresses has it.
    pub(crate) fn holds(&self, tag: Tag, addresses: &A) -> bool
    where
        A: PartialEq,
    {
        let is = |now: Tag| now.identity() == tag.identity() && now.state().is_taken();
        is(self.tag()) && self.addresses() == *addresses && is(self.tag())
    }

    /// Takes the lane, which was in the state that `tag` says, unless a program is faster. Nobody
    /// reads it until it is [filled](Self::fill).
    pub(crate) fn claim(&self, tag: Tag) -> bool {
        let claimed = u64::from(State::CLAIMED.0);
        self.word().compare_exchange(tag.0, claimed, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Makes a claimed lane a flow's; the tag last, which lets others read it.
    pub(crate) fn fill(&self, tag: Tag, contents: &Contents<A>) {
        let bucket = self.bucket;
        // SAFETY: within the mapping, and the lane is claimed, so that nobody else writes to it.
        unsafe {
            (&raw mut (*bucket).lanes[self.index].seen).write_volatile(contents.seen);
            (&raw mut (*bucket).lanes[self.index].packets).write_volatile(contents.packets);
            (&raw mut (*bucket).lanes[self.index].addresses).write_volatile(contents.addresses);
            (&raw mut (*bucket).lanes[self.index].volume).write_volatile(contents.volume);
        }
        self.word().store(tag.0, Ordering::Release);
    }

    pub(crate) fn forget(&self, tag: Tag) -> bool {
        let free = u64::from(State::FREE.0);
        self.word().compare_exchange(tag.0, free, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Where a table's buckets begin and end.
pub(crate) fn buckets<A>(region: &Region) -> (usize, usize) {
    let count = buckets_in::<A>(region.size);
    (marks_size(count), table_size::<A>(count))
}

/// Calls `each` with every lane of a table, free ones included.
pub(crate) fn each_lane<A>(region: &Region, mut each: impl FnMut(&Lane<A>)) -> Result<(), Error> {
    let (first, end) = buckets::<A>(region);
    for offset in (first..end).step_by(WINDOW) {
        let len = WINDOW.min(end - offset);
        let (mapping, start) = region.map(offset, len)?;
        for at in (start..start + len).step_by(size_of::<Bucket<A>>()) {
            let bucket = mapping.at::<Bucket<A>>(at);
            for index in 0..LANES {
                each(&Lane { bucket, index });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_number_holds_family_bucket_and_place() {
        assert_eq!(LaneNumber::of_answer(NO_FLOW), None);
        for (flow, family, bucket, index) in [
            (0, Family::V4, 0, 0),
            (7 << 2 | 3, Family::V4, 7, 3),
            (IPV6, Family::V6, 0, 0),
            (IPV6 | 9 << 2 | 1, Family::V6, 9, 1),
        ] {
            let number = LaneNumber::of_answer(flow).expect("a flow");
            assert_eq!((number.family(), number.bucket(), number.index()), (family, bucket, index));
        }
        let second = LaneNumber::first(Family::V6).next();
        assert_eq!((second.family(), second.bucket(), second.index()), (Family::V6, 0, 1));
    }
}
