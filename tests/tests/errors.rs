//! Errors that people run into, each with advice. See also `lifecycle` for a kernel or a user
//! without BPF, and `limits`, `interfaces` for rules that do not fit.

use std::{fs, os::unix::process::CommandExt as _, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::resource::Resource::RLIMIT_MEMLOCK,
};
use sg_tests::{
    Agent, Datapath, NetNs, Role, V4, World,
    agent::ran_within,
    eventually,
    probe::{PATIENCE, tcp},
    tools::Strace,
};

const WEB: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24"] }]
"#;

fn mount_tmpfs(at: &Path, options: &str) {
    mount(Some("sg-tests"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("a tmpfs");
}

/// Drops a capability from what the agent can have.
fn without(capability: u32) -> impl FnMut() -> std::io::Result<()> {
    move || {
        // SAFETY: takes numbers.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

/// There is no BPF file system, and the agent may not mount one.
#[test]
fn no_bpffs() {
    const CAP_SYS_ADMIN: u32 = 21;
    let namespace = NetNs::new("nobpffs");
    let agent = Agent::stopped(&namespace, &[]);
    let mut command = agent.command(&[]);
    // SAFETY: a system call between fork and exec. After the closure that enters the namespace.
    unsafe { command.pre_exec(without(CAP_SYS_ADMIN)) };
    let ran = ran_within(&mut command, PATIENCE).expect(1);
    ran.says(&["cannot mount a BPF file system", "mount -t bpf bpf /sys/fs/bpf", "CAP_SYS_ADMIN"]);
}

/// Maps and programs do not count as locked memory since Linux 5.11.
#[test]
fn no_locked_memory() {
    let namespace = NetNs::new("memlock");
    let mut agent = Agent::stopped(&namespace, &[]);
    let mut command = agent.command(&[]);
    // SAFETY: a system call between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::resource::setrlimit(RLIMIT_MEMLOCK, 0, 0)?));
    }
    agent.restart_by(command);
    assert_eq!(agent.ctl().status().revision, 0);
}

/// Nor does the agent need the kernel's type information: the programs carry their own.
#[test]
fn no_btf() {
    let world = World::new(Role::Host, Datapath::Tc);
    mount_tmpfs(Path::new("/sys/kernel/btf"), "size=4k");
    let mut agent = Agent::stopped(&world.instance, &[]);
    agent.restart();
    agent.ctl().apply(&world.rules(&["web"], WEB), &[]);
    let _server = tcp::serve(&world.instance, V4.instance_port(81));
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
}

/// Another agent with directories of its own on an interface that one filters.
#[test]
fn two_agents_on_one_interface() {
    for datapath in [Datapath::Tc, Datapath::Xdp] {
        let world = World::new(Role::Host, datapath);
        world.apply(&["web"], WEB);
        let second = Agent::start(&world.instance, &[]);
        let refused = second.ctl().try_apply(world.rules(&["web"], WEB)).expect(1);
        refused.says(&["nic0", "another sg-agent", "sg-agent detach", "nothing was changed"]);
        assert_eq!(second.ctl().status().interfaces.len(), 0);
        let _server = tcp::serve(&world.instance, V4.instance_port(80));
        tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
    }
}

/// As many receive queues as the other end sends by, or a veth has no XDP.
#[test]
fn too_few_queues() {
    let world = World::new(Role::Host, Datapath::Xdp);
    world.instance.ip(&format!(
        "link add name few0 numrxqueues 1 numtxqueues 1 type veth peer name many0 numtxqueues 4 numrxqueues 4 netns {}",
        world.remote.name()
    ));
    let rules =
        format!("{WEB}\n[[interface]]\nname = \"few0\"\ngroups = [\"web\"]\ndatapath = \"xdp\"\n");
    world.ctl().apply(&rules, &[]);
    let status = world.ctl().status();
    assert_eq!(status.interfaces[0].datapath, "tcx", "{status:?}");
    assert!(status.interfaces[0].datapath_reason.contains("too few queues"), "{status:?}");
}

/// The disk fills up: the change is not made, and the next one is, once there is room.
#[test]
fn disk_full() {
    let namespace = NetNs::new("full");
    let mut agent = Agent::stopped(&namespace, &[]);
    let state = agent.state_dir();
    fs::create_dir(&state).expect("a directory");
    mount_tmpfs(&state, "size=64k");
    agent.restart();
    let first = agent.ctl().apply(WEB, &[]).revision;
    let filler = state.join("filler");
    fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    // More than fits into the pages that the journal has.
    let other = WEB.replace("80", "81") + &"# not a word\n".repeat(1000);
    let refused = agent.ctl().try_apply(&other).expect(1);
    refused.says(&[state.to_str().expect("ASCII"), "No space left", "make room"]);
    assert_eq!(agent.ctl().status().revision, first);
    // Nor does a restart find half of it.
    agent.kill();
    agent.restart();
    assert!(!agent.ctl().run(&["export"]).expect(0).stdout.contains("81"));
    fs::remove_file(&filler).expect("a file");
    agent.ctl().apply(&other, &[]);
    assert!(agent.ctl().run(&["export"]).expect(0).stdout.contains("81"));
}

/// Where the journal has room of its own, a change needs none, nor does a restart.
#[test]
fn disk_full_but_for_the_journal() {
    let namespace = NetNs::new("full");
    let mut agent = Agent::stopped(&namespace, &[]);
    let state = agent.state_dir();
    fs::create_dir(&state).expect("a directory");
    mount_tmpfs(&state, "size=4m");
    agent.restart();
    agent.ctl().apply(WEB, &[]);
    let filler = state.join("filler");
    fs::write(&filler, vec![0; 4 << 20]).unwrap_err();
    let other = agent.ctl().apply(&WEB.replace("80", "81"), &[]).revision;
    agent.kill();
    agent.restart();
    assert_eq!(agent.ctl().status().revision, other);
    assert!(agent.log().contains("rules cannot be changed until"), "{}", agent.log());
    agent.ctl().try_apply(WEB).expect(1).says(&["No space left", "make room"]);
    fs::remove_file(&filler).expect("a file");
    agent.ctl().apply(WEB, &[]);
    assert!(agent.terminate().success());
    agent.restart();
    assert!(agent.ctl().run(&["export"]).expect(0).stdout.contains("ports = 80"));
}

/// An apply waits for the disk once. Whole files are another thread's.
#[test]
fn one_fdatasync_for_a_change() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["web"], WEB);
    let calls = "trace=fsync,fdatasync,sync_file_range,sync,syncfs,pwrite64,rename,unlink";
    let strace = Strace::attach(&world.agent, &["-e", calls]);
    for port in 1..=5 {
        world.apply(&["web"], &WEB.replace("80", &format!("{port}")));
    }
    let log = strace.end();
    let owner = format!("{} ", world.agent.pid());
    let owner = log.lines().filter_map(|line| line.strip_prefix(&owner)).map(str::trim_start);
    let calls = owner.filter_map(|line| line.split_once('(')).map(|(call, _)| call);
    assert_eq!(calls.collect::<Vec<_>>(), ["pwrite64", "fdatasync"].repeat(5), "{log}");
}

/// The remote machine reaches one port of the instance, and not the other.
#[track_caller]
fn only(world: &World, open: u16, closed: u16) {
    tcp::passes(&world.remote, V4.remote, V4.instance_port(open));
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(closed));
}

