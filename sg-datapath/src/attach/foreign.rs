//! XDP and TC users besides us, to be named in `status`. They are left alone.
//!
//! Our TCX programs attach before all others and say "unspec" to what they allow, so that programs and
//! filters behind them see it, and nothing that is denied. Another one may still put itself before.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use nix::sys::socket::SockProtocol;

use crate::{
    bpf::{
        programs::Programs,
        syscall::{self, AttachType},
    },
    netlink::{Deadline, attribute, dump, word},
};

const RTM_GETLINK: u16 = 18;
const RTM_GETQDISC: u16 = 38;
const RTM_GETTFILTER: u16 = 46;
/// Behind these headers come the attributes: struct ifinfomsg, struct tcmsg.
const IFINFOMSG: usize = 16;
const TCMSG: usize = 20;
const IFLA_XDP: u16 = 43;
/// IFLA_XDP_PROG_ID, then of the driver's, the generic and the hardware's program.
const XDP_PROGRAMS: [u16; 4] = [4, 5, 6, 7];
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;
/// Our filters' priority; others' with it are beside us.
const FIRST: u32 = 1;

const PARENTS: [(&str, u32); 2] = [("ingress", 0xffff_fff2), ("egress", 0xffff_fff3)];

/// What runs on interfaces besides us, in words, by ifindex. What cannot be read is left out.
pub fn on(interfaces: &[u32], programs: &Programs) -> BTreeMap<u32, Vec<String>> {
    let loaded = [
        programs.xdp().ok(),
        programs.tc_in().ok(),
        programs.tc_meta_if_loaded(),
        programs.tc_out().ok(),
    ];
    // None is 0, which stands for a filter without a program.
    let ours: Vec<u32> = loaded
        .into_iter()
        .flatten()
        .filter_map(|program| syscall::program_id(program).ok())
        .collect();
    let mut all: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut add = |ifindex, text| all.entry(ifindex).or_default().push(text);
    for (ifindex, id) in xdp_programs() {
        if interfaces.contains(&ifindex) && !ours.contains(&id) {
            add(ifindex, format!("XDP program {}, before us", named(id)));
        }
    }
    let with_filters = with_filters();
    for &ifindex in interfaces {
        for (hook, attach) in
            [("ingress", AttachType::TcxIngress), ("egress", AttachType::TcxEgress)]
        {
            // Kernels without TCX have none.
            let ids = syscall::attached_programs(ifindex, attach).unwrap_or_default();
            let us = ids.iter().position(|id| ours.contains(id));
            for (at, id) in ids.iter().enumerate().filter(|(_, id)| !ours.contains(id)) {
                let order = if us.is_some_and(|us| at < us) { "before" } else { "after" };
                add(ifindex, format!("TCX program on {hook} {}, {order} us", named(*id)));
            }
        }
        if !with_filters.contains(&ifindex) {
            continue;
        }
        for (hook, parent) in PARENTS {
            for (what, priority, id) in filters(ifindex, parent).unwrap_or_default() {
                if !ours.contains(&id) {
                    let order = if priority > FIRST { "after" } else { "beside" };
                    add(ifindex, format!("tc filter on {hook} {what}, {order} us"));
                }
            }
        }
    }
    all
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(1))
}

fn named(id: u32) -> String {
    match syscall::program_name(id) {
        Ok(name) if !name.is_empty() => format!("{name} (id {id})"),
        _ => format!("id {id}"),
    }
}

/// Interfaces with XDP programs, and those programs' ids.
fn xdp_programs() -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    let take = |message: &[u8]| {
        let xdp = message.get(IFINFOMSG..).and_then(|list| attribute(list, IFLA_XDP));
        let Some(xdp) = xdp else { return };
        let ids = XDP_PROGRAMS.iter().filter_map(|kind| attribute(xdp, *kind));
        let mut ids: Vec<u32> = ids.map(|id| word(id, 0)).filter(|id| *id != 0).collect();
        ids.sort_unstable();
        ids.dedup();
        found.extend(ids.into_iter().map(|id| (word(message, 4), id)));
    };
    if let Err(error) =
        dump(SockProtocol::NetlinkRoute, RTM_GETLINK, &[0; IFINFOMSG], deadline(), take)
    {
        tracing::debug!(%error, "XDP programs cannot be listed");
    }
    found
}

/// Interfaces with a qdisc that has filters of those hooks: one question for all of them.
fn with_filters() -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let take = |message: &[u8]| {
        let kind = message.get(TCMSG..).and_then(|list| attribute(list, TCA_KIND));
        if matches!(kind, Some(b"clsact\0" | b"ingress\0")) {
            found.insert(word(message, 4));
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

/// Filters of clsact: what they are, their priority, the program's id (0: no program).
fn filters(ifindex: u32, parent: u32) -> io::Result<Vec<(String, u32, u32)>> {
    let mut request = [0; TCMSG];
    request[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    request[12..16].copy_from_slice(&parent.to_ne_bytes());
    let mut found = Vec::new();
    let take = |message: &[u8]| {
        let Some(list) = message.get(TCMSG..) else { return };
        // Handle 0 is the list of filters of a priority, not one of them.
        if word(message, 8) == 0 {
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
        let id = attribute(options, TCA_BPF_ID).map_or(0, |id| word(id, 0));
        let priority = word(message, 16) >> 16;
        let what = if name.is_empty() { kind } else { format!("{kind} {name}") };
        found.push((format!("{what} (pref {priority})"), priority, id));
    };
    dump(SockProtocol::NetlinkRoute, RTM_GETTFILTER, &request, deadline(), take)?;
    // u32 lists its tables beside their entries.
    found.dedup();
    Ok(found)
}
