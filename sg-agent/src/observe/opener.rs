//! Who opened a connection, as far as the kernel or its ports tell.

use std::net::SocketAddr;

use sg_common::{Direction, flow::opener_by_ports};

/// Who opened a connection; the rules of that direction have to allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    Known(Direction),
    /// The ports say it: systems give such a port to openers only.
    ByPorts(Direction),
    /// Nobody can tell: the rules of either direction may allow it.
    Unknown,
}

impl Opener {
    /// Where exactly one port is 32768 or higher, that side.
    pub fn by_ports(local: SocketAddr, remote: SocketAddr) -> Self {
        opener_by_ports(local.port(), remote.port()).map_or(Self::Unknown, Self::ByPorts)
    }

    /// Directions to ask the rules for.
    pub fn directions(self) -> &'static [Direction] {
        match self {
            Self::Known(Direction::Ingress) | Self::ByPorts(Direction::Ingress) => {
                &[Direction::Ingress]
            }
            Self::Known(Direction::Egress) | Self::ByPorts(Direction::Egress) => {
                &[Direction::Egress]
            }
            Self::Unknown => &[Direction::Ingress, Direction::Egress],
        }
    }

    pub fn is_known(self) -> bool {
        matches!(self, Self::Known(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_side_with_the_only_high_port_opened_it() {
        for (local, remote, expected) in [
            (22, 50_000, Opener::ByPorts(Direction::Ingress)),
            (32_767, 32_768, Opener::ByPorts(Direction::Ingress)),
            (40_000, 443, Opener::ByPorts(Direction::Egress)),
            (65_535, 1, Opener::ByPorts(Direction::Egress)),
            (700, 2049, Opener::Unknown),
            (40_000, 50_000, Opener::Unknown),
        ] {
            let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
            assert_eq!(Opener::by_ports(at(local), at(remote)), expected, "{local} {remote}");
        }
    }
}
