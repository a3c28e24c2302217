//! Single packets for the flow log: refusals, and packets that pass without a flow.
//!
//! The region is written by the programs and read by the agent. It begins with the [`Head`]s of all
//! rings, then come their [`Event`]s. Each CPU has two rings, of refused and of allowed packets, so
//! that neither kind crowds out the other, and so that nothing is shared between CPUs.
//!
//! A ring is its own budget: a program writes while there is room, and the agent makes room by
//! reading. The agent empties the rings at its own pace, however many packets come. A packet that
//! finds no room costs a load and a comparison. It is counted ([`crate::counter::not_logged`]), so
//! the number of packets that the log lacks is known exactly.

use crate::{
    Reason,
    reason::{REASONS, REFUSED, is_allowed},
};

/// Bytes of a packet that an event keeps, from the IP header on: two full headers, mostly.
pub const CAPTURE: usize = 112;

/// A packet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event {
    /// Length of the frame, link layer included.
    pub length: u32,
    /// How many bytes of `packet` there are.
    pub captured: u16,
    pub slot: u16,
    /// [`crate::Direction`] as a number.
    pub direction: u8,
    /// [`Reason`] as a number.
    pub reason: u8,
    pub _reserved: [u8; 6],
    /// From the IP header on; nothing, where there is none.
    pub packet: [u8; CAPTURE],
}

/// Where a ring is written and read: counts of events, which wrap.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Head {
    /// By the CPU's programs.
    pub written: u32,
    /// By the agent. There is room while this is less than a ring's length behind.
    pub read: u32,
}

const _: () = assert!(size_of::<Event>() == 128 && size_of::<Head>() == 64);

/// Rings of a CPU: of refused and of allowed packets.
pub const RINGS: usize = 2;

/// Which of a CPU's rings has packets of the reason with this number: refused, allowed.
#[inline(always)]
pub const fn ring_of(reason: u32) -> u32 {
    is_allowed(reason) as u32
}

/// Bytes of the heads of all rings.
pub const fn heads_size(cpus: usize) -> usize {
    cpus * RINGS * size_of::<Head>()
}

/// Bytes of the events of all rings: `cpus` and `slots`, the length of a ring, are powers of two.
pub const fn events_size(cpus: usize, slots: usize) -> usize {
    cpus * RINGS * slots * size_of::<Event>()
}

/// Bytes of the region. One event more than there are: the verifier knows of a packet's length only
/// that it is no more than [`COPIED`].
pub const fn region_size(cpus: usize, slots: usize) -> usize {
    heads_size(cpus) + events_size(cpus, slots) + size_of::<Event>()
}

/// The power of two above [`CAPTURE`].
pub const COPIED: usize = CAPTURE.next_power_of_two();

const _: () = assert!(COPIED - CAPTURE <= size_of::<Event>());

/// Reasons whose packets are always worth an event, as bits: all refusals, and passes without a
/// flow. Exempt packets are not among them, as in EC2.
const LOGGED: u32 = REFUSED
    | 1 << Reason::Untracked as u32
    | 1 << Reason::Related as u32
    | 1 << Reason::Fragment as u32;

/// Whether a packet, of the reason with this number, is to be an event. `stateless`: it passed by a
/// rule and opened no flow; all other packets of that reason are counted by their flows.
#[inline(always)]
pub const fn is_logged(reason: u32, stateless: bool) -> bool {
    let more = if stateless { 1 << Reason::Rule as u32 } else { 0 };
    (LOGGED | more) >> (reason % REASONS as u32) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_count_their_packets_and_the_rest_are_events() {
        for &reason in Reason::ALL {
            let counted_elsewhere = matches!(reason, Reason::Rule | Reason::Flow | Reason::Exempt);
            assert_eq!(is_logged(reason as u32, false), !counted_elsewhere, "{reason:?}");
            assert_eq!(ring_of(reason as u32) == 1, reason.allowed(), "{reason:?}");
        }
        assert!(is_logged(Reason::Rule as u32, true));
        assert!(!is_logged(Reason::Flow as u32, true));
        assert!(!is_logged(Reason::Exempt as u32, true));
    }
}
