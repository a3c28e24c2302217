//! The desired state of a host, as `rules.toml` describes it: complete, valid and resolved.
//!
//! Only the front end builds it, so everything that takes a [`DesiredState`] may rely on the
//! demands of semantics.md. Names are unique ignoring case and refer to something. Prefixes have
//! their host bits zeroed and fit their rule's family. No rule stands twice in a group. Quotas
//! hold.
//!
//! A state directory may hold a state as JSON. A field that comes later needs a default for such a file.

use std::{
    fmt::{self, Display},
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use foldhash::{HashMap, HashMapExt as _};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sg_common::{Direction, Family};

pub use crate::id::{GroupId, PrefixListId, RuleId};
use crate::{
    id::{NamedPeer, Scope},
    shared::{Shared, SharedVec},
};

/// Everything that `sgctl apply` sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    pub settings: Settings,
    pub prefix_lists: Vec<PrefixList>,
    pub groups: Vec<Shared<SecurityGroup>>,
    /// In the file's order: exact names before globs, then the first match wins.
    pub interfaces: SharedVec<Interface>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub filter: FilterSettings,
    pub tracking: Tracking,
    pub quotas: Quotas,
}

/// How an interface is filtered besides its groups' rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterSettings {
    pub related_icmp: bool,
    pub on_revoke: OnRevoke,
    pub exempt_services: bool,
}

impl Default for FilterSettings {
    fn default() -> Self {
        Self { related_icmp: true, on_revoke: OnRevoke::Keep, exempt_services: true }
    }
}

/// The fate of a tracked flow whose opening packet is no longer allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnRevoke {
    /// It goes on until it idles out, as in EC2.
    Keep,
    /// It ends on its next packet.
    Cut,
}

/// The most that one interface may have of each family's flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MaxFlows {
    /// Half of the table, or all of it where one interface is filtered.
    #[default]
    Auto,
    /// 1 to 100.
    Percent(u32),
    /// At least 1.
    Number(u32),
}

/// As rules.toml has it.
impl Display for MaxFlows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "\"auto\""),
            Self::Percent(percent) => write!(f, "\"{percent}%\""),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// How flows of an interface are tracked: idle timeouts in seconds, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracking {
    pub tcp_established: u32,
    pub udp: u32,
    pub udp_stream: u32,
    /// How long mid-stream TCP is picked up on a newly filtered interface; 0 = never.
    pub pickup: u32,
    #[serde(default)]
    pub max_flows: MaxFlows,
}

