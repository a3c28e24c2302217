//! Network namespaces.

use std::{
    fs::{self, File},
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd},
    panic::resume_unwind,
    path::Path,
    process::{self, Command, Stdio},
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use crate::{Ran, sandbox};

/// A network namespace with a name that `ip -n` and `ip netns exec` know inside the sandbox.
///
/// Not `Send`: the name lives in the sandbox of the thread that made it.
#[derive(Debug)]
pub struct NetNs {
    name: String,
    file: File,
    _not_send: PhantomData<*const ()>,
}

impl NetNs {
    /// A new namespace with `lo` up; `label` is part of its unique name.
    pub fn new(label: &str) -> Self {
        Self::named(format!("sg-{label}-{}-{}", process::id(), sandbox::unique()))
    }

    /// A new namespace with this name, which no other of the sandbox has.
    pub fn named(name: String) -> Self {
        sandbox::enter();
        let path = Path::new("/run/netns").join(&name);
        File::create(&path).expect("a mount point for the namespace");
        // A thread of its own, because the calling one is to stay where it is.
        in_thread(|| {
            let none: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace; are you root?");
            mount(Some("/proc/thread-self/ns/net"), &path, none, MsFlags::MS_BIND, none)
                .expect("the namespace's name");
        });
        let file = File::open(&path).expect("the namespace just made");
        let namespace = Self { name, file, _not_send: PhantomData };
        namespace.ip("link set lo up");
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// For [`setns`] before an exec.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Runs `action` on a thread inside. Sockets made there stay there, whoever uses them later.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let fd = self.fd();
        in_thread(|| {
            setns(fd, CloneFlags::CLONE_NEWNET).expect("into the namespace");
            action()
        })
    }

    /// Takes the calling thread in, for the rest of its life.
    pub fn stay(&self) {
        setns(self.fd(), CloneFlags::CLONE_NEWNET).expect("into the namespace");
    }

    /// Runs lines of `ip` arguments inside, all in one process; panics if one fails.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        if let Err(error) = self.try_ip(lines) {
            panic!("in {}: {error}\n{lines}", self.name);
        }
    }

    /// As [`NetNs::ip`]; the error is what `ip` said.
    pub fn try_ip(&self, lines: &str) -> Result<(), String> {
        // Not -batch, which reads a link called `a` or `dev` as a keyword and stops at odd places.
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let output = Command::new("ip")
                .args(["-n", &self.name])
                .args(line.split_whitespace())
                .output()
                .map_err(|error| format!("cannot run ip: {error}"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(format!("ip {line}: {}", said.trim()));
            }
        }
        Ok(())
    }

    /// The output of `ip`.
    #[track_caller]
    pub fn shows(&self, args: &str) -> String {
        let mut command = Command::new("ip");
        let ran = Ran::of(command.args(["-n", &self.name]).args(args.split_whitespace()));
        ran.expect(0).stdout
    }

    /// Sets a sysctl under `/proc/sys/net`: `ipv4/ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(key);
        self.run(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Runs a program inside with its output shown to nobody; whether it succeeded.
    pub fn succeeds(&self, program: &str, args: &[&str]) -> bool {
        self.run(|| {
            Command::new(program)
                .args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        let path = Path::new("/run/netns").join(&self.name);
        // The sandbox takes away what is left if one of these fails.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&path);
    }
}

fn in_thread<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(action).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
