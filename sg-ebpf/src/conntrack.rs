//! The flow table: looking up, keeping alive, opening, cutting. Layout and life cycle are in
//! [`sg_common::flow`].
//!
//! Lanes are shared by all CPUs without locks. A lane changes its owner only by compare-exchange of
//! its tag to `CLAIMED` and back by a store, when all the rest is written; a reader takes tag,
//! addresses and tag again, so it never acts on half of one flow and half of another. x86 keeps
//! loads and stores in that order. Counts of one flow on two CPUs at once may lose a packet.

use core::{intrinsics, mem::MaybeUninit, ptr};

use sg_common::{
    Direction, Family, Reason,
    flow::{
        self, Addresses, Bucket, Eviction, LANES, State, TCP, Tag, Tick, Timeout, UDP, is_over,
        opening, ports, query_ports, tcp,
    },
    image::{self, flags, header, record},
    interval::Words,
    probe::{IPV6, NO_FLOW},
    usage,
};

use crate::{
    context::Context,
    headers::{Ip, Packet, Transport},
    maps::{Arena, Image, Table},
    net::{Net, V4, V6},
    usage::{is_used_up, move_lane},
    verifier::not_unrolled,
    words,
};

/// What a packet is looked up by, and what its flow starts with.
#[repr(C)]
pub(crate) struct Key<N: Net> {
    tag: Tag,
    hash: u64,
    bytes: u32,
    /// Bits of [`kind`].
    kind: u32,
    pub(crate) addresses: N::Addresses,
}

mod kind {
    /// Fragments of a datagram, not a flow.
    pub(super) const FRAGMENTS: u32 = 1;
    /// A packet like this opens no flow: a reply to an ICMP query.
    pub(super) const REPLY: u32 = 2;
    /// ICMP that is neither query nor reply.
    pub(super) const UNTRACKED: u32 = 4;
}

impl<N: Net> Key<N> {
    /// A key without anything in it.
    #[inline(always)]
    pub(crate) fn empty(place: &mut MaybeUninit<Self>) -> &mut Self {
        // SAFETY: numbers only.
        unsafe { words::zero(place) }
    }

    /// The key of a packet that goes in `direction`.
    #[inline(always)]
    pub(crate) fn of(
        context: &Context<'_>,
        direction: Direction,
        packet: &Packet<N>,
        bytes: u32,
    ) -> Self {
        let Packet { ip, transport } = packet;
        let protocol = ip.chain.protocol;
        let mut kind = 0;
        let ports = if protocol == TCP || protocol == UDP {
            let (local, remote) = transport.ports(direction);
            ports(local, remote)
        } else if protocol == N::ICMP {
            match N::query(transport.icmp_type()) {
                Some((request, true)) if transport.icmp_code() <= State::MAX_QUERY_CODE => {
                    query_ports(transport.identifier(), request, direction)
                }
                Some((request, false)) => {
                    kind = kind::REPLY;
                    query_ports(transport.identifier(), request, direction.reverse())
                }
                _ => {
                    kind = kind::UNTRACKED;
                    0
                }
            }
        } else {
            0
        };
        let (local, remote) = N::sides(direction, ip.source, ip.destination);
        let tag = Tag::new(ports, context.slot, protocol, State::FREE);
        Self::new(context, tag, N::addresses(local, remote), kind, bytes)
    }

    /// The key of a datagram's fragments, and the verdict on the first.
    #[inline(always)]
    pub(crate) fn of_fragments(context: &Context<'_>, ip: &Ip<N::Address>) -> Self {
        let chain = &ip.chain;
        let (local, remote) = N::sides(context.direction, ip.source, ip.destination);
        // The direction is part of the key: each side counts its own identifications.
        let slot = context.slot | (context.direction as u16) << 15;
        let tag = Tag::new(chain.identification, slot, chain.fragment_protocol, State::FREE);
        Self::new(context, tag, N::addresses(local, remote), kind::FRAGMENTS, 0)
    }

