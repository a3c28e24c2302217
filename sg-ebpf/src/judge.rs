//! The core: what a packet gets, in the order of semantics.md.
//!
//! Headers, source check, always-pass, untracked, flow, fragments, related, rules; then counted.

use core::mem::MaybeUninit;

use sg_common::{
    Direction, Reason,
    flow::{State, TCP, Tick, UDP, tcp},
    image::{self, flags, header, record},
    interval::Words,
    probe::NO_FLOW,
};

use crate::{
    conntrack::{self, Key},
    counters,
    exempt::is_exempt,
    fragments,
    frame::{Frame, Scratch, opaque},
    ip::{Header, Ip, Part},
    maps::Arena,
    net::{Net, V4, V6},
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

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// IEEE 802.1Q and 802.1ad.
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const MAX_TAGS: u32 = 2;

/// The link layer: what a frame carries, and where.
struct Link {
    ethertype: u16,
    payload: u32,
}

impl Link {
    #[inline(always)]
    fn read<F: Frame>(frame: &F, interface: u32) -> Result<Self, Reason> {
        let mut scratch = Scratch::new();
        if interface & flags::NO_ETHERNET != 0 {
            let first = frame.header::<1>(0, &mut scratch).ok_or(Reason::Malformed)?;
            let ethertype = match first.byte(0) >> 4 {
                4 => IPV4,
                6 => IPV6,
                _ => return Err(Reason::Malformed),
            };
            return Ok(Self { ethertype, payload: 0 });
        }
        let ethernet = frame.header::<14>(0, &mut scratch).ok_or(Reason::Malformed)?;
        let mut ethertype = ethernet.half(12);
        let mut payload = 14;
        let mut tags = frame.tags();
        while ethertype == VLAN[0] || ethertype == VLAN[1] {
            tags += 1;
            if tags > MAX_TAGS {
                return Err(Reason::TooManyHeaders);
            }
            let tag = frame.header::<4>(payload, &mut scratch).ok_or(Reason::Malformed)?;
            ethertype = tag.half(2);
            payload += 4;
        }
        Ok(Self { ethertype, payload })
    }
}

// The steps that follow are functions of their own, so that none holds more on the stack than it
// needs: all that call each other share 512 bytes.

/// Judges a frame. The reason says both verdict and cause; `flow` is for a probe.
#[inline(always)]
pub(crate) fn judge<F: Frame>(
    context: &Context,
    frame: &F,
    length: &mut Length,
    flow: &mut u32,
) -> Reason {
    let link = link(context, frame);
    let at = link & LINK_OFFSET;
    if link & LINK_V4 != 0 {
        return packet::<V4, F>(context, frame, at, length, flow);
    }
    if link & LINK_V6 != 0 {
        return packet::<V6, F>(context, frame, at, length, flow);
    }
    reason(link)
}

const LINK_OFFSET: u32 = 0xffff;
const LINK_V4: u32 = 1 << 16;
const LINK_V6: u32 = 1 << 17;

/// The reason with this number; the steps hand reasons on as numbers.
#[inline(always)]
fn reason(number: u32) -> Reason {
    match Reason::from_number(number as u8) {
        Some(reason) => reason,
        None => Reason::Malformed,
    }
}

/// Where the IP header is, with its family; or the number of the reason for a frame without one.
#[inline(never)]
fn link<F: Frame>(context: &Context, frame: &F) -> u32 {
    // A zero that the verifier does not know: the rest is checked once, not for every place where
    // an IP header can begin.
    let zero = context.rules.image.zero();
    match Link::read(frame, context.interface) {
        Err(reason) => reason as u32,
        Ok(Link { ethertype: IPV4, payload }) => LINK_V4 | payload.wrapping_add(zero),
        Ok(Link { ethertype: IPV6, payload }) => LINK_V6 | payload.wrapping_add(zero),
        Ok(link) => match not_ip(context, frame, &link) {
            Ok(reason) | Err(reason) => reason as u32,
        },
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

    /// Whether TCP is picked up in mid-stream: the interface has only just come under the filter.
    #[inline(always)]
    fn picks_up(&self) -> bool {
        let until = self.rules.field(record::PICKUP_UNTIL);
        until != 0 && (until.wrapping_sub(self.now) as i32) > 0
    }
}

/// Reads and checks IP and transport header; 0, or the number of the reason to drop.
#[inline(never)]
fn parse<N: Header, F: Frame>(
    frame: &F,
    at: u32,
    length: &mut Length,
    packet: &mut MaybeUninit<Packet<N>>,
) -> u32 {
    let read = |length: &mut Length| {
        let ip = N::read(frame, at, length)?;
        let transport = transport::read::<N, F>(frame, &ip)?;
        Ok(Packet::<N> { ip, transport })
    };
    match read(length) {
        Ok(read) => {
            packet.write(read);
            0
        }
        Err::<_, Reason>(reason) => reason as u32,
    }
}

/// The headers of a packet, which are in order.
#[repr(C)]
struct Packet<N: Net> {
    ip: Ip<N::Address>,
    transport: Transport,
}

#[inline(never)]
fn packet<N: SourceCheck, F: Frame>(
    context: &Context,
    frame: &F,
    at: u32,
    length: &mut Length,
    flow: &mut u32,
) -> Reason {
    let mut packet = MaybeUninit::uninit();
    let refused = parse::<N, F>(frame, at, length, &mut packet);
    if refused != 0 {
        return reason(refused);
    }
    // SAFETY: written where nothing was refused.
    let packet: &Packet<N> = unsafe { packet.assume_init_ref() };
    match packet.judge(context, frame, length.0, flow) {
        Ok(reason) | Err(reason) => reason,
    }
}

impl<N: SourceCheck> Packet<N> {
    #[inline(always)]
    fn judge<F: Frame>(
        &self,
        context: &Context,
        frame: &F,
        bytes: u32,
        flow: &mut u32,
    ) -> Judgement {
        if context.checks_source() {
            let refused = source::check::<N, F>(context, frame, &self.ip, &self.transport);
            if refused != 0 {
                return Err(reason(refused));
            }
        }
        let exempt =
            is_exempt::<N>(context.settings, context.direction, &self.ip, &self.transport);
        let part = self.ip.chain.part;
        if part == Part::Later && !exempt {
            return if fragments::follows::<N>(context, &self.ip) {
                Ok(Reason::Fragment)
            } else {
                Err(Reason::FragmentUnknown)
            };
        }
        let judgement =
            if exempt { Ok(Reason::Exempt) } else { self.stateful(context, frame, bytes, flow) };
        if part == Part::First && context.leaves_traces {
            // A refusal only where the rules alone would let the others through.
            let refused = matches!(
                judgement,
                Err(Reason::NotSyn | Reason::AllowanceExceeded | Reason::FlowCut)
            );
            if judgement.is_ok() || refused {
                // The result is of no use here, but it has to be used: a function whose result LLVM
                // drops may leave a stack pointer in its register, which the verifier refuses.
                opaque(fragments::remember::<N>(context, &self.ip, !refused) as usize);
            }
        }
        judgement
    }

    #[inline(always)]
    fn stateful<F: Frame>(
        &self,
        context: &Context,
        frame: &F,
        bytes: u32,
        flow: &mut u32,
    ) -> Judgement {
        let protocol = self.ip.chain.protocol;
        if protocol == TCP || protocol == UDP {
            let (local, remote) = self.transport.ports(context.direction);
            if context.rules.untracked::<N>(protocol, local, remote) {
                return Ok(Reason::Untracked);
            }
        }
        let tcp_flags = self.transport.tcp_flags;
        let mut key = Key::<N>::of(context, context.direction, &self.ip, &self.transport, bytes);
        if key.is_tracked() {
            let known = conntrack::known::<N>(context, &key, tcp_flags);
            if known != 0 {
                *flow = (known >> 32) as u32;
                match reason(known as u32) {
                    Reason::Flow => return Ok(Reason::Flow),
                    Reason::FlowCut => return Err(Reason::FlowCut),
                    // The rules have to say whether it starts over.
                    _ => {}
                }
            }
        } else if context.settings & image::settings::RELATED_ICMP != 0
            && self.ip.chain.part == Part::Whole
            && N::is_error(self.transport.icmp_type())
        {
            let related = related::is_related::<N, F>(context, frame, &self.ip);
            if related != 0 {
                *flow = (related - 1) as u32;
                return Ok(Reason::Related);
            }
        }
        if !context.rules.allow::<N>(context.direction, &key.addresses, self.service()) {
            return Err(Reason::NoRule);
        }
        // Other ICMP than queries, and replies to queries, leave no state.
        if !key.may_open() {
            return Ok(Reason::Rule);
        }
        if protocol == TCP && !tcp::opens(tcp_flags) && !context.picks_up() {
            return Err(Reason::NotSyn);
        }
        if !context.leaves_traces {
            return Ok(Reason::Rule);
        }
        key.set_state(State::first(protocol, context.direction, tcp_flags));
        if conntrack::open::<N>(context, &key) {
            Ok(Reason::Rule)
        } else {
            Err(Reason::AllowanceExceeded)
        }
    }

    /// The service that the packet goes to, as rules name it.
    #[inline(always)]
    fn service(&self) -> u32 {
        let (source, destination) = self.transport.loaded();
        let protocol = self.ip.chain.protocol;
        image::service(protocol, if protocol == N::ICMP { source } else { destination })
    }
}
