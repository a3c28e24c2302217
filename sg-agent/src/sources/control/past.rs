//! Earlier bindings: unbinding never opens anything, over restarts and boots. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sg_policy::{
    DesiredState,
    id::GroupId,
    model::{Interface, Role, SecurityGroup},
};
use sg_store::{EpochId, InterfaceId};

use super::claims::Bindings;

/// Bindings in force, and devices that were bound once. It is kept on the host's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// The binding of each device.
    bound: BTreeMap<String, InterfaceId>,
    unbound: BTreeMap<String, Unbound>,
    /// The rules from before the control plane: their interfaces stay filtered as they are.
    file: Option<Arc<DesiredState>>,
    /// Devices that the default route leads through, or once led through.
    uplinks: BTreeSet<String>,
    /// The store that all of this is of.
    epoch: Option<EpochId>,
}

/// State of a device whose binding has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unbound {
    /// It was in port role: nothing passes but what always passes.
    Isolated,
    /// It was in host role: its last rules stay, in a group of their own.
    Held { entry: Arc<Interface>, group: Arc<SecurityGroup> },
}

impl Past {
    pub fn bound(&self) -> &BTreeMap<String, InterfaceId> {
        &self.bound
    }

    pub fn unbound(&self) -> &BTreeMap<String, Unbound> {
        &self.unbound
    }

    /// Takes new bindings. A device whose binding has ended is isolated, or held with its rules of
    /// `in_force`, the state that is enforced now. Returns whether anything changed.
    pub fn take(&mut self, bindings: &Bindings, in_force: &DesiredState) -> bool {
        let before = self.clone();
        for device in before.bound.keys() {
            if !bindings.by_device.contains_key(device) {
                let unbound = ended(device, in_force);
                self.unbound.insert(device.clone(), unbound);
            }
        }
        for device in &bindings.closed {
            self.unbound.entry(device.clone()).or_insert(Unbound::Isolated);
        }
        for device in bindings.by_device.keys() {
            self.unbound.remove(device);
        }
        self.bound.clone_from(&bindings.by_device);
        *self != before
    }

    /// On entering control mode: the interfaces of these rules stay filtered as they are.
    pub fn keep(&mut self, rules: Arc<DesiredState>) {
        self.file = Some(rules).filter(|rules| !rules.interfaces.is_empty());
    }

    /// The rules from before the control plane.
    pub fn file(&self) -> Option<&DesiredState> {
        self.file.as_deref()
    }

    pub fn uplinks(&self) -> &BTreeSet<String> {
        &self.uplinks
    }

    /// Takes devices of the default route in. They stay.
    pub fn add_uplinks(&mut self, devices: impl IntoIterator<Item = String>) {
        self.uplinks.extend(devices);
    }

    pub fn epoch(&self) -> Option<EpochId> {
        self.epoch
    }

    pub fn set_epoch(&mut self, epoch: Option<EpochId>) {
        self.epoch = epoch;
    }

    /// Isolates a device until it is bound.
    pub fn isolate(&mut self, device: &str) {
        self.unbound.insert(device.to_owned(), Unbound::Isolated);
    }

    /// Ends the filtering of a device that is not bound. Returns whether it was filtered.
    pub fn release(&mut self, device: &str) -> bool {
        self.unbound.remove(device).is_some()
    }
}

fn ended(device: &str, in_force: &DesiredState) -> Unbound {
    let entry = in_force.interfaces.iter().find(|entry| entry.name == device);
    match entry {
        Some(entry) if entry.role == Role::Host => held(device, entry, in_force),
        // Where nothing is known of it, closed is the answer.
        _ => Unbound::Isolated,
    }
}

/// The rules of all groups of an entry, in one group that nobody changes. Peers stay what they are.
fn held(device: &str, entry: &Interface, in_force: &DesiredState) -> Unbound {
    let mut group = SecurityGroup::named(&format!("sg:held/{device}"));
    for id in &entry.groups {
        if let Some(known) = in_force.group(*id) {
            group.ingress.extend(known.ingress.iter().cloned());
            group.egress.extend(known.egress.iter().cloned());
        }
    }
    let groups: Vec<GroupId> = vec![group.id];
    let entry = Interface { name: device.to_owned(), groups, ..entry.clone() };
    Unbound::Held { entry: Arc::new(entry), group: Arc::new(group) }
}

#[cfg(test)]
mod tests {
    use sg_policy::rules;

    use super::*;

    const RULES: &str = r#"
        [[security_group]]
        name = "web"
        ingress = [{ protocol = "tcp", ports = 80, cidrs = ["0.0.0.0/0"] }]
        [[security_group]]
        name = "ssh"
        ingress = [{ protocol = "tcp", ports = 22, cidrs = ["10.0.0.0/8"] }]
        [[interface]]
        name = "eth1"
        role = "host"
        groups = ["web", "ssh"]
        [[interface]]
        name = "tap*"
        role = "port"
        groups = ["web"]
    "#;

    fn in_force() -> DesiredState {
        rules::parse("rules.toml", RULES.as_bytes()).expect("valid rules")
    }

    fn bindings(devices: &[&str]) -> Bindings {
        let by_device =
            devices.iter().map(|device| ((*device).to_owned(), InterfaceId(1))).collect();
        Bindings { by_device, ..Bindings::default() }
    }

    #[test]
    fn the_end_of_a_binding_isolates_a_port_and_holds_a_host() {
        let mut past = Past::default();
        assert!(past.take(&bindings(&["eth1", "tap0"]), &DesiredState::default()));
        assert!(!past.take(&bindings(&["eth1", "tap0"]), &in_force()), "nothing new");
        assert!(past.take(&bindings(&[]), &in_force()));
        assert_eq!(past.unbound()["tap0"], Unbound::Isolated);
        let Unbound::Held { entry, group } = &past.unbound()["eth1"] else { panic!("held") };
        assert_eq!((group.ingress.len(), &entry.groups), (2, &vec![group.id]));
        assert!(past.take(&bindings(&["tap0"]), &in_force()), "bound anew");
        assert!(!past.unbound().contains_key("tap0"));
    }

    #[test]
    fn the_rules_of_a_file_are_kept_where_they_filter_something() {
        let mut past = Past::default();
        past.keep(Arc::default());
        assert_eq!(past.file(), None);
        past.keep(Arc::new(in_force()));
        assert_eq!(past.file(), Some(&in_force()));
    }

    #[test]
    fn a_device_that_must_be_closed_is_isolated_and_held_ones_stay_held() {
        let mut past = Past::default();
        past.take(&bindings(&["eth1"]), &in_force());
        let closed = ["eth1".to_owned(), "tap3".to_owned()].into();
        past.take(&Bindings { closed, ..Bindings::default() }, &in_force());
        assert_eq!(past.unbound()["tap3"], Unbound::Isolated);
        assert!(matches!(past.unbound()["eth1"], Unbound::Held { .. }));
        assert!(past.release("tap3") && !past.release("tap3"));
    }

    #[test]
    fn it_survives_the_disk() {
        let mut past = Past::default();
        past.keep(Arc::new(in_force()));
        past.take(&bindings(&["eth1", "tap0"]), &in_force());
        past.take(&bindings(&["tap0"]), &in_force());
        past.add_uplinks(["eth0".to_owned()]);
        past.set_epoch(Some(EpochId(7)));
        let text = serde_json::to_string(&past).expect("JSON");
        assert_eq!(serde_json::from_str::<Past>(&text).expect("the same"), past);
    }
}
