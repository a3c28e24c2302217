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

/// Neighbour discovery (RFC 4861, only with hop limit 255), MLD (RFC 2710, 3810), IGMP, DHCP and the
/// link-local cloud services.
#[inline(always)]
pub(crate) fn is_exempt<N: AddressFamily>(
    interface: u32,
    direction: Direction,
    ip: &Ip<N::Address>,
    transport: &Transport,
) -> bool {
    let protocol = ip.chain.protocol;
    if protocol == TCP || protocol == UDP {
        let (_, peer) = N::sides(direction, ip.source, ip.destination);
        if protocol == UDP
            && ip.chain.part != Part::Later
            && is_dhcp::<N>(direction, transport, peer)
        {
            return true;
        }
        return interface & flags::EXEMPT_SERVICES != 0 && N::is_exempt_service(peer);
    }
    match N::FAMILY {
        Family::V4 => protocol == IGMP,
        Family::V6 => {
            protocol == ICMPV6
                && ip.chain.part != Part::Later
                && match transport.icmp_type() {
                    133..=137 => ip.chain.hop_limit == 255,
                    130..=132 | 143 => true,
                    _ => false,
                }
        }
    }
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
