//! Rows: packets, the way they go, and what each gets.

use sg_common::{Direction, Reason};
use sg_policy::{model::Role, reference::frames::Ip};

/// The expected outcome of a row's packet.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// A rule allows it, and it opens the flow that its addresses and ports say.
    Opens,
    /// It opens that flow as a call of an exempt service.
    Calls,
    /// It leaves no flow.
    Gets(Reason),
}
pub use Outcome::{Calls, Opens};

impl Outcome {
    pub fn reason(self) -> Reason {
        match self {
            Opens => Reason::Rule,
            Calls => Reason::Exempt,
            Self::Gets(reason) => reason,
        }
    }
}

impl From<Reason> for Outcome {
    fn from(reason: Reason) -> Self {
        Self::Gets(reason)
    }
}

/// Bytes of a frame, from the Ethernet header on, and the packet that they were made of.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub ip: Option<Ip>,
}

impl From<Ip> for Frame {
    fn from(ip: Ip) -> Self {
        Self { bytes: ip.frame(), ip: Some(ip) }
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, ip: None }
    }
}

impl Frame {
    pub fn set<const N: usize>(mut self, at: usize, bytes: [u8; N]) -> Self {
        self.bytes[at..at + N].copy_from_slice(&bytes);
        self
    }

    pub fn pad(mut self, bytes: usize) -> Self {
        self.bytes.extend(vec![0xff; bytes]);
        self
    }

    pub fn cut(mut self, length: usize) -> Self {
        self.bytes.truncate(length);
        self
    }

    /// VLAN tags of these types, the outermost first.
    pub fn tagged(mut self, tags: &[u16]) -> Self {
        self.bytes = sg_tests::probe::craft::tagged(tags, &self.bytes);
        self
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A packet on its way, and what it gets.
#[derive(Clone, Debug)]
pub struct Row {
    pub direction: Direction,
    pub frame: Frame,
    pub expected: Outcome,
    pub roles: &'static [Role],
    pub gso: bool,
    pub ethernet_only: bool,
}

pub fn row(direction: Direction, frame: impl Into<Frame>, expected: impl Into<Outcome>) -> Row {
    Row {
        direction,
        frame: frame.into(),
        expected: expected.into(),
        roles: &[Role::Host, Role::Port],
        gso: false,
        ethernet_only: false,
    }
}

impl Row {
    pub fn host(self) -> Self {
        Self { roles: &[Role::Host], ..self }
    }

    pub fn port(self) -> Self {
        Self { roles: &[Role::Port], ..self }
    }

    /// Many segments in one packet, as only TC sees them.
    pub fn gso(self) -> Self {
        Self { gso: true, ..self }
    }

    /// Means something else on an interface without Ethernet header.
    pub fn ethernet_only(self) -> Self {
        Self { ethernet_only: true, ..self }
    }
}
