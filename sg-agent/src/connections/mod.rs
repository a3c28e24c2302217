//! Connections that the kernel knows of, whatever filters them: its own sockets, and its conntrack.
//!
//! A filter that starts on a busy host has seen none of their packets. Both are read by netlink dumps,
//! in a bounded time.

mod conntrack;
pub(crate) mod dump;
mod sockets;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sg_common::{
    Direction,
    flow::{State, TCP, UDP, tcp},
};

pub use self::{
    conntrack::{Tracked, tracked},
    sockets::{Socket, Sockets, sockets},
};

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// One side has spoken.
    New,
    /// The other one has answered.
    Replied,
    /// Both have gone on.
    Established,
    /// TCP: one side has said that it is done.
    Closing,
}

impl Phase {
    /// The state of a flow that has come this far since a packet in this direction opened it.
    pub fn state(self, protocol: u8, opener: Direction) -> State {
        let back = opener.reverse();
        let new = State::opened(opener);
        let replied = new.after(protocol, back, tcp::ACK);
        let established = replied.after(protocol, opener, tcp::ACK).after(protocol, back, tcp::ACK);
        match self {
            Self::New => new,
            Self::Replied => replied,
            Self::Closing if protocol == TCP => established.after(protocol, back, tcp::FIN),
            Self::Established | Self::Closing => established,
        }
    }
}

/// Where it starts to be too long.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    fn check(self) -> io::Result<()> {
        if Instant::now() < self.0 { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

/// Addresses as packets have them: one of IPv4 that an IPv6 socket uses is one of IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Transport protocols whose sockets are looked at.
const PROTOCOLS: [u8; 2] = [TCP, UDP];

#[cfg(test)]
mod tests {
    use sg_common::{Family, flow::Timeout};

    use super::*;

    #[test]
    fn phases_have_the_idle_times_of_their_states() {
        let timeout = |phase: Phase, protocol| {
            phase.state(protocol, Direction::Egress).timeout(Family::V4, protocol)
        };
        assert_eq!(timeout(Phase::New, TCP), Timeout::TcpOpening);
        assert_eq!(timeout(Phase::Replied, TCP), Timeout::TcpOpening);
        assert_eq!(timeout(Phase::Established, TCP), Timeout::TcpEstablished);
        assert_eq!(timeout(Phase::Closing, TCP), Timeout::TcpClosing);
        assert_eq!(timeout(Phase::New, UDP), Timeout::Udp);
        assert_eq!(timeout(Phase::Replied, UDP), Timeout::Udp);
        assert_eq!(timeout(Phase::Established, UDP), Timeout::UdpStream);
        for phase in [Phase::New, Phase::Replied, Phase::Established, Phase::Closing] {
            for opener in Direction::BOTH {
                assert_eq!(phase.state(TCP, opener).opener(), opener);
                assert_eq!(phase.state(TCP, opener).has_reply(), phase != Phase::New);
            }
        }
    }
}
