//! The flow table: layout, hash and life cycle of tracked flows.
//!
//! A table is an array of [`Bucket`]s of four lanes; a flow lives in one of the two buckets that
//! its hash names. Before the buckets are [marks](mark()), a byte of the hash for each lane. Marks
//! are small enough to stay in a near cache, and nearly always tell whether a lane is worth a look.
//! Both directions of a flow have the same key, because addresses and ports are kept as *local*
//! (the instance's) and *remote*. A lane is claimed by compare-exchange of its tag. The tag holds
//! the state, and all of the key but the addresses. Correctness needs no sweep: expiry is judged by
//! time stamp wherever a lane is read.
//!
//! The same structure keeps the verdicts of first fragments, with the identification in place of
//! the ports and the direction in the highest bit of the slot.

use crate::{Direction, Family, image::service};

/// Time: jiffies divided so that a tick lasts 40 to 64 ms and 32 bits last five years.
pub type Tick = u32;

/// Ticks by which a stamp may lie ahead: another CPU's packet a moment ago.
const AHEAD: u32 = 16;

/// Whether `now` is later than `since` by more than `timeout`. The answer is right until ticks come
/// all the way round. Only a stamp up to `AHEAD` ticks ahead counts as future, so a lane that has
/// idled for half of that time is over.
///
/// ```
/// use sg_common::flow::is_over;
///
/// assert!(!is_over(130, 100, 30));
/// assert!(is_over(131, 100, 30));
/// // Ticks that wrap are no jump in time.
/// assert!(!is_over(5, u32::MAX - 4, 30));
/// // Another CPU may have stamped a flow a moment ahead of this one's clock.
/// assert!(!is_over(100, 101, 30));
/// ```
#[inline(always)]
pub const fn is_over(now: Tick, since: Tick, timeout: u32) -> bool {
    now.wrapping_sub(since).wrapping_add(AHEAD) > timeout.wrapping_add(AHEAD)
}

/// The most ticks for which mid-stream TCP is picked up: 3600 s of ticks that last 32 ms or more.
pub const MAX_PICKUP: u32 = 1 << 17;

/// Whether a span that ends at `until`, and is no longer than `most`, still lasts at `now`; 0: there is
/// none. Nothing has to clear `until` when it has passed: half a round of ticks later, 2.7 years, the
/// span must not count as yet to end.
#[inline(always)]
pub const fn lasts(now: Tick, until: Tick, most: u32) -> bool {
    until != 0 && until.wrapping_sub(now).wrapping_sub(1) < most
}

/// The most ticks for which a flow may idle: 432,000 s of ticks that last 32 ms or more.
const MAX_IDLE: u32 = 1 << 24;

/// Whether a flow that is within its idle timeout was last seen no later than a change at `change`. The
/// change is not repeated when ticks come half round, 2.7 years later.
#[inline(always)]
pub const fn is_before_change(seen: Tick, change: Tick) -> bool {
    change.wrapping_sub(seen) <= MAX_IDLE
}

/// Lanes of a bucket.
pub const LANES: usize = 4;

/// IPv4: local address << 32 | remote address.
pub type Addresses4 = [u64; 1];
/// IPv6: local high, local low, remote high, remote low.
pub type Addresses6 = [u64; 4];

/// A flow: half a cache line in IPv4, a whole one in IPv6.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub struct Lane<A> {
    /// See [`Tag`].
    pub tag: u64,
    pub addresses: A,
    /// `packets >> 32 << 48 | bytes`, so that both counts have 48 bits; while TCP is half-open,
    /// `sequence number of the answer << 32 | bytes`.
    pub volume: u64,
    /// Tick of the last packet; of the cut, for a flow that was cut.
    pub seen: Tick,
    /// Low 32 bits of the packet count.
    pub packets: u32,
}

/// Four flows. A look-up that finds one reads one cache line, and one that finds none, none: marks tell.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub struct Bucket<A> {
    pub lanes: [Lane<A>; LANES],
}

pub type Bucket4 = Bucket<Addresses4>;
pub type Bucket6 = Bucket<Addresses6>;

const _: () = assert!(size_of::<Bucket4>() == 128 && size_of::<Bucket6>() == 256);

/// The smallest table has this many.
pub const MIN_BUCKETS: usize = 64;