/// The disk fails at each of the two calls that a change takes. The change is refused. The rules
/// before are in force, also after a restart, and the next change works.
#[test]
fn disk_fails() {
    for call in ["pwrite64", "fdatasync"] {
        let mut world = World::new(Role::Host, Datapath::Tc);
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        world.apply(&["web"], WEB);
        let inject = format!("inject={call}:error=EIO:when=1");
        let strace =
            Strace::attach(&world.agent, &["-e", "trace=pwrite64,fdatasync", "-e", &inject]);
        let other = world.rules(&["web"], &WEB.replace("80", "81"));
        let refused = world.ctl().try_apply(&other).expect(1);
        let log = strace.end();
        assert!(log.contains("(INJECTED)"), "{log}");
        refused.says(&[world.agent.state_dir().to_str().expect("ASCII"), "Input/output error"]);
        only(&world, 80, 81);
        world.agent.kill();
        world.agent.restart();
        only(&world, 80, 81);
        world.ctl().apply(&other, &[]);
        only(&world, 81, 80);
        world.agent.kill();
        world.agent.restart();
        only(&world, 81, 80);
    }
}

/// Behind the answer, whole files are written, renamed into place and their directory synced. Where that fails,
/// what was acknowledged is in the journal, and nothing else comes into force by a restart.
#[test]
fn disk_fails_behind_the_answer() {
    for call in ["rename", "fsync"] {
        let mut world = World::new(Role::Host, Datapath::Tc);
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        world.apply(&["web"], WEB);
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:error=EIO");
        let strace = Strace::attach(&world.agent, &["-e", &trace, "-e", &inject]);
        world.apply(&["web"], &WEB.replace("80", "81"));
        // It is the log that says so, a second later.
        eventually("whole files cannot be written", || {
            world.agent.log().contains("Input/output error")
        });
        world.agent.kill();
        let log = strace.end();
        assert!(log.contains("(INJECTED)"), "{log}");
        world.agent.restart();
        only(&world, 81, 80);
        world.apply(&["web"], WEB);
        world.agent.kill();
        world.agent.restart();
        only(&world, 80, 81);
    }
}

/// A read-only disk, as after an error of it: the rules hold, over a reboot, too, and cannot be changed.
#[test]
fn disk_read_only() {
    let mut world = World::new(Role::Host, Datapath::Tc);
    let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
    let is_filtered = |world: &World| {
        tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
    };
    world.apply(&["web"], WEB);
    // Not confirmed, so that the next start has something to write.
    let other = WEB.replace("80", "81");
    world.ctl().apply(&world.rules(&["web"], &other), &["--confirm", "2"]);
    world.agent.kill();
    let state = world.agent.state_dir();
    let none: Option<&str> = None;
    mount(Some(&state), &state, none, MsFlags::MS_BIND, none).expect("a mount");
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, &state, none, read_only, none).expect("read-only");
    world.agent.reboot();
    std::thread::sleep(std::time::Duration::from_secs(3));
    world.agent.restart();
    is_filtered(&world);
    let ran = world.ctl().try_apply(world.rules(&["web"], &other)).expect(1);
    ran.says(&["Read-only file system"]);
    is_filtered(&world);
    world.agent.kill();
    umount2(&state, MntFlags::MNT_DETACH).expect("our mount");
    world.agent.restart();
    world.ctl().apply(&world.rules(&["web"], &other), &[]);
}

/// A state directory that an agent to come has written.
#[test]
fn newer_state() {
    let mut world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["web"], WEB);
    world.agent.kill();
    let ledger = world.agent.state_dir().join("state.json");
    let text = fs::read_to_string(&ledger).expect("a ledger");
    assert!(text.contains("\"format\": 2"), "{text}");
    fs::write(&ledger, text.replace("\"format\": 2", "\"format\": 3, \"new\": true"))
        .expect("a file");
    let ran = world.agent.run_another().expect(1);
    ran.says(&[
        ledger.to_str().expect("ASCII"),
        "newer sg-agent (format 3",
        "install that version",
    ]);
    let _server = tcp::serve(&world.instance, V4.instance_port(81));
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
}
