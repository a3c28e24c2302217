//! Programs that are not ours, from `target/tools`.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::sys::{prctl, signal::Signal};

/// Path of a tool that `cargo xtask setup --ci` and `cargo xtask test` see to.
#[track_caller]
pub fn path(relative: &str) -> PathBuf {
    let directory = env::var_os("SG_TOOLS_DIR").expect("SG_TOOLS_DIR; run `cargo xtask test`");
    let path = PathBuf::from(directory).join(relative);
    assert!(path.exists(), "no {}; run `cargo xtask setup --ci`", path.display());
    path
}

/// A program that runs until it is dropped, and not longer than the thread that started it.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        // SAFETY: one system call between fork and exec.
        unsafe {
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}")))
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
