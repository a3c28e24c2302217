//! Changes of the rules under traffic.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use sg_api::{Applied, Plan, Revision};
use sg_tests::{
    Datapath, FAMILIES, Role, V4, World, ctl, matrix,
    probe::{Outcome, SILENCE, tcp, udp},
};

/// The remote network on these TCP ports.
fn web(ports: &str, settings: &str) -> String {
    format!(
        r#"{settings}
        [[security_group]]
        name = "web"
        ingress = [{{ protocol = "tcp", ports = {ports}, cidrs = ["10.9.0.0/24", "fd09::/64"] }}]
        egress = []
        "#
    )
}

matrix! {
    /// A new rule holds at once; a removed one refuses new connections at once and leaves the open
    /// ones, as in EC2.
    fn open_connections_outlive_their_rule(world) {
        for at in FAMILIES {
            let _server = tcp::serve(&world.instance, at.instance_port(80));
            world.apply(&["web"], &web("81", ""));
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
            world.apply(&["web"], &web("[80, 81]", ""));
            let mut open = tcp::open(&world.remote, at.remote, at.instance_port(80));
            world.apply(&["web"], &web("81", ""));
            let ((), counts) = world.counted(|| open.passes());
            counts.are(&["ingress flow", "egress flow"]);
            tcp::is_dropped(&world.remote, at.remote, at.instance_port(80));
            open.passes();
        }
    }

    /// With `on_revoke = "cut"` a connection ends with its rule, in both directions, and one whose
    /// rule stays goes on.
    fn cut_ends_open_connections(world) {
        let cut = "[settings]\non_revoke = \"cut\"\n";
        for at in FAMILIES {
            let _servers = [80, 81].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            world.apply(&["web"], &web("[80, 81]", cut));
            let mut revoked = tcp::open(&world.remote, at.remote, at.instance_port(80));
            let mut kept = tcp::open(&world.remote, at.remote, at.instance_port(81));
            world.apply(&["web"], &web("81", cut));
            let ((), counts) = world.counted(|| revoked.is_dropped());
            counts.are(&["ingress flow_cut"]);
            kept.passes();
            // Still refused when the rule is back, until a SYN.
            world.apply(&["web"], &web("[80, 81]", cut));
            revoked.is_dropped();
            tcp::passes(&world.remote, at.remote, at.instance_port(80));
        }
    }

    /// `flows flush --denied` cuts once what the rules would not open now.
    fn flush_denied(world) {
        for at in FAMILIES {
            let _servers = [80, 81].map(|port| tcp::serve(&world.instance, at.instance_port(port)));
            world.apply(&["web"], &web("[80, 81]", ""));
            let mut revoked = tcp::open(&world.remote, at.remote, at.instance_port(80));
            let mut kept = tcp::open(&world.remote, at.remote, at.instance_port(81));
            world.apply(&["web"], &web("81", ""));
            revoked.passes();
            world.ctl().run(&["flows", "flush", "--denied"]).expect(0);
            revoked.is_dropped();
            kept.passes();
        }
    }
}

/// A file that is refused changes nothing; one that changes nothing says so and makes no revision;
/// what a change does not touch goes on counting.
#[test]
fn all_or_nothing() {
    let world = World::new(Role::Host, Datapath::Tc);
    let _server = tcp::serve(&world.instance, V4.instance_port(80));
    let rules = world.rules(&["web"], &web("80", ""));
    let first = world.ctl().apply(&rules, &[]);
    assert!(first.changed && first.interfaces == 1, "{first:?}");
    tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
    let counters = world.counters();

    let refused = world.rules(&["web"], &web("81", "")).replace("10.9.0.0/24", "10.9.0.0/33");
    world.ctl().try_apply(&refused).expect(2);
    let again = world.ctl().apply(&rules, &[]);
    assert_eq!((again.changed, again.revision), (false, first.revision));
    assert_eq!(world.counters().since(&counters), Default::default());

    let next = world.ctl().apply(&world.rules(&["web"], &web("[80, 81]", "")), &[]);
    assert!(next.changed && next.revision > first.revision, "{next:?}");
    let added = world.counters().since(&counters);
    assert_eq!(added, Default::default(), "an apply resets and adds nothing");
    tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
}

