//! xdp-filter (xdp-tools). It matches addresses or ports, each for itself, and knows neither prefixes nor
//! flows: of what rules here say, it can do a service that is open to all.

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Did, Filter, Task};
use crate::{
    packets::NEAR,
    rules::{OPEN, Rules},
    testbed::{Testbed, run},
};

/// Where its maps are pinned, whatever one says.
const BPFFS: &str = "/sys/fs/bpf";

#[derive(Debug)]
pub struct XdpFilter;

impl XdpFilter {
    /// With a bpffs of its own, in the case's sandbox.
    pub fn start(testbed: &Testbed, task: &Task) -> Result<Self> {
        ensure!(task.rules == Rules::Everyone, "xdp-filter cannot do this");
        mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>).context(BPFFS)?;
        let mounted = Self;
        let host = testbed.near();
        run(host, "xdp-filter", &["load", NEAR, "--mode", "native", "--policy", "deny"])?;
        let port = OPEN.to_string();
        run(host, "xdp-filter", &["port", &port, "--proto", "udp,tcp", "--mode", "dst"])?;
        Ok(mounted)
    }
}

impl Drop for XdpFilter {
    fn drop(&mut self) {
        // The sandbox takes it away else.
        let _ = umount2(BPFFS, MntFlags::MNT_DETACH);
    }
}

impl Filter for XdpFilter {
    fn did(&self, testbed: &Testbed) -> Result<Did> {
        let text = run(testbed.near(), "xdp-filter", &["status"])?;
        let count = |action: &str| {
            let line = text.lines().find(|line| line.trim().starts_with(action));
            let count = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            count.with_context(|| format!("cannot read {text}"))
        };
        Ok(Did { dropped: count("XDP_DROP")?, allowed: count("XDP_PASS")?, ..Did::default() })
    }

    fn flows(&self, _testbed: &Testbed) -> Result<u64> {
        Ok(0)
    }
}
