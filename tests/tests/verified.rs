//! Interfaces that are believed to be filtered, held against the kernel. Events are lost, numbers are used again,
//! other tools take programs away, other agents and users come to the same pins.
//!
//! `status` says `filtered` only where the kernel confirms it, and the agent attaches anew what is not.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sg_api::{FilterState, InterfaceStatus, ShownGroup};
use sg_tests::{
    Agent, Counts, Datapath, NetNs, Ran, Role, V4, World,
    agent::{binary, ran_within},
    ctl, eventually,
    probe::{
        Link, Outcome, PATIENCE,
        craft::{self, Path as Way, UDP},
        tcp, udp,
    },
    sandbox,
    topology::{connect, mac, number},
};

const WEB: &str = r#"
[[security_group]]
name = "web"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24"] },
  { protocol = "udp", ports = 53, cidrs = ["10.9.0.0/24"] },
]
"#;

/// How long the agent may believe something wrong, and then a moment to mend it on a busy machine.
const BELIEF: Duration = Duration::from_secs(10);
const MOMENT: Duration = Duration::from_secs(5);

fn host() -> World {
    World::new(Role::Host, Datapath::Tc)
}

#[track_caller]
fn find(world: &World, name: &str) -> InterfaceStatus {
    let found = world.ctl().status().interfaces.into_iter().find(|entry| entry.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in the status"))
}

fn state(world: &World, name: &str) -> Option<FilterState> {
    let found = world.ctl().status().interfaces.into_iter().find(|entry| entry.name == name);
    found.map(|entry| entry.state)
}

/// Servers on port 80, which is open, and 81, which is not.
fn serve(world: &World) -> [tcp::Server; 2] {
    [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)))
}

#[track_caller]
fn is_filtered(world: &World) {
    tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
}

fn index_of(namespace: &NetNs, interface: &str) -> u32 {
    namespace.run(|| if_nametoindex(interface)).expect("an interface")
}

/// A new pair like the one that a host world has, the instance's end with this number.
fn come_again(world: &World, index: u32) {
    let address = |end| mac(end).map(|byte| format!("{byte:02x}")).join(":");
    world.instance.ip(&format!(
        "link add index {index} name nic0 address {} type veth peer name up0 address {} netns {}",
        address("nic0"),
        address("up0"),
        world.remote.name()
    ));
    assert_eq!(index_of(&world.instance, "nic0"), index);
    for (namespace, end) in [(&world.instance, "nic0"), (&world.remote, "up0")] {
        namespace.ip(&format!("link set dev {end} up"));
    }
    number(&world.remote, "up0", &[V4.remote]);
    number(&world.instance, "nic0", &[V4.instance]);
    world.remote.ip("-4 route add 10.1.0.0/24 dev up0");
    world.instance.ip("-4 route add 10.9.0.0/24 dev nic0");
}

