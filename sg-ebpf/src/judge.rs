//! From a frame on a hook to a verdict that is counted. What IP packets get is in
//! [`crate::packet`].

use sg_common::{Direction, Reason, image::flags, reason::is_allowed};

use crate::{
    context::{Context, Facts, Notes},
    counters::Row,
    events,
    frame::{Frame, Scratch},
    maps, metadata,
    net::{V4, V6},
    outcome::{Judgement, Outcome},
    packet::{headers, packet},
    source,
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

/// Offset of an IP header where there is none: beyond any frame.
const NO_IP: u32 = u32::MAX;

/// Judges a packet on the way, and counts it.
#[inline(always)]
pub(crate) fn enforce<F: Frame>(frame: &F, hook: Hook) -> Verdict {
    // A port's instance sends what the kernel receives there.
    let direction = |interface: u32| match (hook, interface & flags::PORT != 0) {
        (Hook::Receive, false) | (Hook::Send, true) => Direction::Ingress,
        (Hook::Receive, true) | (Hook::Send, false) => Direction::Egress,
    };
    let Some(facts) = Facts::of(frame.ifindex(), direction, true) else { return Verdict::Pass };
    if hook == Hook::Receive && facts.interface & flags::NO_ETHERNET == 0 && frame.was_in_tunnel() {
        // A tunnel's own interface, where nothing was judged yet, has no Ethernet header.
        return Verdict::Pass;
    }
    let mut notes = Notes::on(frame);
    let outcome = judge(&facts, frame, &mut notes);
    count(&facts, frame, &notes, outcome);
    if outcome.passes() { Verdict::Pass } else { Verdict::Drop }
}

/// Holds what XDP could not see of a packet, and let pass, against its headers. Counts what it drops.
#[inline(always)]
pub(crate) fn enforce_behind_xdp<F: Frame>(frame: &F) -> Verdict {
    let direction = |interface: u32| match interface & flags::PORT != 0 {
        false => Direction::Ingress,
        true => Direction::Egress,
    };
    let Some(facts) = Facts::of(frame.ifindex(), direction, true) else { return Verdict::Pass };
    let mut notes = Notes::on(frame);
    let link = Link::plain(frame, facts.interface).unwrap_or_else(|| link(&facts, frame));
    notes.ip = (link & LINK_OFFSET).wrapping_add(maps::zero());
    let refused = if link & LINK_V4 != 0 {
        headers::<V4, F>(frame, &notes)
    } else if link & LINK_V6 != 0 {
        headers::<V6, F>(frame, &notes)
    } else {
        notes.ip = NO_IP;
        if is_allowed(link) { 0 } else { link }
    };
    if refused == 0 {
        return Verdict::Pass;
    }
    count(&facts, frame, &notes, Outcome::of(refused));
    Verdict::Drop
}

#[inline(always)]
fn count<F: Frame>(facts: &Facts, frame: &F, notes: &Notes, outcome: Outcome) {
    let told = events::tell(facts, frame, notes, outcome);
    let row = Row::of(facts.slot);
    row.count(facts.direction, outcome, notes.length);
    if !told {
        row.not_logged(facts.direction, notes.length);
    }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// Bytes of an ARP message between Ethernet and IPv4 (RFC 826).
const ARP_LENGTH: u32 = 28;
/// IEEE 802.1Q and 802.1ad.
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const MAX_TAGS: u32 = 2;

/// The link layer: what a frame carries, and where.
struct Link {
    ethertype: u16,
    payload: u32,
}

impl Link {
    /// Length of the Ethernet header, and where in it the type is.
    const ETHERNET: u32 = 14;
    const ETHERTYPE: usize = 12;

    /// What most frames have: IP, right behind an Ethernet header. In the form of [`link`].
    #[inline(always)]
    fn plain<F: Frame>(frame: &F, interface: u32) -> Option<u32> {
        if interface & flags::NO_ETHERNET != 0 {
            return None;
        }
        let ethernet = frame.linear::<{ Self::ETHERNET as usize }>(0)?;
        match ethernet.half(Self::ETHERTYPE) {
            IPV4 => Some(LINK_V4 | Self::ETHERNET),
            IPV6 => Some(LINK_V6 | Self::ETHERNET),
            _ => None,
        }
    }

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
        let ethernet = frame
            .header::<{ Self::ETHERNET as usize }>(0, &mut scratch)
            .ok_or(Reason::Malformed)?;
        let mut ethertype = ethernet.half(Self::ETHERTYPE);
        let mut payload = Self::ETHERNET;
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

/// Judges a frame.
#[inline(always)]
pub(crate) fn judge<F: Frame>(facts: &Facts, frame: &F, notes: &mut Notes) -> Outcome {
    let link = Link::plain(frame, facts.interface).unwrap_or_else(|| link(facts, frame));
    // A zero that the verifier does not know: the rest is checked once, not for every place where
    // an IP header can begin.
    notes.ip = (link & LINK_OFFSET).wrapping_add(maps::zero());
    Outcome::of(if link & LINK_V4 != 0 {
        packet::<V4, F>(facts, frame, notes)
    } else if link & LINK_V6 != 0 {
        packet::<V6, F>(facts, frame, notes)
    } else {
        notes.ip = NO_IP;
        link
    })
}

const LINK_OFFSET: u32 = 0xffff;
const LINK_V4: u32 = 1 << 16;
const LINK_V6: u32 = 1 << 17;

/// Where the IP header is, with its family; or the number of the reason for a frame without one.
#[inline(never)]
fn link<F: Frame>(facts: &Facts, frame: &F) -> u32 {
    frame.settle();
    let context = facts.open();
    match Link::read(frame, context.interface) {
        Err(reason) => reason as u32,
        Ok(Link { ethertype: IPV4, payload }) => LINK_V4 | payload,
        Ok(Link { ethertype: IPV6, payload }) => LINK_V6 | payload,
        Ok(link) => match not_ip(&context, frame, &link) {
            Ok(reason) | Err(reason) => reason as u32,
        },
    }
}

#[inline(always)]
fn not_ip<F: Frame>(context: &Context<'_>, frame: &F, link: &Link) -> Judgement {
    let is_arp = link.ethertype == ARP;
    let read = link.payload + if is_arp { ARP_LENGTH } else { 0 };
    if metadata::is_overwritten(frame, read) || (frame.is_gso() && (is_arp || frame.is_mistaken()))
    {
        return Err(Reason::Malformed);
    }
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
