//! The flow table as the agent sees it: read and forgotten through memory, a window at a time.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
};

use sg_common::{
    Direction, Family,
    flow::{
        Addresses4, Addresses6, Bucket, LANES, State, Tag, Tick, buckets_in, icmp, is_over,
        marks_size, table_size, volume,
    },
    image::record,
    interval::Words,
    probe::IPV6,
};

use super::{Error, FlowEntry, maps::Region};

/// Mapped at a time: enough that mapping costs little, little enough not to count.
const WINDOW: usize = 1 << 20;

/// Addresses of a flow as the agent shows them.
pub(super) trait Shown: Copy {
    const FAMILY: Family;
    /// The instance's address and the peer's.
    fn sides(&self) -> (IpAddr, IpAddr);
}

impl Shown for Addresses4 {
    const FAMILY: Family = Family::V4;

    fn sides(&self) -> (IpAddr, IpAddr) {
        let address = |bits: u64| IpAddr::V4(Ipv4Addr::from_bits(bits as u32));
        (address(self[0] >> 32), address(self[0]))
    }
}

impl Shown for Addresses6 {
    const FAMILY: Family = Family::V6;

    fn sides(&self) -> (IpAddr, IpAddr) {
        let address = |high: u64, low: u64| {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))
        };
        (address(self[0], self[1]), address(self[2], self[3]))
    }
}

/// Direction, ports and addresses as in the packet that opened the flow.
fn entry<A: Shown>(tag: Tag, addresses: &A, seen: u32, packets: u32, bytes: u64) -> FlowEntry {
    let (state, protocol) = (tag.state(), tag.protocol());
    let direction = state.opener();
    let (local, remote) = addresses.sides();
    let (local_port, remote_port) = ((tag.ports() >> 16) as u16, tag.ports() as u16);
    let is_query = protocol == icmp(A::FAMILY);
    let ((src, sport), (dst, dport)) = match direction {
        Direction::Ingress => ((remote, remote_port), (local, local_port)),
        Direction::Egress => ((local, local_port), (remote, remote_port)),
    };
    // A query keeps its identifier on the local side and its type on the remote one.
    let (sport, dport) = if is_query { (local_port, remote_port >> 8) } else { (sport, dport) };
    let (packets, bytes) = volume(packets, bytes);
    FlowEntry {
        slot: tag.slot(),
        protocol,
        direction,
        src,
        dst,
        sport,
        dport,
        state: state.name(A::FAMILY, protocol),
        timeout: state.timeout(A::FAMILY, protocol),
        seen,
        packets,
        bytes,
    }
}

/// A lane without its tag, as [`Bucket`] has it.
#[derive(Clone, Copy)]
pub(super) struct Contents<A> {
    addresses: A,
    seen: Tick,
    packets: u32,
    volume: u64,
}

impl<A> Contents<A> {
    /// Of a flow without packets.
    pub(super) fn new(addresses: A, now: Tick) -> Self {
        Self { addresses, seen: now, packets: 0, volume: 0 }
    }

    pub(super) fn addresses(&self) -> &A {
        &self.addresses
    }

    pub(super) fn seen(&self) -> Tick {
        self.seen
    }
}

/// A lane in mapped memory.
pub(super) struct Lane<A> {
    bucket: *mut Bucket<A>,
    index: usize,
}

