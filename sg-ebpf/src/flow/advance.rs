//! A flow's state after one more packet.

use core::ptr;

use sg_common::{
    Direction,
    flow::{Tag, tcp},
};

use crate::{global_fns::sg_after, verifier::not_unrolled, words};

/// Attempts to change a state that other CPUs change, too. A flow's state changes a few times in
/// its life.
pub(super) const TOUCH_TRIES: usize = 3;

/// A result of [`advance`]: the lane has another flow, or none that lives. Nothing was counted.
pub(super) const GONE: u32 = 0;
/// The state is the packet's, or every attempt failed. The caller counts the packet.
pub(super) const ADVANCED: u32 = 1;
/// The state is the packet's, and the packet is counted.
pub(super) const COUNTED: u32 = 2;

/// The bytes in a half-open connection's volume. Its high half keeps the sequence number of the
/// answer (the SYN-ACK), until the opener has acknowledged it.
const BYTES: u64 = 0xffff_ffff;

/// A packet as [`after`] takes it: `number << 32 | ACKNOWLEDGED | direction << 8 | flags`.
mod segment {
    pub(super) const EGRESS: u64 = 1 << 8;
    /// The packet acknowledges the answer, as an earlier attempt has seen.
    pub(super) const ACKNOWLEDGED: u64 = 1 << 9;
}

/// Bits of [`Next`] besides the state.
mod next {
    /// As in [`super::segment`].
    pub(super) const ACKNOWLEDGED: u64 = super::segment::ACKNOWLEDGED;
    /// The packet's number is the answer's, and is to be kept.
    pub(super) const KEEP: u64 = 1 << 10;
    /// The handshake was under way, and is over.
    pub(super) const ESTABLISHED: u64 = 1 << 11;
    pub(super) const WAS_HALF_OPEN: u64 = 1 << 12;
}

/// A flow's next state, with bits of [`next`].
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Next(pub(crate) u64);

impl Next {
    #[inline(always)]
    fn bits(self, bits: u64) -> u64 {
        self.0 & bits
    }

    #[inline(always)]
    fn has(self, bit: u64) -> bool {
        self.bits(bit) != 0
    }

    /// The state as it stands in a tag.
    #[inline(always)]
    fn state(self) -> u64 {
        self.bits(0xff)
    }
}

/// The state of a flow after one more packet.
#[inline(always)]
pub(crate) fn after(tag: u64, segment: u64, volume: u64) -> Next {
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
        // Answered, and no number: another CPU has just removed it, because the connection is
        // established.
        let taken_away = answer == 0 && state.has_reply(protocol);
        if !taken_away && state.keeps_number(after, direction, flags) {
            next |= next::KEEP;
        }
    }
    Next(next)
}

/// Changes a flow's state by a packet. Also counts the packet while the flow is half-open, since
/// the volume then holds the answer's number. A function of its own, because few packets need it
/// and its caller has no stack to spare.
///
/// The volume of a half-open connection changes by compare-exchange, and the number is removed
/// before the state becomes established. Another CPU's packet therefore cannot write the number
/// back into a word that counts bytes only.
#[inline(never)]
pub(super) fn advance(
    tag_at: *mut u64,
    volume_at: *mut u64,
    old: u64,
    mut segment: u64,
    bytes: u32,
) -> u32 {
    let mut bytes = bytes as u64;
    for _ in 0..not_unrolled(TOUCH_TRIES) {
        // SAFETY: a tag of a bucket in map memory; other CPUs may write, so it is read once.
        let tag = Tag(unsafe { ptr::read_volatile(tag_at) });
        if tag.identity() != Tag(old).identity() || !tag.state().is_live() {
            return GONE;
        }
        // SAFETY: the same lane's volume.
        let volume = unsafe { ptr::read_volatile(volume_at) };
        let next = Next(sg_after(tag.0, segment, volume));
        segment |= next.bits(next::ACKNOWLEDGED);
        if next.has(next::WAS_HALF_OPEN) {
            let number = match next.bits(next::KEEP | next::ESTABLISHED) {
                0 => volume & !BYTES,
                next::KEEP => segment & !BYTES,
                _ => 0,
            };
            let new = (volume & BYTES).wrapping_add(bytes) & BYTES | number;
            if new != volume && !words::compare_exchange(volume_at, volume, new) {
                continue;
            }
            bytes = 0;
        }
        let new = tag.identity() | next.state();
        if new != tag.0 && !words::compare_exchange(tag_at, tag.0, new) {
            continue;
        }
        if !next.has(next::WAS_HALF_OPEN) {
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