/// While the agent sleeps: more events than its socket has room for, then what `action` does.
fn unseen(world: &World, interface: &str, action: impl FnOnce()) {
    // A megabyte of room counts twice, and an event with its buffer takes two to four kilobytes.
    const EVENTS: usize = 4000;
    let pid = Pid::from_raw(world.agent.pid().cast_signed());
    kill(pid, Signal::SIGSTOP).expect("SIGSTOP");
    let mut ip = Command::new("ip")
        .args(["-n", world.instance.name(), "-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("ip");
    let mut lines = ip.stdin.take().expect("a pipe");
    for event in 0..EVENTS {
        writeln!(lines, "link set dev {interface} alias event{event}").expect("ip");
    }
    drop(lines);
    assert!(ip.wait().expect("our child").success());
    action();
    kill(pid, Signal::SIGCONT).expect("SIGCONT");
    eventually("the agent knows that it missed something", || {
        world.agent.log().contains("events were lost")
    });
}

/// Events from before a loss say nothing of what is there after it.
#[test]
fn renamed_while_events_were_lost() {
    let world = host();
    let _servers = serve(&world);
    world.instance.ip("link set dev nic0 name early0");
    world.apply(&["web"], WEB);
    assert_eq!(world.ctl().status().interfaces.len(), 0);
    unseen(&world, "early0", || world.instance.ip("link set dev early0 name nic0"));
    eventually("it is filtered", || state(&world, "nic0") == Some(FilterState::Filtered));
    is_filtered(&world);
}

/// Nobody told that it went, and it came again with the same number.
#[test]
fn made_anew_while_events_were_lost() {
    let world = host();
    world.apply(&["web"], WEB);
    let index = index_of(&world.instance, "nic0");
    unseen(&world, "nic0", || {
        world.instance.ip("link del dev nic0");
        come_again(&world, index);
    });
    let _servers = serve(&world);
    eventually("it is filtered", || {
        world.agent.log().matches("filtered: ").count() == 2
            && state(&world, "nic0") == Some(FilterState::Filtered)
    });
    is_filtered(&world);
}

/// A group's members have the addresses that are there, and flows go on.
#[test]
fn addresses_changed_while_events_were_lost() {
    let world = host();
    let _servers = serve(&world);
    world.apply(&["web"], WEB);
    let _echo = udp::serve(&world.instance, V4.instance_port(53));
    let open = udp::open(&world.remote, V4.remote, V4.instance_port(53));
    open.passes();
    number(&world.instance, "nic0", &["10.1.0.77".parse().expect("an address")]);
    let members = || {
        let mut shown: Vec<ShownGroup> = world.ctl().json(&["show", "groups"]);
        let mut members = shown.remove(0).members;
        members.retain(std::net::IpAddr::is_ipv4);
        members.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    eventually("both are members", || members() == ["10.1.0.2", "10.1.0.77"]);
    unseen(&world, "nic0", || {
        world.instance.ip("address del 10.1.0.77/32 dev nic0
            address add 10.1.0.88/32 dev nic0");
    });
    eventually("members are as they are", || members() == ["10.1.0.2", "10.1.0.88"]);
    // The interface is known again by what is on it.
    let flows = world.ctl().flows();
    assert_eq!(flows.len(), 1, "{flows:?}");
    open.passes();
    is_filtered(&world);
}

/// An alias may be any bytes, and so may a name.
#[test]
fn names_and_aliases_that_are_no_text() {
    let mut world = host();
    let _servers = serve(&world);
    let set = |what: &[&[u8]]| {
        let args = what.iter().copied().map(OsStr::from_bytes);
        let mut ip = Command::new("ip");
        ip.args(["-n", world.instance.name(), "link", "set", "dev"]).args(args);
        Ran::of(&mut ip).expect(0);
    };
    // "büro" in Latin-1.
    set(&[b"nic0", b"alias", b"b\xfcro"]);
    world.apply(&["web"], &WEB.replace("[[security", "# before\n[[security"));
    is_filtered(&world);
    // Nor does the next start lose it.
    world.agent.terminate();
    world.agent.restart();
    assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
    is_filtered(&world);
    let set = |what: &[&[u8]]| {
        let args = what.iter().copied().map(OsStr::from_bytes);
        let mut ip = Command::new("ip");
        ip.args(["-n", world.instance.name(), "link", "set", "dev"]).args(args);
        Ran::of(&mut ip).expect(0);
    };
    set(&[b"nic0", b"name", b"nic\xff"]);
    world.ctl().apply(&world.rules(&["web"], WEB).replace("\"nic0\"", "\"nic?\""), &[]);
    let shown = find(&world, r"nic\xff");
    assert_eq!((shown.state, shown.fault), (FilterState::Filtered, None));
    is_filtered(&world);
    let ends = format!("--src {}:999 --dst {}", V4.remote, V4.instance_port(80));
    let answer = world.ctl().explain(r"nic\xff", "ingress", "tcp", &ends);
    assert_eq!(answer.verdict, "allow");
}

/// Another name of an interface filters nothing, and that is said.
#[test]
fn named_by_an_altname() {
    let world = host();
    world.instance.ip("link property add dev nic0 altname uplink");
    let text = world.rules(&["web"], WEB).replace("\"nic0\"", "\"uplink\"");
    let applied = world.ctl().run(&["apply", &ctl::file(text.as_bytes())]).expect(0);
    let hint = "the rules call it \"uplink\", which is one of its other names (altname)";
    let applied = applied.says(&["warning: nic0: ", hint]);
    assert!(applied.stdout.contains("in force on 0 interfaces"), "{applied:?}");
    let shown = find(&world, "nic0");
    assert_eq!(shown.state, FilterState::Unfiltered);
    assert!(shown.fault.is_some_and(|fault| fault.starts_with(hint)));
    assert!(world.agent.log().contains(hint));
    let text = world.ctl().run(&["status"]).expect(0).stdout;
    assert!(text.contains("1 interface is NOT filtered as the rules say: nic0"), "{text}");
    world.apply(&["web"], WEB);
    assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
}

/// While no agent runs, the interface goes to another namespace, with the program on it, and its number goes to
/// a new one here.
#[test]
fn moved_away_and_its_number_taken() {
    let mut world = host();
    world.apply(&["web"], WEB);
    let index = index_of(&world.instance, "nic0");
    let elsewhere = NetNs::new("elsewhere");
    world.agent.kill();
    world.instance.ip(&format!("link set dev nic0 netns {}", elsewhere.name()));
    assert_eq!(index_of(&elsewhere, "nic0"), index, "it keeps its number there");
    elsewhere.ip("link set dev nic0 name moved0");
    world.remote.ip("link set dev up0 name far0
        link set dev far0 down
        address flush dev far0");
    come_again(&world, index);
    let _servers = serve(&world);
    world.agent.restart();
    assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
    is_filtered(&world);
    // The interface that went has no filter of ours left, as if it had gone while the agent ran.
    elsewhere.ip("link set dev moved0 up");
    world.remote.ip("link set dev far0 up
        address add 10.8.0.1/24 dev far0");
    elsewhere.ip("address add 10.8.0.2/24 dev moved0");
    let to = "10.8.0.2:81".parse().expect("an address");
    let _server = tcp::serve(&elsewhere, to);
    tcp::passes(&world.remote, "10.8.0.1".parse().expect("an address"), to);
}

/// A new interface with the number of one that went while no agent ran has none of its flows.
#[test]
fn made_anew_while_the_agent_was_away() {
    for datapath in [Datapath::Tc, Datapath::Xdp] {
        let mut world = World::new(Role::Host, datapath);
        world.apply(&["web"], WEB);
        // UDP: no socket of the instance shows whom it has talked to, so no flow is made of it anew.
        let echo = udp::serve(&world.instance, V4.instance_port(53));
        let open = udp::open(&world.remote, V4.remote, V4.instance_port(53));
        open.passes();
        world.agent.kill();
        world.agent.restart();
        assert_eq!(world.ctl().flows().len(), 1, "the same interface keeps its flows");
        open.passes();
        world.agent.kill();
        let index = index_of(&world.instance, "nic0");
        world.instance.ip("link del dev nic0");
        come_again(&world, index);
        world.agent.restart();
        assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
        let flows = world.ctl().flows();
        assert_eq!(flows.len(), 0, "{datapath:?} {flows:?}");
        drop(echo);
        let _servers = serve(&world);
        is_filtered(&world);
    }
}

fn links(agent: &Agent) -> PathBuf {
    agent.bpffs().join(format!("v{}/links", sg_common::ABI))
}

/// Another tool takes a link off. Nobody asks, and within ten seconds the agent has found out.
#[test]
fn a_link_is_taken_off() {
    let world = host();
    let _servers = serve(&world);
    world.apply(&["web"], WEB);
    is_filtered(&world);
    let index = index_of(&world.instance, "nic0");
    let [pin, other] =
        ["in", "out"].map(|kind| links(&world.agent).join(format!("{index}_{kind}")));
    for pin in [&pin, &other] {
        fs::remove_file(pin).expect("a pin");
    }
    eventually("the links are gone", || {
        tcp::attempt(&world.remote, V4.remote, V4.instance_port(81), Duration::from_secs(1))
            == Outcome::Passed
    });
    let began = Instant::now();
    eventually("the agent finds out", || {
        world.agent.log().contains("is NOT filtered: the pin of its ingress link")
    });
    assert!(began.elapsed() < BELIEF + MOMENT, "{:?}", began.elapsed());
    eventually("it is filtered again", || pin.exists());
    is_filtered(&world);
    let shown = find(&world, "nic0");
    assert_eq!((shown.state, shown.fault), (FilterState::Filtered, None));
}

/// A question is answered by what the kernel says then.
#[test]
fn a_fault_is_shown_when_asked() {
    let world = host();
    world.apply(&["web"], WEB);
    assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
    // A second is too short to ask anew.
    thread::sleep(Duration::from_millis(1100));
    let pin = links(&world.agent).join(format!("{}_out", index_of(&world.instance, "nic0")));
    fs::remove_file(&pin).expect("a pin");
    let shown = find(&world, "nic0");
    assert_eq!((shown.state, shown.datapath.as_str()), (FilterState::Fault, "none"));
    let fault = shown.fault.expect("a reason");
    assert!(fault.contains("the pin of its egress link cannot be opened"), "{fault}");
    eventually("it is filtered", || state(&world, "nic0") == Some(FilterState::Filtered));
}

/// A clsact qdisc is nobody's: `tc qdisc del` takes our filters with it. Kernels before TCX have nothing else, and
/// others have it for the last of a crowd.
#[test]
fn a_qdisc_is_removed() {
    const CROWD: u16 = 40;
    let (host, guest) = (NetNs::new("host"), NetNs::new("guest"));
    let agent = Agent::start(&host, &[]);
    agent.ctl().apply(
        "[[security_group]]\nname = \"web\"\n[[interface]]\nname = \"c*\"\ngroups = [\"web\"]\n",
        &[],
    );
    for number in 0..CROWD {
        connect(&host, &format!("c{number}"), &guest, &format!("far{number}"));
    }
    let last = format!("c{}", CROWD - 1);
    let of_last = || agent.ctl().status().interfaces.into_iter().find(|entry| entry.name == last);
    eventually("it is filtered", || {
        of_last().is_some_and(|it| it.state == FilterState::Filtered && it.datapath == "tc")
    });
    thread::sleep(Duration::from_millis(1100));
    assert!(host.succeeds("tc", &["qdisc", "del", "dev", &last, "clsact"]), "{}", agent.log());
    let shown = of_last().expect("it is there");
    let fault = shown.fault.clone().unwrap_or_default();
    assert_eq!(shown.state, FilterState::Fault, "{shown:?}");
    assert_eq!(fault, "its clsact filter on ingress is gone");
    eventually("it is filtered again", || {
        of_last().is_some_and(|it| it.state == FilterState::Filtered)
    });
}

/// The kernel receives on a macvtap what goes to its guest: `ingress = []` is for that.
#[test]
fn a_macvtap_in_port_role() {
    let world = host();
    world
        .instance
        .ip("link add link nic0 name mvt0 address 02:00:00:00:00:77 type macvtap mode bridge
        link set dev mvt0 up");
    let text = "[[security_group]]\nname = \"closed\"\ningress = []\n\
         [[interface]]\nname = \"mvt0\"\nrole = \"port\"\ngroups = [\"closed\"]\n\
         addresses = [\"10.1.0.77\"]\n";
    world.ctl().apply(text, &[]);
    let guest = [2, 0, 0, 0, 0, 0x77];
    let way = |from: &str, to: &str| Way {
        source: from.parse().expect("an address"),
        destination: to.parse().expect("an address"),
    };
    let datagram = |from: &str, to: &str| {
        let way = way(from, to);
        way.packet(UDP, &way.udp(999, 80, b"guest"))
    };
    let counts = |frame: Vec<u8>, link: &Link, key: &str| {
        let before = Counts::of(&world.ctl().status(), "mvt0");
        link.send(&frame);
        eventually(key, || Counts::of(&world.ctl().status(), "mvt0").since(&before).get(key) == 1);
    };
    let outside = Link::open(&world.remote, "up0");
    let inward = datagram("10.9.0.10", "10.1.0.77");
    counts(craft::frame(mac("up0"), guest, &inward), &outside, "ingress no_rule");
    // As the guest's side of the device sends.
    let inside = Link::open(&world.instance, "mvt0");
    let outward = datagram("10.1.0.77", "10.9.0.10");
    counts(craft::frame(guest, mac("up0"), &outward), &inside, "egress rule");
    let claimed = datagram("10.1.0.2", "10.9.0.10");
    counts(craft::frame(guest, mac("up0"), &claimed), &inside, "egress source_check");
}

/// No program on a VRF sees its packets: an entry for it is refused, a pattern that takes it in leaves a fault.
#[test]
fn a_vrf() {
    let world = host();
    if let Err(error) = world.instance.try_ip("link add name vrf0 type vrf table 10") {
        eprintln!("left out, this kernel has none: {error}");
        return;
    }
    let text = |name: &str| world.rules(&["web"], WEB).replace("\"nic0\"", &format!("{name:?}"));
    let refused = world.ctl().try_apply(text("vrf0")).expect(1);
    refused.says(&["cannot filter vrf0", "VRF", "nothing was changed"]);
    let applied = world.ctl().try_apply(text("*0")).expect(0);
    applied.says(&["warning: vrf0 is NOT filtered", "VRF"]);
    assert_eq!(find(&world, "vrf0").state, FilterState::Fault);
    assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
}

/// An agent with other directories and this one's bpffs, in a namespace; it is expected to end by itself.
fn another_on(agent: &Agent, namespace: &NetNs) -> Ran {
    let directory = sandbox::directory("another");
    let mut command = Command::new(binary("sg-agent"));
    for (flag, path) in [
        ("--config", directory.join("agent.toml")),
        ("--state-dir", directory.join("state")),
        ("--runtime-dir", directory.join("run")),
        ("--bpffs", agent.bpffs()),
    ] {
        command.arg(flag).arg(path);
    }
    command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    let inside = namespace.fd().try_clone_to_owned().expect("a descriptor");
    let enter = move || Ok(setns(&inside, CloneFlags::CLONE_NEWNET)?);
    // SAFETY: one system call and no allocation between fork and exec.
    unsafe { command.pre_exec(enter) };
    ran_within(&mut command, PATIENCE)
}

/// Two agents that share only their bpffs, in one namespace and in two: the second one changes nothing.
#[test]
fn another_agent_on_the_same_bpffs() {
    let mut world = host();
    let _servers = serve(&world);
    world.apply(&["web"], WEB);
    let elsewhere = NetNs::new("elsewhere");
    for namespace in [&world.instance, &elsewhere] {
        let said = another_on(&world.agent, namespace).expect(1);
        said.says(&["another sg-agent runs on", "bpf", "--bpffs"]);
        assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
        is_filtered(&world);
    }
    // Nor does one that comes when this one is away.
    world.agent.kill();
    let said = another_on(&world.agent, &elsewhere).expect(1);
    said.says(&["filters interfaces of another network namespace", "sg-agent detach"]);
    is_filtered(&world);
    world.agent.restart();
    assert_eq!(find(&world, "nic0").state, FilterState::Filtered);
    is_filtered(&world);
}

/// A namespace that is gone leaves nothing to protect: its pins make room.
#[test]
fn pins_of_a_namespace_that_is_gone() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["web"], WEB);
    let World { mut agent, instance, remote, .. } = world;
    agent.kill();
    drop(instance);
    remote.ip("link del dev up0");
    let next = NetNs::new("next");
    connect(&remote, "up0", &next, "nic0");
    let mut second = agent.in_namespace(&next);
    drop(agent);
    second.restart();
    let log = second.log();
    assert!(log.contains("the network namespace that they were for is gone"), "{log}");
    let status = second.ctl().status();
    assert_eq!(status.interfaces[0].state, FilterState::Filtered);
}

/// The owner of a folder owns the pins in it. The agent's own bpffs is closed to others. If another
/// user was first, the agent does not start.
#[test]
fn folders_of_other_users() {
    // The kernel makes the root of a bpffs sticky, whatever is asked.
    let mode = |path: &Path| fs::metadata(path).expect("a folder").mode() & 0o777;
    let world = host();
    assert_eq!(mode(&world.agent.bpffs()), 0o700);
    // A bpffs as `mount -t bpf` makes it, with a folder of a local user in it.
    let agent = Agent::stopped(&world.instance, &[]);
    let bpffs = agent.bpffs();
    fs::create_dir(&bpffs).expect("a mount point");
    let none: Option<&str> = None;
    mount(none, &bpffs, Some("bpf"), MsFlags::empty(), none).expect("a bpffs");
    assert_eq!(mode(&bpffs), 0o777);
    let folder = bpffs.join(format!("v{}", sg_common::ABI));
    fs::create_dir(&folder).expect("a folder");
    chown(&folder, Some(1000), Some(1000)).expect("chown");
    let said = agent.run_another().expect(1);
    let advice = format!("rm -r {}", folder.display());
    said.says(&["belongs to user 1000, and the agent is user 0", &advice]);
    fs::remove_dir(&folder).expect("a folder");
    let mut agent = agent;
    agent.restart();
    assert_eq!(mode(&bpffs), 0o755, "others cannot write any more");
}

/// Pins that others could replace are not trusted, whatever they say.
#[test]
fn folders_that_others_can_write_to() {
    let world = host();
    world.apply(&["web"], WEB);
    let folder = links(&world.agent);
    let set = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("chmod");
    thread::sleep(Duration::from_millis(1100));
    set(0o777);
    let shown = find(&world, "nic0");
    assert_eq!(shown.state, FilterState::Fault);
    let fault = shown.fault.expect("a reason");
    assert!(fault.contains("other users can write to") && fault.contains("mode 777"), "{fault}");
    set(0o755);
    eventually("it is trusted again", || state(&world, "nic0") == Some(FilterState::Filtered));
    chown(&folder, Some(1000), None).expect("chown");
    eventually("it is not", || state(&world, "nic0") == Some(FilterState::Fault));
}
