//! The kernel's connection tracking, whose table is one for the whole machine.

use std::fs;

use anyhow::{Context as _, Result};
use sg_tests::NetNs;

const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";

/// Flows of a namespace.
pub fn flows(namespace: &NetNs) -> Result<u64> {
    let count = namespace.run(|| fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count"));
    Ok(count.context("conntrack's count")?.trim().parse()?)
}

/// Room for so many flows, until it is dropped.
#[derive(Debug)]
pub struct Conntrack {
    before: [(&'static str, String); 2],
}

impl Conntrack {
    /// As its documentation advises, as many buckets as flows
    /// (Documentation/networking/nf_conntrack-sysctl.rst).
    pub fn with_room_for(flows: u32) -> Result<Self> {
        let read = |path: &'static str| -> Result<_> {
            Ok((path, fs::read_to_string(path).with_context(|| path.to_owned())?))
        };
        let room = Self { before: [read(MAX)?, read(BUCKETS)?] };
        for path in [MAX, BUCKETS] {
            fs::write(path, flows.to_string()).with_context(|| path.to_owned())?;
        }
        Ok(room)
    }
}

impl Drop for Conntrack {
    fn drop(&mut self) {
        for (path, value) in &self.before {
            if let Err(error) = fs::write(path, value) {
                eprintln!("bench: {path} was {value}, and could not be set back: {error}");
            }
        }
    }
}