/// Buckets of a table with room for so many flows.
pub fn buckets_for(flows: usize) -> usize {
    flows.div_ceil(LANES).next_power_of_two().max(MIN_BUCKETS)
}

/// Bytes of marks before the buckets of a table; whole pages, for those who map what follows.
pub const fn marks_size(buckets: usize) -> usize {
    const PAGE: usize = 4096;
    (buckets * LANES).next_multiple_of(PAGE)
}

/// Bytes of a table of that many buckets, a power of two from [`MIN_BUCKETS`] on.
pub const fn table_size<A>(buckets: usize) -> usize {
    marks_size(buckets) + buckets * size_of::<Bucket<A>>()
}

/// Buckets of a table that takes `size` bytes: the marks take less than as many again.
pub const fn buckets_in<A>(size: usize) -> usize {
    1 << (size / size_of::<Bucket<A>>()).ilog2()
}

/// The mark of a key with this hash. A lane's mark outlives its flow, until the next flow.
#[inline(always)]
pub const fn mark(hash: u64) -> u8 {
    hash as u8
}

/// One lane of each bucket's marks: the low half is of the first bucket.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Which of eight marks may be `mark`: the highest bit of each. All that are, and now and then one
/// that is not, above one that is.
#[inline(always)]
pub const fn marked(marks: u64, mark: u8) -> u64 {
    let differ = marks ^ (EACH * mark as u64);
    differ.wrapping_sub(EACH) & !differ & (EACH << 7)
}

/// The number of the first in a result of [`marked`]. There is no instruction for it in BPF.
#[inline(always)]
pub const fn first_marked(marked: u64) -> u32 {
    let lowest = (marked & marked.wrapping_neg()) >> 7;
    // 1 << 8 * n moves the byte that says n to the top.
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32
}

/// `ports or identification << 32 | slot << 16 | protocol << 8 | state`; ports are
/// `local << 16 | remote`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Tag(pub u64);

impl Tag {
    #[inline(always)]
    pub const fn new(ports: u32, slot: u16, protocol: u8, state: State) -> Self {
        Self((ports as u64) << 32 | (slot as u64) << 16 | (protocol as u64) << 8 | state.0 as u64)
    }

    /// The tag without its state: the part that belongs to the key.
    #[inline(always)]
    pub const fn identity(self) -> u64 {
        self.0 & !0xff
    }

    #[inline(always)]
    pub const fn with_state(self, state: State) -> Self {
        Self(self.identity() | state.0 as u64)
    }