impl Default for Tracking {
    fn default() -> Self {
        Self {
            tcp_established: 432_000,
            udp: 30,
            udp_stream: 180,
            pickup: 30,
            max_flows: MaxFlows::Auto,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quotas {
    pub rules_per_group: u32,
    pub groups_per_interface: u32,
    pub rules_per_interface: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { rules_per_group: 60, groups_per_interface: 5, rules_per_interface: 1000 }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    pub id: PrefixListId,
    pub scope: Scope,
    pub name: String,
    pub description: String,
    /// The list's weight in quotas, whatever it holds now.
    pub max_entries: u32,
    /// `None` for a list without entries.
    #[serde(with = "crate::serial::family")]
    pub family: Option<Family>,
    /// Shared by the states that have the same ones.
    pub entries: Arc<Vec<PrefixEntry>>,
}

impl PrefixList {
    /// A file's list of this name, without entries.
    pub fn named(name: &str) -> Self {
        Self {
            id: PrefixListId::of_name(name),
            scope: Scope::FILE,
            name: name.to_owned(),
            description: String::new(),
            max_entries: 0,
            family: None,
            entries: Arc::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixEntry {
    pub cidr: IpNet,
    pub description: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: GroupId,
    pub scope: Scope,
    pub name: String,
    pub description: String,
    pub ingress: Vec<Rule>,
    /// A file's absent `egress` is the two default rules here.
    pub egress: Vec<Rule>,
    /// Whether the file had no `egress`, for `export`.
    pub default_egress: bool,
}

impl SecurityGroup {
    /// A file's group of this name, without rules.
    pub fn named(name: &str) -> Self {
        Self {
            id: GroupId::of_name(name),
            scope: Scope::FILE,
            name: name.to_owned(),
            description: String::new(),
            ingress: Vec::new(),
            egress: Vec::new(),
            default_egress: false,
        }
    }

    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// One rule: direction (by where it stands), services, exactly one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub id: RuleId,
    pub services: Services,
    pub peer: Peer,
    /// Not part of a rule's identity.
    pub description: String,
}

/// Which traffic a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Services {
    /// Every protocol, every port.
    All,
    Tcp(PortRange),
    Udp(PortRange),
    /// IPv4 only.
    Icmp(IcmpMatch),
    /// IPv6 only.
    Icmpv6(IcmpMatch),
    /// All traffic of any other protocol.
    Protocol(u8),
}

/// Inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortRange {
    pub from: u16,
    pub to: u16,
}

impl PortRange {
    pub const ALL: Self = Self { from: 0, to: u16::MAX };
}

/// `None` = any; a code without a type does not occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IcmpMatch {
    pub kind: Option<u8>,
    pub code: Option<u8>,
}

/// Whom a rule is about: the source of ingress, the destination of egress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Peer {
    Cidr(IpNet),
    Group(GroupId),
    PrefixList(PrefixListId),
}

/// In one go, where [`IpNet`] gives a hasher byte after byte.
impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Cidr(IpNet::V4(net)) => {
                state.write_u64(
                    u64::from(net.network().to_bits()) << 8 | u64::from(net.prefix_len()),
                );
            }
            Self::Cidr(IpNet::V6(net)) => {
                state.write_u128(net.network().to_bits());
                state.write_u8(net.prefix_len());
            }
            Self::Group(GroupId(id)) | Self::PrefixList(PrefixListId(id)) => state.write_u128(*id),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Exact name, or a glob (`*`, `?`, `[...]`).
    pub name: String,
    pub role: Role,
    /// In the file's order, none twice.
    pub groups: Vec<GroupId>,
    /// Empty: for host role the interface's own addresses; for port role none.
    pub addresses: Vec<IpAddr>,
    pub mac: Option<[u8; 6]>,
    pub source_check: bool,
    pub datapath: DatapathChoice,
    /// A rules.toml has them in `[settings]`, a control plane for each VPC.
    pub filter: FilterSettings,
    /// The settings' timeouts with the interface's own over them.
    pub tracking: Tracking,
}

impl Interface {
    pub fn is_glob(&self) -> bool {
        self.name.contains(['*', '?', '['])
    }

    /// Whether flows end with the rule that let them begin.
    pub fn cuts(&self) -> bool {
        self.filter.on_revoke == OnRevoke::Cut
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The instance sits behind the interface (tap, veth, bridge port).
    Port,
    /// This machine is the instance.
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatapathChoice {
    Auto,
    Xdp,
    Tc,
}

impl DesiredState {
    pub fn group(&self, id: GroupId) -> Option<&SecurityGroup> {
        self.groups.iter().map(|group| &**group).find(|group| group.id == id)
    }

    pub fn prefix_list(&self, id: PrefixListId) -> Option<&PrefixList> {
        self.prefix_lists.iter().find(|list| list.id == id)
    }

    pub fn names(&self) -> Names<'_> {
        let groups = self.groups.iter().map(|group| (group.id, group.name.as_str()));
        let lists = self.prefix_lists.iter().map(|list| (list.id, list.name.as_str()));
        Names { groups: groups.collect(), lists: lists.collect() }
    }

    /// Changes the settings of the state, and of every interface in the same way.
    #[cfg(any(test, feature = "generate"))]
    pub fn change_filters(&mut self, change: impl Fn(&mut FilterSettings)) {
        change(&mut self.settings.filter);
        (0..self.interfaces.len()).for_each(|entry| change(&mut self.interfaces[entry].filter));
    }

    /// Index of the entry that an interface of this name falls under: exact names before globs,
    /// then the first.
    ///
    /// The kernel takes any bytes as a name. Bytes that are not UTF-8 count as one unknown character for a glob.
    pub fn entry_for(&self, name: impl AsRef<[u8]>) -> Option<usize> {
        let name = name.as_ref();
        let is_exact = |entry: &Interface| !entry.is_glob() && entry.name.as_bytes() == name;
        let exact = self.interfaces.iter().position(is_exact);
        let name = String::from_utf8_lossy(name);
        exact.or_else(|| {
            self.interfaces.iter().position(|entry| {
                entry.is_glob()
                    && glob::Pattern::new(&entry.name).is_ok_and(|pattern| pattern.matches(&name))
            })
        })
    }
}

/// People's names for a state's groups and prefix lists.
#[derive(Clone, Debug, Default)]
pub struct Names<'s> {
    groups: HashMap<GroupId, &'s str>,
    lists: HashMap<PrefixListId, &'s str>,
}

impl<'s> Names<'s> {
    /// Empty for a group that the state does not have.
    pub fn group(&self, id: GroupId) -> &'s str {
        self.groups.get(&id).copied().unwrap_or_default()
    }

