//! Ours: the built `sg-agent` and `sgctl`.

use anyhow::{Result, ensure};
use sg_common::Family;
use sg_tests::{Agent, Counts, Ctl, Datapath, NetNs};

use super::{Did, Filter};
use crate::{packets::NEAR, rules::Rules, site::Site};

pub struct Sg {
    agent: Agent,
}

impl Sg {
    pub fn start(site: &Site, datapath: Datapath, rules: Rules, family: Family) -> Result<Self> {
        Self::with_flags(site.near(), Some(datapath), rules, family, &[])
    }

    /// Without a data path: as the agent thinks best.
    pub fn with_flags(
        namespace: &NetNs,
        datapath: Option<Datapath>,
        rules: Rules,
        family: Family,
        flags: &[&str],
    ) -> Result<Self> {
        let agent = Agent::start(namespace, flags);
        let name = datapath.map_or("auto", Datapath::name);
        let interface = format!(
            "[[interface]]\nname = \"{NEAR}\"\ngroups = [\"bench\"]\ndatapath = \"{name}\"\n"
        );
        let ctl = agent.ctl();
        ctl.apply(&rules.toml(family, &interface), &[]);
        if let Some(datapath) = datapath {
            let status = ctl.status();
            let has = serde_json::to_value(&status.interfaces[0].datapath)?;
            let is = has.as_str().is_some_and(|has| has.starts_with(datapath.name()));
            ensure!(is, "filtered by {has} instead of {name}");
        }
        Ok(Self { agent })
    }

    pub fn ctl(&self) -> Ctl {
        self.agent.ctl()
    }
}

impl Filter for Sg {
    fn did(&self, _site: &Site) -> Result<Did> {
        let counts = Counts::of(&self.ctl().status(), NEAR);
        let count = |reason: &str| counts.get(&format!("ingress {reason}"));
        Ok(Did {
            dropped: count("no_rule"),
            established: count("flow"),
            allowed: count("rule"),
            untracked: count("untracked"),
        })
    }
}
