//! The question `sgctl explain` puts to the loaded programs, and their answer.
//!
//! The agent runs the probe program by BPF_PROG_TEST_RUN. The [`Question`] is the packet's
//! metadata, the packet follows. The probe judges it with the core that the attached programs run,
//! and writes nothing to flows or counters. It puts its [`Answer`] over the packet's first bytes.

/// Metadata of a probe packet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Question {
    pub ifindex: u32,
    /// [`crate::Direction`] as a number.
    pub direction: u32,
}

/// The verdict that the packet would get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    pub magic: u32,
    /// [`crate::Reason`] as a number; 0 = the interface is not filtered.
    pub reason: u32,
    /// Bucket and lane of the flow that the packet or its quote belongs to: `bucket << 2 | lane`,
    /// with [`IPV6`] for that family's table; or [`NO_FLOW`].
    pub flow: u32,
}

pub const MAGIC: u32 = 0x7367_616e;
pub const NO_FLOW: u32 = u32::MAX;
/// Above any bucket's number.
pub const IPV6: u32 = 1 << 31;
/// Probe packets are padded to this length, which leaves room for the answer.
pub const MIN_FRAME: usize = 64;
