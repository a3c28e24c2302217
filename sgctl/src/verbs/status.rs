use std::collections::BTreeMap;

use sg_api::{ControlStatus, Count, FilterState, InterfaceStatus, Status, client::Client};
use sg_policy::describe::plain;

use super::apply::seconds_left;
use crate::{
    error::Result,
    output::{Output, count, short},
    table::table,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also show allowed packets by reason
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    output: Output,
}

impl Args {
    pub(crate) fn run(self, client: &Client) -> Result<()> {
        let status: Status = client.get("/v1/status")?;
        self.output.print(&status, |status| text(status, self.verbose))
    }
}

fn text(status: &Status, verbose: bool) -> String {
    let mut text = head(status);
    if let Some(control) = &status.control {
        text += &control_plane(control, status);
    }
    if status.interfaces.is_empty() {
        return text + "\nno interface is filtered\n";
    }
    text += &("\n".to_owned() + &interfaces(status));
    if verbose {
        text += &counters(status, "ALLOWED", |counters| &counters.allowed);
    }
    text += &counters(status, "DROPPED", |counters| &counters.dropped);
    text += &datapaths(status);
    text += &others(status);
    text
}

fn head(status: &Status) -> String {
    let Status { version, pid, kernel, revision, .. } = status;
    let used: u64 = status.interfaces.iter().map(|interface| interface.flows.used).sum();
    let capacity = status.interfaces.iter().map(|interface| interface.flows.capacity).max();
    let capacity = capacity.filter(|capacity| *capacity > 0);
    let kernel = plain(kernel);
    let mut text = format!("sg-agent {version}, pid {pid}, kernel {kernel}\n");
    text += &match revision {
        0 => "nothing was applied yet".to_owned(),
        _ => format!("revision {revision}, {}", count(status.rules, "rule")),
    };
    if let Some(capacity) = capacity {
        text += &format!(", {used} of {capacity} flows");
    }
    text += "\n";
    let faults = status.interfaces.iter().filter(|it| it.fault.is_some());
    let faults: Vec<_> = faults.map(|interface| plain(&interface.name)).collect();
    if !faults.is_empty() {
        let (interfaces, names) = (count(faults.len(), "interface"), faults.join(", "));
        let are = if faults.len() == 1 { "is" } else { "are" };
        text += &format!("{interfaces} {are} NOT filtered as the rules say: {names}\n");
    }
    if let Some(until) = status.confirm_until {
        let left = seconds_left(until);
        text += &format!("not confirmed: rolls back in {left} s; to keep it: sgctl confirm\n");
    }
    text
}

/// The control plane, its faults, and interfaces whose rules are not those of a binding.
fn control_plane(control: &ControlStatus, status: &Status) -> String {
    let ControlStatus { source, connected, revision, enforced_revision, .. } = control;
    let link = match (connected, control.staleness_s) {
        (true, _) => "connected".to_owned(),
        (false, Some(seconds)) => format!("NOT connected, last heard {seconds} s ago"),
        (false, None) => "NOT connected".to_owned(),
    };
    let mut text = format!("control plane {}: {link}, ", plain(source));
    text += &match control.epoch {
        None => "it has said nothing yet\n".to_owned(),
        Some(_) if enforced_revision == revision => {
            format!("its revision {revision} is enforced\n")
        }
        Some(_) => format!("its revision {enforced_revision} is enforced, {revision} is NOT\n"),
    };
    for fault in &control.faults {
        text += &format!("fault: {}\n", plain(fault));
    }
    for (state, meaning) in [
        (FilterState::Isolated, "isolated, nothing passes"),
        (FilterState::Held, "held by earlier rules"),
        (FilterState::Unfiltered, "NOT filtered"),
    ] {
        let of_state = status.interfaces.iter().filter(|interface| interface.state == state);
        let names: Vec<&str> = of_state.map(|interface| interface.name.as_str()).collect();
        if !names.is_empty() {
            text += &format!("{meaning}: {}\n", plain(&names.join(", ")));
        }
    }
    text
}

fn interfaces(status: &Status) -> String {
    let header =
        ["INTERFACE", "ROLE", "PATH", "IN PKT/B", "OUT PKT/B", "DROPPED", "FLOWS", "GROUPS"];
    let rows = status.interfaces.iter().map(|interface| {
        let dropped =
            total(&interface.ingress.dropped).packets + total(&interface.egress.dropped).packets;
        [
            interface.name.clone(),
            interface.role.clone(),
            interface.datapath.clone(),
            volume(total(&interface.ingress.allowed)),
            volume(total(&interface.egress.allowed)),
            short(dropped),
            short(interface.flows.used),
            interface.groups.join(", "),
        ]
    });
    table(header, rows)
}

fn total(counts: &BTreeMap<String, Count>) -> Count {
    counts.values().fold(Count::default(), |sum, count| Count {
        packets: sum.packets + count.packets,
        bytes: sum.bytes + count.bytes,
    })
}

fn volume(count: Count) -> String {
    format!("{}/{}", short(count.packets), short(count.bytes))
}

/// A block with a line per interface, direction and reason that has counted something.
fn counters(
    status: &Status,
    title: &str,
    pick: impl Fn(&sg_api::Counters) -> &BTreeMap<String, Count>,
) -> String {
    let mut rows = Vec::new();
    for interface in &status.interfaces {
        let directions = [("in", &interface.ingress), ("out", &interface.egress)];
        for (direction, counters) in directions {
            rows.extend(pick(counters).iter().map(|(reason, count)| {
                [
                    interface.name.clone(),
                    direction.to_owned(),
                    short(count.packets),
                    short(count.bytes),
                    reason.clone(),
                ]
            }));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table([title, "", "PACKETS", "BYTES", "REASON"], rows.iter().cloned()))
}

/// Why each data path was chosen; interfaces with the same reason share a line.
fn datapaths(status: &Status) -> String {
    let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for InterfaceStatus { name, datapath, datapath_reason, .. } in &status.interfaces {
        reasons.entry((datapath, datapath_reason)).or_default().push(name);
    }
    let rows = reasons.iter().map(|((datapath, reason), names)| {
        [(*datapath).to_owned(), (*reason).to_owned(), names.join(", ")]
    });
    format!("\n{}", table(["PATH", "BECAUSE", "ON"], rows))
}

/// XDP and TC users besides us.
fn others(status: &Status) -> String {
    let rows: Vec<[String; 2]> = status
        .interfaces
        .iter()
        .flat_map(|interface| {
            interface.others.iter().map(|other| [other.clone(), interface.name.clone()])
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}", table(["OTHER PROGRAMS", "ON"], rows.into_iter()))
}
