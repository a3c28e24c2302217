//! The Debian system under qemu: its console's port, by which it does what it is told, and its end.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::{
        net::{UnixListener, UnixStream},
        process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::{prctl, signal::Signal},
};
use sg_tests::{NetNs, sandbox};

use crate::{Args, GUEST_MAC, TAP};

pub(crate) struct Guest<'a> {
    args: &'a Args,
    outside: &'a NetNs,
    machine: Machine,
    deadline: Instant,
}

/// A qemu, which ends with this.
struct Machine {
    qemu: Child,
    port: BufReader<UnixStream>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Machine {
    /// Switches it on, its NIC on a tap of the namespace.
    fn start(args: &Args, outside: &NetNs) -> Self {
        let path = sandbox::directory("guest").join("port");
        let listener = UnixListener::bind(&path).expect("a socket");
        let file = outside.fd().try_clone_to_owned().expect("a descriptor");
        let mut qemu = command(args, &path);
        let enter = move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            Ok(())
        };
        // SAFETY: two system calls and no allocation between fork and exec.
        unsafe { qemu.pre_exec(enter) };
        let qemu = qemu.spawn().expect("qemu starts");
        let (port, _) = listener.accept().expect("qemu connects");
        port.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        Self { qemu, port: BufReader::new(port) }
    }
}

impl<'a> Guest<'a> {
    /// Switches it on.
    pub(crate) fn start(args: &'a Args, outside: &'a NetNs) -> Self {
        let deadline = Instant::now() + Duration::from_secs(args.limit);
        Self { args, outside, machine: Machine::start(args, outside), deadline }
    }

    /// Waits until the system is up.
    #[track_caller]
    pub(crate) fn is_up(&mut self) {
        while self.line() != "= ready" {}
    }

    /// Runs a line of shell; status and output.
    #[track_caller]
    pub(crate) fn run(&mut self, command: &str) -> (i32, String) {
        writeln!(self.machine.port.get_ref(), "{command}").expect("the port takes it");
        let mut said = String::new();
        loop {
            let line = self.line();
            if let Some(status) = line.strip_prefix("= ") {
                let status = status.parse().unwrap_or_else(|_| panic!("{command}: {line}"));
                return (status, said.trim_end().to_owned());
            }
            said += &line;
            said.push('\n');
        }
    }

    /// Runs a line of shell that has to succeed; its output.
    #[track_caller]
    pub(crate) fn does(&mut self, command: &str) -> String {
        let (status, said) = self.run(command);
        assert_eq!(status, 0, "{command}\n{said}");
        said
    }

    /// Waits until a line of shell succeeds.
    #[track_caller]
    pub(crate) fn waits(&mut self, command: &str) {
        while self.run(command).0 != 0 {
            assert!(Instant::now() < self.deadline, "not in time: {command}");
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// Shuts the system down and starts it again, by a new qemu: after a reset, emulation is several times
    /// slower.
    #[track_caller]
    pub(crate) fn reboots(&mut self) {
        writeln!(self.machine.port.get_ref(), "systemctl reboot").expect("the port takes it");
        while self.machine.qemu.try_wait().expect("our child").is_none() {
            assert!(Instant::now() < self.deadline, "the guest does not shut down");
            thread::sleep(Duration::from_millis(20));
        }
        self.machine = Machine::start(self.args, self.outside);
        self.is_up();
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            assert!(Instant::now() < self.deadline, "the guest is not done in time");
            match self.machine.port.read_until(b'\n', &mut line) {
                Ok(0) => panic!("qemu ended"),
                Ok(_) => return String::from_utf8_lossy(&line).trim_end().to_owned(),
                // The timeout keeps the bytes before it in `line`; read on.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the guest's port: {error}"),
            }
        }
    }
}

fn command(args: &Args, port: &Path) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"]);
    qemu.arg("-kernel").arg(&args.kernel).arg("-initrd").arg(&args.initrd);
    qemu.args(["-append", "console=ttyS0 loglevel=4 panic=-1 rdinit=/init"]);
    qemu.arg("-serial").arg(format!("file:{}", args.console.display()));
    let drives = args.packages.iter().map(|package| (package, ",readonly=on"));
    for (file, flags) in [(&args.disk, ",cache=unsafe")].into_iter().chain(drives) {
        qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio{flags}", file.display()));
    }
    qemu.arg("-netdev").arg(format!("tap,id=nic,ifname={TAP},script=no,downscript=no"));
    qemu.arg("-device").arg(format!("virtio-net-pci,netdev=nic,romfile=,mac={GUEST_MAC}"));
    qemu.arg("-chardev").arg(format!("socket,id=control,path={}", port.display()));
    qemu.args(["-device", "virtio-serial-pci"]);
    qemu.args(["-device", "virtserialport,chardev=control,name=sg.control"]);
    qemu.stdin(Stdio::null()).stdout(Stdio::null());
    qemu
}

/// A line of shell that installs the package on a disk, which has no file system: it is the package.
pub(crate) fn install(disk: char, package: &Path) -> String {
    let length = fs::metadata(package).expect("the package").len();
    format!("head -c {length} /dev/vd{disk} > /root/{disk}.deb && dpkg -i /root/{disk}.deb")
}