    pub fn prefix_list(&self, id: PrefixListId) -> &'s str {
        self.lists.get(&id).copied().unwrap_or_default()
    }

    pub fn groups(&self, ids: &[GroupId]) -> Vec<String> {
        ids.iter().map(|id| self.group(*id).to_owned()).collect()
    }

    pub fn peer(&self, peer: &Peer) -> NamedPeer<'s> {
        match peer {
            Peer::Cidr(net) => NamedPeer::Cidr(*net),
            Peer::Group(id) => NamedPeer::Group(self.group(*id)),
            Peer::PrefixList(id) => NamedPeer::PrefixList(self.prefix_list(*id)),
        }
    }
}

/// A filtered interface that is there now. Rules are compiled for such interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveInterface {
    /// The interface's number in counters and flows; its own for as long as it exists.
    pub slot: u16,
    pub ifindex: u32,
    /// Index into [`DesiredState::interfaces`].
    pub entry: usize,
    /// The addresses the interface has. Used for host role without `addresses`.
    pub addresses: Vec<IpAddr>,
    /// Whether frames have an Ethernet header.
    pub ethernet: bool,
    /// Whether packets that the kernel receives on the interface go to the instance behind it, as
    /// on a macvtap. Elsewhere they come from the instance.
    pub delivers: bool,
    /// [Tick](sg_common::flow::Tick) until which mid-stream TCP is picked up; 0 = never.
    pub pickup_until: u32,
}

/// Addresses of each group's members: of every entry that carries the group, there now or not.
#[derive(Debug)]
pub struct Members(HashMap<GroupId, Vec<IpAddr>>);

impl Members {
    pub fn of(state: &DesiredState, live: &[LiveInterface]) -> Self {
        let mut own: HashMap<usize, Vec<IpAddr>> = HashMap::new();
        for interface in live {
            own.entry(interface.entry).or_default().extend(&interface.addresses);
        }
        let mut members: HashMap<GroupId, Vec<IpAddr>> = HashMap::new();
        for (index, entry) in state.interfaces.iter().enumerate() {
            let addresses: &[IpAddr] = match own.get(&index) {
                _ if !entry.addresses.is_empty() => &entry.addresses,
                Some(own) if entry.role == Role::Host => own,
                _ => continue,
            };
            for group in &entry.groups {
                members.entry(*group).or_default().extend(addresses);
            }
        }
        for addresses in members.values_mut() {
            addresses.sort_unstable();
            addresses.dedup();
        }
        Self(members)
    }

    /// Sorted; none of a group that nobody carries.
    pub fn of_group(&self, group: GroupId) -> &[IpAddr] {
        self.0.get(&group).map_or(&[], |members| members)
    }
}
