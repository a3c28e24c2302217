//! Traffic that is never filtered, because without it there is no network to filter.

use sg_common::{
    Direction, Family,
    flow::{ICMPV6, IGMP, TCP, UDP},
    image::flags,
};

use crate::{
    headers::{Ip, Part, Transport},
    net::Net,
};

/// Neighbour discovery (RFC 4861, only with hop limit 255), MLD (RFC 2710, 3810), IGMP, DHCP and the
/// link-local cloud services.
#[inline(always)]
pub(crate) fn is_exempt<N: Net>(
    interface: u32,
    direction: Direction,
    ip: &Ip<N::Address>,
    transport: &Transport,
) -> bool {
    let protocol = ip.chain.protocol;
    if protocol == TCP || protocol == UDP {
        if protocol == UDP && ip.chain.part != Part::Later && is_dhcp::<N>(transport) {
            return true;
        }
        let (_, peer) = N::sides(direction, ip.source, ip.destination);
        return interface & flags::EXEMPT_SERVICES != 0 && N::is_exempt_service(peer);
    }
    match N::FAMILY {
        Family::V4 => protocol == IGMP,
        Family::V6 => {
            protocol == ICMPV6
                && ip.chain.part != Part::Later
                && match transport.icmp_type() {
                    133..=137 => ip.hop_limit == 255,
                    130..=132 | 143 => true,
                    _ => false,
                }
        }
    }
}

#[inline(always)]
fn is_dhcp<N: Net>(transport: &Transport) -> bool {
    let ports = (transport.source, transport.destination);
    match N::FAMILY {
        Family::V4 => matches!(ports, (67, 68) | (68, 67)),
        Family::V6 => matches!(ports, (546, 547) | (547, 546)),
    }
}
