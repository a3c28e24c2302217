//! The link layer: where a frame has its IP header, and the reason of a frame without one.

use sg_common::{Reason, image::flags};

use crate::{
    context::{PacketContext, RuleContext},
    frame::{Frame, Scratch},
    outcome::Judgement,
    walk::{metadata, source},
};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
/// Bytes of an ARP message between Ethernet and IPv4 (RFC 826).
const ARP_LENGTH: u32 = 28;
/// IEEE 802.1Q and 802.1ad.
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const MAX_TAGS: u32 = 2;

/// Protocol that a frame carries, and where it begins.
struct LinkHeader {
    ethertype: u16,
    payload: u32,
}

impl LinkHeader {
    /// Length of the Ethernet header, and where in it the type is.
    const ETHERNET: u32 = 14;
    const ETHERTYPE: usize = 12;

    /// The link header of most frames: IP, right behind an Ethernet header.
    #[inline(always)]
    fn plain<F: Frame>(frame: &F, interface: u32) -> Option<Payload> {
        if interface & flags::NO_ETHERNET != 0 {
            return None;
        }
        let ethernet = frame.linear::<{ Self::ETHERNET as usize }>(0)?;
        match ethernet.half(Self::ETHERTYPE) {
            IPV4 => Some(Payload::v4(Self::ETHERNET)),
            IPV6 => Some(Payload::v6(Self::ETHERNET)),
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

/// Where a frame's IP header is, with its family; or the reason of a frame without one. One number,
/// since a BPF function returns no more.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Payload(u32);

impl Payload {
    const OFFSET: u32 = 0xffff;
    const V4: u32 = 1 << 16;
    const V6: u32 = 1 << 17;

    #[inline(always)]
    fn v4(offset: u32) -> Self {
        Self(Self::V4 | offset)
    }

    #[inline(always)]
    fn v6(offset: u32) -> Self {
        Self(Self::V6 | offset)
    }

    #[inline(always)]
    fn not_ip(reason: Reason) -> Self {
        Self(reason as u32)
    }

    /// Finds a frame's payload.
    #[inline(always)]
    pub(crate) fn of<F: Frame>(context: &PacketContext, frame: &F) -> Self {
        LinkHeader::plain(frame, context.interface).unwrap_or_else(|| payload(context, frame))
    }

    #[inline(always)]
    pub(crate) fn is_v4(self) -> bool {
        self.0 & Self::V4 != 0
    }

    #[inline(always)]
    pub(crate) fn is_v6(self) -> bool {
        self.0 & Self::V6 != 0
    }

    /// Offset of the IP header.
    #[inline(always)]
    pub(crate) fn offset(self) -> u32 {
        self.0 & Self::OFFSET
    }

    /// The verdict on a frame without an IP header: the number of a [`Reason`].
    #[inline(always)]
    pub(crate) fn reason(self) -> u32 {
        self.0
    }
}

/// Finds the payload of a frame that is not [`LinkHeader::plain`].
#[inline(never)]
fn payload<F: Frame>(context: &PacketContext, frame: &F) -> Payload {
    frame.settle();
    let context = context.open();
    match LinkHeader::read(frame, context.interface) {
        Err(reason) => Payload::not_ip(reason),
        Ok(LinkHeader { ethertype: IPV4, payload }) => Payload::v4(payload),
        Ok(LinkHeader { ethertype: IPV6, payload }) => Payload::v6(payload),
        Ok(link) => match not_ip(&context, frame, &link) {
            Ok(reason) | Err(reason) => Payload::not_ip(reason),
        },
    }
}

#[inline(always)]
fn not_ip<F: Frame>(context: &RuleContext<'_>, frame: &F, link: &LinkHeader) -> Judgement {
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