    #[inline(always)]
    pub const fn state(self) -> State {
        State(self.0 as u8)
    }

    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        (self.0 >> 8) as u8
    }

    #[inline(always)]
    pub const fn slot(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The slot of the interface that a lane of flows or fragments counts for: the highest bit of a fragment's
    /// is its direction.
    #[inline(always)]
    pub const fn owner(self) -> u16 {
        self.slot() & 0x7fff
    }

    #[inline(always)]
    pub const fn ports(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Ports of a flow as its tag holds them.
#[inline(always)]
pub const fn ports(local: u16, remote: u16) -> u32 {
    (local as u32) << 16 | remote as u32
}

/// "Ports" of an ICMP query: identifier, type of the request, and which side asked, because both
/// sides may ask with the same identifier.
#[inline(always)]
pub const fn query_ports(identifier: u16, request_type: u8, asked_by: Direction) -> u32 {
    ports(identifier, (request_type as u16) << 8 | asked_by as u16)
}

/// Which way the packet that opened a flow went, and its service as rules name it (see
/// [`crate::image::service`]).
#[inline(always)]
pub const fn opening(tag: Tag, family: Family) -> (Direction, u32) {
    let (local, remote) = ((tag.ports() >> 16) as u16, tag.ports() as u16);
    let opener = tag.state().opener();
    let detail = if tag.protocol() == icmp(family) {
        remote & 0xff00 | tag.state().query_code() as u16
    } else {
        match opener {
            Direction::Ingress => local,
            Direction::Egress => remote,
        }
    };
    (opener, service(tag.protocol(), detail))
}

/// The first of the ports that systems give to those who open connections.
pub const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// Who opened a connection, as its ports tell: the side with the only ephemeral port. `None`: either may
/// have.
#[inline(always)]
pub const fn opener_by_ports(local: u16, remote: u16) -> Option<Direction> {
    match (local >= FIRST_EPHEMERAL_PORT, remote >= FIRST_EPHEMERAL_PORT) {
        (true, false) => Some(Direction::Egress),
        (false, true) => Some(Direction::Ingress),
        _ => None,
    }
}

/// State of a lane: free, claimed, live or cut in the low two bits, then flags whose meaning
/// depends on the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct State(pub u8);

impl State {
    pub const FREE: Self = Self(0);
    /// A CPU is writing the lane; it matches nothing.
    pub const CLAIMED: Self = Self(1);
    const LIVE: u8 = 2;
    const CUT: u8 = 3;
    const KIND: u8 = 3;
    /// Opened by a packet from the instance.
    const EGRESS: u8 = 1 << 2;
    /// A packet came back. In TCP see [`State::after_segment`].
    const REPLIED: u8 = 1 << 3;
    /// TCP: the opener acknowledged the answer. UDP: the opener sent a second packet.
    const ESTABLISHED: u8 = 1 << 4;
    const MORE: u8 = 1 << 4;
    /// TCP: a FIN passed. UDP: a second packet came back.
    const FIN: u8 = 1 << 5;
    const MORE_REPLIES: u8 = 1 << 5;
    /// TCP: an RST passed.
    const RST: u8 = 1 << 6;
    /// TCP: see [`State::after_segment`].
    const MARK: u8 = 1 << 7;
    /// Fragments: the first was dropped.
    const DENIED: u8 = 1 << 4;
    /// ICMP queries: above this many bits, the request's code. Its reply has another, so it is no
    /// part of the key.
    const CODE: u32 = 4;

    /// The largest code that a query may have. The largest defined one is 2 (RFC 4620).
    pub const MAX_QUERY_CODE: u8 = u8::MAX >> Self::CODE;

    #[inline(always)]
    pub const fn opened(by: Direction) -> Self {
        match by {
            Direction::Ingress => Self(Self::LIVE),
            Direction::Egress => Self(Self::LIVE | Self::EGRESS),
        }
    }

    /// Verdict of a first fragment.
    #[inline(always)]
    pub const fn first_fragment(allowed: bool) -> Self {
        Self(if allowed { Self::LIVE } else { Self::LIVE | Self::DENIED })
    }

    #[inline(always)]
    pub const fn is_denied(self) -> bool {
        self.0 & Self::DENIED != 0
    }

    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.0 & Self::KIND == Self::LIVE
    }

    #[inline(always)]
    pub const fn is_cut(self) -> bool {
        self.0 & Self::KIND == Self::CUT
    }

    /// Live or cut: the lane stands for a five-tuple.
    #[inline(always)]
    pub const fn is_taken(self) -> bool {
        self.0 & Self::LIVE != 0
    }

    #[inline(always)]
    pub const fn cut(self) -> Self {
        Self(self.0 | Self::CUT)
    }

    /// One flow made of two that two tables had at the same time, each with some of its packets. None if it
    /// was not opened by the same side in both. An answer's number may be missing where the flow stays, so
    /// a handshake ends there with any segment of the opener's.
    pub const fn joined(self, other: Self) -> Option<Self> {
        let same = self.is_taken() && other.is_taken() && (self.0 ^ other.0) & Self::EGRESS == 0;
        if !same {
            return None;
        }
        let both = self.0 | other.0;
        let answered = Self::REPLIED | Self::MARK;
        let is_answered = both & (answered | Self::ESTABLISHED) == answered;
        Some(Self(if is_answered { both & !Self::MARK } else { both }))
    }

    #[inline(always)]
    pub const fn opener(self) -> Direction {
        if self.0 & Self::EGRESS != 0 { Direction::Egress } else { Direction::Ingress }
    }

    #[inline(always)]
    pub const fn has_reply(self, protocol: u8) -> bool {
        self.0 & Self::REPLIED != 0 || self.is_established(protocol)
    }

    /// TCP: the handshake is over.
    #[inline(always)]
    pub const fn is_established(self, protocol: u8) -> bool {
        protocol == TCP && self.0 & Self::ESTABLISHED != 0
    }

    /// TCP that was picked up in mid-stream, and of which one side only has spoken since.
    #[inline(always)]
    pub const fn is_picked_up(self, protocol: u8) -> bool {
        let spoken = self.0 & (Self::MARK | Self::REPLIED);
        self.is_half_open(protocol) && (spoken == Self::MARK || spoken == Self::REPLIED)
    }

    /// TCP whose handshake is under way. Its volume has the answer's number in it; see [`volume`].
    #[inline(always)]
    pub const fn is_half_open(self, protocol: u8) -> bool {
        protocol == TCP && self.0 & Self::ESTABLISHED == 0
    }

    /// UDP: more than one request and response have passed.
    #[inline(always)]
    const fn is_stream(self) -> bool {
        let stream = Self::MORE | Self::MORE_REPLIES;
        self.0 & stream == stream
    }

    /// Which flows give way to a new one in a full table.
    #[inline(always)]
    pub const fn eviction(self, family: Family, protocol: u8) -> Eviction {
        if self.is_established(protocol) {
            Eviction::Never
        } else if !self.has_reply(protocol) || self.is_picked_up(protocol) {
            Eviction::First
        } else if protocol == UDP {
            if self.is_stream() { Eviction::IdleStream } else { Eviction::Second }
        } else if protocol == TCP || protocol == icmp(family) {
            Eviction::Second
        } else {
            Eviction::Never
        }
    }

    /// TCP: a FIN or RST passed, so a new SYN may take the five-tuple.
    #[inline(always)]
    pub const fn is_closing(self) -> bool {
        self.0 & (Self::FIN | Self::RST) != 0
    }

    /// TCP: which of FIN and RST have passed, as TCP flags.
    #[inline(always)]
    pub const fn closing_flags(self) -> u8 {
        let fin = if self.0 & Self::FIN != 0 { tcp::FIN } else { 0 };
        let rst = if self.0 & Self::RST != 0 { tcp::RST } else { 0 };
        fin | rst
    }

    #[inline(always)]
    const fn is_from_opener(self, direction: Direction) -> bool {
        self.opener() as u8 == direction as u8
    }

    /// Whether one more packet leaves the state as it is. Most do, so this is quick; it may say no
    /// where [`State::after`] would change nothing.
    #[inline(always)]
    pub const fn is_settled(self, protocol: u8, direction: Direction, tcp_flags: u8) -> bool {
        let from_opener = self.is_from_opener(direction);
        match protocol {
            TCP => {
                let ways = Self::ESTABLISHED | Self::FIN | Self::RST;
                let noted = match from_opener {
                    true => self.0 & Self::MARK != 0,
                    false => self.0 & Self::REPLIED == 0,
                };
                self.0 & ways == Self::ESTABLISHED
                    && tcp_flags & (tcp::FIN | tcp::RST) == 0
                    && (noted || tcp_flags & tcp::DATA == 0)
            }
            UDP if from_opener => self.0 & Self::MORE != 0,
            UDP => {
                let both = Self::REPLIED | Self::MORE_REPLIES;
                self.0 & both == both
            }
            _ => from_opener || self.0 & Self::REPLIED != 0,
        }
    }

    /// The state after one more packet of the flow. `acknowledges`: a segment that can end a handshake;
    /// see [`tcp::acknowledges`].
    #[inline(always)]
    pub const fn after(
        self,
        protocol: u8,
        direction: Direction,
        tcp_flags: u8,
        acknowledges: bool,
    ) -> Self {
        let from_opener = self.is_from_opener(direction);
        match protocol {
            TCP => self.after_segment(from_opener, tcp_flags, acknowledges),
            UDP if from_opener => Self(self.0 | Self::MORE),
            UDP if self.0 & Self::REPLIED != 0 => Self(self.0 | Self::MORE_REPLIES),
            _ if from_opener => self,
            _ => Self(self.0 | Self::REPLIED),
        }
    }

    /// The state after one more TCP segment. Four flags have a meaning that depends on the others:
    ///
    /// | `ESTABLISHED`, `RST`, `FIN` | `REPLIED` | `MARK` |
    /// |---|---|---|
    /// | no, no, any | the far side has spoken | opened by a SYN and answered by one; without `REPLIED`: picked up |
    /// | no, yes, any | ended, whatever else | |
    /// | yes, no, no | the far side has sent no data | the opener has sent data |
    /// | yes, no, yes | nobody has answered the FIN | the FIN is the far side's |
    /// | yes, yes, any | not both had sent data | the opener has gone on since |
    #[inline(always)]
    const fn after_segment(self, from_opener: bool, flags: u8, acknowledges: bool) -> Self {
        let state = self.0;
        if state & Self::ESTABLISHED == 0 {
            return self.after_handshake(from_opener, flags, acknowledges);
        }
        let established = state & (Self::KIND | Self::EGRESS) | Self::ESTABLISHED;
        let data_both_ways = established | Self::MARK;
        let silent = state & Self::REPLIED;
        if flags & tcp::RST != 0 {
            let silent = match state & (Self::FIN | Self::RST) {
                0 if state & Self::MARK == 0 => Self::REPLIED,
                Self::FIN => Self::REPLIED,
                _ => silent,
            };
            return Self(established | state & Self::FIN | Self::RST | silent);
        }
        if state & Self::RST != 0 {
            return if flags & (tcp::SYN | tcp::FIN) != 0 {
                self
            } else if from_opener {
                Self(state | Self::MARK)
            } else if state & Self::MARK == 0 {
                self
            } else if state & Self::FIN != 0 {
                Self(established | Self::FIN | Self::REPLIED)
            } else if silent == 0 {
                Self(data_both_ways)
            } else {
                Self(established | Self::REPLIED)
            };
        }
        if flags & tcp::FIN != 0 {
            return Self(established | Self::FIN | Self::REPLIED | Self::mark_if(!from_opener));
        }
        if state & Self::FIN != 0 {
            let from_far_side = from_opener == (state & Self::MARK != 0);
            return if flags & tcp::SYN != 0 {
                self
            } else if from_far_side {
                Self(state & !Self::REPLIED)
            } else if silent == 0 && flags & tcp::DATA != 0 {
                // Nothing follows a FIN: it was another's.
                Self(data_both_ways)
            } else {
                self
            };
        }
        if flags & tcp::DATA == 0 {
            self
        } else if from_opener {
            Self(state | Self::MARK)
        } else {
            Self(state & !Self::REPLIED)
        }
    }

    #[inline(always)]
    const fn mark_if(condition: bool) -> u8 {
        if condition { Self::MARK } else { 0 }
    }

    /// [`State::after_segment`] before the connection is established.
    #[inline(always)]
    const fn after_handshake(self, from_opener: bool, flags: u8, acknowledges: bool) -> Self {
        let state = self.0;
        let answered = state & Self::REPLIED != 0;
        let marked = state & Self::MARK != 0;
        let fin = if flags & tcp::FIN != 0 { Self::FIN } else { 0 };
        if flags & tcp::RST != 0 || state & Self::RST != 0 {
            return Self(state | Self::RST);
        }
        if !from_opener {
            return if marked && !answered {
                // Picked up, and the opener alone has spoken.
                let speaks = flags & tcp::SYN == 0;
                if speaks { self.established_by(false, flags) } else { Self(state | fin) }
            } else if flags & tcp::SYN != 0 && (marked || !answered) {
                Self(state | Self::REPLIED | Self::MARK | fin)
            } else {
                Self(state | fin)
            };
        }
        // Without a mark: picked up, or the answer's number is not known.
        let is_last = flags & tcp::SYN == 0 && answered && (!marked || acknowledges);
        if !is_last {
            return Self(state | fin);
        }
        self.established_by(true, flags)
    }

    /// The state after the segment that shows that both sides have spoken. A FIN before it was the other
    /// side's.
    #[inline(always)]
    const fn established_by(self, opener: bool, flags: u8) -> Self {
        let established = self.0 & (Self::KIND | Self::EGRESS) | Self::ESTABLISHED;
        if flags & tcp::FIN != 0 {
            Self(established | Self::FIN | Self::REPLIED | Self::mark_if(!opener))
        } else if self.0 & Self::FIN != 0 {
            Self(established | Self::FIN | Self::REPLIED | Self::mark_if(opener))
        } else if flags & tcp::DATA == 0 {
            Self(established | Self::REPLIED)
        } else if opener {
            Self(established | Self::REPLIED | Self::MARK)
        } else {
            Self(established)
        }
    }

    /// TCP: whether this segment, which leaves the state `after`, is an answer whose number is kept.
    #[inline(always)]
    pub const fn keeps_number(self, after: Self, direction: Direction, tcp_flags: u8) -> bool {
        let answered = Self::REPLIED | Self::MARK;
        let half_open = after.0 & (Self::ESTABLISHED | Self::RST) == 0;
        half_open
            && after.0 & answered == answered
            && tcp_flags & tcp::SYN != 0
            && !self.is_from_opener(direction)
    }

    /// The state of TCP that is picked up in mid-stream, after a segment that goes in `direction`.
    #[inline(always)]
    pub const fn picked_up(opener: Direction, direction: Direction, tcp_flags: u8) -> Self {
        let state = Self::opened(opener);
        let spoken = if state.is_from_opener(direction) { Self::MARK } else { Self::REPLIED };
        let fin = if tcp_flags & tcp::FIN != 0 { Self::FIN } else { 0 };
        let rst = if tcp_flags & tcp::RST != 0 { Self::RST } else { 0 };
        Self(state.0 | spoken | fin | rst)
    }

    /// TCP that is known to be established, and may have carried data both ways.
    pub const fn established(opener: Direction) -> Self {
        Self(Self::opened(opener).0 | Self::ESTABLISHED | Self::MARK)
    }

    /// The state of a flow that an ICMP query opened with a code up to [`State::MAX_QUERY_CODE`].
    #[inline(always)]
    pub const fn of_query(direction: Direction, code: u8) -> Self {
        Self(Self::opened(direction).0 | code << Self::CODE)
    }

    /// The code of the query that opened the flow.
    #[inline(always)]
    const fn query_code(self) -> u8 {
        self.0 >> Self::CODE
    }

    /// Which idle timeout holds. The other family's ICMP is a protocol like any other.
    #[inline(always)]
    pub const fn timeout(self, family: Family, protocol: u8) -> Timeout {
        match protocol {
            TCP => {
                let established = self.0 & Self::ESTABLISHED != 0;
                if self.0 & Self::RST != 0 {
                    if !established {
                        Timeout::TcpEnded
                    } else if self.0 & (Self::FIN | Self::REPLIED) == Self::REPLIED {
                        Timeout::TcpReset
                    } else {
                        Timeout::TcpClosing
                    }
                } else if self.0 & Self::FIN != 0 {
                    Timeout::TcpClosing
                } else if established {
                    Timeout::TcpEstablished
                } else {
                    Timeout::TcpOpening
                }
            }
            UDP => {
                if self.is_stream() {
                    Timeout::UdpStream
                } else {
                    Timeout::Udp
                }
            }
            _ if protocol == icmp(family) => Timeout::Icmp,
            _ => Timeout::Other,
        }
    }

    /// The state's name in `sgctl flows`.
    pub const fn name(self, family: Family, protocol: u8) -> &'static str {
        if self.is_cut() {
            return "cut";
        }
        match self.timeout(family, protocol) {
            Timeout::TcpEnded => "ended",
            Timeout::TcpReset | Timeout::TcpClosing if self.0 & Self::RST != 0 => "reset",
            Timeout::TcpReset | Timeout::TcpClosing => "closing",
            Timeout::TcpEstablished => "established",
            Timeout::UdpStream => "stream",
            _ if self.has_reply(protocol) => "replied",
            _ => "new",
        }
    }
}