    #[inline(always)]
    fn new(
        context: &Context<'_>,
        tag: Tag,
        addresses: N::Addresses,
        kind: u32,
        bytes: u32,
    ) -> Self {
        let hash = addresses.hash(tag.0, &context.rules.image.control().seed);
        Self { tag, hash, bytes, kind, addresses }
    }

    /// The peer's address.
    #[inline(always)]
    pub(crate) fn remote(&self) -> N::Address {
        N::remote(&self.addresses)
    }

    #[inline(always)]
    pub(crate) fn may_open(&self) -> bool {
        self.kind & (kind::REPLY | kind::UNTRACKED) == 0
    }

    #[inline(always)]
    pub(crate) fn is_tracked(&self) -> bool {
        self.kind & kind::UNTRACKED == 0
    }

    /// The state in which the flow starts.
    #[inline(always)]
    pub(crate) fn set_state(&mut self, state: State) {
        self.tag = self.tag.with_state(state);
    }

    #[inline(always)]
    fn table(&self) -> Table<N::Addresses> {
        if self.kind & kind::FRAGMENTS != 0 { N::fragments() } else { N::flows() }
    }

    /// The number of that table, a [`usage::Table`].
    #[inline(always)]
    fn table_number(&self) -> u32 {
        const { assert!(kind::FRAGMENTS == 1 && usage::Table::Fragments4 as u32 == 2) };
        usage::Table::flows(N::FAMILY) as u32 + ((self.kind & kind::FRAGMENTS) << 1)
    }

    /// The hash that names the bucket of one of the eight lanes that the flow may be in, and which of
    /// that bucket's lanes it is.
    #[inline(always)]
    fn lane(&self, choice: u64) -> (u32, usize) {
        let half = (choice / LANES as u64) & 1;
        ((self.hash >> (half * 32)) as u32, choice as usize & (LANES - 1))
    }

    /// The two hashes that name buckets.
    #[inline(always)]
    fn choices(&self) -> [u32; 2] {
        [self.hash as u32, (self.hash >> 32) as u32]
    }
}

