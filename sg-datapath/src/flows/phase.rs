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
        let after = |state: State, direction| state.after(protocol, direction, tcp::ACK, false);
        match (self, protocol) {
            (Self::New, _) => State::opened(opener),
            // The number of its answer is not known, so it counts as one that was picked up.
            (Self::Replied, TCP) => State::picked_up(opener, back, tcp::ACK),
            (Self::Replied, _) => after(State::opened(opener), back),
            (Self::Established, TCP) => State::established(opener),
            (Self::Closing, TCP) => State::established(opener).after(TCP, back, tcp::FIN, false),
            (Self::Established | Self::Closing, _) => {
                [back, opener, back].into_iter().fold(State::opened(opener), after)
            }
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
                assert_eq!(phase.state(TCP, opener).has_reply(TCP), phase != Phase::New);
            }
        }
    }
}
