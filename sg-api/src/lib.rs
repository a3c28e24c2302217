//! Requests and answers of the agent's unix socket: HTTP/1.1, JSON bodies.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `POST /v1/plan` | [`RulesFile`] | [`Plan`] |
//! | `POST /v1/apply` | [`ApplyRequest`] | [`Applied`] |
//! | `POST /v1/confirm` | | [`Applied`] |
//! | `POST /v1/rollback` | [`RollbackRequest`] | [`Applied`] |
//! | `GET /v1/history` | | [`Vec<Revision>`] |
//! | `GET /v1/show` | | [`Shown`] |
//! | `POST /v1/explain` | [`ExplainRequest`] | [`Explanation`] |
//! | `GET /v1/flows?interface=IF` | | [`Vec<Flow>`] |
//! | `POST /v1/flows/flush` | [`FlushRequest`] | [`Flushed`] |
//! | `GET /v1/log?interface=IF` | | [`Vec<FlowRecord>`], the oldest first |
//! | `GET /v1/log/follow?interface=IF&largest=N` | | the same, then each second's, a [`FlowRecord`] per line |
//! | `GET /v1/export` | | text/plain: rules.toml |
//! | `POST /v1/control/accept` | | [`AcceptedStore`]; root only |
//! | `POST /v1/detach` | | `{}`; the agent then ends |
//!
//! A failed request is answered with [`Failure`]. The status is 400 for a request that makes no
//! sense and 422 for a rules file with faults. It is 409 for a request that the present state does
//! not admit, and 500 for a refusal of the kernel. These types are apart from the internal ones:
//! fields are added here, never changed.

#[cfg(feature = "feed")]
pub mod admin;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
mod elements;
#[cfg(feature = "feed")]
pub mod feed;
pub mod format;
#[cfg(feature = "feed")]
pub mod lines;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// Where the agent listens, under the runtime directory.
pub const SOCKET: &str = "agent.sock";

/// Longest rules file that is taken, in bytes.
pub const MAX_FILE: u64 = 64 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// For people; a rules file's faults as they are shown with their source lines.
    pub error: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RulesFile {
    /// Name to show in messages.
    pub file: String,
    pub text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApplyRequest {
    #[serde(flatten)]
    pub rules: RulesFile,
    /// Seconds until the change is rolled back unless it is confirmed.
    pub confirm: Option<u32>,
    /// Also where no interface would be filtered any more. Without it, and without `confirm`, such a change
    /// is refused (409) while some are filtered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// SSH sessions that the change must not end or leave without a way back: it is refused (409)
    /// where it would.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
}

/// A TCP connection to a server on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Applied {
    pub revision: u64,
    pub changed: bool,
    /// Interfaces that are filtered now.
    pub interfaces: usize,
    /// Microseconds from the request to the first packet judged anew.
    pub took_us: u64,
    /// A revision that came with this one and was put in force in its place; this one is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<u64>,
    /// Unix time in seconds at which an unconfirmed change is rolled back.
    pub confirm_until: Option<u64>,
    /// A sentence each about what is not as the rules say although they are in force, and about parts of the
    /// rules that are valid and match nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RollbackRequest {
    /// Absent: the revision before the present one.
    pub revision: Option<u64>,
    /// As in [`ApplyRequest`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// As in [`ApplyRequest`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revision {
    pub revision: u64,
    /// Unix time in seconds.
    pub applied_at: u64,
    /// `current`, `unconfirmed`, `rolled_back` or `past`.
    pub state: String,
    pub rules: usize,
    pub groups: usize,
    /// The revision's source: the file's name, or `rollback to N`.
    pub origin: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub revision: u64,
    pub kernel: String,
    pub confirm_until: Option<u64>,
    pub rules: usize,
    pub interfaces: Vec<InterfaceStatus>,
    /// Where the rules come from a control plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlStatus>,
}

/// The store that the host follows from now on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AcceptedStore {
    pub epoch: String,
}

/// How a host stands to its control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlStatus {
    /// As `control` in agent.toml says it.
    pub source: String,
    /// The control plane is followed now.
    pub connected: bool,
    /// The store that the state is of. `None`: there has been none yet.
    pub epoch: Option<String>,
    /// The newest revision of the store that the host has.
    pub revision: u64,
    /// The newest one that the data path enforces and the disk has.
    pub enforced_revision: u64,
    /// Seconds since the control plane last said how far it is. `None`: not since the agent started.
    pub staleness_s: Option<u64>,
    /// A sentence each about something that is not as the control plane says.
    pub faults: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceStatus {
    pub name: String,
    pub ifindex: u32,
    /// `host` or `port`.
    pub role: String,
    #[serde(default)]
    pub state: FilterState,
    /// Why it is not filtered.
    #[serde(default)]
    pub fault: Option<String>,
    /// `xdp`, `tcx` or `tc`: what filters the kernel's ingress of the interface; `none` where nothing does.
    pub datapath: String,
    pub datapath_reason: String,
    /// XDP and TC users besides us, which are left alone.
    #[serde(default)]
    pub others: Vec<String>,
    pub groups: Vec<String>,
    pub ingress: Counters,
    pub egress: Counters,
    pub flows: FlowUse,
}

