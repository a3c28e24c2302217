//! nftables, as its users would write the same rules.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use sg_common::Family;
use sg_tests::{NetNs, ctl::file};

use super::{Did, Filter, Task, conntrack};
use crate::{
    rules::{Allow, Rules, Ruleset},
    testbed::{Testbed, run},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One set of pairs of network and port (`flags interval`).
    Set,
    /// A rule for each.
    Linear,
    /// A set, and no connection tracking.
    Stateless,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "nft, set",
            Self::Linear => "nft, linear",
            Self::Stateless => "nft, stateless",
        }
    }
}

#[derive(Debug)]
pub struct Nft;

impl Nft {
    pub fn start(testbed: &Testbed, form: Form, task: &Task) -> Result<Self> {
        load(testbed.near(), &text(form, &task.rules.of(task.family)))?;
        Ok(Self)
    }
}

/// Loads a file of rules.
pub fn load(namespace: &NetNs, text: &str) -> Result<()> {
    run(namespace, "nft", &["-f", &file(text.as_bytes())]).map(drop)
}

/// A file that puts these rules in the place of earlier ones.
pub fn text(form: Form, ruleset: &Ruleset) -> String {
    let (ip, kind) = match ruleset.family {
        Family::V4 => ("ip", "ipv4_addr"),
        Family::V6 => ("ip6", "ipv6_addr"),
    };
    let (mut sets, mut allows) = (String::new(), String::new());
    // Writing to a String does not fail.
    let list = ruleset.list();
    if !list.is_empty() {
        let _ = writeln!(sets, "set networks {{\ntype {kind}\nflags interval\nelements = {{");
        list.iter().for_each(|network| {
            let _ = writeln!(sets, "{network},");
        });
        sets += "}\n}\n";
    }
    let in_set = form != Form::Linear && matches!(ruleset.rules, Rules::Scattered(_));
    if in_set {
        let _ = writeln!(
            sets,
            "set pairs {{\ntype {kind} . inet_service\nflags interval\nelements = {{"
        );
        let _ = writeln!(allows, "{ip} saddr . tcp dport @pairs {ALLOW}");
    }
    for allow in ruleset.allows() {
        let _ = match allow {
            Allow::Tcp(network, port) if in_set => writeln!(sets, "{network} . {port},"),
            Allow::Tcp(network, port) => {
                writeln!(allows, "{ip} saddr {network} tcp dport {port} {ALLOW}")
            }
            Allow::Udp(network, port) => {
                writeln!(allows, "{ip} saddr {network} udp dport {port} {ALLOW}")
            }
            Allow::List(port) => writeln!(allows, "{ip} saddr @networks tcp dport {port} {ALLOW}"),
        };
    }
    if in_set {
        sets += "}\n}\n";
    }
    let tracked = match form {
        Form::Stateless => "",
        Form::Set | Form::Linear => "ct state established counter name established accept",
    };
    format!(
        "table inet bench\ndelete table inet bench\ntable inet bench {{\n\
         counter established {{ }}\ncounter allowed {{ }}\ncounter dropped {{ }}\n{sets}\
         chain input {{ type filter hook input priority filter; policy accept;\n\
         {tracked}\n{allows}counter name dropped drop\n}}\n}}\n"
    )
}

const ALLOW: &str = "counter name allowed accept";

/// Packets that a named counter counted.
pub fn counter(namespace: &NetNs, table: &str, name: &str) -> Result<u64> {
    let text = run(namespace, "nft", &["list", "counter", "inet", table, name])?;
    let count = text.split_once("packets ").and_then(|(_, rest)| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).with_context(|| format!("cannot read {text}"))
}

impl Filter for Nft {
    fn did(&self, testbed: &Testbed) -> Result<Did> {
        let count = |name| counter(testbed.near(), "bench", name);
        Ok(Did {
            dropped: count("dropped")?,
            established: count("established")?,
            allowed: count("allowed")?,
            untracked: 0,
        })
    }

    fn flows(&self, testbed: &Testbed) -> Result<u64> {
        conntrack::flows(testbed.near())
    }
}
