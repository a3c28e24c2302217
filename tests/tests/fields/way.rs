//! The four ways of most tables: both directions, both families. The instance is 10.0.0.5, fd00::5.

use sg_common::Direction::{self, Egress as E, Ingress as I};
use sg_policy::reference::frames::{self, Ip};

use crate::row::{Frame, Outcome, Row, row};

/// Who sends to whom, under rules that know the peers.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub direction: Direction,
    pub src: &'static str,
    pub dst: &'static str,
}

pub const V4: [Way; 2] = [
    Way { direction: I, src: "192.0.2.1", dst: "10.0.0.5" },
    Way { direction: E, src: "10.0.0.5", dst: "192.0.2.1" },
];
pub const V6: [Way; 2] = [
    Way { direction: I, src: "2001:db8::1", dst: "fd00::5" },
    Way { direction: E, src: "fd00::5", dst: "2001:db8::1" },
];
pub const WAYS: [Way; 4] = [V4[0], V4[1], V6[0], V6[1]];

pub const ETH: usize = 14;

impl Way {
    pub fn is_v4(self) -> bool {
        self.src.contains('.')
    }

    /// Offset of what follows the plain IP header.
    pub fn payload(self) -> usize {
        ETH + if self.is_v4() { 20 } else { 40 }
    }

    pub fn ip(self, protocol: u8, payload: &[u8]) -> Ip {
        frames::ip(self.src, self.dst, protocol, payload)
    }

    pub fn tcp(self, from: u16, to: u16, flags: &str) -> Ip {
        frames::tcp(&at(self.src, from), &at(self.dst, to), flags)
    }

    pub fn udp(self, from: u16, to: u16) -> Ip {
        frames::udp(&at(self.src, from), &at(self.dst, to))
    }

    pub fn icmp(self, kind: u8, code: u8) -> Ip {
        frames::icmp(self.src, self.dst, kind, code, 7)
    }

    pub fn row(self, frame: impl Into<Frame>, expected: impl Into<Outcome>) -> Row {
        row(self.direction, frame, expected)
    }
}

/// Address and port.
pub fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// The same rules for both directions, with the peers 192.0.2.0/24 and 2001:db8::/32 where the
/// protocol has that family.
pub fn rules(services: &[&str]) -> String {
    let peers = services.iter().map(|service| {
        let cidrs = match service {
            v6 if v6.contains(r#""icmpv6""#) => r#""2001:db8::/32""#,
            v4 if v4.contains(r#""icmp""#) => r#""192.0.2.0/24""#,
            _ => r#""192.0.2.0/24", "2001:db8::/32""#,
        };
        format!("  {{ {service}, cidrs = [{cidrs}] }},\n")
    });
    group("web", &peers.collect::<String>())
}

/// A group with these rules in both directions.
pub fn group(name: &str, rules: &str) -> String {
    format!("[[security_group]]\nname = \"{name}\"\ningress = [\n{rules}]\negress = [\n{rules}]\n")
}

/// TCP to port 80.
pub const TCP80: &str = r#"protocol = "tcp", ports = 80"#;
/// UDP to port 53.
pub const UDP53: &str = r#"protocol = "udp", ports = 53"#;
