//! How the host stands to its control plane, for `status`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use sg_store::{EpochId, Revision};

use super::desired::DeviceState;
use crate::{
    api::{ControlStatus, Counters, FilterState, FlowUse, InterfaceStatus, Status},
    observe::devices::Device,
};

/// Shared by the follower, which writes it, and the local socket, which reads it.
#[derive(Clone, Debug)]
pub struct Condition(Arc<Mutex<Known>>);

/// All that `status` shows.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub source: String,
    pub is_connected: bool,
    pub epoch: Option<EpochId>,
    pub revision: Revision,
    pub enforced: Revision,
    pub last_contact: Option<Instant>,
    pub faults: Vec<String>,
    pub devices: Vec<Device>,
    /// By the name of an entry, which may be a glob.
    pub states: BTreeMap<String, DeviceState>,
}

impl Condition {
    pub fn new(source: String) -> Self {
        Self(Arc::new(Mutex::new(Known { source, ..Known::default() })))
    }

    pub fn update(&self, update: impl FnOnce(&mut Known)) {
        update(&mut self.lock());
    }

    /// Where the rules of the host come from.
    pub fn source(&self) -> String {
        self.lock().source.clone()
    }

    /// Says in a status how the host stands to its control plane, and adds devices without rules.
    pub fn annotate(&self, status: &mut Status) {
        let known = self.lock().clone();
        for interface in &mut status.interfaces {
            if interface.state == FilterState::Filtered {
                interface.state = known.state_of(&interface.name);
            }
        }
        for device in &known.devices {
            let is_shown = |shown: &InterfaceStatus| shown.name == device.name;
            if device.name != "lo" && !status.interfaces.iter().any(is_shown) {
                status.interfaces.push(unfiltered(device));
            }
        }
        status.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        status.control = Some(ControlStatus {
            source: known.source,
            connected: known.is_connected,
            epoch: known.epoch.map(|epoch| epoch.to_string()),
            revision: known.revision.0,
            enforced_revision: known.enforced.0,
            staleness_s: known.last_contact.map(|contact| contact.elapsed().as_secs()),
            faults: known.faults,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Known {
    /// The state of a device that an entry filters.
    fn state_of(&self, device: &str) -> FilterState {
        let matches =
            |name: &String| glob::Pattern::new(name).is_ok_and(|pattern| pattern.matches(device));
        let globs = || self.states.iter().filter(|(name, _)| matches(name)).map(|(_, state)| state);
        // A file's globs come before closed ones, as in the rules that are in force.
        let state =
            self.states.get(device).or_else(|| globs().min_by_key(|state| is_closed(state)));
        match state {
            Some(DeviceState::Isolated | DeviceState::Closed) => FilterState::Isolated,
            Some(DeviceState::Held) => FilterState::Held,
            Some(DeviceState::Bound(_)) | None => FilterState::Filtered,
        }
    }
}

fn is_closed(state: &DeviceState) -> bool {
    *state == DeviceState::Closed
}

fn unfiltered(device: &Device) -> InterfaceStatus {
    InterfaceStatus {
        name: device.name.clone(),
        ifindex: device.ifindex,
        role: String::new(),
        state: FilterState::Unfiltered,
        fault: None,
        datapath: "none".to_owned(),
        datapath_reason: "not filtered: it was never bound".to_owned(),
        others: Vec::new(),
        groups: Vec::new(),
        ingress: Counters::default(),
        egress: Counters::default(),
        flows: FlowUse::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_the_state_of_every_device() {
        let condition = Condition::new("unix:/feed.sock".to_owned());
        let device = |name: &str| Device { name: name.to_owned(), ..Device::default() };
        condition.update(|known| {
            known.devices =
                ["lo", "eth0", "tap0", "tap1", "tap2", "old1", "vnet3"].map(device).into();
            known.states = [
                ("tap0", DeviceState::Bound(sg_store::InterfaceId(1))),
                ("tap1", DeviceState::Isolated),
                ("tap2", DeviceState::Held),
                ("vnet*", DeviceState::Closed),
                ("old*", DeviceState::Held),
                ("o*", DeviceState::Closed),
            ]
            .map(|(name, state)| (name.to_owned(), state))
            .into();
        });
        let row = |name: &str, state| InterfaceStatus { state, ..unfiltered(&device(name)) };
        let mut interfaces: Vec<_> =
            ["tap1", "tap2", "old1", "vnet3"].map(|name| row(name, FilterState::Filtered)).into();
        interfaces.push(row("tap0", FilterState::Fault));
        let mut status = Status {
            version: String::new(),
            pid: 1,
            revision: 1,
            kernel: String::new(),
            confirm_until: None,
            rules: 0,
            interfaces,
            control: None,
        };
        condition.annotate(&mut status);
        let states: Vec<_> =
            status.interfaces.iter().map(|it| (it.name.as_str(), it.state)).collect();
        assert_eq!(
            states,
            [
                ("eth0", FilterState::Unfiltered),
                ("old1", FilterState::Held),
                ("tap0", FilterState::Fault),
                ("tap1", FilterState::Isolated),
                ("tap2", FilterState::Held),
                ("vnet3", FilterState::Isolated),
            ]
        );
        let control = status.control.expect("control mode");
        assert_eq!((control.source.as_str(), control.staleness_s), ("unix:/feed.sock", None));
    }
}
