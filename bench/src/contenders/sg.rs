//! Ours: the built `sg-agent` and `sgctl`.

use anyhow::{Result, ensure};
use sg_tests::{Agent, Counts, Ctl, Datapath};

use super::{Did, Filter, Task};
use crate::{packets::NEAR, testbed::Testbed};

pub struct Sg {
    agent: Agent,
}

impl Sg {
    pub fn start(testbed: &Testbed, datapath: Datapath, task: &Task) -> Result<Self> {
        let agent = Agent::start(testbed.near(), &["--max-flows", &task.max_flows.to_string()]);
        let name = datapath.name();
        let ctl = agent.ctl();
        let how = format!("datapath = \"{name}\"");
        ctl.apply(&task.rules.of(task.family).toml(NEAR, &how), &[]);
        let has = ctl.status().interfaces[0].datapath.clone();
        ensure!(has.starts_with(name), "filtered by {has} instead of {name}");
        Ok(Self { agent })
    }

    pub fn ctl(&self) -> Ctl {
        self.agent.ctl()
    }
}

impl Filter for Sg {
    fn did(&self, _testbed: &Testbed) -> Result<Did> {
        let counts = Counts::of(&self.ctl().status(), NEAR);
        let count = |reason: &str| counts.get(&format!("ingress {reason}"));
        Ok(Did {
            dropped: count("no_rule") + count("conntrack_allowance_exceeded"),
            established: count("flow"),
            allowed: count("rule"),
            untracked: count("untracked"),
        })
    }

    fn flows(&self, _testbed: &Testbed) -> Result<u64> {
        Ok(self.ctl().status().interfaces[0].flows.used)
    }
}
