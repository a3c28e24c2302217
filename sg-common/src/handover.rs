//! An agent's note for a successor of another ABI: the keys of the flow tables' hash, and the
//! interface of each slot. With it a successor can take over the tables as long as [`TABLES`] is
//! the same, whatever else has changed. No program reads it.
//!
//! This layout is for good: fields may be put into the reserved ones, and none may move.

use crate::flow::{HASH_KEY_WORDS, Tick};

/// Number of the layout of flow tables, fragments' verdicts and counters, and of what their stamps and
/// slots mean. Raise it with every change of these; sessions are picked up again then.
pub const TABLES: u32 = 2;

/// "sg-h".
pub const MAGIC: u32 = 0x7367_2d68;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    pub magic: u32,
    /// See [`TABLES`].
    pub tables: u32,
    /// Highest revision of the rules that was published.
    pub revision: u64,
    /// As in [`Control`](crate::control::Control).
    pub hash_key: [u32; HASH_KEY_WORDS],
    /// The network namespace whose interfaces the slots are of: low and high half of its cookie, 0 where it is
    /// not known.
    pub namespace: [u32; 2],
    pub reserved: [u32; 14],
}

const _: () = assert!(size_of::<Header>() == 128);

/// One for each slot, behind the header; written with one 64-bit store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// 0 = the slot is free.
    pub ifindex: u32,
    pub pickup_until: Tick,
}

impl Holder {
    pub const fn to_word(self) -> u64 {
        self.ifindex as u64 | (self.pickup_until as u64) << 32
    }

    pub const fn from_word(word: u64) -> Self {
        Self { ifindex: word as u32, pickup_until: (word >> 32) as u32 }
    }
}

/// Byte offset of a slot's holder.
pub const fn holder_at(slot: usize) -> usize {
    size_of::<Header>() + slot * size_of::<u64>()
}
