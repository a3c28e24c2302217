//! The control plane, from a call of the API to packets: the built server and agent, in namespaces.
//!
//! The instance's port0 is bound by the tag `sg:bind`, or by its alias. The remote machine has two addresses.

use std::{
    thread,
    time::{Duration, Instant},
};

use sg_api::{ControlStatus, FilterState};
use sg_tests::{
    Agent, NetNs, Role, Server, Topology, V4, V6, eventually,
    probe::{Outcome, tcp},
    server::Verb::{Authorize, Revoke},
};

/// Holds the addresses of instance and remote machine.
const VPC: &str = "10.0.0.0/8";
const INSTANCE: &str = "10.1.0.2";
const REMOTE: &str = "10.9.0.10";
const HOST: &str = "h1";
const BIND: &str = "sg:bind=h1/port0";
const LIMIT: Duration = Duration::from_millis(300);

/// A router whose agent takes its rules from a server beside it.
struct World {
    agent: Agent,
    server: Server,
    remote: NetNs,
    instance: NetNs,
    router: NetNs,
    _servers: Vec<tcp::Server>,
}

impl World {
    fn new() -> Self {
        Self::configured("")
    }

    /// agent.toml has this text.
    fn configured(text: &str) -> Self {
        let Topology { remote, instance, router } = Topology::new(Role::Port);
        let router = router.expect("a router");
        let server = Server::start(&router, VPC);
        let control = server.control();
        let mut agent = Agent::stopped(&router, &["--control", &control, "--host", HOST]);
        agent.configure(text);
        agent.restart();
        let _servers = [80, 81].map(|port| tcp::serve(&instance, V4.instance_port(port))).into();
        let world = Self { agent, server, remote, instance, router, _servers };
        eventually("the agent follows the server", || world.control().connected);
        world
    }

    /// A network interface for port0 with a group that allows nothing in.
    fn bound(&self) -> (String, String) {
        let group = self.server.group("web");
        (self.server.interface(INSTANCE, &[&group], &[BIND]), group)
    }

    fn control(&self) -> ControlStatus {
        self.agent.ctl().status().control.expect("control mode")
    }

    fn state(&self, interface: &str) -> FilterState {
        let status = self.agent.ctl().status();
        let found = status.interfaces.iter().find(|shown| shown.name == interface);
        found.unwrap_or_else(|| panic!("no {interface} in {status:#?}")).state
    }

    fn waits_for(&self, interface: &str, state: FilterState) {
        eventually(&format!("{interface} is {state:?}"), || self.state(interface) == state);
    }

    #[track_caller]
    fn passes(&self, port: u16) {
        tcp::passes(&self.remote, V4.remote, V4.instance_port(port));
    }

    #[track_caller]
    fn is_dropped(&self, port: u16) {
        tcp::is_dropped(&self.remote, V4.remote, V4.instance_port(port));
    }

    /// Nothing passes in any direction of either family.
    #[track_caller]
    fn is_closed(&self) {
        self.is_dropped(80);
        self.is_dropped(81);
        let _outside = tcp::serve(&self.remote, V4.remote_port(82));
        tcp::is_dropped(&self.instance, V4.instance, V4.remote_port(82));
        let _outside = tcp::serve(&self.remote, V6.remote_port(82));
        tcp::is_dropped(&self.instance, V6.instance, V6.remote_port(82));
    }

    #[track_caller]
    fn fault(&self, part: &str) {
        eventually(&format!("a fault with {part:?}"), || {
            self.control().faults.iter().any(|fault| fault.contains(part))
        });
    }

    fn tags(&self, action: &str, interface: &str, tag: &str) -> sg_tests::server::Answer {
        let (key, value) = tag.split_once('=').expect("KEY=VALUE");
        let parameters = [("ResourceId.1", interface), ("Tag.1.Key", key), ("Tag.1.Value", value)];
        self.server.call(action, &parameters)
    }
}

#[test]
fn authorize_opens_and_revoke_closes_before_they_are_answered() {
    let world = World::new();
    assert_eq!(world.state("port0"), FilterState::Unfiltered);
    world.passes(80);
    let (_, group) = world.bound();
    world.is_dropped(80);
    for _ in 0..3 {
        let open = world.server.ingress(Authorize, &group, "80", "10.9.0.0/24").enforced();
        world.passes(80);
        world.is_dropped(81);
        let control = world.control();
        assert!(control.enforced_revision >= open.revision(), "{control:?}");
        world.server.ingress(Revoke, &group, "80", "10.9.0.0/24").enforced();
        world.is_dropped(80);
    }
    assert_eq!(world.state("port0"), FilterState::Filtered);
    assert_eq!(world.state("up1"), FilterState::Unfiltered);
    assert_eq!(world.control().faults, [""; 0]);
    eventually("the API shows the binding", || {
        let shown = world.server.call("DescribeNetworkInterfaces", &[]);
        shown.body.contains("<status>in-use</status>")
    });
}