/// Whether an interface is filtered, and by whose rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterState {
    /// The kernel has confirmed that our programs see its packets.
    #[default]
    Filtered,
    /// Its binding has ended, or it waits for one: nothing passes but what always passes.
    Isolated,
    /// Its last rules stay until it is bound or released.
    Held,
    /// No rules are for it. With a fault, an entry seems to mean it.
    Unfiltered,
    /// It should be filtered, and is not or cannot be said to be.
    Fault,
}

/// By name of the reason; reasons that have counted nothing are absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    pub allowed: BTreeMap<String, Count>,
    pub dropped: BTreeMap<String, Count>,
    /// Packets that the flow log has no record of, because there were too many.
    #[serde(default, skip_serializing_if = "Count::is_none")]
    pub not_logged: Count,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

impl Count {
    fn is_none(&self) -> bool {
        self.packets == 0
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct FlowUse {
    /// This interface's live entries.
    pub used: u64,
    /// The table's, both families together.
    pub capacity: u64,
    /// The most that this interface may have of them, both families together: its `max_flows`.
    #[serde(default)]
    pub max: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub changes: Vec<Change>,
    /// Names of the interfaces that the changes reach.
    pub interfaces: Vec<String>,
    /// As in [`Applied`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// `+`, `-` or `~`.
    pub op: String,
    /// `rule`, `security_group`, `prefix_list`, `interface` or `setting`.
    pub kind: String,
    pub id: String,
    pub text: String,
}

/// The desired state with rule ids.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    pub groups: Vec<ShownGroup>,
    pub rules: Vec<ShownRule>,
    pub prefix_lists: Vec<ShownPrefixList>,
    pub interfaces: Vec<ShownInterface>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownGroup {
    pub name: String,
    pub description: String,
    pub ingress_rules: usize,
    pub egress_rules: usize,
    /// Addresses of the members, as they are now.
    pub members: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownRule {
    pub id: String,
    pub group: String,
    /// `ingress` or `egress`.
    pub direction: String,
    pub protocol: String,
    /// `443`, `8000-8099`, `all`, or for ICMP `type 8`, `type 3 code 4`.
    pub ports: String,
    /// A CIDR, or the name of a group or a prefix list.
    pub peer: String,
    pub description: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownPrefixList {
    pub name: String,
    pub description: String,
    pub max_entries: u32,
    pub entries: Vec<ShownEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownEntry {
    pub cidr: String,
    pub description: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShownInterface {
    pub name: String,
    pub role: String,
    pub groups: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub mac: Option<String>,
    pub source_check: bool,
    pub datapath: String,
    /// Names of the interfaces there now that fall under the entry.
    pub matches: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExplainRequest {
    pub interface: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// As in rules.toml.
    pub protocol: String,
    pub src: IpAddr,
    pub sport: Option<u16>,
    pub dst: IpAddr,
    pub dport: Option<u16>,
    #[serde(rename = "type")]
    pub icmp_type: Option<u8>,
    pub code: Option<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub verdict: String,
    pub reason: String,
    pub flow: Option<Flow>,
    /// Every rule that allows the packet, whether it was asked or not.
    pub rules: Vec<ShownRule>,
}

/// A tracked flow; direction, source and destination as in the packet that opened it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub interface: String,
    pub direction: String,
    pub protocol: String,
    pub src: IpAddr,
    /// ICMP queries: the identifier.
    pub sport: u16,
    pub dst: IpAddr,
    /// ICMP queries: the request's type.
    pub dport: u16,
    pub state: String,
    pub idle_s: u64,
    pub expires_s: u64,
    pub packets: u64,
    pub bytes: u64,
}

/// A record of the flow log, with what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    pub interface: String,
    /// Unix time in seconds: of the first packet and of the last, or of the whole stretch.
    pub start: u64,
    pub end: u64,
    /// `OK`; `NODATA`: nothing to log; `SKIPDATA`: so much is not logged.
    pub log_status: String,
    /// `ACCEPT` or `REJECT`.
    pub action: Option<String>,
    pub reason: Option<String>,
    /// The direction of the packet, or of the packet that opened the flow.
    pub direction: Option<String>,
    /// IANA number.
    pub protocol: Option<u8>,
    pub src: Option<IpAddr>,
    pub sport: Option<u16>,
    pub dst: Option<IpAddr>,
    pub dport: Option<u16>,
    /// A tracked flow's packets, both ways together.
    pub packets: Option<u64>,
    pub bytes: Option<u64>,
    /// FIN 1, SYN 2, RST 4, SYN with ACK 18.
    pub tcp_flags: Option<u8>,
}

impl FlowRecord {
    pub fn of(interface: &str, start: u64, end: u64, log_status: &str) -> Self {
        let (interface, log_status) = (interface.to_owned(), log_status.to_owned());
        Self { interface, start, end, log_status, ..Self::default() }
    }
}

/// Which flows to forget; what is absent does not restrict.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FlushRequest {
    /// Only flows that the rules would not allow to be opened now.
    #[serde(default)]
    pub denied: bool,
    pub interface: Option<String>,
    pub protocol: Option<String>,
    /// CIDRs or addresses.
    pub src: Option<String>,
    pub dst: Option<String>,
    pub sport: Option<u16>,
    pub dport: Option<u16>,
    /// SSH sessions that must not end by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Session>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flushed {
    pub flows: u64,
}
