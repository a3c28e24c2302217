//! The kernel's connection tracking, whose table is one for the whole machine.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

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
///
/// A process of its own sets the old size back. It notices when the bench has gone, however that
/// came about. A table that stays too large makes each namespace that ends, and each dump, slow.
#[derive(Debug)]
pub struct Conntrack {
    keeper: Child,
}

impl Conntrack {
    /// As its documentation advises, as many buckets as flows
    /// (Documentation/networking/nf_conntrack-sysctl.rst).
    pub fn with_room_for(flows: u32) -> Result<Self> {
        let read = |path: &'static str| fs::read_to_string(path).with_context(|| path.to_owned());
        let script = format!(
            "cat; echo {} > {BUCKETS}; buckets=$?; echo {} > {MAX} && exit $buckets",
            read(BUCKETS)?.trim(),
            read(MAX)?.trim()
        );
        let keeper = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A terminal's signals to the bench must not end it.
            .process_group(0)
            .spawn()
            .context("sh")?;
        let room = Self { keeper };
        for path in [MAX, BUCKETS] {
            fs::write(path, flows.to_string()).with_context(|| path.to_owned())?;
        }
        Ok(room)
    }
}

impl Drop for Conntrack {
    fn drop(&mut self) {
        // Waiting closes its standard input first.
        match self.keeper.wait() {
            Ok(status) if status.success() => {}
            outcome => {
                eprintln!("bench: {MAX} and {BUCKETS} may not be what they were: {outcome:?}");
            }
        }
    }
}