/// Under a stream of changes that all allow it, an exchange loses no packet.
#[test]
fn no_packet_falls_between_two_states() {
    let world = World::new(Role::Port, Datapath::Xdp);
    let text = |port: u16| {
        world.rules(
            &["dns"],
            &format!(
                r#"
            [[security_group]]
            name = "dns"
            ingress = [
              {{ protocol = "udp", ports = 53, cidrs = ["0.0.0.0/0"] }},
              {{ protocol = "udp", ports = {port}, cidrs = ["10.9.0.0/24"] }},
            ]
            "#
            ),
        )
    };
    let _server = udp::serve(&world.instance, V4.instance_port(53));
    world.ctl().apply(&text(1000), &[]);
    let done = AtomicBool::new(false);
    let exchange = udp::open(&world.remote, V4.remote, V4.instance_port(53));
    let before = world.counters();
    let exchanged = thread::scope(|scope| {
        let exchanging = scope.spawn(|| {
            let mut exchanged = 0_u64;
            while !done.load(Ordering::Relaxed) {
                exchange.passes();
                exchanged += 1;
            }
            exchanged
        });
        for port in 1001..1041 {
            world.ctl().apply(&text(port), &[]);
        }
        done.store(true, Ordering::Relaxed);
        exchanging.join().expect("no packet is lost")
    });
    let counts = world.counters().since(&before);
    assert!(exchanged > 100, "{exchanged} exchanges");
    counts.exactly(&[("ingress untracked", exchanged), ("egress untracked", exchanged)]);
}

/// Connections that are in use all the time, during the very change, end with their rule, however long
/// the change takes.
#[test]
fn cut_ends_connections_that_never_rest() {
    let world = World::new(Role::Port, Datapath::Tc);
    // Enough networks that compiling and storing them takes several of the data path's ticks.
    let entries: Vec<_> = (0..60_000_u32)
        .map(|number| format!("\"{}/32\"", std::net::Ipv4Addr::from(0x2000_0000 + 3 * number)))
        .collect();
    let many = format!(
        "[settings]\non_revoke = \"cut\"\n[settings.quotas]\nrules_per_group = 100000\n\
         rules_per_interface = 1000000\n[[prefix_list]]\nname = \"many\"\nentries = [{}]\n",
        entries.join(",")
    );
    let text = |port: u16| {
        world.rules(
            &["dns"],
            &format!(
                r#"{many}
            [[security_group]]
            name = "dns"
            ingress = [
              {{ protocol = "udp", ports = {port}, cidrs = ["10.9.0.0/24"] }},
              {{ protocol = "tcp", ports = 80, prefix_lists = ["many"] }},
            ]
            egress = []
            "#
            ),
        )
    };
    let _server = udp::serve(&world.instance, V4.instance_port(53));
    world.ctl().apply(&text(53), &[]);
    let exchange = udp::open(&world.remote, V4.remote, V4.instance_port(53));
    exchange.passes();
    let applied = AtomicBool::new(false);
    thread::scope(|scope| {
        let exchanging = scope.spawn(|| {
            // The last one is lost.
            while exchange.echo(4, SILENCE) == Outcome::Passed {
                assert!(!applied.load(Ordering::Relaxed), "it goes on");
            }
        });
        world.ctl().apply(&text(54), &[]);
        // One exchange may have begun before, and be told of after.
        thread::sleep(SILENCE);
        applied.store(true, Ordering::Relaxed);
        exchanging.join().expect("it has ended");
    });
    let ((), counts) = world.counted(|| exchange.is_dropped());
    counts.exactly(&[("ingress flow_cut", 1)]);
}

/// An interface that comes and goes while rules are applied hurts neither.
#[test]
fn interface_goes_in_the_middle_of_an_apply() {
    let world = World::new(Role::Host, Datapath::Tc);
    let namespace = world.host().name().to_owned();
    let flapping = thread::spawn(move || {
        for _ in 0..40 {
            for line in ["link add name flap0 type veth peer name flap1", "link del dev flap0"] {
                let ran =
                    Command::new("ip").args(["-n", &namespace]).args(line.split(' ')).status();
                assert!(ran.expect("ip").success());
            }
        }
    });
    let mut applied = 0;
    while !flapping.is_finished() {
        let flap = "[[interface]]\nname = \"flap*\"\ngroups = [\"web\"]\n";
        let text = format!("{}{flap}", web(&(1000 + applied % 50).to_string(), ""));
        // Either is right, if it is said; a panic or a hang is not.
        let ran = world.ctl().try_apply(world.rules(&["web"], &text));
        let status = if ran.status == Some(0) { 0 } else { 1 };
        ran.expect(status);
        applied += 1;
    }
    flapping.join().expect("no panic");
    assert!(applied > 3, "{applied} applies");
    let status = world.ctl().status();
    let names: Vec<_> = status.interfaces.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["nic0"]);
}