/// Idle timeouts; index into an interface record's [`crate::image::record::TIMEOUTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Timeout {
    TcpOpening = 0,
    TcpEstablished = 1,
    TcpClosing = 2,
    TcpReset = 3,
    Udp = 4,
    UdpStream = 5,
    Icmp = 6,
    Other = 7,
    Fragment = 8,
    /// Over at once: its value is [`AT_ONCE`].
    TcpEnded = 9,
}

pub const TIMEOUTS: usize = 10;

/// A timeout that no flow is within.
pub const AT_ONCE: u32 = 0_u32.wrapping_sub(AHEAD);

/// Which flows give way to a new one in a full table; in this order, the longest idle one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// It has seen no reply.
    First,
    /// Half-open TCP, ICMP, UDP that is no stream yet.
    Second,
    /// A UDP stream, once it has been idle for longer than UDP that is none may be.
    IdleStream,
    Never,
}

/// IANA protocol numbers that the data path treats by name.
pub const ICMP: u8 = 1;
pub const IGMP: u8 = 2;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// The family's own ICMP.
#[inline(always)]
pub const fn icmp(family: Family) -> u8 {
    match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    }
}

/// TCP flags (RFC 9293, section 3.1).
pub mod tcp {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    /// In the place of PSH, which nobody looks at: the segment carries data.
    pub const DATA: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    /// The flags of a header that matter.
    pub const MASK: u8 = FIN | SYN | RST | ACK;

