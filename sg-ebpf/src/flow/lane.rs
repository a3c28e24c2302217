//! The lane of a packet's flow: finding it, keeping it alive, cutting it.

use core::ptr;

use sg_common::{
    Direction, Family,
    flow::{self, Bucket, LANES, State, Tag, Tick, Timeout, is_over},
    image::record,
    interval::Words,
    probe::IPV6,
};

use super::{
    advance::{COUNTED, GONE, advance},
    key::Key,
};
use crate::{
    context::RuleContext, global_fns::GlobalFns, headers::Transport, maps::Table,
    net::AddressFamily, verifier::not_unrolled, words,
};

/// A lane whose tag and addresses are the key's. Another CPU may have changed it since.
pub(crate) struct Found<A> {
    pub(super) bucket: *mut Bucket<A>,
    lane: usize,
    pub(crate) tag: Tag,
    number: u32,
}

impl<A: Copy> Found<A> {
    /// Bucket and lane, as user space counts them; see [`sg_common::probe::Answer`].
    #[inline(always)]
    pub(crate) fn number(&self, family: Family) -> u32 {
        let table = match family {
            Family::V4 => 0,
            Family::V6 => IPV6,
        };
        table | self.number << 2 | self.lane() as u32
    }

    #[inline(always)]
    pub(super) fn lane(&self) -> usize {
        self.lane & (LANES - 1)
    }

    #[inline(always)]
    pub(crate) fn seen(&self) -> Tick {
        // SAFETY: the bucket is map memory and the lane within it.
        unsafe { ptr::read_volatile(&raw const (*self.bucket).lanes[self.lane()].seen) }
    }

    #[inline(always)]
    fn set_seen(&self, tick: Tick) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(&raw mut (*self.bucket).lanes[self.lane()].seen, tick) }
    }

    /// Gives the lane another state, unless another CPU has changed it meanwhile.
    #[inline(always)]
    pub(crate) fn exchange(&mut self, state: State) -> bool {
        // SAFETY: as above.
        let tag = unsafe { &raw mut (*self.bucket).lanes[self.lane()].tag };
        let new = self.tag.with_state(state);
        let done = words::compare_exchange(tag, self.tag.0, new.0);
        if done {
            self.tag = new;
        }
        done
    }

    /// Counts one more packet and keeps the flow alive.
    #[inline(always)]
    pub(crate) fn touch(
        &mut self,
        now: Tick,
        direction: Direction,
        transport: &Transport,
        bytes: u32,
    ) {
        let tcp_flags = transport.tcp_flags;
        let mut counted = false;
        if !self.tag.state().is_settled(self.tag.protocol(), direction, tcp_flags) {
            let lane = self.lane();
            // SAFETY: the bucket is map memory and the lane within it.
            let (tag, volume) = unsafe {
                let lane = &raw mut (*self.bucket).lanes[lane];
                (&raw mut (*lane).tag, &raw mut (*lane).volume)
            };
            let segment =
                (transport.number as u64) << 32 | (direction as u64) << 8 | tcp_flags as u64;
            match advance(tag, volume, self.tag.0, segment, bytes) {
                GONE => return,
                done => counted = done == COUNTED,
            }
        }
        if self.seen() != now {
            self.set_seen(now);
        }
        if !counted {
            self.count(bytes);
        }
    }

    #[inline(always)]
    fn count(&self, bytes: u32) {
        let lane = self.lane();
        // SAFETY: as above.
        unsafe {
            let packets = &raw mut (*self.bucket).lanes[lane].packets;
            let volume = &raw mut (*self.bucket).lanes[lane].volume;
            *packets = (*packets).wrapping_add(1);
            let carry = if *packets == 0 { 1 << 48 } else { 0 };
            *volume = (*volume).wrapping_add(bytes as u64 | carry);
        }
    }

    /// Refuses the flow's five-tuple; its idle time counts from `since`.
    #[inline(always)]
    pub(crate) fn cut(&mut self, since: Tick) {
        let state = self.tag.state().cut();
        if self.exchange(state) {
            self.set_seen(since);
        }
    }

    /// Claims the lane and writes a new flow with the same key. Returns false if another CPU
    /// changed the tag first.
    #[inline(always)]
    pub(crate) fn restart(&mut self, now: Tick, state: State, bytes: u32) -> bool {
        if !self.exchange(State::CLAIMED) {
            return false;
        }
        let lane = self.lane();
        self.set_seen(now);
        // SAFETY: as above; the lane is claimed.
        unsafe {
            (*self.bucket).lanes[lane].packets = 1;
            (*self.bucket).lanes[lane].volume = bytes as u64;
            ptr::write_volatile(
                &raw mut (*self.bucket).lanes[lane].tag,
                self.tag.with_state(state).0,
            );
        }
        true
    }
}

