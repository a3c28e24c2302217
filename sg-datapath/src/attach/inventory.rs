//! Programs and filters that the kernel shows on interfaces of this network namespace, ours and
//! others'.

use std::{collections::BTreeSet, fmt, io, time::Duration};

use nix::sys::socket::SockProtocol;

use crate::netlink::{Deadline, Message, attribute, dump, get, word};

const RTM_GETLINK: u16 = 18;
const RTM_GETQDISC: u16 = 38;
const RTM_GETTFILTER: u16 = 46;
/// Behind these headers come the attributes: struct ifinfomsg, struct tcmsg.
const IFINFOMSG: usize = 16;
const TCMSG: usize = 20;
const IFLA_EXT_MASK: u16 = 29;
/// RTEXT_FILTER_SKIP_STATS
const SKIP_STATS: u32 = 1 << 3;
const IFLA_XDP: u16 = 43;
/// IFLA_XDP_PROG_ID, then of the driver's, the generic and the hardware's program.
const XDP_PROGRAMS: [u16; 4] = [4, 5, 6, 7];
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

/// Directions of a clsact qdisc, with the parents of their filters.
pub const PARENTS: [(&str, u32); 2] = [("ingress", 0xffff_fff2), ("egress", 0xffff_fff3)];

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(1))
}

/// Interfaces with XDP programs, and those programs' ids.
pub fn xdp_programs() -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    let (kind, request) = (RTM_GETLINK, link_request(0));
    let take = |message: Message<'_>| found.extend(xdp_of(message.body));
    if let Err(error) = dump(SockProtocol::NetlinkRoute, kind, &request, deadline(), take) {
        tracing::debug!(%error, "XDP programs cannot be listed");
    }
    found
}

/// The same of one interface.
pub fn xdp_programs_of(ifindex: u32) -> io::Result<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    let take = |message: Message<'_>| found.extend(xdp_of(message.body));
    get(SockProtocol::NetlinkRoute, RTM_GETLINK, &link_request(ifindex), deadline(), take)?;
    Ok(found)
}

/// Struct ifinfomsg, and the wish to be spared the statistics.
fn link_request(ifindex: u32) -> Vec<u8> {
    let mut request = vec![0; IFINFOMSG];
    request[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    request.extend(8u16.to_ne_bytes());
    request.extend(IFLA_EXT_MASK.to_ne_bytes());
    request.extend(SKIP_STATS.to_ne_bytes());
    request
}

fn xdp_of(message: &[u8]) -> Vec<(u32, u32)> {
    let xdp = message.get(IFINFOMSG..).and_then(|list| attribute(list, IFLA_XDP));
    let Some(xdp) = xdp else { return Vec::new() };
    let ids = XDP_PROGRAMS.iter().filter_map(|kind| attribute(xdp, *kind));
    let mut ids: Vec<u32> = ids.map(|id| word(id, 0)).filter(|id| *id != 0).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| (word(message, 4), id)).collect()
}

/// Interfaces with a qdisc that has filters of those hooks: one question for all of them.
pub fn with_filters() -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let take = |message: Message<'_>| {
        let kind = message.body.get(TCMSG..).and_then(|list| attribute(list, TCA_KIND));
        if matches!(kind, Some(b"clsact\0" | b"ingress\0")) {
            found.insert(word(message.body, 4));
        }
    };
    if let Err(error) =
        dump(SockProtocol::NetlinkRoute, RTM_GETQDISC, &[0; TCMSG], deadline(), take)
    {
        tracing::debug!(%error, "qdiscs cannot be listed");
    }
    found
}

/// Whether there is a clsact filter; what cannot be read counts as one.
pub fn has_filters(ifindex: u32) -> bool {
    PARENTS.iter().any(|(_, parent)| !filters(ifindex, *parent).is_ok_and(|found| found.is_empty()))
}

/// A clsact filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    kind: String,
    pub name: String,
    pub priority: u32,
    pub handle: u32,
    /// 0: it is no program.
    pub program: u32,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, priority, .. } = self;
        let space = if name.is_empty() { "" } else { " " };
        write!(f, "{kind}{space}{name} (pref {priority})")
    }
}

/// Filters of a clsact qdisc at `parent`.
pub fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
    let mut request = [0; TCMSG];
    request[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    request[12..16].copy_from_slice(&parent.to_ne_bytes());
    let mut found = Vec::new();
    let take = |message: Message<'_>| {
        let message = message.body;
        let Some(list) = message.get(TCMSG..) else { return };
        // Handle 0 is the list of filters of a priority, not one of them.
        let handle = word(message, 8);
        if handle == 0 {
            return;
        }
        let text = |value: &[u8]| {
            let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
            String::from_utf8_lossy(&value[..end]).into_owned()
        };
        let kind = attribute(list, TCA_KIND).map(text).unwrap_or_default();
        // Other kinds have other options.
        let options = if kind == "bpf" { attribute(list, TCA_OPTIONS) } else { None };
        let options = options.unwrap_or_default();
        let name = attribute(options, TCA_BPF_NAME).map(text).unwrap_or_default();
        let program = attribute(options, TCA_BPF_ID).map_or(0, |id| word(id, 0));
        let priority = word(message, 16) >> 16;
        found.push(Filter { kind, name, priority, handle, program });
    };
    dump(SockProtocol::NetlinkRoute, RTM_GETTFILTER, &request, deadline(), take)?;
    Ok(found)
}
