//! The real `sg-agent`.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io,
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::{Ctl, NetNs, Ran, differential::fewer, probe::PATIENCE, sandbox};

/// An agent with directories of its own. It dies with the test; what it pinned goes with the
/// sandbox.
#[derive(Debug)]
pub struct Agent {
    directory: PathBuf,
    namespace: File,
    flags: Vec<String>,
    child: Option<Child>,
}

impl Agent {
    /// Starts an agent in a namespace and waits until it answers.
    #[track_caller]
    pub fn start(namespace: &NetNs, flags: &[&str]) -> Self {
        let mut agent = Self::stopped(namespace, flags);
        agent.restart();
        agent
    }

    /// An agent that is yet to be started.
    pub fn stopped(namespace: &NetNs, flags: &[&str]) -> Self {
        Self {
            directory: sandbox::directory("agent"),
            namespace: namespace.fd().try_clone_to_owned().expect("a descriptor").into(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            child: None,
        }
    }

    /// Writes agent.toml, for the next start.
    pub fn configure(&self, text: &str) {
        fs::write(self.directory.join("agent.toml"), text).expect("a settings file");
    }

    /// One with the same directories in another namespace, yet to be started. This one must have ended.
    pub fn in_namespace(&self, namespace: &NetNs) -> Self {
        assert!(self.child.is_none(), "it is running");
        Self {
            directory: self.directory.clone(),
            namespace: namespace.fd().try_clone_to_owned().expect("a descriptor").into(),
            flags: self.flags.clone(),
            child: None,
        }
    }

    pub fn state_dir(&self) -> PathBuf {
        self.directory.join("state")
    }

    pub fn bpffs(&self) -> PathBuf {
        self.directory.join("bpf")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("run").join(sg_api::SOCKET)
    }

    pub fn ctl(&self) -> Ctl {
        Ctl::new(&self.socket())
    }

    /// The log of all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// `sg-agent` in the namespace with this agent's directories; `verb` is empty or `detach`.
    pub fn command(&self, verb: &[&str]) -> Command {
        self.command_of(&binary("sg-agent"), verb)
    }

    /// The same with another copy of the program.
    pub fn command_of(&self, program: &Path, verb: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(verb);
        for (flag, path) in [
            ("--config", self.directory.join("agent.toml")),
            ("--state-dir", self.state_dir()),
            ("--runtime-dir", self.directory.join("run")),
            ("--bpffs", self.bpffs()),
        ] {
            command.arg(flag).arg(path);
        }
        let namespace = self.namespace.try_clone().expect("a descriptor");
        let enter = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(())
        };
        // SAFETY: two system calls and no allocation between fork and exec.
        unsafe { command.pre_exec(enter) };
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it answers; panics with its log if it ends instead.
    #[track_caller]
    pub fn restart(&mut self) {
        self.restart_by(self.command(&[]));
    }

    /// The same, started by a command of [`Agent::command_of`].
    #[track_caller]
    pub fn restart_by(&mut self, mut command: Command) {
        assert!(self.child.is_none(), "it is running");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        command.args(&self.flags).stdout(Stdio::null()).stderr(log.expect("a log file"));
        self.child = Some(command.spawn().expect("sg-agent starts"));
        let deadline = Instant::now() + start_patience();
        while UnixStream::connect(self.socket()).is_err() {
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("our child") {
                self.child = None;
                panic!("the agent ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "the agent does not answer");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts a second `sg-agent` on the same directories that is expected to end by itself.
    #[track_caller]
    pub fn run_another(&self) -> Ran {
        ran_within(self.command(&[]).args(&self.flags), PATIENCE)
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is running").id()
    }

    /// SIGKILL, as a crash would end it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it is running");
        child.kill().expect("SIGKILL");
        child.wait().expect("our child");
    }

    /// SIGTERM, as systemd would end it.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.pid().cast_signed());
        kill(pid, Signal::SIGTERM).expect("SIGTERM");
        self.wait()
    }

    /// A reboot, as far as a stopped agent can tell: nothing is pinned, and the boot has another id.
    pub fn reboot(&self) {
        umount2(&self.bpffs(), MntFlags::MNT_DETACH).expect("the agent mounted its bpffs");
        let id = self.directory.join("boot_id");
        fs::write(&id, format!("{:08}-0000-0000-0000-000000000000\n", sandbox::unique()))
            .expect("a boot id");
        let none: Option<&str> = None;
        let of_kernel = "/proc/sys/kernel/random/boot_id";
        mount(Some(&id), of_kernel, none, MsFlags::MS_BIND, none).expect("over the kernel's");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it is running");
        wait_within(&mut child, PATIENCE)
            .unwrap_or_else(|| panic!("the agent did not end\n{}", self.log()))
    }

    /// Resident memory in KiB.
    pub fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("/proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if thread::panicking() {
            let status = self.ctl().run(&["status"]);
            eprintln!("--- sgctl status\n{}{}", status.stdout, status.stderr);
            eprintln!("--- the agent's log\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a command that must end within `limit`; it is killed and the test fails otherwise.
#[track_caller]
pub fn ran_within(command: &mut Command, limit: Duration) -> Ran {
    let directory = sandbox::directory("ran");
    let [out, err] = ["out", "err"].map(|name| directory.join(name));
    let create = |path: &Path| File::create(path).expect("a file for output");
    let mut child = command
        .stdout(create(&out))
        .stderr(create(&err))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let status = wait_within(&mut child, limit);
    let read = |path| fs::read_to_string(path).expect("its output");
    let (stdout, stderr) = (read(out), read(err));
    let Some(status) = status else { panic!("{command:?} did not end\n{stdout}{stderr}") };
    Ran { status: status.code(), stdout, stderr }
}

/// How long an agent may take to answer. Its programs are most of its start: where software emulates the CPU, the
/// kernel checks them for many seconds.
fn start_patience() -> Duration {
    if fewer() { 3 * PATIENCE } else { PATIENCE }
}

/// `None`: it did not end in time and was killed.
fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("our child") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A copy of a built binary that every user may run, wherever the original is.
pub fn public_binary(name: &str) -> PathBuf {
    let copy = sandbox::directory("bin").join(name);
    fs::copy(binary(name), &copy).expect("a copy");
    copy
}

/// Path of a built binary.
pub fn binary(name: &str) -> PathBuf {
    let directory = env::var_os("SG_BIN_DIR").expect("SG_BIN_DIR; run `cargo xtask test`");
    let path = PathBuf::from(directory).join(name);
    let found: io::Result<PathBuf> = path.canonicalize();
    found.unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`", path.display()))
}