#[test]
fn a_group_as_peer_has_the_members_that_come_and_go() {
    let world = World::new();
    let (_, group) = world.bound();
    let clients = world.server.group("clients");
    world.server.ingress(Authorize, &group, "80", &clients).enforced();
    world.is_dropped(80);
    let member = world.server.interface(REMOTE, &[&clients], &[]);
    world.passes(80);
    tcp::is_dropped(&world.remote, V4.other, V4.instance_port(80));
    let other = world.server.group("other");
    let parameters = [("NetworkInterfaceId", member.as_str()), ("SecurityGroupId.1", &other)];
    world.server.call("ModifyNetworkInterfaceAttribute", &parameters).enforced();
    world.is_dropped(80);
    world.server.interface("10.9.0.11", &[&clients], &[]);
    tcp::passes(&world.remote, V4.other, V4.instance_port(80));
}

#[test]
fn the_end_of_a_binding_opens_nothing() {
    let mut world = World::new();
    let (interface, group) = world.bound();
    world.server.ingress(Authorize, &group, "80", "0.0.0.0/0").enforced();
    world.passes(80);
    world.tags("DeleteTags", &interface, BIND).enforced();
    assert_eq!(world.state("port0"), FilterState::Isolated);
    world.is_closed();
    // Nor does a restart, or a boot, with or without the server.
    world.server.kill();
    world.agent.terminate();
    world.agent.reboot();
    world.agent.restart();
    world.waits_for("port0", FilterState::Isolated);
    world.is_closed();
    world.server.restart();
    eventually("the agent is back", || world.control().connected);
    world.is_closed();
    world.tags("CreateTags", &interface, BIND).enforced();
    world.passes(80);
    world.is_dropped(81);
    assert_eq!(world.state("port0"), FilterState::Filtered);
}

#[test]
fn the_last_state_stays_whoever_is_killed() {
    let mut world = World::new();
    let (_, group) = world.bound();
    world.server.ingress(Authorize, &group, "80", "10.9.0.0/24").enforced();
    let judged = |world: &World| {
        world.passes(80);
        world.is_dropped(81);
    };
    world.server.kill();
    eventually("the agent sees it", || !world.control().connected);
    judged(&world);
    world.agent.kill();
    judged(&world);
    world.agent.restart();
    judged(&world);
    assert!(world.control().enforced_revision > 0, "the state is the disk's");
    world.agent.terminate();
    world.agent.reboot();
    world.agent.restart();
    judged(&world);
    // A device that comes while there is no server has its rules, too.
    world.router.ip("link set dev port0 down\nlink set dev port0 name port1");
    world.router.ip("link set dev port1 name port0\nlink set dev port0 up");
    world.router.ip("-4 route add 10.1.0.0/24 dev port0");
    world.waits_for("port0", FilterState::Filtered);
    judged(&world);
    world.server.restart();
    eventually("the agent is back", || world.control().connected);
    world.server.ingress(Authorize, &group, "81", "10.9.0.0/24").enforced();
    world.passes(81);
}

/// Changes go on while server and agent are killed; an answered one is judged by, and the last is in force.
#[test]
fn changes_that_were_answered_are_in_force_after_any_kill() {
    let mut world = World::new();
    let (_, group) = world.bound();
    let mut is_open = false;
    for round in 0..40_u32 {
        let verb = if is_open { Revoke } else { Authorize };
        let victim = round * 7 % 3;
        let after = Duration::from_micros(u64::from(round * 379 % 6000));
        let pid = if victim == 0 { world.server.pid() } else { world.agent.pid() };
        let done = thread::scope(|scope| {
            if victim < 2 {
                scope.spawn(move || {
                    thread::sleep(after);
                    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("a process");
                });
            }
            world.server.try_ingress(verb, &group, "80", "10.9.0.0/24")
        });
        match victim {
            0 => {
                world.server.kill();
                world.server.restart();
            }
            1 => {
                world.agent.kill();
                world.agent.restart();
            }
            _ => {}
        }
        let shown = world.server.call("DescribeSecurityGroups", &[("GroupId.1", &group)]);
        is_open = shown.body.contains("<fromPort>80</fromPort>");
        if let Some(answer) = done {
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(is_open, verb == Authorize, "round {round}: an answered change is lost");
        }
        // The agent that lost its server, or was lost itself, catches up.
        let expected = if is_open { Outcome::Passed } else { Outcome::Silent };
        eventually(&format!("round {round}: {expected:?}"), || {
            tcp::attempt(&world.remote, V4.remote, V4.instance_port(80), LIMIT) == expected
        });
        world.is_dropped(81);
    }
}

