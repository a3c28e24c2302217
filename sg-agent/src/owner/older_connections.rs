//! Which flows the connections get that are older than the filter of an interface.
//!
//! A socket tells its own two ends. Conntrack tells who opened a connection, and both ends as each side of NAT has
//! them; it knows what this host forwards, too. Frames that a bridge forwards are known to neither.

use std::{collections::BTreeSet, net::SocketAddr};

use sg_common::Direction;

use super::seed::Newcomers;
use crate::{
    datapath::{AdoptedConnection, Opening, Phase},
    observe::{
        conntrack::Tracked,
        opener::Opener,
        sockets::{Socket, Sockets},
    },
};

/// Protocol, local and remote end.
type Ends = (u8, SocketAddr, SocketAddr);

/// A connection as an interface sees it.
struct Seen {
    protocol: u8,
    local: SocketAddr,
    remote: SocketAddr,
    opener: Opener,
    phase: Phase,
}

impl Newcomers {
    /// Flows to open. Where a connection has several, the first that the rules allow is the one it gets.
    pub(super) fn connections(
        &self,
        sockets: &Sockets,
        tracked: &[Tracked],
    ) -> Vec<AdoptedConnection> {
        let mut found = Vec::new();
        let told = self.take_tracked(sockets, tracked, &mut found);
        for socket in &sockets.connected {
            let &Socket { protocol, local, remote, phase, interface } = socket;
            if told.contains(&(protocol, local, remote)) {
                continue;
            }
            let seen = Seen { protocol, local, remote, opener: sockets.opener(socket), phase };
            seen.at(&self.carriers(local, remote, interface), &mut found);
        }
        found
    }

    /// New interfaces in host role that a connection's packets may go through. If its socket is
    /// bound to an interface, it is that one. Else it is every interface that has the local
    /// address. Any interface may carry an address that no filtered interface has: of a bridge
    /// above a filtered port, of a service on `lo`, of a forwarded connection.
    fn carriers(&self, local: SocketAddr, remote: SocketAddr, bound: u32) -> Vec<u16> {
        if local.ip().is_loopback() || self.own.contains(&remote.ip()) {
            return Vec::new();
        }
        let among =
            |homes: &[u32]| homes.iter().filter_map(|at| self.hosts.get(at)).copied().collect();
        if bound != 0 && self.hosts.contains_key(&bound) {
            return among(&[bound]);
        }
        match self.homes.get(&local.ip()) {
            Some(homes) => among(homes),
            None => self.hosts.values().copied().collect(),
        }
    }

    /// Returns the ends of the sockets that conntrack has told of.
    fn take_tracked(
        &self,
        sockets: &Sockets,
        tracked: &[Tracked],
        found: &mut Vec<AdoptedConnection>,
    ) -> BTreeSet<Ends> {
        let accepted = sockets.connected.iter().filter(|socket| sockets.is_accepted(socket));
        let accepted: BTreeSet<Ends> =
            accepted.map(|socket| (socket.protocol, socket.local, socket.remote)).collect();
        let mut told = BTreeSet::new();
        for connection in tracked {
            let &Tracked { protocol, original, reply, phase, .. } = connection;
            let seen = |(local, remote), direction| {
                let opener = connection.opener(direction, local, remote);
                Seen { protocol, local, remote, opener, phase }
            };
            // Sockets of either end, if they are this host's. A listening end is known for certain.
            let ends = [(protocol, original.0, original.1), (protocol, reply.0, reply.1)];
            let is_told =
                connection.is_translated() || !ends.iter().any(|it| accepted.contains(it));
            if is_told {
                told.extend(ends);
                // The machine beyond an interface in host role is the opener or the answering side.
                for seen in [
                    seen((original.1, original.0), Direction::Ingress),
                    seen((reply.1, reply.0), Direction::Egress),
                ] {
                    seen.at(&self.carriers(seen.local, seen.remote, 0), found);
                }
            }
            // Behind a port likewise.
            for seen in [seen(original, Direction::Egress), seen(reply, Direction::Ingress)] {
                let slots = self.ports.get(&seen.local.ip());
                seen.at(slots.map_or(&[], Vec::as_slice), found);
            }
        }
        told
    }
}

impl Seen {
    fn at(&self, slots: &[u16], found: &mut Vec<AdoptedConnection>) {
        let &Self { protocol, local, remote, opener, phase } = self;
        for &slot in slots {
            for &direction in opener.directions() {
                let opening = Opening { slot, protocol, direction, local, remote };
                let is_opener_known = opener.is_known();
                found.push(AdoptedConnection { opening, phase, is_opener_known });
            }
        }
    }
}
