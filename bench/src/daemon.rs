//! Other programs in a namespace, for as long as they are needed.

use std::{
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl, signal::Signal},
};
use sg_tests::NetNs;

/// Ends when it is dropped, or the case's thread ends.
#[derive(Debug)]
pub struct Daemon(Child);

impl Daemon {
    pub fn start(namespace: &NetNs, program: &str, args: &[&str]) -> Result<Self> {
        let namespace = namespace.fd().try_clone_to_owned()?;
        let enter = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(())
        };
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: two system calls and no allocation between fork and exec.
        unsafe { command.pre_exec(enter) };
        command.spawn().map(Self).with_context(|| format!("starting {program}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