    /// How far above the answer's sequence number an acknowledgement ends a handshake: data in SYN-ACK
    /// segments or of a quick server's.
    const FURTHEST: u32 = 65_535;

    /// Whether a segment with these flags and this acknowledgement number acknowledges an answer with
    /// that sequence number.
    #[inline(always)]
    pub const fn acknowledges(flags: u8, number: u32, answer: u32) -> bool {
        let above = number.wrapping_sub(answer);
        flags & (ACK | SYN) == ACK && above.wrapping_sub(1) < FURTHEST
    }

    /// SYN without ACK, whatever else is set. Some systems take one with FIN for an opening one.
    #[inline(always)]
    pub const fn is_syn(flags: u8) -> bool {
        flags & (SYN | ACK) == SYN
    }

    /// A segment that opens a connection: SYN and none of ACK, RST, FIN.
    #[inline(always)]
    pub const fn opens(flags: u8) -> bool {
        flags & (SYN | ACK | RST | FIN) == SYN
    }
}

/// Words of a hash key, for the larger family.
pub const HASH_KEY_WORDS: usize = 12;

/// One pair of NH (Black et al., "UMAC", 1999): for any two different inputs a collision has
/// probability 2^-32 over the seeds, so nobody can choose addresses that collide.
#[inline(always)]
const fn nh(a: u32, b: u32, seed_a: u32, seed_b: u32) -> u64 {
    a.wrapping_add(seed_a) as u64 * b.wrapping_add(seed_b) as u64
}