#[test]
fn another_store_is_refused_until_root_accepts_it() {
    let mut world = World::new();
    let (_, group) = world.bound();
    world.server.ingress(Authorize, &group, "80", "10.9.0.0/24").enforced();
    let refused = world.agent.ctl().run(&["accept-store"]);
    assert_eq!(refused.status, Some(1), "{refused:#?}");
    world.server.kill();
    world.server.init(VPC);
    world.server.restart();
    world.fault("another store");
    world.passes(80);
    world.is_dropped(81);
    // Orders of the other store change nothing, and its server does not take them for enforced.
    let change = world.server.call(
        "CreateSecurityGroup",
        &[("GroupName", "web"), ("GroupDescription", "of another store")],
    );
    assert_eq!(change.header("x-sg-enforced"), Some("false"));
    world.agent.kill();
    world.agent.restart();
    world.fault("another store");
    world.passes(80);
    let accepted = world.agent.ctl().run(&["accept-store"]);
    assert_eq!(accepted.status, Some(0), "{accepted:#?}");
    world.waits_for("port0", FilterState::Isolated);
    world.is_closed();
    let (_, group) = {
        let group = world.server.group("again");
        (world.server.interface(INSTANCE, &[&group], &[BIND]), group)
    };
    world.server.ingress(Authorize, &group, "80", "10.9.0.0/24").enforced();
    world.passes(80);
    assert_eq!(world.control().faults, [""; 0]);
}

#[test]
fn rules_by_hand_are_refused_and_the_control_plane_is_named() {
    let world = World::new();
    let file = sg_tests::ctl::file(b"");
    for args in [&["apply", &file][..], &["plan", &file], &["rollback"], &["confirm"]] {
        let ran = world.agent.ctl().run(args);
        assert_eq!(ran.status, Some(1), "{ran:#?}");
        assert!(ran.stderr.contains(&world.server.control()), "{ran:#?}");
    }
    for args in [&["show", "rules"][..], &["flows"], &["export"], &["history"], &["status"]] {
        world.agent.ctl().run(args).expect(0);
    }
    let text = world.agent.ctl().run(&["status"]).expect(0).stdout;
    assert!(text.contains("control plane unix:") && text.contains("connected"), "{text}");
    assert!(text.contains("NOT filtered: port0, up1"), "{text}");
}

#[test]
fn a_closed_interface_is_isolated_until_its_alias_binds_it() {
    let world = World::configured("[[closed]]\nnames = [\"port*\"]\n");
    assert_eq!(world.state("port0"), FilterState::Isolated);
    world.is_closed();
    let group = world.server.group("web");
    world.server.ingress(Authorize, &group, "80", "10.9.0.0/24").enforced();
    let interface = world.server.interface(INSTANCE, &[&group], &["sg:host=h1"]);
    let stranger = world.server.interface("10.1.0.9", &[&group], &[]);
    world.router.ip(&format!("link set dev port0 alias {stranger}"));
    world.fault("sg:host does not name this host");
    world.is_closed();
    world.router.ip(&format!("link set dev port0 alias {interface}"));
    world.waits_for("port0", FilterState::Filtered);
    world.passes(80);
    world.is_dropped(81);
    world.router.ip("link set dev port0 alias none");
    world.waits_for("port0", FilterState::Isolated);
    world.is_closed();
}

#[test]
fn two_claims_for_one_device_are_a_fault_and_the_next_holds_when_the_first_ends() {
    let world = World::new();
    let (first, _) = world.bound();
    let open = world.server.group("open");
    world.server.ingress(Authorize, &open, "80", "10.9.0.0/24").enforced();
    let second = world.server.interface("10.1.0.3", &[&open], &[BIND]);
    // The instance answers from the address of the first one.
    let unchecked = [("NetworkInterfaceId", second.as_str()), ("SourceDestCheck.Value", "false")];
    world.server.call("ModifyNetworkInterfaceAttribute", &unchecked);
    world.fault("which is bound to");
    world.is_dropped(80);
    let ended = Instant::now();
    world.tags("DeleteTags", &first, BIND).enforced();
    world.passes(80);
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    assert_eq!(world.state("port0"), FilterState::Filtered);
}

