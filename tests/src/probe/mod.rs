//! Real traffic, and what became of it.
//!
//! A test waits long for a packet that must come ([`PATIENCE`]), so that no busy machine and no
//! emulated guest fails it. A test waits briefly for a packet that must not come ([`SILENCE`]):
//! for less than TCP's first retransmission takes, so a dropped SYN is counted once.

pub mod bulk;
pub mod cable;
pub mod craft;
pub mod icmp;
pub mod link;
pub mod raw;
pub mod ring;
pub mod tcp;
pub mod udp;
pub mod vnet;

use std::{io, time::Duration};

pub use link::{Link, Watch};

pub const PATIENCE: Duration = Duration::from_secs(60);
pub const SILENCE: Duration = Duration::from_millis(400);

/// A probe's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came back.
    Passed,
    /// Nothing came back.
    Silent,
    /// The other side (or a router) said no.
    Refused,
}

impl Outcome {
    #[track_caller]
    pub fn passed(self) {
        assert_eq!(self, Self::Passed);
    }

    #[track_caller]
    pub fn dropped(self) {
        assert_eq!(self, Self::Silent);
    }
}

/// Sorts the errors of a socket; panics at those that no packet explains.
#[track_caller]
fn outcome_of(error: &io::Error) -> Outcome {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, TimedOut, WouldBlock};
    if error.raw_os_error() == Some(libc::ENOBUFS) {
        // A raw socket's error when TC drops its packet on the way out.
        return Outcome::Silent;
    }
    match error.kind() {
        TimedOut | WouldBlock => Outcome::Silent,
        ConnectionRefused | ConnectionReset => Outcome::Refused,
        _ => panic!("a probe failed: {error}"),
    }
}