/// Spreads an NH sum over the bits that name the two buckets.
#[inline(always)]
const fn spread(mut sum: u64) -> u64 {
    sum ^= sum >> 32;
    sum = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    sum ^ sum >> 32
}

/// Addresses that can be hashed and compared.
pub trait Addresses: Copy {
    /// Hash of the addresses and of a tag's identity. The low and the high half name the buckets.
    fn hash(&self, identity: u64, hash_key: &[u32; HASH_KEY_WORDS]) -> u64;
}

impl Addresses for Addresses4 {
    #[inline(always)]
    fn hash(&self, identity: u64, hash_key: &[u32; HASH_KEY_WORDS]) -> u64 {
        let sum = nh((self[0] >> 32) as u32, self[0] as u32, hash_key[0], hash_key[1])
            .wrapping_add(nh((identity >> 32) as u32, identity as u32, hash_key[2], hash_key[3]));
        spread(sum)
    }
}

impl Addresses for Addresses6 {
    #[inline(always)]
    fn hash(&self, identity: u64, hash_key: &[u32; HASH_KEY_WORDS]) -> u64 {
        let pair = |word: u64, at: usize| {
            nh((word >> 32) as u32, word as u32, hash_key[at], hash_key[at + 1])
        };
        let sum = pair(identity, 0)
            .wrapping_add(pair(self[0], 2))
            .wrapping_add(pair(self[1], 4))
            .wrapping_add(pair(self[2], 6))
            .wrapping_add(pair(self[3], 8));
        spread(sum)
    }
}

/// Packets and bytes of a flow.
///
/// While TCP is [half-open](State::is_half_open), the high half of `volume` is the sequence number of
/// the answer.
#[inline(always)]
pub const fn volume(tag: Tag, packets_low: u32, volume: u64) -> (u64, u64) {
    if tag.state().is_half_open(tag.protocol()) {
        return (packets_low as u64, volume & 0xffff_ffff);
    }
    (volume >> 48 << 32 | packets_low as u64, volume & 0xffff_ffff_ffff)
}
