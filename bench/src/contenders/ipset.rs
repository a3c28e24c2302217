//! iptables with an ipset of networks and ports.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use sg_common::Family;
use sg_tests::ctl::file;

use super::{Did, Filter, Task, conntrack};
use crate::{
    rules::{Allow, Rules},
    testbed::{Testbed, run},
};

#[derive(Debug)]
pub struct Ipset {
    iptables: &'static str,
}

impl Ipset {
    pub fn start(testbed: &Testbed, task: &Task) -> Result<Self> {
        let Task { rules, family, .. } = *task;
        let (iptables, inet) = match family {
            Family::V4 => ("iptables", "inet"),
            Family::V6 => ("ip6tables", "inet6"),
        };
        let host = testbed.near();
        let ruleset = rules.of(family);
        let list = ruleset.list();
        let in_set = matches!(rules, Rules::Scattered(_));
        let (mut set, mut allows) = (String::new(), Vec::new());
        if !list.is_empty() {
            // Writing to a String does not fail.
            let _ = writeln!(set, "create networks hash:net family {inet} maxelem 1000000");
            list.iter().for_each(|network| {
                let _ = writeln!(set, "add networks {network}");
            });
        }
        if in_set {
            let _ = writeln!(set, "create pairs hash:net,port family {inet} maxelem 1000000");
            allows.push("-m set --match-set pairs src,dst".to_owned());
        }
        for allow in ruleset.allows() {
            match allow {
                Allow::Tcp(network, port) if in_set => {
                    let _ = writeln!(set, "add pairs {network},tcp:{port}");
                }
                Allow::Tcp(network, port) => {
                    allows.push(format!("-s {network} -p tcp --dport {port}"));
                }
                Allow::Udp(network, port) => {
                    allows.push(format!("-s {network} -p udp --dport {port}"));
                }
                Allow::List(port) => {
                    allows.push(format!("-p tcp --dport {port} -m set --match-set networks src"));
                }
            }
        }
        if !set.is_empty() {
            run(host, "ipset", &["restore", "-file", &file(set.as_bytes())])?;
        }
        let established = "-m conntrack --ctstate ESTABLISHED".to_owned();
        for rule in [established].iter().chain(&allows) {
            let mut args = vec!["-w", "-A", "INPUT"];
            args.extend(rule.split(' '));
            args.extend(["-j", "ACCEPT"]);
            run(host, iptables, &args)?;
        }
        run(host, iptables, &["-w", "-A", "INPUT", "-j", "DROP"])?;
        Ok(Self { iptables })
    }
}

impl Filter for Ipset {
    /// First the tracked flows, then what is allowed, last what is not.
    fn did(&self, testbed: &Testbed) -> Result<Did> {
        let text = run(testbed.near(), self.iptables, &["-w", "-nvxL", "INPUT"])?;
        let packets: Vec<u64> = text
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().next()?.parse().ok())
            .collect::<Option<_>>()
            .with_context(|| format!("cannot read {text}"))?;
        ensure!(packets.len() > 2, "too few rules: {text}");
        let last = packets.len() - 1;
        Ok(Did {
            established: packets[0],
            allowed: packets[1..last].iter().sum(),
            dropped: packets[last],
            untracked: 0,
        })
    }

    fn flows(&self, testbed: &Testbed) -> Result<u64> {
        conntrack::flows(testbed.near())
    }
}
