//! Which network interface is which device of this host. Pure.
//!
//! A network interface claims a device by its tag `sg:bind`; a device claims a network interface by its
//! alias, where the host's record admits that. Each network interface and each device has one binding at
//! most. A binding in force stays while its claim holds. Then the tag that the store saw first has
//! precedence, then aliases by the device's name.

use std::collections::{BTreeMap, BTreeSet};

use sg_store::{
    HostName, InterfaceId, Key, Revision, Snapshot, Versioned,
    objects::{Claims, Host, InterfaceRole, NetworkInterface},
};

/// A device of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// Empty where there is none.
    pub alias: String,
}

/// Admission by this host, beside its record in the store.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    pub host: &'a HostName,
    /// Devices that the default route leads through, or once led through. Without a word of the host's
    /// record they are not bound, so that a route that comes and goes binds nothing.
    pub uplinks: &'a BTreeSet<String>,
    /// Whether agent.toml has a floor; a network interface in host role is not bound without one.
    pub has_floor: bool,
}

/// Bindings by device, and why other claims bind nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    pub by_device: BTreeMap<String, InterfaceId>,
    /// A fault for each claim that binds nothing; the device where one is named.
    pub faults: Vec<(Option<String>, String)>,
    /// Devices whose alias names a network interface that cannot be read and has no earlier state.
    pub closed: BTreeSet<String>,
}

/// A claim that this host admits. The order is that of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    is_alias: bool,
    /// When the store saw the tag; 0 for an alias.
    since: Revision,
    device: String,
    interface: InterfaceId,
}

/// Decides over every claim. `past`: the bindings in force.
pub fn bind(
    snapshot: &Snapshot,
    own: Own<'_>,
    devices: &[Device],
    past: &BTreeMap<String, InterfaceId>,
) -> Bindings {
    let mut bindings = Bindings::default();
    let host =
        snapshot.all::<Host>().find(|host| host.name == *own.host).map(|host| host.object.clone());
    let admission = Admission { own, host: host.as_ref(), past };
    let mut claims = BTreeSet::new();
    let mut take = |claim: Claim, refusal: Option<String>| match refusal {
        None => {
            claims.insert(claim);
        }
        Some(reason) => bindings.faults.push((Some(claim.device), reason)),
    };
    for interface in snapshot.all::<NetworkInterface>() {
        let Some(bind) = interface.bind.as_ref().filter(|bind| bind.host == *own.host) else {
            continue;
        };
        let claim = Claim {
            is_alias: false,
            since: interface.bound_at(interface.mod_revision).unwrap_or_default(),
            device: bind.interface.clone(),
            interface: interface.id,
        };
        // A device that is not there yet has its rules before its first packet.
        take(claim, admission.refusal(interface, &bind.interface, false));
    }
    let mut closed = BTreeSet::new();
    for device in devices {
        let Ok(id) = device.alias.parse::<InterfaceId>() else { continue };
        let claim = Claim {
            is_alias: true,
            since: Revision(0),
            device: device.name.clone(),
            interface: id,
        };
        let refusal = match snapshot.interface(id) {
            None if is_unusable(snapshot, id) => {
                closed.insert(device.name.clone());
                Some(format!("the alias names {id}, whose record cannot be read: it is isolated"))
            }
            None => Some(format!("the alias names {id}, and there is no such network interface")),
            Some(interface) => admission.refusal(interface, &device.name, true),
        };
        take(claim, refusal);
    }
    bindings.closed = closed;
    settle(claims, past, &mut bindings);
    bindings
}

/// Whether the newest document of a network interface cannot be used.
fn is_unusable(snapshot: &Snapshot, id: InterfaceId) -> bool {
    let is_of = |key: &str| matches!(key.parse(), Ok(Key::Interface(_, of)) if of == id);
    snapshot.unusable().any(|unusable| is_of(&unusable.key))
}

/// Gives each device and each network interface to one claim.
fn settle(claims: BTreeSet<Claim>, past: &BTreeMap<String, InterfaceId>, bindings: &mut Bindings) {
    let is_in_force = |claim: &Claim| past.get(&claim.device) == Some(&claim.interface);
    let (in_force, new): (Vec<_>, Vec<_>) = claims.into_iter().partition(is_in_force);
    let mut bound = BTreeMap::new();
    for claim in in_force.into_iter().chain(new) {
        let Claim { device, interface, .. } = claim;
        match (bindings.by_device.get(&device), bound.get(&interface)) {
            // The same by tag and by alias.
            (Some(holder), _) if *holder == interface => {}
            (Some(holder), _) => bindings.faults.push((
                Some(device.clone()),
                format!("{interface} claims {device}, which is bound to {holder}"),
            )),
            (None, Some(holder)) => bindings.faults.push((
                Some(device.clone()),
                format!("{device} claims {interface}, which is bound to {holder}"),
            )),
            (None, None) => {
                bound.insert(interface, device.clone());
                bindings.by_device.insert(device, interface);
            }
        }
    }
}