/// `plan` says what `apply` would do, and does nothing.
#[test]
fn plan() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["web"], &web("80", ""));
    let revision = world.ctl().status().revision;
    let plan = |text: &str| -> Plan {
        let file = ctl::file(world.rules(&["web"], text).as_bytes());
        world.ctl().json(&["plan", &file])
    };
    assert_eq!(plan(&web("80", "")).changes.len(), 0);
    let changed = plan(&web("81", ""));
    let mut ops: Vec<_> =
        changed.changes.iter().map(|change| (change.op.as_str(), change.kind.as_str())).collect();
    ops.sort_unstable();
    // One rule for each of two CIDRs goes, and one comes.
    assert_eq!(ops, [("+", "rule"), ("+", "rule"), ("-", "rule"), ("-", "rule")]);
    assert!(changed.changes.iter().all(|change| change.id.starts_with("sgr-")), "{changed:#?}");
    assert_eq!(changed.interfaces, ["nic0"]);
    for (ports, status) in [("80", 0), ("81", 3)] {
        let file = ctl::file(world.rules(&["web"], &web(ports, "")).as_bytes());
        world.ctl().run(&["plan", &file, "--exit-code"]).expect(status);
    }
    assert_eq!(world.ctl().status().revision, revision);
}

/// The output of `export` makes the same state.
#[test]
fn export_round_trip() {
    let world = World::new(Role::Port, Datapath::Tc);
    world.apply(&["web"], &web("[80, \"8000-8099\"]", "[settings]\non_revoke = \"cut\"\n"));
    let exported = world.ctl().run(&["export"]).expect(0).stdout;
    let again: Applied = world.ctl().apply(&exported, &[]);
    assert!(!again.changed, "{exported}");
}

/// Fifty at once: each is a revision and has an answer, and the last one is in force.
#[test]
fn a_storm_of_applies() {
    const STORM: u16 = 50;
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["web"], &web("1", ""));
    let ctl = world.ctl();
    let began = Instant::now();
    let mut answers: Vec<(Applied, u16)> = thread::scope(|scope| {
        let post = |port: u16| {
            let text = world.rules(&["web"], &web(&port.to_string(), ""));
            let ctl = &ctl;
            scope.spawn(move || (ctl.post_rules(&text), port))
        };
        let posts: Vec<_> = (1000..1000 + STORM).map(post).collect();
        posts.into_iter().map(|post| post.join().expect("an answer")).collect()
    });
    let took = began.elapsed();
    answers.sort_by_key(|(applied, _)| applied.revision);
    let revisions: Vec<u64> = answers.iter().map(|(applied, _)| applied.revision).collect();
    assert_eq!(revisions, (2..2 + u64::from(STORM)).collect::<Vec<_>>());
    let history: Vec<Revision> = ctl.json(&["history"]);
    assert_eq!(history.len(), 1 + usize::from(STORM));
    let passed_over = answers.iter().filter_map(|(applied, _)| applied.superseded_by);
    for newer in passed_over.clone() {
        let (by, _) = &answers[usize::try_from(newer - 2).expect("a few")];
        assert_eq!((by.revision, by.superseded_by), (newer, None));
    }
    eprintln!("{} of {STORM} passed over, all done after {took:?}", passed_over.clone().count());
    assert!(passed_over.count() > 0, "each was put in force alone");
    let allows = |port| {
        let ends = format!("--src {} --dst {}", V4.remote, V4.instance_port(port));
        ctl.explain(world.interface(), "ingress", "tcp", &ends).verdict == "allow"
    };
    let open: Vec<u16> = (1000..1000 + STORM).filter(|port| allows(*port)).collect();
    assert_eq!(open, [answers[usize::from(STORM) - 1].1]);
}

/// Rules that are valid and match nothing are in force all the same; their author hears of them.
#[test]
fn what_matches_nothing_is_warned_of() {
    let world = World::new(Role::Host, Datapath::Tc);
    let text = world.rules(&["web"], &web("80", "")).replace("10.9.0.0/24", "::ffff:0:0/96");
    let text = format!("{text}[[interface]]\nname = \"eth0@if5\"\ngroups = [\"web\"]\n");
    let text = format!("{text}[[interface]]\nname = \"eth+\"\ngroups = [\"web\"]\n");
    let said =
        ["\"::ffff:0.0.0.0/96\" in an ingress rule", "the name is \"eth0\"", "write \"eth*\""];
    let file = ctl::file(text.as_bytes());
    for verb in ["plan", "apply"] {
        let ran = world.ctl().run(&[verb, &file]).expect(0).says(&said);
        assert_eq!(ran.stderr.matches("warning: ").count(), said.len(), "{ran:?}");
        let json: serde_json::Value = world.ctl().json(&[verb, &file]);
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(said.len()), "{json}");
    }
    let ran =
        world.ctl().run(&["apply", &ctl::file(world.rules(&["web"], &web("80", "")).as_bytes())]);
    assert_eq!(ran.expect(0).stderr, "");
}
