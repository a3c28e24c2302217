//! Memory that the BPF programs and user space share byte for byte: the layout of the compiled
//! rules, of the flow table and of the counters, and the reason codes. No allocation, no kernel, no
//! rules.
//!
//! The functions here run in both worlds, so both decide the same. The BPF programs instantiate
//! them over map memory, the compiler's tests over a slice.
#![no_std]

pub mod control;
pub mod counter;
pub mod event;
pub mod exempt;
pub mod flow;
pub mod handover;
pub mod image;
pub mod interval;
pub mod kernel;
pub mod probe;
pub mod reason;
pub mod usage;
pub mod view;

use core::net::IpAddr;

pub use reason::Reason;
pub use view::ImageView;

/// Number of the binary interface between the BPF programs, the pinned maps and user space.
///
/// Part of the pin path, so that an agent never reads maps of another layout. Raise it with every
/// change of a layout in this crate.
pub const ABI: u32 = 6;

/// Which way a packet goes, seen from the instance, in both roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Towards the instance.
    Ingress = 0,
    /// From the instance.
    Egress = 1,
}

impl Direction {
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    #[inline(always)]
    pub const fn reverse(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// The address families, which never match each other's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    V4 = 0,
    V6 = 1,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}
