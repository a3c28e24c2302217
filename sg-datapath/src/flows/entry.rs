//! A flow as the agent shows it, and the packet that opened it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sg_common::{
    Direction, Family,
    flow::{Addresses4, Addresses6, Tag, Tick, Timeout, icmp, volume},
};

/// A connection at an interface, and which way its opening packet went there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub slot: u16,
    pub protocol: u8,
    pub direction: Direction,
    /// The instance's end. Ports are 0 where the protocol has none.
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// Addresses as tables have them.
pub(crate) enum Ends {
    V4(Addresses4),
    V6(Addresses6),
}

impl Opening {
    /// `None` for ends of different families.
    pub(crate) fn ends(&self) -> Option<Ends> {
        match (self.local.ip(), self.remote.ip()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                Some(Ends::V4([u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits())]))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let halves = |bits: u128| ((bits >> 64) as u64, bits as u64);
                let (local, remote) = (halves(local.to_bits()), halves(remote.to_bits()));
                Some(Ends::V6([local.0, local.1, remote.0, remote.1]))
            }
            _ => None,
        }
    }
}

/// A flow as the table has it, direction and addresses as in the packet that opened it.
#[derive(Clone, Copy, Debug)]
pub struct FlowEntry {
    pub slot: u16,
    pub protocol: u8,
    pub direction: Direction,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// ICMP queries: identifier and request type.
    pub sport: u16,
    pub dport: u16,
    /// See [`sg_common::flow::State::name`].
    pub state: &'static str,
    pub timeout: Timeout,
    pub seen: Tick,
    pub packets: u64,
    pub bytes: u64,
}

impl FlowEntry {
    /// The packet that opened it.
    pub fn opening(&self) -> Opening {
        let Self { slot, protocol, direction, .. } = *self;
        let (src, dst) =
            (SocketAddr::new(self.src, self.sport), SocketAddr::new(self.dst, self.dport));
        let (local, remote) = match direction {
            Direction::Ingress => (dst, src),
            Direction::Egress => (src, dst),
        };
        Opening { slot, protocol, direction, local, remote }
    }
}

/// Addresses of a flow as the agent shows them.
pub(crate) trait Shown: Copy {
    const FAMILY: Family;
    /// The instance's address and the peer's.
    fn sides(&self) -> (IpAddr, IpAddr);
}

impl Shown for Addresses4 {
    const FAMILY: Family = Family::V4;

    fn sides(&self) -> (IpAddr, IpAddr) {
        let address = |bits: u64| IpAddr::V4(Ipv4Addr::from_bits(bits as u32));
        (address(self[0] >> 32), address(self[0]))
    }
}

impl Shown for Addresses6 {
    const FAMILY: Family = Family::V6;

    fn sides(&self) -> (IpAddr, IpAddr) {
        let address = |high: u64, low: u64| {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))
        };
        (address(self[0], self[1]), address(self[2], self[3]))
    }
}

/// Direction, ports and addresses as in the packet that opened the flow.
pub(crate) fn entry<A: Shown>(
    tag: Tag,
    addresses: &A,
    seen: u32,
    packets: u32,
    bytes: u64,
) -> FlowEntry {
    let (state, protocol) = (tag.state(), tag.protocol());
    let direction = state.opener();
    let (local, remote) = addresses.sides();
    let (local_port, remote_port) = ((tag.ports() >> 16) as u16, tag.ports() as u16);
    let is_query = protocol == icmp(A::FAMILY);
    let ((src, sport), (dst, dport)) = match direction {
        Direction::Ingress => ((remote, remote_port), (local, local_port)),
        Direction::Egress => ((local, local_port), (remote, remote_port)),
    };
    // A query keeps its identifier on the local side and its type on the remote one.
    let (sport, dport) = if is_query { (local_port, remote_port >> 8) } else { (sport, dport) };
    let (packets, bytes) = volume(tag, packets, bytes);
    FlowEntry {
        slot: tag.slot(),
        protocol,
        direction,
        src,
        dst,
        sport,
        dport,
        state: state.name(A::FAMILY, protocol),
        timeout: state.timeout(A::FAMILY, protocol),
        seen,
        packets,
        bytes,
    }
}
