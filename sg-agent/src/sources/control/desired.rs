//! The desired state of this host, from the objects of the control plane. Pure.
//!
//! Only objects that this host needs go in: the groups of its bound devices with their rules, and the groups
//! and prefix lists that these rules name. Members of such groups go in, too. A change elsewhere in a
//! large store changes nothing here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use sg_policy::{
    DesiredState,
    id::{GroupId, PrefixListId, Scope},
    model::{
        DatapathChoice, FilterSettings, Interface, OnRevoke, Peer, PrefixEntry, PrefixList, Role,
        Rule, SecurityGroup, Tracking,
    },
    shared::Shared,
};
use sg_store::{
    InterfaceId, Key, Snapshot,
    objects::{
        self, BlobPart, BlobReference, GroupRule, InterfaceRole, ListEntries, ListEntry,
        NetworkInterface, ObservedAddresses, RevokeMode,
    },
};

use super::{
    claims::Bindings,
    past::{Past, Unbound},
};

/// Additions of agent.toml.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Rules that hold on every interface in host role, ingress then egress.
    pub floor: (&'a [Rule], &'a [Rule]),
    pub datapath: DatapathChoice,
    /// Addresses of each device, as the kernel has them.
    pub addresses: &'a BTreeMap<String, Vec<IpAddr>>,
    /// Globs of devices that are isolated until they are bound.
    pub closed: &'a [String],
}

/// State of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    Bound(InterfaceId),
    /// Nothing passes but what always passes.
    Isolated,
    /// The last rules stay.
    Held,
    /// The name is a glob of `[[closed]]`: devices that match it, and no other entry, are isolated.
    Closed,
}

/// The state, and the host's status of it.
#[derive(Clone, Debug)]
pub struct Desired {
    pub state: DesiredState,
    pub devices: BTreeMap<String, DeviceState>,
    /// Devices in host role whose own addresses are members, with these addresses.
    pub observed: BTreeMap<String, Vec<IpAddr>>,
    pub faults: Vec<String>,
}

/// The group without rules that isolated devices carry.
pub const ISOLATED: &str = "sg:isolated";
/// The group of the floor's rules.
pub const FLOOR: &str = "sg:floor";

/// Builds the state. `past` already knows the bindings.
pub fn desired(snapshot: &Snapshot, bindings: &Bindings, past: &Past, local: Local<'_>) -> Desired {
    let mut builder = Builder {
        snapshot,
        local,
        state: DesiredState::default(),
        wanted: BTreeSet::new(),
        devices: BTreeMap::new(),
        observed: BTreeMap::new(),
        faults: Vec::new(),
    };
    for (device, id) in &bindings.by_device {
        builder.bound(device, *id);
    }
    for (device, unbound) in past.unbound() {
        if !bindings.by_device.contains_key(device) {
            builder.unbound(device, unbound);
        }
    }
    if let Some(file) = past.file() {
        builder.file(file);
    }
    for glob in local.closed {
        if !builder.devices.contains_key(glob) {
            builder.isolated(glob, DeviceState::Closed);
        }
    }
    builder.groups();
    builder.finish()
}

struct Builder<'a> {
    snapshot: &'a Snapshot,
    local: Local<'a>,
    state: DesiredState,
    /// Groups whose rules judge packets here.
    wanted: BTreeSet<GroupId>,
    devices: BTreeMap<String, DeviceState>,
    observed: BTreeMap<String, Vec<IpAddr>>,
    faults: Vec<String>,
}

