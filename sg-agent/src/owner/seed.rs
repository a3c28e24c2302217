//! A filter that starts on a busy host keeps the connections that it allows, also those whose next
//! packet comes from the side that rules do not let open anything. They are read from the kernel, its
//! sockets and its conntrack, and get flows as if their opening packets had been seen. See
//! [`super::older_connections`] for what becomes of each.
//!
//! Once before the rules come into force, so that no packet of theirs is dropped, and once after, for
//! what opened in between. Which of them the rules allow is the data path's to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use sg_policy::{compile::Image, model::Role};
use tracing::{debug, info, warn};

use super::{cause::Cause, interface_plan::InterfacePlan, revision::Target, state::Owner};
use crate::{
    kernel::Kernel,
    observe::{conntrack::Tracked, sockets::Sockets},
};

/// Interfaces that a change filters for the first time.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// Slots of those in host role, by ifindex.
    pub(super) hosts: BTreeMap<u32, u16>,
    /// Slots of ports by the addresses behind them.
    pub(super) ports: BTreeMap<IpAddr, Vec<u16>>,
    /// Interfaces in host role that are filtered, these or others, by the address they have.
    pub(super) homes: BTreeMap<IpAddr, Vec<u32>>,
    /// Addresses of this host, on whatever interface.
    pub(super) own: BTreeSet<IpAddr>,
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
        if newcomers.is_empty() {
            return 0;
        }
        let sockets = self.own_sockets(newcomers);
        let seeds = newcomers.connections(&sockets, &self.tracked());
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

    fn own_sockets(&self, newcomers: &Newcomers) -> Sockets {
        if newcomers.hosts.is_empty() {
            return Sockets::default();
        }
        self.kernel.sockets().unwrap_or_else(|error| {
            warn!(%error, "sockets cannot be read: {PICKUP}");
            Sockets::default()
        })
    }

    fn tracked(&self) -> Vec<Tracked> {
        match self.kernel.tracked() {
            Ok(tracked) => return tracked,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                warn!(%error, "the kernel's conntrack cannot be read: {PICKUP}");
            }
            Err(error) => debug!(%error, "no conntrack in this kernel"),
        }
        Vec::new()
    }

    /// Takes seeds back that did not come to anything.
    pub(super) fn forget(&mut self, newcomers: &Newcomers) {
        self.kernel.release(&newcomers.slots());
    }
}

const PICKUP: &str = "of older connections, only those whose next packet the rules allow go on";

impl Newcomers {
    fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.ports.is_empty()
    }

    fn slots(&self) -> Vec<u16> {
        self.hosts.values().chain(self.ports.values().flatten()).copied().collect()
    }
}
