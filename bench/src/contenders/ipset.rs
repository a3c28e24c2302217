//! iptables with an ipset of networks and ports.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use sg_common::Family;
use sg_tests::ctl::file;

use super::{Did, Filter, Task};
use crate::{
    packets::{everyone, senders},
    rules::{OPEN, Rules, network, port},
    site::{Site, run},
};

#[derive(Debug)]
pub struct Ipset {
    iptables: &'static str,
}

impl Ipset {
    pub fn start(site: &Site, task: &Task) -> Result<Self> {
        let Task { rules, family, .. } = *task;
        let (iptables, inet) = match family {
            Family::V4 => ("iptables", "inet"),
            Family::V6 => ("ip6tables", "inet6"),
        };
        let host = site.near();
        let mut set = String::new();
        let allows: Vec<String> = match rules {
            Rules::Scattered(count) => {
                let _ = writeln!(set, "create pairs hash:net,port family {inet} maxelem 1000000");
                for i in 0..count {
                    let _ = writeln!(set, "add pairs {},tcp:{}", network(family, i), port(i));
                }
                vec!["-m set --match-set pairs src,dst".into()]
            }
            Rules::List(count) => {
                let _ = writeln!(set, "create list hash:net family {inet} maxelem 1000000");
                for i in 0..count {
                    let _ = writeln!(set, "add list {}", network(family, i));
                }
                vec!["-p tcp --dport 443 -m set --match-set list src".into()]
            }
            Rules::Senders | Rules::Everyone => {
                let from = if rules == Rules::Senders { senders(family) } else { everyone(family) };
                let allow = |protocol| format!("-s {from} -p {protocol} --dport {OPEN}");
                vec![allow("udp"), allow("tcp")]
            }
        };
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
    fn did(&self, site: &Site) -> Result<Did> {
        let text = run(site.near(), self.iptables, &["-w", "-nvxL", "INPUT"])?;
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
}
