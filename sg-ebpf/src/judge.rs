//! The core: what a packet gets, in the order of semantics.md.
//!
//! Headers, source check, always-pass, untracked, flow, fragments, related, rules; then counted.

use sg_common::{
    Direction, Reason,
    flow::{State, TCP, Tick, UDP, tcp},
    image::{self, flags, header, record},
    interval::Words,
    probe::NO_FLOW,
};

use crate::{
    conntrack::{self, Hit, Key},
    counters,
    exempt::is_exempt,
    fragments,
    frame::{Frame, opaque},
    ip::Part,
    maps::Arena,
    net::{V4, V6},
    related,
    rules::Rules,
    source::{self, SourceCheck},
    transport::{self, Transport},
};

/// Where a program sits, from the kernel's point of view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Receive,
    Send,
}

pub(crate) enum Verdict {
    Pass,
    Drop,
}

/// What the steps need to know besides the packet.
pub(crate) struct Context {
    pub(crate) rules: Rules,
    /// Bits of [`image::settings`].
    pub(crate) settings: u32,
    /// Bits of [`flags`].
    pub(crate) interface: u32,
    pub(crate) slot: u32,
    pub(crate) direction: Direction,
    pub(crate) now: Tick,
    /// False for a probe.
    pub(crate) leaves_traces: bool,
}

impl Context {
    /// The context of an interface's packets, or `None` if it is not filtered.
    #[inline(always)]
    pub(crate) fn of(ifindex: u32, direction: impl Fn(u32) -> Direction, traces: bool) -> Option<Self> {
        let arena = Arena::open()?;
        let now = arena.now();
        let image = arena.image(now)?;
        let slot = image::slot_of(&image, ifindex)?;
        let rules = Rules { image, record: image::record_of(&image, slot) };
        let interface = rules.field(record::FLAGS);
        Some(Self {
            rules,
            settings: image.word(header::SETTINGS),
            interface,
            slot,
            direction: direction(interface),
            now,
            leaves_traces: traces,
        })
    }
}

/// What a packet gets: the reason to pass, or the reason to drop.
type Judgement = Result<Reason, Reason>;

/// The reason alone, which says both.
#[inline(always)]
fn reason_of(judgement: Judgement) -> Reason {
    match judgement {
        Ok(reason) | Err(reason) => reason,
    }
}

/// Length of the frame, as far as it had to be known: the linear part, or all of it.
pub(crate) struct Length(pub(crate) u32);

impl Length {
    /// Whether the frame reaches as far as `end`.
    #[inline(always)]
    pub(crate) fn reaches<F: Frame>(&mut self, frame: &F, end: u32) -> bool {
        if end > self.0 {
            self.0 = frame.len();
        }
        end <= self.0
    }
}

/// Judges a packet on the way, and counts it.
#[inline(always)]
pub(crate) fn enforce<F: Frame>(frame: &F, hook: Hook) -> Verdict {
    // A port's instance sends what the kernel receives there.
    let direction = |interface: u32| match (hook, interface & flags::PORT != 0) {
        (Hook::Receive, false) | (Hook::Send, true) => Direction::Ingress,
        (Hook::Receive, true) | (Hook::Send, false) => Direction::Egress,
    };
    let Some(context) = Context::of(frame.ifindex(), direction, true) else { return Verdict::Pass };
    let mut length = Length(frame.linear());
    let mut flow = NO_FLOW;
    let reason = judge(&context, frame, &mut length, &mut flow);
    counters::count(context.slot, context.direction, reason, length.0);
    if reason.allowed() { Verdict::Pass } else { Verdict::Drop }
}

