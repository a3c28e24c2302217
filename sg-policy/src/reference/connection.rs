//! The life of a TCP connection, as its packets tell it.

use super::transport::Segment;
use crate::model::Tracking;

/// Who sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The side whose packet opened the flow.
    Opener,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// A SYN opened it. `answer`: sequence number of the last SYN that came back.
    Opening { answer: Option<u32>, fin: bool },
    /// It was picked up in mid-stream, and only this side has spoken since.
    PickedUp { by: Side, fin: bool },
    /// Which sides have sent data since.
    Established(Data),
    /// `from` has sent a FIN. `answered`: the far end has sent something since.
    Closing { from: Side, answered: bool },
    /// A reset passed. `opener_went_on`: the opener has sent something since.
    Reset { before: Before, opener_went_on: bool },
    /// A reset passed before it was established.
    Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Data {
    opener: bool,
    other: bool,
}

/// The connection as it was before a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Quiet,
    DataBothWays,
    Closing,
}

impl Connection {
    /// The connection that a SYN makes.
    pub(super) fn opened() -> Self {
        Self::Opening { answer: None, fin: false }
    }

    /// The connection that a segment in mid-stream makes, of which nothing was seen before.
    pub(super) fn picked_up(by: Side, segment: &Segment) -> Self {
        if segment.rst { Self::Ended } else { Self::PickedUp { by, fin: segment.fin } }
    }

    pub(super) fn after(self, side: Side, segment: &Segment) -> Self {
        match self {
            Self::Ended => Self::Ended,
            Self::Opening { .. } | Self::PickedUp { .. } if segment.rst => Self::Ended,
            Self::Opening { answer, fin } => {
                let closes = fin || segment.fin;
                match (side, answer) {
                    (Side::Other, _) if segment.syn => {
                        Self::Opening { answer: Some(segment.sequence), fin: closes }
                    }
                    (Side::Opener, Some(answer)) if segment.acknowledges_answer(answer) => {
                        Self::established_by(Side::Opener, segment, fin)
                    }
                    _ => Self::Opening { answer, fin: closes },
                }
            }
            Self::PickedUp { by, fin } => {
                if side != by && !segment.syn {
                    Self::established_by(side, segment, fin)
                } else {
                    Self::PickedUp { by, fin: fin || segment.fin }
                }
            }
            Self::Established(data) => {
                if segment.rst {
                    let both = data.opener && data.other;
                    let before = if both { Before::DataBothWays } else { Before::Quiet };
                    Self::Reset { before, opener_went_on: false }
                } else if segment.fin {
                    Self::Closing { from: side, answered: false }
                } else {
                    Self::Established(data.and(side, segment))
                }
            }
            Self::Closing { from, answered } => {
                if segment.rst {
                    Self::Reset { before: Before::Closing, opener_went_on: false }
                } else if segment.fin {
                    Self::Closing { from: side, answered: false }
                } else if segment.syn {
                    self
                } else if side != from {
                    Self::Closing { from, answered: true }
                } else if answered && segment.data {
                    // Nothing follows a FIN: it was another's.
                    Self::Established(Data { opener: true, other: true })
                } else {
                    self
                }
            }
            Self::Reset { before, opener_went_on } => {
                if segment.rst {
                    Self::Reset { before, opener_went_on: false }
                } else if segment.syn || segment.fin {
                    self
                } else if side == Side::Opener {
                    Self::Reset { before, opener_went_on: true }
                } else if opener_went_on {
                    // Both go on: it was another's.
                    match before {
                        Before::Quiet => Self::Established(Data::default()),
                        Before::DataBothWays => {
                            Self::Established(Data { opener: true, other: true })
                        }
                        Before::Closing => Self::Closing { from: Side::Opener, answered: false },
                    }
                } else {
                    self
                }
            }
        }
    }

    /// After the segment of `side` by which both have spoken. `fin`: one passed before, the other side's.
    fn established_by(side: Side, segment: &Segment, fin: bool) -> Self {
        if segment.fin {
            Self::Closing { from: side, answered: false }
        } else if fin {
            Self::Closing { from: side.other(), answered: false }
        } else {
            Self::Established(Data::default().and(side, segment))
        }
    }

    pub(super) fn is_picked_up(self) -> bool {
        matches!(self, Self::PickedUp { .. })
    }

    /// A new SYN may take the five-tuple.
    pub(super) fn is_closing(self) -> bool {
        match self {
            Self::Opening { fin, .. } | Self::PickedUp { fin, .. } => fin,
            Self::Established(_) => false,
            Self::Closing { .. } | Self::Reset { .. } | Self::Ended => true,
        }
    }

    /// Idle timeout in seconds.
    pub(super) fn timeout(self, tracking: &Tracking) -> u32 {
        match self {
            Self::Opening { fin: false, .. } | Self::PickedUp { fin: false, .. } => 60,
            Self::Opening { fin: true, .. } | Self::PickedUp { fin: true, .. } => 120,
            Self::Established(_) => tracking.tcp_established,
            Self::Closing { .. } => 120,
            Self::Reset { before: Before::Quiet, .. } => 10,
            Self::Reset { before: Before::DataBothWays | Before::Closing, .. } => 120,
            Self::Ended => 0,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Opening { fin: true, .. }
            | Self::PickedUp { fin: true, .. }
            | Self::Closing { .. } => "closing",
            Self::Opening { answer: None, .. } | Self::PickedUp { by: Side::Opener, .. } => "new",
            Self::Opening { .. } | Self::PickedUp { .. } => "replied",
            Self::Established(_) => "established",
            Self::Reset { .. } => "reset",
            Self::Ended => "ended",
        }
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Opener => Self::Other,
            Self::Other => Self::Opener,
        }
    }
}

impl Segment {
    /// Whether the segment acknowledges an answer with this sequence number, which ends the
    /// handshake.
    fn acknowledges_answer(&self, answer: u32) -> bool {
        let above = self.acknowledges.wrapping_sub(answer);
        self.ack && !self.syn && (1..=65_535).contains(&above)
    }
}

impl Data {
    fn and(self, side: Side, segment: &Segment) -> Self {
        match side {
            Side::Opener => Self { opener: self.opener || segment.data, ..self },
            Side::Other => Self { other: self.other || segment.data, ..self },
        }
    }
}
