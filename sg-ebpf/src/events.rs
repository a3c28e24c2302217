//! Single packets for the flow log; see [`sg_common::event`].

use core::ptr;

use sg_common::event::{CAPTURE, COPIED, Event, Head, RINGS, is_logged, ring_of};

use crate::{
    context::{PacketContext, PacketMeta, STATELESS},
    frame::Frame,
    maps::{Memory, constant, cpu},
    outcome::Outcome,
    verifier::opaque,
};

/// Heads, then events.
#[unsafe(link_section = ".bss.EVENTS")]
static EVENTS: Memory = Memory::new();

/// Length of a ring; 0: nothing is logged, and the kernel leaves this code out.
#[unsafe(no_mangle)]
static EVENTS_SLOTS: u32 = 0;
/// Offset of the last head, of the first event, and of the last event from that.
#[unsafe(no_mangle)]
static EVENTS_HEADS_MASK: u32 = 0;
#[unsafe(no_mangle)]
static EVENTS_START: u32 = 0;
#[unsafe(no_mangle)]
static EVENTS_MASK: u32 = 0;

/// Tells the agent of a packet that was judged, if that is to be told. False: there was no room.
#[inline(always)]
pub(crate) fn tell<F: Frame>(
    context: &PacketContext,
    frame: &F,
    meta: &PacketMeta,
    outcome: Outcome,
) -> bool {
    let slots = constant(&EVENTS_SLOTS);
    if slots == 0 || !is_logged(outcome.0, meta.flow == STATELESS) {
        return true;
    }
    let ring = cpu() * RINGS as u32 + ring_of(outcome.0);
    let base = EVENTS.start();
    let at = ring.wrapping_mul(size_of::<Head>() as u32) & constant(&EVENTS_HEADS_MASK);
    // SAFETY: the mask is the offset of the last head.
    let head = unsafe { base.add(at as usize) }.cast::<Head>();
    // SAFETY: as above. `read` is the agent's, so it is read once.
    let (written, read) = unsafe { ((*head).written, ptr::read_volatile(&raw const (*head).read)) };
    if written.wrapping_sub(read) >= slots {
        return false;
    }
    let index = ring.wrapping_mul(slots).wrapping_add(written & (slots - 1));
    write(frame, context, meta.ip, (index as u64) << 8 | outcome.0 as u64);
    // SAFETY: as above. After the event: x86 keeps stores in order, and so does LLVM volatile ones.
    unsafe { ptr::write_volatile(&raw mut (*head).written, written.wrapping_add(1)) };
    true
}

/// Writes an event. `place`: its number among all, and the reason. A function of its own, because few
/// packets need it.
#[inline(never)]
fn write<F: Frame>(frame: &F, context: &PacketContext, ip: u32, place: u64) {
    let base = EVENTS.start();
    let at = ((place >> 8) as u32).wrapping_mul(size_of::<Event>() as u32) & constant(&EVENTS_MASK);
    let length = frame.len();
    // SAFETY: the events follow the heads, and the mask is the offset of the last one.
    let event = unsafe { base.add(constant(&EVENTS_START) as usize + at as usize) }.cast::<Event>();
    let captured = length.saturating_sub(ip).min(CAPTURE as u32);
    let mut copied = 0;
    if captured != 0 {
        // From 1 to `COPIED`, in a form that 6.1's verifier sees.
        let len = (opaque(captured as usize - 1) & (COPIED - 1)) + 1;
        // SAFETY: as above; the event has room for as many bytes.
        let to = unsafe { (&raw mut (*event).packet).cast() };
        if frame.copy(ip, to, len as u32) {
            copied = captured as u16;
        }
    }
    // SAFETY: as above. Nobody reads it before the head says so.
    unsafe {
        ptr::write_volatile(&raw mut (*event).length, length);
        ptr::write_volatile(&raw mut (*event).captured, copied);
        ptr::write_volatile(&raw mut (*event).slot, context.slot);
        ptr::write_volatile(&raw mut (*event).direction, context.direction as u8);
        ptr::write_volatile(&raw mut (*event).reason, place as u8);
    }
}
