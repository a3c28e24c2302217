//! Opening a flow: in the lane that its key has already, or in the best lane of two buckets.

use core::ptr;

use sg_common::{
    Family,
    flow::{self, Bucket, Eviction, LANES, State, Tag, Timeout, is_over},
    image::{self, header, record},
    interval::Words,
};

use super::{
    advance::TOUCH_TRIES,
    key::{Key, kind},
    lane::{find, tag_of},
    usage::{is_used_up, move_lane},
};
use crate::{
    context::RuleContext,
    global_fns::{GlobalFns, sg_idle},
    headers::Packet,
    maps::{Arena, Image},
    outcome::Answer,
    verifier::not_unrolled,
    words,
};

/// Attempts to claim a lane that another CPU may take first.
const CLAIM_TRIES: usize = 2;

/// Reuses the key's old lane, because a key must not occupy two. Returns false if it has none. The
/// old flow is over, closing or cut.
#[inline(always)]
fn reopen<N: GlobalFns>(context: &RuleContext<'_>, key: &Key<N>) -> bool {
    let Some(mut found) = find::<N>(&key.table(), key) else { return false };
    for _ in 0..not_unrolled(TOUCH_TRIES) {
        if found.restart(context.now, key.tag.state(), key.bytes) {
            return true;
        }
        // Another CPU was faster. It gave the lane to another flow, or it opened this very flow, or
        // a late packet has changed the old flow's state.
        let tag = tag_of(found.bucket, found.lane());
        if tag.identity() != key.tag.identity() {
            return false;
        }
        if !tag.state().is_closing() && !tag.state().is_cut() {
            return true;
        }
        found.tag = tag;
    }
    false
}

/// Opens a flow, or keeps the verdict on a first fragment, with the key's state. It takes the lane
/// that the key has, or else one with room. Returns false if there is none.
#[inline(always)]
pub(crate) fn open<N: GlobalFns>(
    context: &RuleContext<'_>,
    _: &Packet<N>,
    key: &mut Key<N>,
    _: u32,
) -> Answer {
    Answer::of(reopen(context, key) || claim(context, key))
}

/// Opens a flow whose key has no lane; returns false if there is no room. It takes a lane that is
/// free or whose flow is over. Else it evicts the longest idle one, in the order of
/// [`flow::Eviction`]. An interface that has used up its allowance gets only a lane that is its own
/// already.
#[inline(always)]
fn claim<N: GlobalFns>(context: &RuleContext<'_>, key: &Key<N>) -> bool {
    let (table, arena) = (key.table(), Arena::open());
    let owner = key.tag.owner();
    let mut wanted = key.kind & wanted::FRAGMENTS;
    if is_used_up(context, owner, key.table_number(), table.lanes()) {
        wanted |= wanted::OWN | (owner as u32) << wanted::OWNER;
    }
    for _ in 0..not_unrolled(CLAIM_TRIES) {
        let [first, second] = key.choices();
        let (room, other) = (N::room(first, wanted), N::room(second, wanted));
        // Take the emptier bucket, so that all buckets fill up alike and few keys find both of
        // theirs full (docs/internals/data-path.md has the figures).
        let (hash, room) =
            if other.offers_more_than(room) { (second, other) } else { (first, room) };
        if room.is_none() {
            return false;
        }
        let bucket = table.bucket(hash);
        let lane = room.lane();
        let tag = tag_of(bucket, lane);
        // SAFETY: the bucket is map memory and the lane within it.
        let at = unsafe { &raw mut (*bucket).lanes[lane].tag };
        // Rank the tag that is about to be replaced again: it may be another CPU's new flow by now.
        if rank::<N>(bucket, lane, tag, wanted) < room.rank()
            || !words::compare_exchange(at, tag.0, State::CLAIMED.0 as u64)
        {
            continue;
        }
        // SAFETY: as above; the lane is claimed, and readers do not look past the tag.
        unsafe {
            ptr::write_volatile(&raw mut (*table.marks(hash))[lane], flow::mark(key.hash));
            (*bucket).lanes[lane].seen = arena.now();
            (*bucket).lanes[lane].packets = 1;
            words::copy(&raw mut (*bucket).lanes[lane].addresses, &key.addresses);
            (*bucket).lanes[lane].volume = key.bytes as u64;
            ptr::write_volatile(at, key.tag.0);
        }
        move_lane(key.table_number(), tag, key.tag);
        return true;
    }
    false
}

/// Bits of `wanted`: the lanes that a new flow may take.
mod wanted {
    /// Lanes of a table of fragments, not of flows.
    pub(super) const FRAGMENTS: u32 = super::kind::FRAGMENTS;
    /// Only lanes that count for one slot, whose number stands in the bits from [`OWNER`] on.
    pub(super) const OWN: u32 = 2;
    pub(super) const OWNER: u32 = 16;
}