/// Finds the lane with this key. Its flow may be over, or cut.
///
/// A key stands in one lane only, unless two CPUs open the same flow at once. Then the first lane
/// in order serves, and the other one idles out.
#[inline(always)]
pub(crate) fn find<N: GlobalFns>(
    table: &Table<N::Addresses>,
    key: &Key<N>,
) -> Option<Found<N::Addresses>> {
    // Both buckets' marks at once, so that neither's cache line is waited for before the other's.
    // SAFETY: map memory; other CPUs may write, so each word is read once.
    let [first, second] = key
        .choices()
        .map(|hash| unsafe { ptr::read_volatile(table.marks(hash).cast::<u32>()) as u64 });
    let marked = flow::marked(second << 32 | first, flow::mark(key.hash));
    if marked == 0 {
        return None;
    }
    // Usually the first marked lane has the key, or none has it.
    let first = flow::first_marked(marked) as u64;
    let choice = match has_key(table, key, first) {
        true => first,
        false => N::choose(key, marked & (marked - 1)).number()?,
    };
    let (hash, lane) = key.lane(choice);
    let bucket = table.bucket(hash);
    let tag = tag_of(bucket, lane);
    // Another flow may have taken the lane since its addresses were compared.
    let same = tag.identity() == key.tag.identity() && tag.state().is_taken();
    same.then(|| Found { bucket, lane, tag, number: table.number(hash) })
}

/// Returns true if a lane has the key.
#[inline(always)]
fn has_key<N: AddressFamily>(table: &Table<N::Addresses>, key: &Key<N>, choice: u64) -> bool {
    let (hash, lane) = key.lane(choice);
    let bucket = table.bucket(hash);
    let tag = tag_of(bucket, lane);
    if tag.identity() != key.tag.identity() {
        return false;
    }
    // SAFETY: the bucket is map memory; other CPUs may write, so each word is read once.
    let same = unsafe { words::holds(&raw const (*bucket).lanes[lane].addresses, &key.addresses) };
    // Read the tag again: if it is the same, the addresses were this flow's.
    same && tag_of(bucket, lane).identity() == tag.identity()
}

/// The number of a lane among a key's two buckets, plus one; 0 for none.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Choice(pub(crate) u64);

impl Choice {
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    fn of(number: u64) -> Self {
        Self(number + 1)
    }

    #[inline(always)]
    fn number(self) -> Option<u64> {
        self.0.checked_sub(1)
    }
}

/// Finds the marked lane that has the key.
#[inline(always)]
pub(crate) fn choose<N: AddressFamily>(key: &Key<N>, mut marked: u64) -> Choice {
    let table = key.table();
    for _ in 0..not_unrolled(2 * LANES) {
        if marked == 0 {
            break;
        }
        let choice = flow::first_marked(marked) as u64;
        marked &= marked - 1;
        if has_key(&table, key, choice) {
            return Choice::of(choice);
        }
    }
    Choice::NONE
}

impl<A: Copy> Found<A> {
    /// Returns true if the flow has idled out.
    #[inline(always)]
    pub(crate) fn is_over(&self, context: &RuleContext<'_>, family: Family) -> bool {
        let timeout = self.tag.state().timeout(family, self.tag.protocol());
        self.is_older(context, timeout)
    }

    /// Returns true if the last packet is older than a timeout of this interface.
    #[inline(always)]
    pub(crate) fn is_older(&self, context: &RuleContext<'_>, timeout: Timeout) -> bool {
        let field = (record::TIMEOUTS + timeout as u32).wrapping_add(context.rules.image.zero());
        let timeout = context.rules.image.word(context.rules.record + field);
        is_over(context.now, self.seen(), timeout)
    }
}

#[inline(always)]
pub(super) fn tag_of<A>(bucket: *const Bucket<A>, lane: usize) -> Tag {
    // SAFETY: the bucket is map memory; other CPUs may write, so the word is read once.
    Tag(unsafe { ptr::read_volatile(&raw const (*bucket).lanes[lane].tag) })
}
