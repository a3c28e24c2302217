//! The agent's death, return and removal.

use std::{
    fs, io,
    os::unix::{net::UnixDatagram, process::CommandExt},
    path::Path,
};

use sg_tests::{
    Agent, Datapath, FAMILIES, NetNs, Role, V4, World,
    agent::{public_binary, ran_within},
    matrix,
    probe::{PATIENCE, tcp},
    sandbox,
};

/// The remote network on port 80 and nothing else.
const WEB: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
"#;

fn serve(world: &World) -> Vec<tcp::Server> {
    let at = |port| FAMILIES.map(|at| tcp::serve(&world.instance, at.instance_port(port)));
    [80, 81].into_iter().flat_map(at).collect()
}

#[track_caller]
fn is_filtered(world: &World) {
    for at in FAMILIES {
        tcp::passes(&world.remote, at.remote, at.instance_port(80));
        tcp::is_dropped(&world.remote, at.remote, at.instance_port(81));
    }
}

#[track_caller]
fn is_open(world: &World) {
    for at in FAMILIES {
        tcp::passes(&world.remote, at.remote, at.instance_port(81));
    }
}

/// Pins and directories under a bpffs.
fn pins(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    // The kernel puts two files of its own into every bpffs.
    paths
        .filter(|path| path.extension().is_none_or(|extension| extension != "debug"))
        .map(|path| path.display().to_string())
        .collect()
}

matrix! {
    /// kill -9: the filter holds, open connections go on, and the next agent finds rules, flows and
    /// counters as they were.
    fn killed(world) {
        let _servers = serve(world);
        // No pickup: only its flow can carry the connection.
        let revision = world.apply(&["web"], &format!("[settings.tracking]\npickup = 0\n{WEB}")).revision;
        let mut open = FAMILIES.map(|at| tcp::open(&world.remote, at.remote, at.instance_port(80)));
        let before = world.counters();
        world.agent.kill();
        world.ctl().run(&["status"]).expect(1).says(&[world.agent.socket().to_str().expect("ASCII")]);
        is_filtered(world);
        open.iter_mut().for_each(tcp::Connection::passes);

        world.agent.restart();
        let status = world.ctl().status();
        assert_eq!((status.revision, status.interfaces.len()), (revision, 1));
        open.iter_mut().for_each(tcp::Connection::passes);
        is_filtered(world);
        let added = world.counters().since(&before);
        assert_eq!(added.get("ingress no_rule"), 4, "counted before, while and after it was dead");
        assert_eq!(added.get("ingress not_syn"), 0, "{added}");
        assert!(world.ctl().flows().iter().any(|flow| flow.sport == open[0].local().port()));
    }

    /// SIGTERM ends the process well and leaves the filter; the rules are there again after.
    fn terminated(world) {
        let _servers = serve(world);
        world.apply(&["web"], WEB);
        assert!(world.agent.terminate().success());
        assert!(!world.agent.socket().exists(), "the socket goes with the agent");
        is_filtered(world);
        world.agent.restart();
        is_filtered(world);
        world.apply(&["web"], &WEB.replace("80", "81"));
        is_open(world);
    }

    /// `sgctl detach` removes every trace, and the agent ends.
    fn detached_by_sgctl(world) {
        let _servers = serve(world);
        world.apply(&["web"], WEB);
        is_filtered(world);
        assert_ne!(pins(&world.agent.bpffs()), [""; 0]);
        world.ctl().run(&["detach", "--yes"]).expect(0);
        assert!(world.agent.wait().success());
        assert_eq!(pins(&world.agent.bpffs()), [""; 0]);
        is_open(world);
    }

    /// `sg-agent detach` does it without a running agent.
    fn detached_by_the_agent(world) {
        let _servers = serve(world);
        world.apply(&["web"], WEB);
        world.agent.kill();
        is_filtered(world);
        ran_within(&mut world.agent.command(&["detach"]), PATIENCE).expect(0);
        assert_eq!(pins(&world.agent.bpffs()), [""; 0]);
        is_open(world);
    }
}

/// A machine that boots: nothing is pinned, the state directory has it all.
#[test]
fn state_survives_a_reboot() {
    let mut world = World::new(Role::Host, Datapath::Tc);
    let _servers = serve(&world);
    let revision = world.apply(&["web"], WEB).revision;
    world.agent.kill();
    world.agent.reboot();
    is_open(&world);
    world.agent.restart();
    assert_eq!(world.ctl().status().revision, revision);
    is_filtered(&world);
}

