//! Makes this host's rules from objects, devices and earlier bindings. The result goes to the
//! owner.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use sg_api::feed::Bound;
use sg_policy::rules::Floor;
use sg_store::Snapshot;

use super::{
    claims::{self, Bindings, Own},
    desired::{Desired, DeviceState, Local, desired},
    disk::Disk,
    past::Past,
};
use crate::{
    config::control::Control,
    observe::devices::Device,
    owner::{
        command::{Actor, Change, Command, Replacement},
        mailbox::{Ending, Mailbox, Request},
        unfiltered::Guard,
    },
};

/// Turns a snapshot into this host's state.
#[derive(Debug)]
pub struct Host {
    settings: Control,
    floor: Floor,
    agent: Mailbox,
    pub past: Past,
    /// The devices' states in the last state that was built.
    pub states: BTreeMap<String, DeviceState>,
    pub bound: Vec<Bound>,
    pub faults: Vec<String>,
}

/// Why a state is not enforced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Ending(#[from] Ending),
    #[error("{0}")]
    Refused(String),
}

impl Host {
    pub fn new(settings: Control, agent: Mailbox, past: Past) -> Self {
        let floor = settings.floor.clone().unwrap_or_default();
        Self {
            settings,
            floor,
            agent,
            past,
            states: BTreeMap::new(),
            bound: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Has the state enforced that a snapshot means for these devices. It is durable then, with the
    /// bindings.
    ///
    /// # Errors
    /// The state before is enforced, with its bindings.
    pub async fn enforce(
        &mut self,
        snapshot: &Snapshot,
        devices: &[Device],
        disk: &Disk,
    ) -> Result<(), Error> {
        let before = self.past.clone();
        let done = self.try_to_enforce(snapshot, devices, disk).await;
        if done.is_err() && self.past != before {
            // A device that was never filtered is not isolated when such a binding ends.
            self.past = before;
            self.save_past(disk)?;
        }
        done
    }

    async fn try_to_enforce(
        &mut self,
        snapshot: &Snapshot,
        devices: &[Device],
        disk: &Disk,
    ) -> Result<(), Error> {
        let since = Instant::now();
        let bindings = self.bind(snapshot, devices);
        self.remember(&bindings, disk).await?;
        let desired = self.desired(snapshot, &bindings, devices);
        let Desired { state, devices: states, observed, faults } = desired;
        self.bound = bound(snapshot, &bindings, devices, &observed);
        self.faults = bindings.faults.into_iter().map(|(_, fault)| fault).chain(faults).collect();
        self.states = states;
        let actor = Actor {
            name: format!("control plane, revision {}", snapshot.revision()),
            guard: Guard::default(),
        };
        let change = Change::Replace(Replacement::state(Arc::new(state)));
        let command = Command { actor, change, confirm: None, expected_revision: None };
        let done = self.agent.command(command, since).await?;
        done.map(drop).map_err(|error| Error::Refused(error.to_string()))
    }

    fn bind(&self, snapshot: &Snapshot, devices: &[Device]) -> Bindings {
        let own = Own {
            host: &self.settings.host,
            uplinks: self.past.uplinks(),
            has_floor: self.settings.floor.is_some(),
        };
        let devices: Vec<claims::Device> = devices
            .iter()
            .map(|device| claims::Device { name: device.name.clone(), alias: device.alias.clone() })
            .collect();
        claims::bind(snapshot, own, &devices, self.past.bound())
    }

    /// Has new bindings on the disk before they are in force, so that their end opens nothing even
    /// when the agent does not see it.
    async fn remember(&mut self, bindings: &Bindings, disk: &Disk) -> Result<(), Error> {
        let in_force = self.agent.ask(Request::Present).await?;
        if self.past.take(bindings, &in_force.state) {
            self.save_past(disk)?;
        }
        Ok(())
    }

    /// # Errors
    /// The disk does not take it.
    pub fn save_past(&self, disk: &Disk) -> Result<(), Error> {
        let saved = disk.write_past(&self.past);
        saved.map_err(|error| Error::Refused(format!("cannot write the bindings: {error}")))
    }

    fn desired(&self, snapshot: &Snapshot, bindings: &Bindings, devices: &[Device]) -> Desired {
        let addresses =
            devices.iter().map(|device| (device.name.clone(), device.addresses.clone())).collect();
        let local = Local {
            floor: (&self.floor.ingress, &self.floor.egress),
            datapath: self.settings.datapath,
            addresses: &addresses,
            closed: &self.settings.closed,
        };
        desired(snapshot, bindings, &self.past, local)
    }
}

/// Bindings of devices that are there, as the server wants to know them.
fn bound(
    snapshot: &Snapshot,
    bindings: &Bindings,
    devices: &[Device],
    observed: &BTreeMap<String, Vec<std::net::IpAddr>>,
) -> Vec<Bound> {
    let there: BTreeSet<&str> = devices.iter().map(|device| device.name.as_str()).collect();
    let bindings = bindings.by_device.iter().filter(|(device, _)| there.contains(device.as_str()));
    let one = |(device, id): (&String, &sg_store::InterfaceId)| {
        let interface = snapshot.interface(*id)?;
        Some(Bound {
            interface: id.to_string(),
            vpc: interface.vpc.to_string(),
            device: device.clone(),
            observed: observed.get(device).cloned().unwrap_or_default(),
        })
    };
    bindings.filter_map(one).collect()
}
