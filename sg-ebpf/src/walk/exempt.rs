//! Traffic that is never filtered, because without it there is no network to filter.

use sg_common::{
    Direction, Family,
    flow::{ICMPV6, IGMP, TCP, UDP},
    image::flags,
};

use crate::{
    headers::{Ip, Part, Transport},
    net::AddressFamily,
};

/// How far a packet is beyond the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exempt {
    No,
    /// It passes, and nothing is kept of it.
    Passes,
    /// It calls an exempt service: it passes, and so do the answers.
    Calls,
    /// It comes from such a service, and passes if it is an answer.
    MayAnswer,
}

/// Neighbour discovery (RFC 4861, only with hop limit 255), MLD (RFC 2710, 3810), IGMP, DHCP and the
/// link-local cloud services.
#[inline(always)]
pub(crate) fn exempt<N: AddressFamily>(
    interface: u32,
    direction: Direction,
    ip: &Ip<N::Address>,
    transport: &Transport,
) -> Exempt {
    let protocol = ip.chain.protocol;
    let later = ip.chain.part == Part::Later;
    if protocol == TCP || protocol == UDP {
        let (_, peer) = N::sides(direction, ip.source, ip.destination);
        if protocol == UDP && !later && is_dhcp::<N>(direction, transport, peer) {
            return Exempt::Passes;
        }
        if interface & flags::EXEMPT_SERVICES == 0 || !N::is_exempt_service(peer) {
            return Exempt::No;
        }
        return match (direction, later) {
            (Direction::Egress, false) => Exempt::Calls,
            (Direction::Egress, true) => Exempt::Passes,
            (Direction::Ingress, false) => Exempt::MayAnswer,
            (Direction::Ingress, true) => Exempt::No,
        };
    }
    let passes = match N::FAMILY {
        Family::V4 => protocol == IGMP && N::is_multicast(ip.destination),
        Family::V6 => {
            protocol == ICMPV6
                && !later
                && match transport.icmp_type() {
                    133..=137 => ip.chain.hop_limit == 255,
                    130..=132 | 143 => N::is_multicast(ip.destination),
                    _ => false,
                }
        }
    };
    if passes { Exempt::Passes } else { Exempt::No }
}

/// The instance as a DHCP client (RFC 2131, 8415). In IPv6 the destination port alone counts: a
/// server may answer from any.
#[inline(always)]
fn is_dhcp<N: AddressFamily>(direction: Direction, transport: &Transport, far: N::Address) -> bool {
    let (source, destination) = (transport.source, transport.destination);
    match (N::FAMILY, direction) {
        (Family::V4, Direction::Ingress) => destination == 68 && source == 67,
        (Family::V4, Direction::Egress) => destination == 67 && source == 68 && N::is_near(far),
        (Family::V6, Direction::Ingress) => destination == 546 && N::is_near(far),
        (Family::V6, Direction::Egress) => destination == 547 && N::is_near(far),
    }
}
