//! The packets that carry an SSH session, as a filtered interface judges them.

use std::net::{IpAddr, SocketAddr};

use sg_common::{Direction, flow::UDP};
use sg_policy::model::Role;

use crate::{
    datapath::{FlowEntry, Opening},
    observe::ssh_sessions::Carrier,
};

impl Carrier {
    /// Whether the packets that come from behind a port, answers included, have one of these sources.
    pub(super) fn is_from(&self, addresses: &[IpAddr]) -> bool {
        let behind = if self.comes { self.source } else { self.destination };
        addresses.contains(&behind.ip())
    }
}

/// Towards the instance is in: a port's instance that connects to this host opens it on its way out.
pub(super) fn opening(slot: u16, role: Role, carrier: &Carrier) -> Opening {
    let &Carrier { protocol, source, destination, comes, .. } = carrier;
    let (direction, local, remote) = match (role, comes) {
        (Role::Host, true) | (Role::Port, false) => (Direction::Ingress, destination, source),
        (Role::Host, false) | (Role::Port, true) => (Direction::Egress, source, destination),
    };
    Opening { slot, protocol, direction, local, remote }
}

/// `UDP port 4789 from 192.0.2.9`: service and far end of a tunnel's packets.
pub(super) fn in_words(carrier: &Carrier) -> String {
    let service = match carrier.protocol {
        UDP => format!("UDP port {}", carrier.destination.port()),
        protocol => format!("protocol {protocol}"),
    };
    if carrier.comes {
        format!("{service} from {}", carrier.source.ip())
    } else {
        format!("{service} to {}", carrier.destination.ip())
    }
}

pub(super) fn is_flow_of(flow: &FlowEntry, carrier: &Carrier) -> bool {
    if flow.protocol != carrier.protocol || flow.state == "cut" {
        return false;
    }
    let ends = (SocketAddr::new(flow.src, flow.sport), SocketAddr::new(flow.dst, flow.dport));
    let (source, destination) = (carrier.source, carrier.destination);
    if carrier.tunnel.is_some() {
        // From any port. Where the kernel chooses the local address, it is not known here.
        let (near, far) = if carrier.comes { (destination, source) } else { (source, destination) };
        let is_near = |address: IpAddr| near.ip().is_unspecified() || near.ip() == address;
        return ends.1.port() == destination.port()
            && ((is_near(flow.src) && flow.dst == far.ip())
                || (is_near(flow.dst) && flow.src == far.ip()));
    }
    // Picked up in mid-stream, a session may count as opened by its server.
    ends == (source, destination) || ends == (destination, source)
}