/// The link layer.
struct Link {
    ethertype: u16,
    /// Offset of what the frame carries.
    payload: u32,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// IEEE 802.1Q and 802.1ad.
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const MAX_TAGS: u32 = 2;

impl Link {
    #[inline(always)]
    fn read<F: Frame>(frame: &F, interface: u32) -> Result<Self, Reason> {
        if interface & flags::NO_ETHERNET != 0 {
            let first = frame.header::<1>(0).ok_or(Reason::Malformed)?;
            let ethertype = match first.byte(0) >> 4 {
                4 => IPV4,
                6 => IPV6,
                _ => return Err(Reason::Malformed),
            };
            return Ok(Self { ethertype, payload: 0 });
        }
        let ethernet = frame.header::<14>(0).ok_or(Reason::Malformed)?;
        let mut ethertype = ethernet.half(12);
        let mut payload = 14;
        let mut tags = frame.tags();
        while ethertype == VLAN[0] || ethertype == VLAN[1] {
            tags += 1;
            if tags > MAX_TAGS {
                return Err(Reason::TooManyHeaders);
            }
            let tag = frame.header::<4>(payload).ok_or(Reason::Malformed)?;
            ethertype = tag.half(2);
            payload += 4;
        }
        Ok(Self { ethertype, payload })
    }
}

#[inline(always)]
pub(crate) fn judge<F: Frame>(
    context: &Context,
    frame: &F,
    length: &mut Length,
    flow: &mut u32,
) -> Reason {
    // The rest is checked once, not for every place where an IP header can begin.
    let hidden = |at: u32| at.wrapping_add(context.rules.image.zero());
    match Link::read(frame, context.interface) {
        Err(reason) => reason,
        Ok(Link { ethertype: IPV4, payload }) => {
            packet::<V4, F>(context, frame, hidden(payload), length, flow)
        }
        Ok(Link { ethertype: IPV6, payload }) => {
            packet::<V6, F>(context, frame, hidden(payload), length, flow)
        }
        Ok(link) => reason_of(not_ip(context, frame, &link)),
    }
}

#[inline(always)]
fn not_ip<F: Frame>(context: &Context, frame: &F, link: &Link) -> Judgement {
    let is_arp = link.ethertype == ARP;
    if context.checks_source() {
        source::ethernet(&context.rules, context.interface, frame)?;
        if is_arp {
            source::arp(&context.rules, context.interface, frame, link.payload)?;
        }
    }
    if !is_arp && context.interface & flags::PORT != 0 {
        return Err(Reason::NonIp);
    }
    Ok(Reason::Exempt)
}

impl Context {
    /// Whether this packet comes from an instance that is held to its addresses.
    #[inline(always)]
    fn checks_source(&self) -> bool {
        matches!(self.direction, Direction::Egress) && self.interface & flags::SOURCE_CHECK != 0
    }
}

/// A function of its own for each family: inlined both, their variables would not fit the stack.
#[inline(never)]
fn packet<N: SourceCheck, F: Frame>(
    context: &Context,
    frame: &F,
    at: u32,
    length: &mut Length,
    flow: &mut u32,
) -> Reason {
    reason_of(judge_ip::<N, F>(context, frame, at, length, flow))
}

#[inline(always)]
fn judge_ip<N: SourceCheck, F: Frame>(
    context: &Context,
    frame: &F,
    at: u32,
    length: &mut Length,
    flow: &mut u32,
) -> Judgement {
    let ip = N::read(frame, at, length)?;
    let transport = transport::read::<N, F>(frame, &ip)?;
    if context.checks_source() {
        source::ethernet(&context.rules, context.interface, frame)?;
        N::check(&context.rules, context.interface, frame, &ip, &transport)?;
    }
    let packet = Packet::<N> { context, ip: &ip, transport: &transport, bytes: length.0 };
    let exempt = is_exempt::<N>(context.settings, context.direction, &ip, &transport);
    if ip.chain.part == Part::Later && !exempt {
        return if fragments::follows::<N>(context, &ip) {
            Ok(Reason::Fragment)
        } else {
            Err(Reason::FragmentUnknown)
        };
    }
    let judgement = if exempt { Ok(Reason::Exempt) } else { packet.stateful(frame, flow) };
    if ip.chain.part == Part::First && context.leaves_traces {
        // A refusal only where the rules alone would let the others through.
        let refused =
            matches!(judgement, Err(Reason::NotSyn | Reason::AllowanceExceeded | Reason::FlowCut));
        if judgement.is_ok() || refused {
            // The result is of no use, but a function without one may return what its register
            // happens to hold, and the verifier refuses a stack pointer there.
            opaque(fragments::remember::<N>(context, &ip, !refused) as usize);
        }
    }
    judgement
}

/// A packet whose headers are in order.
struct Packet<'a, N: SourceCheck> {
    context: &'a Context,
    ip: &'a crate::ip::Ip<N::Address>,
    transport: &'a Transport,
    bytes: u32,
}

