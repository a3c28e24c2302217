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
    datapath::{Adopted, AdoptedConnection, Opens},
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
    /// Addresses of this host, on any interface.
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
        if !matches!(cause, Cause::Start | Cause::Apply) {
            return Newcomers::default();
        }
        let is_new = |ifindex, generation| self.kept(ifindex, generation).is_none();
        self.newcomers_where(target, plan, is_new)
    }

    /// Interfaces that `is_new` says, of an ifindex and the interface's generation.
    fn newcomers_where(
        &self,
        target: &Target,
        plan: &InterfacePlan,
        is_new: impl Fn(u32, u64) -> bool,
    ) -> Newcomers {
        let mut newcomers = Newcomers::default();
        let interfaces = plan.interfaces.iter().filter_map(|(&ifindex, planned)| {
            let entry = &target.active.state.interfaces[planned.entry?];
            Some((ifindex, self.view.get(&ifindex)?, planned.slot, entry))
        });
        for (ifindex, interface, slot, entry) in interfaces.clone() {
            if !is_new(ifindex, interface.generation) {
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

    /// Gives flows to the connections that are there now, and cuts TCP that no rule lets open; how many
    /// lanes of the flow table have changed.
    pub(super) fn seed(&self, newcomers: &Newcomers, image: &Image) -> u64 {
        self.adopt(&self.older_connections(newcomers), image)
    }

    /// Cuts what no rule lets open, on all interfaces: flows were forgotten, and pickup has begun anew.
    pub(super) fn seed_denied(&self, image: &Image) {
        let plan = self.plan_interfaces(&self.target, Cause::Flush);
        let newcomers = self.newcomers_where(&self.target, &plan, |_, _| true);
        let mut connections = self.older_connections(&newcomers);
        connections
            .retain(|connection| self.kernel.judge(image, &connection.opening) == Opens::Denied);
        self.adopt(&connections, image);
    }

    fn older_connections(&self, newcomers: &Newcomers) -> Vec<AdoptedConnection> {
        if newcomers.is_empty() {
            return Vec::new();
        }
        newcomers.connections(&self.own_sockets(newcomers), &self.tracked())
    }

    fn adopt(&self, connections: &[AdoptedConnection], image: &Image) -> u64 {
        if connections.is_empty() {
            return 0;
        }
        let adopted = self.kernel.adopt(image, connections).unwrap_or_else(|error| {
            warn!(%error, "the flow table takes no older connections: {PICKUP}");
            Adopted::default()
        });
        let Adopted { kept, cut } = adopted;
        if kept > 0 {
            info!(connections = kept, "kept from before the filter");
        }
        if cut > 0 {
            info!(connections = cut, "cut: opened before the filter, and no rule lets them open");
        }
        kept + cut
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