/// systemd hears that the agent is ready, and from then on that it lives.
#[test]
fn signs_of_life() {
    let namespace = NetNs::new("watchdog");
    let mut agent = Agent::stopped(&namespace, &[]);
    let path = sandbox::directory("systemd").join("notify");
    let systemd = UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut command = agent.command(&[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    agent.restart_by(command);
    let waits_for = |sign: &str| {
        let mut text = [0; 64];
        while {
            let length = systemd.recv(&mut text).unwrap_or_else(|error| panic!("{sign}: {error}"));
            !text[..length].starts_with(sign.as_bytes())
        } {}
    };
    waits_for("READY=1");
    for _ in 0..3 {
        waits_for("WATCHDOG=1");
    }
}

#[test]
fn second_agent_refuses() {
    let world = World::new(Role::Host, Datapath::Tc);
    let _servers = serve(&world);
    world.apply(&["web"], WEB);
    let pid = world.agent.pid();
    world.agent.run_another().expect(1).says(&["another sg-agent runs on", "--state-dir"]);
    assert_eq!(world.ctl().status().pid, pid);
    is_filtered(&world);
}

/// A state directory that cannot be read: an error that names it, and the filter stays.
#[test]
fn unreadable_state() {
    let mut world = World::new(Role::Host, Datapath::Tc);
    let _servers = serve(&world);
    world.apply(&["web"], WEB);
    world.agent.kill();
    let state = world.agent.state_dir();
    let aside = state.with_extension("aside");
    fs::rename(&state, &aside).expect("the state directory");
    fs::write(&state, "no directory").expect("a file in its place");
    world.agent.run_another().expect(1).says(&[state.to_str().expect("ASCII")]);
    is_filtered(&world);

    fs::remove_file(&state).expect("the file");
    fs::rename(&aside, &state).expect("the state directory");
    for file in files(&state) {
        fs::write(&file, b"\xff{ garbage").expect("a file of the state");
    }
    world.agent.run_another().expect(1).says(&[state.to_str().expect("ASCII")]);
    is_filtered(&world);
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Started by a user who is not root.
#[test]
fn without_privilege() {
    let namespace = NetNs::new("nobody");
    let agent = Agent::stopped(&namespace, &[]);
    let mut command = agent.command_of(&public_binary("sg-agent"), &[]);
    let become_nobody = || {
        nix::unistd::setgid(65534.into())?;
        nix::unistd::setuid(65534.into())?;
        Ok(())
    };
    // SAFETY: two system calls between fork and exec. After the closure that enters the namespace.
    unsafe { command.pre_exec(become_nobody) };
    ran_within(&mut command, PATIENCE).expect(1);
}

/// Started by root in a container that has no capabilities.
#[test]
fn without_capabilities() {
    let namespace = NetNs::new("nocaps");
    let agent = Agent::stopped(&namespace, &[]);
    let mut command = agent.command(&[]);
    let drop_all = || {
        for capability in 0..64 {
            // SAFETY: takes a number; fails for those that the kernel does not have.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
        Ok(())
    };
    // SAFETY: system calls only between fork and exec.
    unsafe { command.pre_exec(drop_all) };
    let ran = ran_within(&mut command, PATIENCE).expect(1);
    ran.says(&["start it as root; in a container, with", "CAP_BPF"]);
}

/// Started on a kernel without bpf(2).
#[test]
fn without_bpf() {
    let namespace = NetNs::new("nobpf");
    let agent = Agent::stopped(&namespace, &[]);
    let mut command = agent.command(&[]);
    // SAFETY: system calls only between fork and exec.
    unsafe { command.pre_exec(hide_bpf) };
    let ran = ran_within(&mut command, PATIENCE).expect(1);
    ran.says(&["this kernel has no bpf(2)", "seccomp"]);
}

/// From here on bpf(2) does not exist, as seccomp(2) has it.
fn hide_bpf() -> io::Result<()> {
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let jump = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = [
        // The system call's number is the first word.
        op(load, 0, 0, 0),
        op(jump, 0, 1, libc::SYS_bpf as u32),
        op(give, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
        op(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same agent in two namespaces filters each by its own rules.
#[test]
fn two_agents_side_by_side() {
    let first = World::new(Role::Host, Datapath::Tc);
    let second = World::new(Role::Host, Datapath::Xdp);
    let _servers = (serve(&first), serve(&second));
    first.apply(&["web"], WEB);
    is_filtered(&first);
    tcp::passes(&second.remote, V4.remote, V4.instance_port(81));
    second.apply(&["web"], &WEB.replace("80", "81"));
    is_open(&second);
    is_filtered(&first);
}