/// The [`idle_rank`] of a lane, or 0 if it is not wanted.
#[inline(always)]
fn rank<N: GlobalFns>(
    bucket: *const Bucket<N::Addresses>,
    lane: usize,
    tag: Tag,
    wanted: u32,
) -> u32 {
    let is_free = tag.state() == State::FREE;
    if wanted & wanted::OWN != 0 && (is_free || tag.owner() as u32 != wanted >> wanted::OWNER) {
        return 0;
    }
    if is_free {
        return FREE;
    }
    // SAFETY: as above.
    let seen = unsafe { ptr::read_volatile(&raw const (*bucket).lanes[lane].seen) };
    sg_idle(tag.0, seen, wanted & wanted::FRAGMENTS, N::FAMILY as u32)
}

/// A bucket's offer to a new flow: how many free lanes, and the best lane with its [`idle_rank`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Room(pub(crate) u64);

impl Room {
    #[inline(always)]
    fn of(free: u64, best: u64) -> Self {
        Self(free << 40 | best)
    }

    /// A lane in the order of rank; the highest is the best.
    #[inline(always)]
    fn candidate(rank: u32, lane: usize) -> u64 {
        (rank as u64) << 8 | lane as u64
    }

    /// Returns true if the bucket has no lane to offer.
    #[inline(always)]
    fn is_none(self) -> bool {
        self.0 >> 8 == 0
    }

    #[inline(always)]
    fn offers_more_than(self, other: Self) -> bool {
        self.0 >> 8 > other.0 >> 8
    }

    #[inline(always)]
    fn rank(self) -> u32 {
        (self.0 >> 8) as u32
    }

    #[inline(always)]
    fn lane(self) -> usize {
        self.0 as usize & (LANES - 1)
    }
}

/// The offer of the bucket that a hash names.
#[inline(always)]
pub(crate) fn room<N: GlobalFns>(hash: u32, wanted: u32) -> Room {
    let table = if wanted & wanted::FRAGMENTS == 0 { N::flows() } else { N::fragments() };
    let bucket = table.bucket(hash);
    let (mut best, mut free) = (0, 0);
    for lane in 0..not_unrolled(LANES) {
        let lane = lane & (LANES - 1);
        let rank = rank::<N>(bucket, lane, tag_of(bucket, lane), wanted);
        free += (rank == FREE) as u64;
        best = best.max(Room::candidate(rank, lane));
    }
    Room::of(free, best)
}

/// The rank of a lane that is free, or whose flow is over.
const FREE: u32 = u32::MAX;
/// The rank of a lane whose flow a reset has ended a moment ago: the flow log may not have seen it yet.
const ENDED: u32 = FREE - 1;
/// Base of lanes that go before all others, however old: more than any idle timeout.
const UNANSWERED: u32 = 1 << 30;
/// Base of lanes that go before streams.
const UNPROVEN: u32 = 1 << 29;

/// How soon a lane's flow gives way: its idle time in ticks, above a base by its
/// [`flow::Eviction`]. A flow that is over has [`FREE`]. 0: it must not be evicted.
#[inline(always)]
pub(crate) fn idle_rank(tag: u64, seen: u32, of_fragments: u32, family: u32) -> u32 {
    let family = if family == Family::V4 as u32 { Family::V4 } else { Family::V6 };
    let tag = Tag(tag);
    if tag.state() == State::CLAIMED {
        return 0;
    }
    let arena = Arena::open();
    let now = arena.now();
    let Some(image) = arena.image(now) else { return 0 };
    let which = match of_fragments {
        0 => tag.state().timeout(family, tag.protocol()),
        _ => Timeout::Fragment,
    };
    if is_over(now, seen, timeout_of(&image, tag, which)) {
        let is_recent = which as u32 == Timeout::TcpEnded as u32
            && !is_over(now, seen, timeout_of(&image, tag, Timeout::TcpReset));
        return if is_recent { ENDED } else { FREE };
    }
    let eviction = match of_fragments {
        0 => tag.state().eviction(family, tag.protocol()),
        _ => Eviction::First,
    };
    let base = match eviction {
        Eviction::Never => return 0,
        Eviction::First => UNANSWERED,
        Eviction::Second => UNPROVEN,
        Eviction::IdleStream if is_over(now, seen, timeout_of(&image, tag, Timeout::Udp)) => 1,
        Eviction::IdleStream => return 0,
    };
    base + (now.wrapping_sub(seen) as i32).max(0) as u32
}

/// An idle timeout of the interface of a flow, or of a datagram in fragments.
#[inline(always)]
fn timeout_of(image: &Image, tag: Tag, which: Timeout) -> u32 {
    // The highest bit is a fragment's direction.
    let slot = tag.slot() as u32 & 0x7fff;
    if slot >= image.word(header::SLOTS) {
        // The interface is not filtered any more, so its flows are over.
        return 0;
    }
    let timeout = record::TIMEOUTS + which as u32;
    image.word((image::record_of(image, slot) + timeout).wrapping_add(image.zero()))
}
