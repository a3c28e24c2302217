//! How far a connection that is older than the filter has come.

use sg_common::{
    Direction,
    flow::{State, TCP, tcp},
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

#[cfg(test)]
mod tests {
    use sg_common::{
        Family,
        flow::{Timeout, UDP},
    };

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