impl Builder<'_> {
    fn bound(&mut self, device: &str, id: InterfaceId) {
        // The binding was decided over this snapshot.
        let Some(interface) = self.snapshot.interface(id) else { return };
        let entry = self.entry(device, interface.object);
        self.wanted.extend(&entry.groups);
        self.state.interfaces.push(entry);
        self.devices.insert(device.to_owned(), DeviceState::Bound(id));
    }

    fn entry(&mut self, device: &str, interface: &NetworkInterface) -> Interface {
        let settings = self.snapshot.vpc(interface.vpc).map(|vpc| vpc.settings).unwrap_or_default();
        let on_revoke = match settings.on_revoke {
            RevokeMode::Keep => OnRevoke::Keep,
            RevokeMode::Cut => OnRevoke::Cut,
        };
        let filter = FilterSettings {
            related_icmp: settings.related_icmp,
            on_revoke,
            exempt_services: settings.exempt_services,
        };
        let mut tracking = Tracking { pickup: settings.pickup, ..Tracking::default() };
        let timeouts = interface.timeouts;
        for (place, seconds) in [
            (&mut tracking.tcp_established, timeouts.tcp_established),
            (&mut tracking.udp, timeouts.udp),
            (&mut tracking.udp_stream, timeouts.udp_stream),
        ] {
            *place = seconds.unwrap_or(*place);
        }
        let mut groups = interface.groups.clone();
        let mut addresses = interface.addresses.clone();
        let role = match interface.role {
            InterfaceRole::Port => Role::Port,
            InterfaceRole::Host => {
                groups.push(GroupId::of_name(FLOOR));
                let seen = self.seen(device, interface);
                addresses.extend(&seen);
                self.observed.insert(device.to_owned(), seen);
                Role::Host
            }
        };
        Interface {
            name: device.to_owned(),
            role,
            groups,
            source_check: role == Role::Port
                && interface.source_dest_check
                && !addresses.is_empty(),
            addresses,
            mac: interface.mac.map(|mac| mac.0),
            datapath: self.local.datapath,
            filter,
            tracking,
        }
    }

    /// Addresses of the device that count: inside the VPC's prefixes, and no other network interface's.
    fn seen(&self, device: &str, interface: &NetworkInterface) -> Vec<IpAddr> {
        let Some(vpc) = self.snapshot.vpc(interface.vpc) else { return Vec::new() };
        let counts = |address: &IpAddr| {
            let is_allowed = vpc.allowed.iter().any(|prefix| prefix.contains(address));
            let is_held = self
                .snapshot
                .interfaces_of(interface.vpc)
                .any(|other| other.addresses.contains(address));
            is_allowed && !is_held
        };
        let own = self.local.addresses.get(device).into_iter().flatten();
        own.copied().filter(counts).collect()
    }

    fn unbound(&mut self, device: &str, unbound: &Unbound) {
        match unbound {
            Unbound::Isolated => self.isolated(device, DeviceState::Isolated),
            Unbound::Held { entry, group } => {
                self.state.interfaces.push((**entry).clone());
                self.state.groups.push(Shared::new((**group).clone()));
                self.devices.insert(device.to_owned(), DeviceState::Held);
            }
        }
    }

    /// The rules from before the control plane. Their interfaces come behind those of bindings, and exact
    /// names before globs, so they filter only devices that are not bound.
    fn file(&mut self, file: &DesiredState) {
        for entry in file.interfaces.iter() {
            if !self.devices.contains_key(&entry.name) {
                self.state.interfaces.push(entry.clone());
                self.devices.insert(entry.name.clone(), DeviceState::Held);
            }
        }
        self.state.groups.extend(file.groups.iter().cloned());
        self.state.prefix_lists.extend(file.prefix_lists.iter().cloned());
    }

    fn isolated(&mut self, device: &str, state: DeviceState) {
        self.state.interfaces.push(Interface {
            name: device.to_owned(),
            role: Role::Port,
            groups: vec![GroupId::of_name(ISOLATED)],
            addresses: Vec::new(),
            mac: None,
            source_check: false,
            datapath: self.local.datapath,
            filter: FilterSettings::default(),
            tracking: Tracking::default(),
        });
        self.devices.insert(device.to_owned(), state);
    }

    /// The groups, then what their rules name.
    fn groups(&mut self) {
        for (name, (ingress, egress)) in [(ISOLATED, (&[][..], &[][..])), (FLOOR, self.local.floor)]
        {
            let mut group = SecurityGroup::named(name);
            group.ingress = ingress.to_vec();
            group.egress = egress.to_vec();
            self.wanted.remove(&group.id);
            self.state.groups.push(Shared::new(group));
        }
        for id in std::mem::take(&mut self.wanted) {
            match self.snapshot.group(id) {
                Some(group) => self.state.groups.push(Shared::new(model_of(group.object))),
                None => self
                    .faults
                    .push(format!("a bound interface has the group {id}, which the store lacks")),
            }
        }
        let mut peers = BTreeSet::new();
        let mut lists = BTreeSet::new();
        for group in &self.state.groups {
            for rule in group.ingress.iter().chain(&group.egress) {
                match rule.peer {
                    Peer::Cidr(_) => {}
                    Peer::Group(id) => {
                        peers.insert(id);
                    }
                    Peer::PrefixList(id) => {
                        lists.insert(id);
                    }
                }
            }
        }
        let known: BTreeSet<GroupId> = self.state.groups.iter().map(|group| group.id).collect();
        for id in peers.difference(&known) {
            // Only its members count here. One that is gone has none.
            let mut group = SecurityGroup::named("");
            if let Some(found) = self.snapshot.group(*id) {
                group.name.clone_from(&found.name);
                group.scope = Scope { account: found.account, vpc: found.vpc };
            }
            group.id = *id;
            self.state.groups.push(Shared::new(group));
        }
        self.members(&peers);
        // A file's lists are there already, with its groups.
        let known: BTreeSet<PrefixListId> =
            self.state.prefix_lists.iter().map(|list| list.id).collect();
        for id in lists.difference(&known) {
            self.list(*id);
        }
    }

    /// Network interfaces that are members of groups which rules name, and are no devices of this host.
    fn members(&mut self, peers: &BTreeSet<GroupId>) {
        let bound: BTreeSet<InterfaceId> = self
            .devices
            .values()
            .filter_map(|state| match state {
                DeviceState::Bound(id) => Some(*id),
                _ => None,
            })
            .collect();
        let mut seen: BTreeMap<InterfaceId, Vec<IpAddr>> = BTreeMap::new();
        for observed in self.snapshot.all::<ObservedAddresses>() {
            seen.entry(observed.interface).or_default().extend(&observed.addresses);
        }
        for interface in self.snapshot.all::<NetworkInterface>() {
            let groups: Vec<GroupId> =
                interface.groups.iter().copied().filter(|id| peers.contains(id)).collect();
            if groups.is_empty() || bound.contains(&interface.id) {
                continue;
            }
            let mut addresses = interface.addresses.clone();
            addresses.extend(seen.get(&interface.id).into_iter().flatten());
            if addresses.is_empty() {
                continue;
            }
            self.state.interfaces.push(Interface {
                // Longer than any name of a device.
                name: interface.id.to_string(),
                role: Role::Port,
                groups,
                addresses,
                mac: None,
                source_check: false,
                datapath: DatapathChoice::Auto,
                filter: FilterSettings::default(),
                tracking: Tracking::default(),
            });
        }
    }

    fn list(&mut self, id: PrefixListId) {
        // Copies in several VPCs are the same list.
        let found = self.snapshot.all::<objects::PrefixList>().find(|list| list.id == id);
        let mut list = PrefixList::named("");
        list.id = id;
        if let Some(found) = found {
            list.name.clone_from(&found.name);
            list.scope = Scope { account: found.account, vpc: found.used_in };
            list.max_entries = found.max_entries;
            list.family = Some(found.family);
            match entries_of(self.snapshot, found.object) {
                Ok(entries) => list.entries = Arc::new(entries),
                Err(fault) => self.faults.push(format!("{id}: {fault}")),
            }
        }
        self.state.prefix_lists.push(list);
    }

    fn finish(self) -> Desired {
        let Self { state, devices, observed, faults, .. } = self;
        Desired { state, devices, observed, faults }
    }
}