impl<A: Shown> Lane<A> {
    pub(super) fn new(bucket: *mut Bucket<A>, index: usize) -> Self {
        Self { bucket, index }
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: aligned shared memory within a mapping that outlives the lane.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.bucket).lanes[self.index].tag) }
    }

    pub(super) fn tag(&self) -> Tag {
        Tag(self.word().load(Ordering::Acquire))
    }

    pub(super) fn seen(&self) -> Tick {
        // SAFETY: within the mapping; programs write concurrently, so it is read once.
        unsafe { (&raw const (*self.bucket).lanes[self.index].seen).read_volatile() }
    }

    pub(super) fn addresses(&self) -> A {
        // SAFETY: as above.
        unsafe { (&raw const (*self.bucket).lanes[self.index].addresses).read_volatile() }
    }

    /// Gives the lane another state unless a program was faster; whether it did.
    pub(super) fn exchange(&self, tag: Tag, state: State) -> bool {
        let new = tag.with_state(state).0;
        self.word().compare_exchange(tag.0, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn set_seen(&self, tick: Tick) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.bucket).lanes[self.index].seen).write_volatile(tick) }
    }

    pub(super) fn read(&self) -> Option<(Tag, FlowEntry)> {
        let (tag, Contents { addresses, seen, packets, volume }) = self.contents()?;
        Some((tag, entry(tag, &addresses, seen, packets, volume)))
    }

    /// The flow that has the lane.
    pub(super) fn contents(&self) -> Option<(Tag, Contents<A>)> {
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
    pub(super) fn is_over(&self, tag: Tag, words: &impl Words, record: u32, now: Tick) -> bool {
        let timeout = record::TIMEOUTS + tag.state().timeout(A::FAMILY, tag.protocol()) as u32;
        is_over(now, self.seen(), words.word(record + timeout))
    }

    /// Whether a flow with this identity and these addresses has it.
    pub(super) fn holds(&self, tag: Tag, addresses: &A) -> bool
    where
        A: PartialEq,
    {
        let is = |now: Tag| now.identity() == tag.identity() && now.state().is_taken();
        is(self.tag()) && self.addresses() == *addresses && is(self.tag())
    }

    /// Takes the lane, which was in the state that `tag` says, unless a program is faster. Nobody
    /// reads it until it is [filled](Self::fill).
    pub(super) fn claim(&self, tag: Tag) -> bool {
        let claimed = u64::from(State::CLAIMED.0);
        self.word().compare_exchange(tag.0, claimed, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Makes a claimed lane a flow's; the tag last, which lets others read it.
    pub(super) fn fill(&self, tag: Tag, contents: &Contents<A>) {
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

    pub(super) fn forget(&self, tag: Tag) -> bool {
        let free = u64::from(State::FREE.0);
        self.word().compare_exchange(tag.0, free, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What to do with a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Yes,
    No,
}

/// Where a table's buckets begin and end.
fn buckets<A>(region: &Region) -> (usize, usize) {
    let count = buckets_in::<A>(region.size);
    (marks_size(count), table_size::<A>(count))
}

/// Calls `each` with every lane of a table, whatever is in it.
pub(super) fn each_lane<A>(region: &Region, mut each: impl FnMut(&Lane<A>)) -> Result<(), Error> {
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

/// Visits every flow of a table and forgets those that `visit` does not keep; returns how many.
fn visit_table<A: Shown>(
    region: &Region,
    visit: &mut dyn FnMut(&FlowEntry) -> Keep,
) -> Result<u64, Error> {
    let mut forgotten = 0;
    each_lane(region, |lane: &Lane<A>| {
        if let Some((tag, entry)) = lane.read()
            && visit(&entry) == Keep::No
            && lane.forget(tag)
        {
            forgotten += 1;
        }
    })?;
    Ok(forgotten)
}

/// Forgets the verdicts on fragments of slots' interfaces.
pub(super) fn forget_fragments<A: Shown>(region: &Region, slots: &[u16]) -> Result<(), Error> {
    each_lane(region, |lane: &Lane<A>| {
        let tag = lane.tag();
        // The highest bit of the slot is the direction.
        if tag.state().is_taken() && slots.contains(&(tag.slot() & 0x7fff)) {
            lane.forget(tag);
        }
    })
}

/// Visits both families' tables; see [`visit_table`].
pub fn visit(
    flows4: &Region,
    flows6: &Region,
    visit: &mut dyn FnMut(&FlowEntry) -> Keep,
) -> Result<u64, Error> {
    Ok(visit_table::<Addresses4>(flows4, visit)? + visit_table::<Addresses6>(flows6, visit)?)
}

/// Calls `each` with every flow of both families and the number of its lane, as a probe gives it.
pub fn each(
    flows4: &Region,
    flows6: &Region,
    each: &mut dyn FnMut(u32, Tag, &FlowEntry),
) -> Result<(), Error> {
    each_numbered::<Addresses4>(flows4, 0, each)?;
    each_numbered::<Addresses6>(flows6, IPV6, each)
}

fn each_numbered<A: Shown>(
    region: &Region,
    first: u32,
    each: &mut dyn FnMut(u32, Tag, &FlowEntry),
) -> Result<(), Error> {
    let mut number = first;
    each_lane(region, |lane: &Lane<A>| {
        if let Some((tag, entry)) = lane.read() {
            each(number, tag, &entry);
        }
        number += 1;
    })
}

/// The flow at a probe's number, `bucket << 2 | lane`.
pub fn at(region4: &Region, region6: &Region, family: Family, number: u32) -> Option<FlowEntry> {
    match family {
        Family::V4 => read_at::<Addresses4>(region4, number),
        Family::V6 => read_at::<Addresses6>(region6, number),
    }
}

fn read_at<A: Shown>(region: &Region, number: u32) -> Option<FlowEntry> {
    let size = size_of::<Bucket<A>>();
    let offset = buckets::<A>(region).0 + (number >> 2) as usize * size;
    let (mapping, at) = region.map(offset, size).ok()?;
    let lane = Lane { bucket: mapping.at::<Bucket<A>>(at), index: number as usize & (LANES - 1) };
    lane.read().map(|(_, entry)| entry)
}
