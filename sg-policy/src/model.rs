//! The desired state of a host, as `rules.toml` describes it: complete, valid and resolved.
//!
//! Only the front end builds it, so everything that takes a [`DesiredState`] may rely on what
//! semantics.md demands: names are unique ignoring case and refer to something, prefixes have their
//! host bits zeroed and fit their rule's family, no rule stands twice in a group, quotas hold.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::IpAddr,
    sync::Arc,
};

use foldhash::{HashMap, HashMapExt as _};
use ipnet::IpNet;
use sg_common::{Direction, Family};

use crate::shared::{Shared, SharedVec};

/// Everything that `sgctl apply` sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    pub settings: Settings,
    pub prefix_lists: Vec<PrefixList>,
    pub groups: Vec<Shared<SecurityGroup>>,
    /// In the file's order: exact names before globs, then the first match wins.
    pub interfaces: SharedVec<Interface>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub related_icmp: bool,
    pub on_revoke: OnRevoke,
    pub exempt_services: bool,
    pub tracking: Tracking,
    pub quotas: Quotas,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            related_icmp: true,
            on_revoke: OnRevoke::Keep,
            exempt_services: true,
            tracking: Tracking::default(),
            quotas: Quotas::default(),
        }
    }
}

/// What happens to a tracked flow whose opening packet is no longer allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRevoke {
    /// It goes on until it idles out, as in EC2.
    Keep,
    /// It ends on its next packet.
    Cut,
}

/// Idle timeouts in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracking {
    pub tcp_established: u32,
    pub udp: u32,
    pub udp_stream: u32,
    /// How long mid-stream TCP is picked up on a newly filtered interface; 0 = never.
    pub pickup: u32,
}

impl Default for Tracking {
    fn default() -> Self {
        Self { tcp_established: 432_000, udp: 30, udp_stream: 180, pickup: 30 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixList {
    pub name: String,
    pub description: String,
    /// What the list weighs in quotas.
    pub max_entries: u32,
    /// `None` for a list without entries.
    pub family: Option<Family>,
    /// Shared by the states that have the same ones.
    pub entries: Arc<Vec<PrefixEntry>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixEntry {
    pub cidr: IpNet,
    pub description: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    pub name: String,
    pub description: String,
    pub ingress: Vec<Rule>,
    /// A file's absent `egress` is the two default rules here.
    pub egress: Vec<Rule>,
    /// Whether the file had no `egress`, for `export`.
    pub default_egress: bool,
}

impl SecurityGroup {
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// One rule: direction (by where it stands), services, exactly one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub id: RuleId,
    pub services: Services,
    pub peer: Peer,
    /// Not part of a rule's identity.
    pub description: String,
}

/// `sgr-` and 17 hex digits, derived from the group's name and the rule's identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u128);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sgr-{:017x}", self.0 & ((1 << 68) - 1))
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which traffic a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    pub from: u16,
    pub to: u16,
}

impl PortRange {
    pub const ALL: Self = Self { from: 0, to: u16::MAX };
}

/// `None` = any; a code without a type does not occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IcmpMatch {
    pub kind: Option<u8>,
    pub code: Option<u8>,
}

/// Whom a rule is about: the source of ingress, the destination of egress.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Cidr(IpNet),
    /// Name of a group, spelt as its definition spells it.
    Group(String),
    /// Name of a prefix list, spelt as its definition spells it.
    PrefixList(String),
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
            Self::Group(name) | Self::PrefixList(name) => name.hash(state),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Exact name, or a glob (`*`, `?`, `[...]`).
    pub name: String,
    pub role: Role,
    /// Spelt as the groups' definitions spell them, in the file's order, none twice.
    pub groups: Vec<String>,
    /// Empty: for host role the interface's own addresses; for port role none.
    pub addresses: Vec<IpAddr>,
    pub mac: Option<[u8; 6]>,
    pub source_check: bool,
    pub datapath: DatapathChoice,
    /// The settings' timeouts with the interface's own over them.
    pub tracking: Tracking,
}

impl Interface {
    pub fn is_glob(&self) -> bool {
        self.name.contains(['*', '?', '['])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The instance sits behind the interface (tap, veth, bridge port).
    Port,
    /// This machine is the instance.
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatapathChoice {
    Auto,
    Xdp,
    Tc,
}

impl DesiredState {
    pub fn group(&self, name: &str) -> Option<&SecurityGroup> {
        self.groups.iter().map(|group| &**group).find(|group| group.name == name)
    }

    pub fn prefix_list(&self, name: &str) -> Option<&PrefixList> {
        self.prefix_lists.iter().find(|list| list.name == name)
    }

    /// Index of the entry that an interface of this name falls under: exact names before globs,
    /// then the first.
    pub fn entry_for(&self, name: &str) -> Option<usize> {
        let exact = self.interfaces.iter().position(|entry| !entry.is_glob() && entry.name == name);
        exact.or_else(|| {
            self.interfaces.iter().position(|entry| {
                entry.is_glob()
                    && glob::Pattern::new(&entry.name).is_ok_and(|pattern| pattern.matches(name))
            })
        })
    }
}

/// A filtered interface as it is there now: what the rules are compiled for.
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
    /// [Tick](sg_common::flow::Tick) until which mid-stream TCP is picked up; 0 = never.
    pub pickup_until: u32,
}

/// Addresses of each group's members: of every entry that carries the group, there now or not.
#[derive(Debug)]
pub struct Members<'a>(HashMap<&'a str, Vec<IpAddr>>);

impl<'a> Members<'a> {
    pub fn of(state: &'a DesiredState, live: &[LiveInterface]) -> Self {
        let mut own: HashMap<usize, Vec<IpAddr>> = HashMap::new();
        for interface in live {
            own.entry(interface.entry).or_default().extend(&interface.addresses);
        }
        let mut members: HashMap<&str, Vec<IpAddr>> = HashMap::new();
        for (index, entry) in state.interfaces.iter().enumerate() {
            let addresses: &[IpAddr] = match own.get(&index) {
                _ if !entry.addresses.is_empty() => &entry.addresses,
                Some(own) if entry.role == Role::Host => own,
                _ => continue,
            };
            for group in &entry.groups {
                members.entry(group).or_default().extend(addresses);
            }
        }
        for addresses in members.values_mut() {
            addresses.sort_unstable();
            addresses.dedup();
        }
        Self(members)
    }

    /// Sorted; none of a group that nobody carries.
    pub fn of_group(&self, group: &str) -> &[IpAddr] {
        self.0.get(group).map_or(&[], |members| members)
    }
}