/// A lane that holds the flow that was looked for.
pub(crate) struct Found<A> {
    bucket: *mut Bucket<A>,
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
    fn lane(&self) -> usize {
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
        let done = compare_exchange(tag, self.tag.0, new.0);
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

    /// Takes the lane over for a new flow with the same key.
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
/// A key stands in one lane only, unless two CPUs open the same flow at once; then the first in
/// order serves and the other one idles out.
#[inline(always)]
pub(crate) fn find<N: Net>(
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
    // Mostly the first is the one, or none is.
    let first = flow::first_marked(marked) as u64;
    let choice = match has_key(table, key, first) {
        true => first,
        false => N::choose(key, marked & (marked - 1)).checked_sub(1)?,
    };
    let (hash, lane) = key.lane(choice);
    let bucket = table.bucket(hash);
    let tag = tag_of(bucket, lane);
    // Another flow may have taken it just now.
    let same = tag.identity() == key.tag.identity() && tag.state().is_taken();
    same.then(|| Found { bucket, lane, tag, number: table.number(hash) })
}

/// Whether a lane has the key.
#[inline(always)]
fn has_key<N: Net>(table: &Table<N::Addresses>, key: &Key<N>, choice: u64) -> bool {
    let (hash, lane) = key.lane(choice);
    let bucket = table.bucket(hash);
    let tag = tag_of(bucket, lane);
    if tag.identity() != key.tag.identity() {
        return false;
    }
    // SAFETY: the bucket is map memory; other CPUs may write, so each word is read once.
    let same = unsafe { words::holds(&raw const (*bucket).lanes[lane].addresses, &key.addresses) };
    // The same tag again: the addresses were this flow's.
    same && tag_of(bucket, lane).identity() == tag.identity()
}

/// Which of the marked lanes has the key, counted from 1; 0: none. A global function, because every
/// way through two buckets decides an address.
#[inline(always)]
pub(crate) fn choose<N: Net>(key: *const Key<N>, mut marked: u64) -> u64 {
    // SAFETY: null, or a key of `find`.
    let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
    let table = key.table();
    for _ in 0..not_unrolled(2 * LANES) {
        if marked == 0 {
            break;
        }
        let choice = flow::first_marked(marked) as u64;
        marked &= marked - 1;
        if has_key(&table, key, choice) {
            return choice + 1;
        }
    }
    0
}

impl<A: Copy> Found<A> {
    /// Whether the flow has idled out.
    #[inline(always)]
    pub(crate) fn is_over(&self, context: &Context<'_>, family: Family) -> bool {
        let timeout = self.tag.state().timeout(family, self.tag.protocol());
        self.is_older(context, timeout)
    }

    /// Whether the last packet came longer ago than a timeout of this interface.
    #[inline(always)]
    pub(crate) fn is_older(&self, context: &Context<'_>, timeout: Timeout) -> bool {
        let field = (record::TIMEOUTS + timeout as u32).wrapping_add(context.rules.image.zero());
        let timeout = context.rules.image.word(context.rules.record + field);
        is_over(context.now, self.seen(), timeout)
    }
}

/// Times that a state is changed again when another CPU changed it meanwhile. A flow's state changes
/// a few times in its life.
const TOUCH_TRIES: usize = 3;

/// A result of [`advance`]: the lane has another flow, or none that lives.
const GONE: u32 = 0;
/// The packet is yet to be counted.
const ADVANCED: u32 = 1;
const COUNTED: u32 = 2;

/// The low half of a half-open connection's volume: its bytes.
const BYTES: u64 = 0xffff_ffff;

/// A packet as [`sg_after`] takes it: `number << 32 | ACKNOWLEDGED | direction << 8 | flags`.
mod segment {
    pub(super) const EGRESS: u64 = 1 << 8;
    /// It was seen to end the handshake.
    pub(super) const ACKNOWLEDGED: u64 = 1 << 9;
}

/// Bits of [`sg_after`] besides the state.
mod next {
    /// The bit of a packet with this name.
    pub(super) const ACKNOWLEDGED: u64 = 1 << 9;
    /// The packet's number is the answer's, and is to be kept.
    pub(super) const KEEP: u64 = 1 << 10;
    /// The handshake was under way, and is over.
    pub(super) const ESTABLISHED: u64 = 1 << 11;
    pub(super) const WAS_HALF_OPEN: u64 = 1 << 12;
}

const _: () = assert!(next::ACKNOWLEDGED == segment::ACKNOWLEDGED);

/// The state of a flow after one more packet, with bits of [`next`]. A global function of numbers, so
/// that the verifier checks its ways once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_after(tag: u64, segment: u64, volume: u64) -> u64 {
    let (state, protocol) = (Tag(tag).state(), Tag(tag).protocol());
    let flags = segment as u8;
    let egress = segment & segment::EGRESS != 0;
    let direction = if egress { Direction::Egress } else { Direction::Ingress };
    let answer = (volume >> 32) as u32;
    let half_open = state.is_half_open(protocol);
    let acknowledges = segment & segment::ACKNOWLEDGED != 0
        || half_open && tcp::acknowledges(flags, (segment >> 32) as u32, answer);
    let after = state.after(protocol, direction, flags, acknowledges);
    let mut next = after.0 as u64;
    if acknowledges {
        next |= next::ACKNOWLEDGED;
    }
    if half_open {
        next |= next::WAS_HALF_OPEN;
        if after.is_established(protocol) {
            next |= next::ESTABLISHED;
        }
        // An answered one without a number: another CPU has just taken it away, since it is established.
        let taken_away = answer == 0 && state.has_reply(protocol);
        if !taken_away && state.keeps_number(after, direction, flags) {
            next |= next::KEEP;
        }
    }
    next
}

/// Takes a packet into a flow's state, and into its volume while that holds an answer's number. A
/// function of its own, because few packets need it and its caller has no stack to spare.
///
/// Half-open connections are counted by compare-exchange, and the number goes before the state says
/// that it has gone. No packet of another CPU then brings it back into the word that counts bytes.
#[inline(never)]
fn advance(tag_at: *mut u64, volume_at: *mut u64, old: u64, mut segment: u64, bytes: u32) -> u32 {
    let mut bytes = bytes as u64;
    for _ in 0..not_unrolled(TOUCH_TRIES) {
        // SAFETY: a tag of a bucket in map memory; other CPUs may write, so it is read once.
        let tag = Tag(unsafe { ptr::read_volatile(tag_at) });
        if tag.identity() != Tag(old).identity() || !tag.state().is_live() {
            return GONE;
        }
        // SAFETY: the same lane's volume.
        let volume = unsafe { ptr::read_volatile(volume_at) };
        let next = sg_after(tag.0, segment, volume);
        segment |= next & next::ACKNOWLEDGED;
        if next & next::WAS_HALF_OPEN != 0 {
            let number = match next & (next::KEEP | next::ESTABLISHED) {
                0 => volume & !BYTES,
                next::KEEP => segment & !BYTES,
                _ => 0,
            };
            let new = (volume & BYTES).wrapping_add(bytes) & BYTES | number;
            if new != volume && !compare_exchange(volume_at, volume, new) {
                continue;
            }
            bytes = 0;
        }
        let new = tag.identity() | next & 0xff;
        if new != tag.0 && !compare_exchange(tag_at, tag.0, new) {
            continue;
        }
        if next & next::WAS_HALF_OPEN == 0 {
            break;
        }
        // SAFETY: the count of packets, behind the stamp behind the volume.
        unsafe {
            let packets = volume_at.add(1).cast::<u32>().add(1);
            *packets = (*packets).wrapping_add(1);
        }
        return COUNTED;
    }
    ADVANCED
}

/// Times that a claim is tried again when another CPU took the lane first.
const CLAIM_TRIES: usize = 2;

/// Does so in the lane that the key had before, which must not stand in two. 0 if there is none.
#[inline(always)]
fn reopen<N: Net>(context: &Context<'_>, key: &Key<N>) -> u64 {
    let Some(mut found) = find::<N>(&key.table(), key) else { return 0 };
    for _ in 0..not_unrolled(TOUCH_TRIES) {
        if found.restart(context.now, key.tag.state(), key.bytes) {
            return 1;
        }
        // Another CPU was faster: it gave the lane away, or it opened this very flow, or a late packet
        // of the old one has changed its state.
        let tag = tag_of(found.bucket, found.lane());
        if tag.identity() != key.tag.identity() {
            return 0;
        }
        if !tag.state().is_closing() && !tag.state().is_cut() {
            return 1;
        }
        found.tag = tag;
    }
    0
}

/// Opens a flow, or keeps the verdict on a first fragment, in the state that the key has: where the key
/// has a lane, or else where there is room; 0 if there is none.
#[inline(always)]
pub(crate) fn open<N: Net>(context: &Context<'_>, _: &Packet<N>, key: &mut Key<N>, _: u32) -> u64 {
    match reopen(context, key) {
        0 => claim(context, key) as u64,
        opened => opened,
    }
}

/// Opens what has no lane yet; 0 if there is no room. A free lane first, then one whose flow is
/// over, then the oldest by their [`flow::Eviction`]. An interface that has all the lanes that it may
/// have gets one of its own only.
#[inline(always)]
fn claim<N: Net>(context: &Context<'_>, key: &Key<N>) -> u32 {
    let (table, arena) = (key.table(), Arena::open());
    let owner = key.tag.owner();
    let mut wanted = key.kind & wanted::FRAGMENTS;
    let rules = &context.rules;
    if is_used_up(&rules.image, rules.record, owner, key.table_number(), table.lanes()) {
        wanted |= wanted::OWN | (owner as u32) << wanted::OWNER;
    }
    for _ in 0..not_unrolled(CLAIM_TRIES) {
        let [first, second] = key.choices();
        let (room, other) = (N::room(first, wanted), N::room(second, wanted));
        // The emptier bucket, so that all fill up alike and few addresses find both of theirs full
        // (docs/internals/data-path.md has the figures).
        let (hash, room) = if other >> 8 > room >> 8 { (second, other) } else { (first, room) };
        if room >> 8 == 0 {
            return 0;
        }
        let bucket = table.bucket(hash);
        let lane = room as usize & (LANES - 1);
        let tag = tag_of(bucket, lane);
        // SAFETY: the bucket is map memory and the lane within it.
        let at = unsafe { &raw mut (*bucket).lanes[lane].tag };
        // Once more, of the tag that is about to go: it may be another CPU's new flow by now.
        if idle::<N>(bucket, lane, tag, wanted) < (room >> 8) as u32
            || !compare_exchange(at, tag.0, State::CLAIMED.0 as u64)
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
        return 1;
    }
    0
}

#[inline(always)]
fn tag_of<A>(bucket: *const Bucket<A>, lane: usize) -> Tag {
    // SAFETY: the bucket is map memory; other CPUs may write, so the word is read once.
    Tag(unsafe { ptr::read_volatile(&raw const (*bucket).lanes[lane].tag) })
}

/// Which lanes are wanted.
mod wanted {
    /// Of a table of fragments.
    pub(super) const FRAGMENTS: u32 = 1;
    /// Only those that count for the slot above [`OWNER`].
    pub(super) const OWN: u32 = 2;
    pub(super) const OWNER: u32 = 16;
}

const _: () = assert!(wanted::FRAGMENTS == kind::FRAGMENTS);

/// See [`sg_idle`]; 0 of a lane that is not wanted, too.
#[inline(always)]
fn idle<N: Net>(bucket: *const Bucket<N::Addresses>, lane: usize, tag: Tag, wanted: u32) -> u32 {
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

/// What a bucket has to offer to a new flow: the number of free lanes << 40, the idle time of the
/// best lane << 8, that lane. Global functions, since every way through a bucket decides an address.
#[inline(always)]
fn room<N: Net>(table: &Table<N::Addresses>, hash: u32, wanted: u32) -> u64 {
    let bucket = table.bucket(hash);
    let (mut best, mut free) = (0, 0);
    for lane in 0..not_unrolled(LANES) {
        let lane = lane & (LANES - 1);
        let idle = idle::<N>(bucket, lane, tag_of(bucket, lane), wanted);
        free += (idle == FREE) as u64;
        best = best.max((idle as u64) << 8 | lane as u64);
    }
    free << 40 | best
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_room4(hash: u32, wanted: u32) -> u64 {
    let table = if wanted & wanted::FRAGMENTS == 0 { V4::flows() } else { V4::fragments() };
    room::<V4>(&table, hash, wanted)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sg_room6(hash: u32, wanted: u32) -> u64 {
    let table = if wanted & wanted::FRAGMENTS == 0 { V6::flows() } else { V6::fragments() };
    room::<V6>(&table, hash, wanted)
}

/// The idle time of a lane that is free, or whose flow is over.
const FREE: u32 = u32::MAX;
/// The idle time of a lane whose flow a reset has ended a moment ago: the flow log may not have seen it yet.
const ENDED: u32 = FREE - 1;
/// Base of lanes that go before all others, however old: more than any idle timeout.
const UNANSWERED: u32 = 1 << 30;
/// Base of lanes that go before streams.
const UNPROVEN: u32 = 1 << 29;

/// How soon a lane's flow gives way: how long it has idled, from a base by its [`flow::Eviction`]; one
/// that is over is [`FREE`]. 0: it is not to be evicted.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sg_idle(tag: u64, seen: u32, of_fragments: u32, family: u32) -> u32 {
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
        // An interface that is filtered no more.
        return 0;
    }
    let timeout = record::TIMEOUTS + which as u32;
    image.word((image::record_of(image, slot) + timeout).wrapping_add(image.zero()))
}

/// Whether a flow is over because a change of the rules ended it that it has not been seen since.
#[inline(always)]
pub(crate) fn is_to_be_cut<N: Net>(
    context: &Context<'_>,
    key: &Key<N>,
    found: &Found<N::Addresses>,
) -> bool {
    context.interface & flags::RECHECK != 0
        && flow::is_before_change(found.seen(), context.cut_since())
        && !is_still_allowed::<N>(context, key, found.tag)
}

/// Whether the rules would allow the packet that opened a flow.
#[inline(always)]
fn is_still_allowed<N: Net>(context: &Context<'_>, key: &Key<N>, tag: Tag) -> bool {
    let (opener, service) = opening(tag, N::FAMILY);
    context.rules.allow::<N>(opener, key.remote(), service)
}

/// What a packet's flow says, or else the rules: the number of a [`Reason`], below that of its flow.
/// `Flow`: it passes, counted; `FlowCut`: it is refused. `Rule`, `NoRule`: it has no flow,
/// or is a SYN on a five-tuple whose flow is ending or was cut, and this is what the rules say. Writes
/// the packet's key.
#[inline(always)]
pub(crate) fn known<N: Net>(
    context: &Context<'_>,
    packet: &Packet<N>,
    key: &mut Key<N>,
    bytes: u32,
) -> u64 {
    *key = Key::of(context, context.direction, packet, bytes);
    let (flow, reason) =
        if key.is_tracked() { tracked::<N>(context, packet, key) } else { (NO_FLOW, Reason::Rule) };
    let reason = match reason {
        // In place: the way of all that is denied has one call less.
        Reason::Rule
            if !context.rules.allow_in_place::<N>(context.direction, packet, key.remote()) =>
        {
            Reason::NoRule
        }
        reason => reason,
    };
    if matches!(reason, Reason::Rule) && key.may_open() && !packet.is_mid_stream() {
        announce(&N::flows(), key);
    }
    (flow as u64) << 32 | reason as u64
}

/// Loads what opening a flow will look at, all lanes of both buckets, and waits for none of it: the
/// memory of a large table is far away, and so it is waited for once, not line by line.
#[inline(always)]
fn announce<N: Net>(table: &Table<N::Addresses>, key: &Key<N>) {
    for hash in key.choices() {
        let bucket = table.bucket(hash);
        for lane in [0, 1, 2, 3] {
            tag_of(bucket, lane);
        }
    }
}

/// Loads from both buckets beside their marks, as one of them most likely has the packet's flow: marks
/// and lanes of a table much larger than the caches are waited for at once, not one after the other.
#[inline(always)]
fn foresee<N: Net>(table: &Table<N::Addresses>, key: &Key<N>) {
    for hash in key.choices() {
        tag_of(table.bucket(hash), 0);
    }
}

/// The number of the packet's flow and what it says; `Rule`: the rules have to say.
#[inline(always)]
fn tracked<N: Net>(context: &Context<'_>, packet: &Packet<N>, key: &Key<N>) -> (u32, Reason) {
    let none = (NO_FLOW, Reason::Rule);
    let table = N::flows();
    if table.is_far() && !packet.is_opening() {
        foresee(&table, key);
    }
    let Some(mut found) = find::<N>(&table, key) else { return none };
    if found.is_over(context, N::FAMILY) {
        return none;
    }
    let reason = hit::<N>(context, packet, key, &mut found);
    (found.number(N::FAMILY), reason)
}

#[inline(always)]
fn hit<N: Net>(
    context: &Context<'_>,
    packet: &Packet<N>,
    key: &Key<N>,
    found: &mut Found<N::Addresses>,
) -> Reason {
    let tcp_flags = packet.transport.tcp_flags;
    let state = found.tag.state();
    let mut cut = state.is_cut();
    if !cut && is_to_be_cut(context, key, found) {
        cut = true;
        if context.leaves_traces {
            found.cut(context.cut_since());
        }
    }
    let protocol = found.tag.protocol();
    if protocol == TCP && tcp::opens(tcp_flags) && (cut || state.is_closing()) {
        return Reason::Rule;
    }
    if cut {
        return Reason::FlowCut;
    }
    if context.leaves_traces {
        found.touch(context.now, context.direction, &packet.transport, key.bytes);
    }
    Reason::Flow
}

/// Stores `new` if `at` still holds `old`.
#[inline(always)]
fn compare_exchange(at: *mut u64, old: u64, new: u64) -> bool {
    use intrinsics::AtomicOrdering::{AcqRel, Acquire};
    // SAFETY: the pointer is into map memory and aligned.
    unsafe { intrinsics::atomic_cxchg::<u64, { AcqRel }, { Acquire }>(at, old, new).1 }
}
