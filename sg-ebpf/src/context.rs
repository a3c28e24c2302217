//! Context of a packet: its interface, the rules, and facts learnt on the way.

use core::ops::Deref;

use sg_common::{
    Direction,
    flow::{MAX_PICKUP, Tick, lasts},
    image::{self, flags, record},
    interval::Words,
    probe::NO_FLOW,
};

use crate::{frame::Frame, maps::Arena, rules::Rules};

/// Facts about a packet's interface that the steps need. Plain numbers without padding, because the
/// global functions of [`crate::global_fns`] take it as such.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PacketContext {
    image: u32,
    record: u32,
    /// Bits of [`flags`].
    pub(crate) interface: u32,
    pub(crate) now: Tick,
    pub(crate) slot: u16,
    pub(crate) direction: Direction,
    /// True for a probe, which changes no flow.
    pub(crate) dry_run: bool,
}

impl PacketContext {
    /// The context of an interface's packets, or `None` if it is not filtered.
    #[inline(always)]
    pub(crate) fn of(
        ifindex: u32,
        direction: impl Fn(u32) -> Direction,
        dry_run: bool,
    ) -> Option<Self> {
        let arena = Arena::open();
        let now = arena.now();
        let image = arena.image(now)?;
        let slot = image::slot_of(&image, ifindex)?;
        let record = image::record_of(&image, slot);
        let interface = image.field(record, record::FLAGS);
        Some(Self {
            image: image.start,
            record,
            interface,
            now,
            slot: slot as u16,
            direction: direction(interface),
            dry_run,
        })
    }

    /// Whether this packet comes from an instance that is held to its addresses.
    #[inline(always)]
    pub(crate) fn checks_source(&self) -> bool {
        matches!(self.direction, Direction::Egress) && self.interface & flags::SOURCE_CHECK != 0
    }

    #[inline(always)]
    pub(crate) fn open(&self) -> RuleContext<'_> {
        let image = Arena::open().image_at(self.image);
        RuleContext { context: self, rules: Rules { image, record: self.record } }
    }
}

/// [`PacketContext`] with the rules at hand.
pub(crate) struct RuleContext<'a> {
    context: &'a PacketContext,
    pub(crate) rules: Rules,
}

impl Deref for RuleContext<'_> {
    type Target = PacketContext;

    #[inline(always)]
    fn deref(&self) -> &PacketContext {
        self.context
    }
}

impl RuleContext<'_> {
    /// When the change came that flows are to be held against.
    #[inline(always)]
    pub(crate) fn cut_since(&self) -> Tick {
        self.rules.field(record::CUT_SINCE)
    }

    /// Whether TCP is picked up in mid-stream: the interface has only just come under the filter.
    #[inline(always)]
    pub(crate) fn picks_up(&self) -> bool {
        lasts(self.now, self.rules.field(record::PICKUP_UNTIL), MAX_PICKUP)
    }
}

/// Facts about a packet that are learnt besides the verdict.
pub(crate) struct PacketMeta {
    /// Length of the whole frame.
    pub(crate) length: u32,
    /// Offset of the IP header.
    pub(crate) ip: u32,
    /// Number of the packet's flow, for a probe; or [`STATELESS`].
    pub(crate) flow: u32,
}

/// In the place of a flow's number, but for a probe: a rule allows the packet, and no flow came of it.
pub(crate) const STATELESS: u32 = NO_FLOW - 1;

impl PacketMeta {
    #[inline(always)]
    pub(crate) fn on<F: Frame>(frame: &F) -> Self {
        Self { length: frame.len(), ip: 0, flow: NO_FLOW }
    }
}
