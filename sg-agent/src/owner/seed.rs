//! A filter that starts on a busy host keeps the connections that it allows, also those whose next
//! packet comes from the side that rules do not let open anything. They are read from the kernel, its
//! sockets for the host's own interfaces and its conntrack for ports, and get flows as if their
//! opening packets had been seen.
//!
//! Once before the rules come into force, so that no packet of theirs is dropped, and once after, for
//! what opened in between. Which of them the rules allow is the data path's to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
};

use sg_common::Direction;
use sg_policy::{compile::Image, model::Role};
use tracing::{debug, info, warn};

use super::{cause::Cause, interface_plan::InterfacePlan, revision::Target, state::Owner};
use crate::{
    datapath::{AdoptedConnection, Opening},
    kernel::Kernel,
    observe::{conntrack::Tracked, sockets::Sockets},
};

/// Interfaces that a change filters for the first time.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// Slots of those in host role, by ifindex.
    hosts: BTreeMap<u32, u16>,
    /// Slots of ports by the addresses behind them.
    ports: BTreeMap<IpAddr, Vec<u16>>,
    /// Interfaces in host role that are filtered, these or others, by the address they have.
    homes: BTreeMap<IpAddr, Vec<u32>>,
    /// Addresses of this host, on whatever interface.
    own: BTreeSet<IpAddr>,
}

impl<D: Kernel> Owner<D> {
    /// None when an interface has just appeared: nothing went through it before.
    pub(super) fn newcomers(
        &self,
        target: &Target,
        plan: &InterfacePlan,
        cause: Cause,
    ) -> Newcomers {
        let mut newcomers = Newcomers::default();
        if !matches!(cause, Cause::Start | Cause::Apply) {
            return newcomers;
        }
        let interfaces = plan.interfaces.iter().filter_map(|(&ifindex, planned)| {
            let entry = &target.active.state.interfaces[planned.entry?];
            Some((ifindex, self.view.get(&ifindex)?, planned.slot, entry))
        });
        for (ifindex, interface, slot, entry) in interfaces.clone() {
            if self.kept(ifindex, interface.generation).is_some() {
                continue;
            }
            match entry.role {
                Role::Host => drop(newcomers.hosts.insert(ifindex, slot)),
                Role::Port => entry.addresses.iter().for_each(|address| {
                    newcomers.ports.entry(*address).or_default().push(slot);
                }),
            }
        }
        if newcomers.hosts.is_empty() {
            return newcomers;
        }
        for (ifindex, interface, ..) in interfaces.filter(|(.., entry)| entry.role == Role::Host) {
            for address in &interface.addresses {
                newcomers.homes.entry(*address).or_default().push(ifindex);
            }
        }
        newcomers.own =
            self.view.values().flat_map(|interface| &interface.addresses).copied().collect();
        newcomers
    }

    /// Gives flows to the connections that are there now; how many are new in the flow table.
    pub(super) fn seed(&self, newcomers: &Newcomers, image: &Image) -> u64 {
        let mut seeds = Vec::new();
        if !newcomers.hosts.is_empty() {
            match self.kernel.sockets() {
                Ok(sockets) => newcomers.take_sockets(&sockets, &mut seeds),
                Err(error) => warn!(%error, "sockets cannot be read: {PICKUP}"),
            }
        }
        if !newcomers.ports.is_empty() {
            match self.kernel.tracked() {
                Ok(tracked) => newcomers.take_tracked(&tracked, &mut seeds),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    warn!(%error, "the kernel's conntrack cannot be read: {PICKUP}");
                }
                Err(error) => debug!(%error, "no conntrack in this kernel"),
            }
        }
        if seeds.is_empty() {
            return 0;
        }
        let seeded = self.kernel.adopt(image, &seeds).unwrap_or_else(|error| {
            warn!(%error, "the flow table takes no older connections: {PICKUP}");
            0
        });
        if seeded > 0 {
            info!(connections = seeded, "kept from before the filter");
        }
        seeded
    }

    /// Takes seeds back that did not come to anything.
    pub(super) fn forget(&mut self, newcomers: &Newcomers) {
        self.kernel.release(&newcomers.slots());
    }
}

const PICKUP: &str = "of older connections, only those whose next packet the rules allow go on";

impl Newcomers {
    fn slots(&self) -> Vec<u16> {
        self.hosts.values().chain(self.ports.values().flatten()).copied().collect()
    }

    fn take_sockets(&self, sockets: &Sockets, seeds: &mut Vec<AdoptedConnection>) {
        for socket in &sockets.connected {
            let direction = sockets.opener(socket);
            for slot in self.carriers(socket.local, socket.remote, socket.interface) {
                let opening = Opening {
                    slot,
                    protocol: socket.protocol,
                    direction,
                    local: socket.local,
                    remote: socket.remote,
                };
                seeds.push(AdoptedConnection { opening, phase: socket.phase });
            }
        }
    }

    /// New interfaces that a socket's packets may go through: the one that it is bound to; else those
    /// that have its address; else all, since where no filtered interface has it (a bridge above a
    /// filtered port, a service address on `lo`), any may carry it.
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

    fn take_tracked(&self, tracked: &[Tracked], seeds: &mut Vec<AdoptedConnection>) {
        for connection in tracked {
            let (source, destination) = connection.original;
            let (answerer, asker) = connection.reply;
            for (direction, local, remote) in
                [(Direction::Egress, source, destination), (Direction::Ingress, answerer, asker)]
            {
                for &slot in self.ports.get(&local.ip()).into_iter().flatten() {
                    let protocol = connection.protocol;
                    let opening = Opening { slot, protocol, direction, local, remote };
                    seeds.push(AdoptedConnection { opening, phase: connection.phase });
                }
            }
        }
    }
}
