//! Process 1 of a guest of `cargo xtask vm-test`: mounts what a Linux system has, loads modules, runs
//! the commands of [`PLAN`], says how each ended and powers off. The guest has nothing else: no
//! shell, no udev.
//!
//! | line of the plan | meaning |
//! |---|---|
//! | `module PATH` | loads a kernel module; what it needs stands before it |
//! | `env NAME=VALUE` | for all commands that follow |
//! | `run PROGRAM ARGUMENT…` | split at spaces |
//! | `root DEVICE` | the last line: process 1 becomes that of the system on it |
//!
//! Everything is said on [`OUTPUT`], where the kernel says nothing; lines for the machine outside
//! start with `sg-init: `. A panic ends process 1, and with it the guest, which the host sees.

use std::{
    env,
    ffi::CString,
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::{
        reboot::{RebootMode, reboot},
        wait::{WaitStatus, wait},
    },
    unistd::Pid,
};

const PLAN: &str = "/plan";
/// The second serial port; the first one is the kernel's console.
const OUTPUT: &str = "/dev/ttyS1";
/// The kernel unpacks a compressed module itself (include/uapi/linux/module.h).
const MODULE_INIT_COMPRESSED_FILE: i32 = 4;

fn main() {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        fs::create_dir_all(at).unwrap_or_else(|error| panic!("{at}: {error}"));
        let none: Option<&str> = None;
        mount(Some(kind), at, Some(kind), MsFlags::empty(), none)
            .unwrap_or_else(|error| panic!("{kind} on {at}: {error}"));
    }
    let plan = fs::read_to_string(PLAN).expect("the plan");
    let mut environment = vec![("PATH", "/usr/bin:/usr/sbin:/bin:/sbin"), ("HOME", "/")];
    for line in plan.lines() {
        match line.split_once(' ').expect("a word and its arguments") {
            ("module", path) => {
                load(Path::new(path)).unwrap_or_else(|error| panic!("module {path}: {error}"));
            }
            ("env", pair) => environment.push(pair.split_once('=').expect("NAME=VALUE")),
            ("run", command) => {
                let ended = run(command, &environment);
                say(&format!("{ended}: {command}"));
            }
            ("root", device) => become_system(device),
            _ => panic!("the plan says {line:?}"),
        }
    }
    say("done");
    // It does not return.
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

/// Hands over to a system on a disk, which finds nothing mounted but itself.
fn become_system(device: &str) -> ! {
    const ROOT: &str = "/system";
    let none: Option<&str> = None;
    fs::create_dir(ROOT).expect("a mount point");
    let waited_until = Instant::now() + Duration::from_secs(30);
    while !Path::new(device).exists() {
        assert!(Instant::now() < waited_until, "no {device}");
        thread::sleep(Duration::from_millis(20));
    }
    mount(Some(device), ROOT, Some("ext4"), MsFlags::empty(), none)
        .unwrap_or_else(|error| panic!("{device}: {error}"));
    for at in ["/sys/fs/bpf", "/sys", "/dev/pts", "/dev", "/run", "/tmp", "/proc"] {
        umount2(at, MntFlags::MNT_DETACH).unwrap_or_else(|error| panic!("{at}: {error}"));
    }
    env::set_current_dir(ROOT).expect("the system");
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none).expect("the system as root");
    nix::unistd::chroot(".").expect("the system");
    let error = Command::new("/sbin/init").env_clear().exec();
    panic!("/sbin/init: {error}");
}

fn output() -> File {
    OpenOptions::new().write(true).open(OUTPUT).expect("a second serial port")
}

fn say(line: &str) {
    use io::Write as _;
    writeln!(output(), "sg-init: {line}").expect("the serial port takes it");
}

fn load(path: &Path) -> io::Result<()> {
    let compressed = path.extension().is_some_and(|extension| extension != "ko");
    let flags = if compressed { MODULE_INIT_COMPRESSED_FILE } else { 0 };
    let module = File::open(path)?;
    let parameters = CString::default();
    // SAFETY: an open file and a terminated string.
    let result = unsafe {
        libc::syscall(libc::SYS_finit_module, module.as_raw_fd(), parameters.as_ptr(), flags)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs a command to its end; how it ended. Process 1 takes in orphans meanwhile.
fn run(command: &str, environment: &[(&str, &str)]) -> String {
    let mut words = command.split_whitespace();
    let program = words.next().expect("a program");
    let spawned = Command::new(program)
        .args(words)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(output())
        .stderr(output())
        .spawn();
    let child = match spawned {
        Ok(child) => Pid::from_raw(child.id().cast_signed()),
        Err(error) => return format!("failed to start ({error})"),
    };
    loop {
        match wait().expect("a child") {
            WaitStatus::Exited(pid, status) if pid == child => return format!("exit {status}"),
            WaitStatus::Signaled(pid, signal, _) if pid == child => {
                return format!("ended by {signal}");
            }
            _ => {}
        }
    }
}