/// A group of the store, with its rules.
pub fn model_of(group: &objects::SecurityGroup) -> SecurityGroup {
    let rules = |rules: &[GroupRule]| rules.iter().map(rule_of).collect();
    SecurityGroup {
        id: group.id,
        scope: Scope { account: group.account, vpc: group.vpc },
        name: group.name.clone(),
        description: group.description.clone(),
        ingress: rules(&group.ingress),
        egress: rules(&group.egress),
        default_egress: false,
    }
}

fn rule_of(rule: &GroupRule) -> Rule {
    Rule {
        id: rule.id,
        services: rule.services,
        peer: rule.peer,
        description: rule.description.clone(),
    }
}

/// The entries of a list, from its record or from its blob.
fn entries_of(snapshot: &Snapshot, list: &objects::PrefixList) -> Result<Vec<PrefixEntry>, String> {
    let entries: Vec<ListEntry> = match &list.entries {
        ListEntries::Inline(entries) => entries.clone(),
        ListEntries::Blob(BlobReference { digest, parts }) => {
            let mut text = String::new();
            for part in 0..*parts {
                let key = Key::Blob(list.used_in, *digest, part);
                let part = snapshot.get::<BlobPart>(&key);
                text += &part.ok_or_else(|| format!("{key} is missing"))?.text;
            }
            serde_json::from_str(&text).map_err(|error| format!("its entries: {error}"))?
        }
    };
    let entry = |entry: ListEntry| PrefixEntry { cidr: entry.cidr, description: entry.description };
    Ok(entries.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use sg_policy::{
        id::RuleId,
        model::{PortRange, Services},
    };
    use sg_store::objects::{Object, Vpc, VpcSettings};

    use super::*;
    use crate::sources::control::samples::{self, ACCOUNT, ENI_A, ENI_B, VPC, host, interface};

    const WEB: GroupId = GroupId(0x100);
    const DB: GroupId = GroupId(0x200);

    fn group(id: GroupId, peer: Peer) -> objects::SecurityGroup {
        let rule = GroupRule {
            id: RuleId(id.0 + 1),
            services: Services::Tcp(PortRange { from: 80, to: 80 }),
            peer,
            description: String::new(),
            tags: Default::default(),
        };
        objects::SecurityGroup {
            id,
            account: ACCOUNT,
            region: "us-east-1".parse().unwrap(),
            vpc: VPC,
            name: id.to_string(),
            description: String::new(),
            ingress: vec![rule],
            egress: Vec::new(),
            tags: Default::default(),
        }
    }

    fn vpc() -> Vpc {
        Vpc {
            id: VPC,
            epoch: sg_store::EpochId(1),
            account: ACCOUNT,
            region: "us-east-1".parse().unwrap(),
            cidrs: Vec::new(),
            allowed: vec!["10.0.0.0/8".parse().unwrap()],
            is_default: true,
            settings: VpcSettings { on_revoke: RevokeMode::Cut, ..VpcSettings::default() },
            dns_support: true,
            dns_hostnames: false,
            tags: Default::default(),
        }
    }

    fn build(
        objects: Vec<Object>,
        bound: &[(&str, &str)],
        past: &Past,
        addresses: &[(&str, &str)],
        closed: &[&str],
    ) -> Desired {
        let snapshot = samples::snapshot(objects);
        let by_device =
            bound.iter().map(|(device, id)| ((*device).to_owned(), id.parse().unwrap())).collect();
        let bindings = Bindings { by_device, ..Bindings::default() };
        let addresses = addresses
            .iter()
            .map(|(device, address)| ((*device).to_owned(), vec![address.parse().unwrap()]))
            .collect();
        let floor = [Rule {
            id: RuleId(7),
            services: Services::All,
            peer: Peer::Cidr("192.0.2.0/24".parse().unwrap()),
            description: String::new(),
        }];
        let local = Local {
            floor: (&floor, &[]),
            datapath: DatapathChoice::Auto,
            addresses: &addresses,
            closed: &closed.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(),
        };
        desired(&snapshot, &bindings, past, local)
    }

    fn names(desired: &Desired) -> Vec<&str> {
        desired.state.interfaces.iter().map(|entry| entry.name.as_str()).collect()
    }

    /// A bound to tap0 carries WEB, whose rule names DB; B carries DB, on another host.
    fn two_tiers() -> Vec<Object> {
        let (mut a, mut b) = (interface(ENI_A), interface(ENI_B));
        a.groups = vec![WEB];
        b.groups = vec![DB, WEB];
        b.addresses = vec!["10.0.0.6".parse().unwrap()];
        vec![
            vpc().into(),
            host("h1").into(),
            group(WEB, Peer::Group(DB)).into(),
            group(DB, Peer::Cidr("0.0.0.0/0".parse().unwrap())).into(),
            group(GroupId(0x300), Peer::Group(GroupId(0x300))).into(),
            a.into(),
            b.into(),
        ]
    }

    #[test]
    fn only_groups_of_bound_devices_have_rules() {
        let desired = build(two_tiers(), &[("tap0", ENI_A)], &Past::default(), &[], &[]);
        assert_eq!(names(&desired), ["tap0", ENI_B]);
        let rules = |id| desired.state.group(id).map(|group| group.ingress.len());
        assert_eq!((rules(WEB), rules(DB), rules(GroupId(0x300))), (Some(1), Some(0), None));
        let tap = &desired.state.interfaces[0];
        assert!(tap.source_check && tap.role == Role::Port && tap.cuts());
        let member = &desired.state.interfaces[1];
        assert_eq!(member.groups, [DB], "membership that no rule here names is left out");
        assert_eq!(desired.faults, Vec::<String>::new());
    }

    #[test]
    fn an_unbound_port_is_isolated_and_a_host_is_held() {
        let mut past = Past::default();
        past.isolate("tap9");
        let desired = build(two_tiers(), &[], &past, &[], &["tap7", "tap9"]);
        assert_eq!(names(&desired), ["tap9", "tap7"]);
        let isolated = desired.state.group(GroupId::of_name(ISOLATED)).expect("the group");
        assert!(isolated.ingress.is_empty() && isolated.egress.is_empty());
        for entry in desired.state.interfaces.iter() {
            assert_eq!(entry.groups, [GroupId::of_name(ISOLATED)]);
        }
        let closed = build(two_tiers(), &[("tap0", ENI_A)], &past, &[], &["tap0"]);
        assert_eq!(closed.devices["tap0"], DeviceState::Bound(ENI_A.parse().unwrap()));
    }

    #[test]
    fn what_a_file_filtered_stays_behind_what_is_bound() {
        let rules = r#"
            [[prefix_list]]
            name = "office"
            max_entries = 1
            entries = ["192.0.2.0/24"]
            [[security_group]]
            name = "old"
            ingress = [
              { protocol = "tcp", ports = 22, prefix_lists = ["office"] },
              { protocol = "tcp", ports = 23, groups = ["old"] },
            ]
            [[interface]]
            name = "tap0"
            role = "port"
            groups = ["old"]
            [[interface]]
            name = "tap*"
            role = "port"
            groups = ["old"]
        "#;
        let file = sg_policy::parse("rules.toml", rules.as_bytes()).expect("valid rules");
        let mut past = Past::default();
        past.keep(Arc::new(file.clone()));
        let desired = build(two_tiers(), &[("tap0", ENI_A)], &past, &[], &["tap*", "vnet*"]);
        assert_eq!(names(&desired), ["tap0", "tap*", "vnet*", ENI_B]);
        assert_eq!(desired.devices["tap0"], DeviceState::Bound(ENI_A.parse().unwrap()));
        assert_eq!(desired.devices["tap*"], DeviceState::Held);
        assert_eq!(desired.devices["vnet*"], DeviceState::Closed);
        assert_eq!(desired.state.prefix_lists, file.prefix_lists, "each list once");
        let old = |group: &&Shared<SecurityGroup>| group.name == "old";
        let groups: Vec<_> = desired.state.groups.iter().filter(old).collect();
        assert_eq!(groups, file.groups.iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_host_has_the_floor_and_its_own_addresses_inside_the_vpc() {
        let mut objects = two_tiers();
        let mut c = interface("eni-0000000000000000c");
        c.role = InterfaceRole::Host;
        c.groups = vec![WEB];
        c.addresses = vec!["10.0.0.7".parse().unwrap()];
        objects.push(c.into());
        let own = [("eth1", "10.9.9.9"), ("eth2", "192.0.2.1"), ("eth3", "10.0.0.6")];
        for (device, counts) in [("eth1", true), ("eth2", false), ("eth3", false)] {
            let bound = [(device, "eni-0000000000000000c")];
            let desired = build(objects.clone(), &bound, &Past::default(), &own, &[]);
            let entry = &desired.state.interfaces[0];
            assert_eq!(entry.groups, [WEB, GroupId::of_name(FLOOR)]);
            assert_eq!(entry.addresses.len(), if counts { 2 } else { 1 }, "{device}");
            assert_eq!(desired.observed[device].len(), usize::from(counts), "{device}");
        }
    }

    #[test]
    fn a_group_that_is_gone_has_no_members() {
        let mut a = interface(ENI_A);
        a.groups = vec![WEB];
        let objects = vec![vpc().into(), group(WEB, Peer::Group(DB)).into(), a.into()];
        let desired = build(objects, &[("tap0", ENI_A)], &Past::default(), &[], &[]);
        assert_eq!(desired.state.group(DB).map(|group| group.ingress.len()), Some(0));
        assert!(desired.faults.is_empty());
    }
}
