//! XDP and TC users besides us, to be named in `status`. They are left alone.
//!
//! Our TCX programs attach before all others. They answer "unspec" for allowed packets, so programs
//! and filters behind them see these, and no denied ones. Another program may still put itself
//! before ours.

use std::collections::BTreeMap;

use super::inventory::{PARENTS, filters, with_filters, xdp_programs};
use crate::bpf::{
    programs::Programs,
    syscall::{self, AttachType},
};

/// Our filters' priority; others' with it are beside us.
const FIRST: u32 = 1;

/// Describes foreign programs on interfaces, by ifindex. Unreadable ones are left out.
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
            let found = syscall::tcx_programs(ifindex, attach).unwrap_or_default();
            let ids: Vec<u32> = found.into_iter().map(|found| found.program).collect();
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
            let mut shown = Vec::new();
            for filter in filters(ifindex, parent).unwrap_or_default() {
                if !ours.contains(&filter.program) {
                    let order = if filter.priority > FIRST { "after" } else { "beside" };
                    shown.push(format!("tc filter on {hook} {filter}, {order} us"));
                }
            }
            // u32 lists its tables beside their entries.
            shown.dedup();
            shown.into_iter().for_each(|text| add(ifindex, text));
        }
    }
    all
}

fn named(id: u32) -> String {
    match syscall::program_name(id) {
        Ok(name) if !name.is_empty() => format!("{name} (id {id})"),
        _ => format!("id {id}"),
    }
}
