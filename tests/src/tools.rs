//! Programs that are not ours, from `target/tools`.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::{Agent, sandbox};

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

/// strace(1) on a running agent, which goes on when this ends.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    log: PathBuf,
    /// It ends when nobody reads what it says of new threads.
    _messages: BufReader<ChildStderr>,
}

impl Strace {
    /// With options that say which calls it shows or changes.
    #[track_caller]
    pub fn attach(agent: &Agent, arguments: &[&str]) -> Self {
        let log = sandbox::directory("strace").join("log");
        let mut child = Command::new("strace")
            .args(["-f", "-p", &agent.pid().to_string(), "-o"])
            .arg(&log)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace; run `cargo xtask setup --ci`");
        let mut line = String::new();
        let mut messages = BufReader::new(child.stderr.take().expect("a pipe"));
        messages.read_line(&mut line).expect("a line");
        assert!(line.contains("attached"), "{line}");
        Self { child, log, _messages: messages }
    }

    /// Lets go of the agent; what it has seen.
    #[track_caller]
    pub fn end(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, Signal::SIGINT).expect("a signal");
        self.child.wait().expect("our child");
        fs::read_to_string(&self.log).expect("a log")
    }
}