impl<N: SourceCheck> Packet<'_, N> {
    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.ip.chain.protocol
    }

    #[inline(always)]
    fn peer(&self) -> N::Address {
        N::sides(self.context.direction, self.ip.source, self.ip.destination).1
    }

    /// The service that the packet goes to, as rules name it.
    #[inline(always)]
    fn service(&self) -> u32 {
        let (source, destination) = self.transport.loaded();
        let detail = if self.protocol() == N::ICMP { source } else { destination };
        image::service(self.protocol(), detail)
    }

    #[inline(always)]
    fn rules_allow(&self) -> Result<(), Reason> {
        let rules = &self.context.rules;
        if rules.allow::<N>(self.context.direction, self.peer(), self.service()) {
            Ok(())
        } else {
            Err(Reason::NoRule)
        }
    }

    #[inline(always)]
    fn stateful<F: Frame>(&self, frame: &F, flow: &mut u32) -> Judgement {
        let context = self.context;
        let protocol = self.protocol();
        if protocol == TCP || protocol == UDP {
            let (local, remote) = self.transport.ports(context.direction);
            if context.rules.untracked::<N>(protocol, local, remote) {
                return Ok(Reason::Untracked);
            }
        }
        let Some(key) = Key::<N>::of(context, context.direction, self.ip, self.transport) else {
            return self.stateless(frame, flow);
        };
        let Some(table) = N::flows() else { return Err(Reason::AllowanceExceeded) };
        let mut found = conntrack::find::<N>(&table, context, &key);
        if let Some(found) = &mut found
            && !found.is_over(context)
        {
            *flow = found.number();
            let tcp_flags = self.transport.tcp_flags;
            match conntrack::hit::<N>(context, found, self.peer(), tcp_flags, self.bytes) {
                Hit::Pass => return Ok(Reason::Flow),
                Hit::Drop(reason) => return Err(reason),
                Hit::Reopens => {}
            }
        }
        self.rules_allow()?;
        if !key.may_open {
            return Ok(Reason::Rule);
        }
        let tcp_flags = self.transport.tcp_flags;
        if protocol == TCP && !tcp::opens(tcp_flags) && !self.picks_up() {
            return Err(Reason::NotSyn);
        }
        if !context.leaves_traces {
            return Ok(Reason::Rule);
        }
        let state = State::first(protocol, context.direction, tcp_flags);
        let opened = match &mut found {
            Some(found) => found.restart(context.now, state, self.bytes),
            None => conntrack::insert::<N>(&key, state, self.bytes),
        };
        if opened { Ok(Reason::Rule) } else { Err(Reason::AllowanceExceeded) }
    }

    /// ICMP that is no query: errors by what they quote, the rest by the rules.
    #[inline(always)]
    fn stateless<F: Frame>(&self, frame: &F, flow: &mut u32) -> Judgement {
        let context = self.context;
        if context.settings & image::settings::RELATED_ICMP != 0
            && self.ip.chain.part == Part::Whole
            && N::is_error(self.transport.icmp_type())
        {
            let number = related::is_related::<N, F>(context, frame, self.ip);
            if number != 0 {
                *flow = (number - 1) as u32;
                return Ok(Reason::Related);
            }
        }
        self.rules_allow()?;
        Ok(Reason::Rule)
    }

    /// Whether TCP is picked up in mid-stream: the interface has only just come under the filter.
    #[inline(always)]
    fn picks_up(&self) -> bool {
        let until = self.context.rules.field(record::PICKUP_UNTIL);
        until != 0 && (until.wrapping_sub(self.context.now) as i32) > 0
    }

}