#[test]
fn a_host_needs_a_floor_that_holds_whatever_the_group_says() {
    let floor = "[[floor]]\nprotocol = \"tcp\"\nports = 81\ncidrs = [\"10.9.0.10/32\"]\n";
    let world = World::configured(floor);
    let group = world.server.group("uplink");
    let tags = ["sg:bind=h1/up1", "sg:role=host"];
    let interface = world.server.interface("10.9.0.1", &[&group], &tags);
    assert_eq!(world.state("up1"), FilterState::Filtered);
    world.remote.ip("-4 route add 10.9.0.0/24 dev up0");
    let router = |port| std::net::SocketAddr::from(([10, 9, 0, 1], port));
    let _servers = [81, 82].map(|port| tcp::serve(&world.router, router(port)));
    tcp::passes(&world.remote, V4.remote, router(81));
    tcp::is_dropped(&world.remote, V4.other, router(81));
    tcp::is_dropped(&world.remote, V4.remote, router(82));
    world.server.ingress(Authorize, &group, "82", "10.9.0.0/24").enforced();
    tcp::passes(&world.remote, V4.remote, router(82));
    // The end of the binding keeps the last rules, the floor among them.
    world.tags("DeleteTags", &interface, tags[0]).enforced();
    assert_eq!(world.state("up1"), FilterState::Held);
    tcp::passes(&world.remote, V4.remote, router(81));
    tcp::passes(&world.remote, V4.remote, router(82));
    tcp::is_dropped(&world.remote, V4.other, router(81));
}

#[test]
fn a_host_without_a_floor_is_not_bound() {
    let world = World::new();
    let group = world.server.group("uplink");
    world.server.interface("10.9.0.1", &[&group], &["sg:bind=h1/up1", "sg:role=host"]);
    world.fault("agent.toml has no floor");
    assert_eq!(world.state("up1"), FilterState::Unfiltered);
    world.passes(80);
}

#[test]
fn rules_of_a_file_hold_until_an_interface_is_bound() {
    let Topology { remote, instance, router } = Topology::new(Role::Port);
    let router = router.expect("a router");
    let server = Server::start(&router, VPC);
    let mut agent = Agent::start(&router, &[]);
    let rules = r#"
        [[security_group]]
        name = "file"
        ingress = [{ protocol = "tcp", ports = 81, cidrs = ["10.9.0.0/24"] }]
        [[interface]]
        name = "port*"
        role = "port"
        groups = ["file"]
    "#;
    agent.ctl().apply(rules, &[]);
    let _servers: Vec<tcp::Server> =
        [80, 81].map(|port| tcp::serve(&instance, V4.instance_port(port))).into();
    agent.terminate();
    agent.configure(&format!("control = \"{}\"\nhost = \"h1\"\n", server.control()));
    agent.restart();
    let world = World { agent, server, remote, instance, router, _servers };
    eventually("the agent follows the server", || world.control().connected);
    assert_eq!(world.state("port0"), FilterState::Held);
    world.passes(81);
    world.is_dropped(80);
    let (_, group) = world.bound();
    world.server.ingress(Authorize, &group, "80", "10.9.0.0/24").enforced();
    world.passes(80);
    world.is_dropped(81);
}

#[test]
fn a_state_that_does_not_fit_is_never_confirmed() {
    let world = World::configured("max-interfaces = 1\n");
    let (_, group) = world.bound();
    let second = world.server.group("second");
    let before = world.control().enforced_revision;
    let tags = ["sg:bind=h1/up1"];
    let interface = world.server.interface("10.9.0.1", &[&second], &tags);
    world.fault("max-interfaces");
    let refused = world.server.ingress(Authorize, &group, "80", "10.9.0.0/24");
    assert_eq!(refused.header("x-sg-enforced"), Some("false"));
    let control = world.control();
    assert!(control.enforced_revision < control.revision, "{control:?}");
    assert!(control.enforced_revision >= before, "{control:?}");
    world.is_dropped(80);
    // A later one that fits is enforced, with all before it.
    world.tags("DeleteTags", &interface, tags[0]);
    world.server.call("DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]);
    eventually("it is enforced", || {
        let control = world.control();
        control.enforced_revision == control.revision && control.faults.is_empty()
    });
    world.passes(80);
}