/// Admission by the host's record.
struct Admission<'a> {
    own: Own<'a>,
    host: Option<&'a Host>,
    past: &'a BTreeMap<String, InterfaceId>,
}

impl Admission<'_> {
    /// Why a claim binds nothing; `None` where it is admitted.
    fn refusal(
        &self,
        interface: Versioned<'_, NetworkInterface>,
        device: &str,
        is_alias: bool,
    ) -> Option<String> {
        let NetworkInterface { id, account, role, .. } = interface.object;
        let Some(host) = self.host else {
            return Some(format!("{id}: the store has no record of the host {}", self.own.host));
        };
        // The record names the first account, too: a host reads no accounts.
        if !host.accounts.admit(*account) {
            return Some(format!("{id} is of account {account}, which this host does not admit"));
        }
        if !self.may_bind(host, device, *id) {
            return Some(format!("{id}: this host's record does not admit the device {device}"));
        }
        if is_alias {
            let is_own = interface.host.as_ref() == Some(self.own.host);
            let admitted = match host.claims {
                Claims::Own => is_own,
                Claims::Any => true,
                Claims::None => false,
            };
            if !admitted {
                return Some(format!(
                    "the alias of {device} names {id}, whose tag sg:host does not name this host"
                ));
            }
        }
        if *role == InterfaceRole::Host && !self.own.has_floor {
            return Some(format!(
                "{id} has the role host, and agent.toml has no floor; `floor = []` says that none is wanted"
            ));
        }
        None
    }

    fn may_bind(&self, host: &Host, device: &str, interface: InterfaceId) -> bool {
        let Some(globs) = &host.interfaces else {
            // A route that comes later ends no binding: its end would isolate the device.
            let is_in_force = self.past.get(device) == Some(&interface);
            return is_in_force || !self.own.uplinks.contains(device);
        };
        let matches =
            |text: &String| glob::Pattern::new(text).is_ok_and(|pattern| pattern.matches(device));
        globs.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::control::samples::{self, ENI_A, ENI_B, host, interface};

    const H1: &str = "h1";

    fn device(name: &str, alias: &str) -> Device {
        Device { name: name.to_owned(), alias: alias.to_owned() }
    }

    fn uplinks() -> BTreeSet<String> {
        ["eth0".to_owned()].into()
    }

    fn bound(snapshot: &Snapshot, devices: &[Device], past: &[(&str, &str)]) -> (String, usize) {
        let name = H1.parse().unwrap();
        let own = Own { host: &name, uplinks: &uplinks(), has_floor: false };
        let past =
            past.iter().map(|(device, id)| ((*device).to_owned(), id.parse().unwrap())).collect();
        let bindings = bind(snapshot, own, devices, &past);
        let shown: Vec<String> = bindings
            .by_device
            .iter()
            .map(|(device, id)| {
                format!("{device}={}", if id.to_string() == ENI_A { "A" } else { "B" })
            })
            .collect();
        (shown.join(" "), bindings.faults.len())
    }

    #[test]
    fn a_tag_binds_a_device_before_it_is_there() {
        let mut a = interface(ENI_A);
        a.bind = Some("h1/tap0".parse().unwrap());
        let snapshot = samples::snapshot([host(H1).into(), a.into()]);
        assert_eq!(bound(&snapshot, &[device("tap0", "")], &[]), ("tap0=A".to_owned(), 0));
        assert_eq!(bound(&snapshot, &[device("tap1", "")], &[]), ("tap0=A".to_owned(), 0));
    }

    #[test]
    fn an_alias_binds_what_names_this_host() {
        let mut a = interface(ENI_A);
        a.host = Some(H1.parse().unwrap());
        let b = interface(ENI_B);
        let devices = [device("tap0", ENI_A), device("tap1", ENI_B), device("tap2", "eni-zz")];
        let snapshot = samples::snapshot([host(H1).into(), a.clone().into(), b.clone().into()]);
        assert_eq!(bound(&snapshot, &devices, &[]), ("tap0=A".to_owned(), 1));
        let mut any = host(H1);
        any.claims = Claims::Any;
        let snapshot = samples::snapshot([any.into(), a.clone().into(), b.clone().into()]);
        assert_eq!(bound(&snapshot, &devices, &[]), ("tap0=A tap1=B".to_owned(), 0));
        let mut none = host(H1);
        none.claims = Claims::None;
        let snapshot = samples::snapshot([none.into(), a.into(), b.into()]);
        assert_eq!(bound(&snapshot, &devices, &[]), (String::new(), 2));
    }

    #[test]
    fn of_two_claims_the_one_in_force_stays_then_the_first_tag() {
        let (mut a, mut b) = (interface(ENI_A), interface(ENI_B));
        a.bind = Some("h1/tap0".parse().unwrap());
        b.bind = Some("h1/tap0".parse().unwrap());
        a.bound_revision = Some(Revision(9));
        b.bound_revision = Some(Revision(7));
        let snapshot = samples::snapshot([host(H1).into(), a.into(), b.into()]);
        let devices = [device("tap0", "")];
        assert_eq!(bound(&snapshot, &devices, &[]), ("tap0=B".to_owned(), 1));
        assert_eq!(bound(&snapshot, &devices, &[("tap0", ENI_A)]), ("tap0=A".to_owned(), 1));
    }

    #[test]
    fn a_device_of_a_record_that_cannot_be_read_is_closed() {
        let mut snapshot = samples::snapshot([host(H1).into()]);
        let key = Key::Interface(samples::VPC, ENI_A.parse().unwrap()).to_string();
        snapshot.put(&key, b"{", Revision(11), Revision(11));
        let name = H1.parse().unwrap();
        let own = Own { host: &name, uplinks: &uplinks(), has_floor: false };
        let devices = [device("tap0", ENI_A), device("tap1", ENI_B)];
        let bindings = bind(&snapshot, own, &devices, &BTreeMap::new());
        assert_eq!(bindings.closed, ["tap0".to_owned()].into());
        assert_eq!(bindings.faults.len(), 2);
    }

    #[test]
    fn one_network_interface_has_one_device() {
        let mut a = interface(ENI_A);
        a.host = Some(H1.parse().unwrap());
        let snapshot = samples::snapshot([host(H1).into(), a.into()]);
        let devices = [device("tap0", ENI_A), device("tap1", ENI_A)];
        assert_eq!(bound(&snapshot, &devices, &[]), ("tap0=A".to_owned(), 1));
        assert_eq!(bound(&snapshot, &devices, &[("tap1", ENI_A)]), ("tap1=A".to_owned(), 1));
    }

    #[test]
    fn the_record_says_who_may_bind_which_devices() {
        let mut stranger = interface(ENI_A);
        stranger.account = sg_policy::id::AccountId(2);
        stranger.bind = Some("h1/tap0".parse().unwrap());
        let snapshot = samples::snapshot([host(H1).into(), stranger.clone().into()]);
        assert_eq!(bound(&snapshot, &[device("tap0", "")], &[]), (String::new(), 1));
        let mut open = host(H1);
        open.accounts = sg_store::objects::AdmittedAccounts::All;
        let snapshot = samples::snapshot([open.into(), stranger.into()]);
        assert_eq!(bound(&snapshot, &[device("tap0", "")], &[]), ("tap0=A".to_owned(), 0));

        let mut uplink = interface(ENI_A);
        uplink.bind = Some("h1/eth0".parse().unwrap());
        let snapshot = samples::snapshot([host(H1).into(), uplink.clone().into()]);
        assert_eq!(bound(&snapshot, &[device("eth0", "")], &[]), (String::new(), 1));
        assert_eq!(bound(&snapshot, &[], &[("eth0", ENI_A)]), ("eth0=A".to_owned(), 0), "kept");
        let mut named = host(H1);
        named.interfaces = Some(vec!["eth*".to_owned()]);
        let snapshot = samples::snapshot([named.into(), uplink.into()]);
        assert_eq!(bound(&snapshot, &[device("eth0", "")], &[]), ("eth0=A".to_owned(), 0));
    }

    #[test]
    fn host_role_needs_a_floor() {
        let mut a = interface(ENI_A);
        a.role = InterfaceRole::Host;
        a.bind = Some("h1/eth1".parse().unwrap());
        let snapshot = samples::snapshot([host(H1).into(), a.into()]);
        assert_eq!(bound(&snapshot, &[device("eth1", "")], &[]), (String::new(), 1));
        let name = H1.parse().unwrap();
        let own = Own { host: &name, uplinks: &uplinks(), has_floor: true };
        let bindings = bind(&snapshot, own, &[device("eth1", "")], &BTreeMap::new());
        assert_eq!(bindings.by_device.len(), 1);
    }
}
