//! docs/limits.md: each limit of its tables is exceeded, and what is said then is what the document says.

use std::{fs, net::UdpSocket, path::PathBuf, thread, time::Duration};

use clap::Parser as _;
use sg_agent::config::{Cli, Config};
use sg_common::Reason;
use sg_policy::model::{Quotas, Tracking};
use sg_tests::{
    Agent, Datapath, NetNs, Ran, Role, V4, World, ctl,
    document::{self, Row, rows},
    probe::craft::tagged,
    sandbox,
    topology::mac,
};

const DOCUMENT: &str = "docs/limits.md";

#[track_caller]
fn row(first: &str) -> Row {
    document::row(DOCUMENT, first)
}

const GROUP: &str = "[[security_group]]\nname = \"a\"\n";

/// A group with rules for ports from 1 on.
fn group(rules: usize) -> String {
    let rule =
        |port| format!("{{ protocol = \"tcp\", ports = {port}, cidrs = [\"10.0.0.0/8\"] }},\n");
    let rules: String = (1..=rules).map(rule).collect();
    format!("{GROUP}ingress = [\n{rules}]\n")
}

/// Entries for `lo` with so many groups.
fn interface(groups: usize) -> String {
    let names: Vec<String> = (0..groups).map(|group| format!("g{group}")).collect();
    let defined: String =
        names.iter().map(|name| format!("[[security_group]]\nname = \"{name}\"\n")).collect();
    format!("{defined}[[interface]]\nname = \"lo\"\ngroups = {names:?}\n")
}

/// A million rules and one, in as few bytes as they take.
fn many_rules() -> String {
    let ports: Vec<String> = (1..=1000).map(|port| port.to_string()).collect();
    let nets: Vec<String> =
        (0..501).map(|net| format!("\"10.{}.{}.0/24\"", net / 256, net % 256)).collect();
    let rule = format!(
        "{{ protocol = \"tcp\", ports = [{}], cidrs = [{}] }}",
        ports.join(","),
        nets.join(",")
    );
    let groups: String = ["a", "b"]
        .iter()
        .map(|name| format!("[[security_group]]\nname = \"{name}\"\ningress = [{rule}]\n"))
        .collect();
    format!(
        "[settings.quotas]\nrules_per_group = 1000000\ngroups_per_interface = 1\n\
         rules_per_interface = 1000000\n{groups}"
    )
}

fn tracking(key: &str, value: u32) -> String {
    format!("[settings.tracking]\n{key} = {value}\n")
}

/// A rules file that is beyond the limit of each row of the first table.
fn rules_files() -> Vec<(&'static str, String)> {
    let list = "[[prefix_list]]\nname = \"l\"\nmax_entries = 1000001\nentries = []\n";
    vec![
        ("size of the file", "#".repeat((64 << 20) + 1)),
        ("rules, all groups together", many_rules()),
        ("rules of a group, by direction and family: `rules_per_group`", group(61)),
        ("groups of an interface: `groups_per_interface`", interface(6)),
        (
            "the product of the two: `rules_per_interface`",
            "[settings.quotas]\nrules_per_group = 201\n".into(),
        ),
        ("raising a quota", "[settings.quotas]\ngroups_per_interface = 17\n".into()),
        ("room of a prefix list: `max_entries`", list.into()),
        ("name or description", GROUP.replace("\"a\"", &format!("\"{}\"", "a".repeat(256)))),
        (
            "name of an interface",
            format!("{GROUP}[[interface]]\nname = \"sixteen-letters-\"\ngroups = [\"a\"]\n"),
        ),
        ("`tcp_established`", tracking("tcp_established", 59)),
        ("`udp`", tracking("udp", 61)),
        ("`udp_stream`", tracking("udp_stream", 181)),
        ("`pickup`", tracking("pickup", 3601)),
        ("`max_flows`", tracking("max_flows", 0)),
        ("faults that are shown", "[[interface]]\ngroups = []\n".repeat(30)),
    ]
}

/// Arguments of sg-agent that are beyond the limit of each row of the second table.
const SETTINGS: [(&str, [&str; 2]); 5] = [
    ("`max-flows`, rounded up to a power of two, 256 at least", ["--max-flows", "67108865"]),
    ("`max-interfaces`", ["--max-interfaces", "32769"]),
    ("`interval` of the flow log", ["--flow-log-interval", "601"]),
    ("`max-size` of a flow log's file", ["--flow-log-max-size", "1048577"]),
    ("`keep`, files put aside", ["--flow-log-keep", "1001"]),
];

/// The rows of the third table; each has a test below.
const RUNNING: [&str; 8] = [
    "filtered interfaces",
    "an interface that comes later",
    "compiled rules",
    "tracked flows, each family",
    "time to confirm a change",
    "revisions kept",
    "records of past intervals that `sgctl log` shows",
    "VLAN tags, IPv6 extension headers",
];

#[test]
fn every_row_is_exceeded() {
    let listed: Vec<String> =
        rows(DOCUMENT).into_iter().map(|mut row| row.0.swap_remove(0)).collect();
    let files = rules_files();
    let tested: Vec<&str> = files
        .iter()
        .map(|(row, _)| *row)
        .chain(SETTINGS.iter().map(|(row, _)| *row))
        .chain(RUNNING)
        .collect();
    assert_eq!(listed, tested);
}

/// The last column, and the one before: what is beyond is refused, what is at the limit is taken.
#[test]
fn rules() {
    for (name, text) in rules_files() {
        let row = row(name);
        let ran = check(&text).expect(2);
        row.is_said(3, &(ran.stdout + &ran.stderr));
    }
    for text in [
        group(60),
        interface(5),
        "[settings.quotas]\nrules_per_group = 200\n".into(),
        "[settings.quotas]\ngroups_per_interface = 16\n".into(),
        "[[prefix_list]]\nname = \"l\"\nmax_entries = 1000000\nentries = []\n".into(),
        GROUP.replace("\"a\"", &format!("\"{}\"", "a".repeat(255))),
        format!("{GROUP}[[interface]]\nname = \"fifteen-letters\"\ngroups = [\"a\"]\n"),
        tracking("tcp_established", 60),
        tracking("tcp_established", 432_000),
        tracking("udp", 60),
        tracking("udp_stream", 60),
        tracking("udp_stream", 180),
        tracking("pickup", 0),
        tracking("pickup", 3600),
        tracking("max_flows", 1),
        tracking("max_flows", 2_147_483_647),
        "#".repeat(64 << 20),
    ] {
        check(&text).expect(0);
    }
}

/// A cell's number, without its unit.
fn number(row: &str, cell: usize) -> u32 {
    let cell = &self::row(row).0[cell];
    let number = cell.split(' ').next_back().filter(|last| last.parse::<u32>().is_ok());
    let number = number.or_else(|| cell.split(' ').rev().nth(1)).expect("a number");
    number.parse().unwrap_or_else(|_| panic!("{row}: no number in {cell}"))
}

/// The second column is the code's, and the third is where a value is taken and the next one is not.
#[test]
fn defaults_and_most() {
    let (quotas, tracking) = (Quotas::default(), Tracking::default());
    let agent = Cli::try_parse_from(["sg-agent", "--config", "/nonexistent"]).expect("flags");
    let agent = Config::load(&agent).expect("settings");
    let log = agent.flow_log.expect("a flow log");
    for (row, default) in [
        ("rules of a group, by direction and family: `rules_per_group`", quotas.rules_per_group),
        ("groups of an interface: `groups_per_interface`", quotas.groups_per_interface),
        ("the product of the two: `rules_per_interface`", quotas.rules_per_interface),
        ("`tcp_established`", tracking.tcp_established),
        ("`udp`", tracking.udp),
        ("`udp_stream`", tracking.udp_stream),
        ("`pickup`", tracking.pickup),
        ("`max-flows`, rounded up to a power of two, 256 at least", agent.max_flows),
        ("`max-interfaces`", agent.max_interfaces.into()),
        ("`interval` of the flow log", log.interval.try_into().expect("seconds")),
        ("`max-size` of a flow log's file", (log.style.max_bytes >> 20).try_into().expect("MiB")),
        ("`keep`, files put aside", log.style.keep),
    ] {
        assert_eq!(number(row, 1), default, "{row}");
    }
    for (name, row, rest) in [
        (
            "rules_per_group",
            "rules of a group, by direction and family: `rules_per_group`",
            "groups_per_interface = 1\nrules_per_interface = 1000000",
        ),
        ("rules_per_interface", "the product of the two: `rules_per_interface`", ""),
        ("groups_per_interface", "groups of an interface: `groups_per_interface`", ""),
    ] {
        let most = number(row, 2);
        let quotas = |value: u32| format!("[settings.quotas]\n{name} = {value}\n{rest}\n");
        check(&quotas(most)).expect(0);
        check(&quotas(most + 1)).expect(2).says(&[&format!("not {}", most + 1)]);
    }
    // Where the message names the most, it is the column's.
    let named = SETTINGS.iter().map(|(row, _)| *row);
    for row in named.chain(["`tcp_established`", "`udp`", "`udp_stream`", "`pickup`"]) {
        let most = number(row, 2).to_string();
        assert!(self::row(row).0[3].contains(&format!("to {most}")), "{row}");
    }
}

fn check(text: &str) -> Ran {
    let ctl = sg_tests::Ctl::new("/nonexistent".as_ref());
    let directory = sandbox::directory("check");
    let path: PathBuf = directory.join("rules.toml");
    fs::write(&path, text).expect("a file");
    let ran = ctl.run(&["check".as_ref(), path.as_os_str()]);
    fs::remove_dir_all(&directory).expect("our own");
    ran
}

#[test]
fn settings() {
    let namespace = NetNs::new("settings");
    for (name, flags) in SETTINGS {
        let agent = Agent::stopped(&namespace, &flags);
        row(name).is_said(3, &agent.run_another().expect(1).stderr);
    }
}

/// For two interfaces of the same machine.
const TWO: &str = "[[security_group]]\nname = \"a\"\n\
    [[interface]]\nname = \"nic0\"\ngroups = [\"a\"]\n\
    [[interface]]\nname = \"later0\"\ngroups = [\"a\"]\n";

#[test]
fn interfaces() {
    let world = World::with_flags(Role::Host, Datapath::Tc, &["--max-interfaces", "1"]);
    world.ctl().apply(TWO, &[]);
    let add = || {
        world.instance.ip("link add later0 type veth peer name later1");
    };
    add();
    let mut text = String::new();
    sg_tests::eventually("the interface is named", || {
        text = world.ctl().run(&["status"]).expect(0).stdout;
        text.contains("later0")
    });
    row("an interface that comes later").is_quoted(2, &text);
    world.instance.ip("link del later0");
    sg_tests::eventually("it is gone", || {
        !world.ctl().run(&["status"]).expect(0).stdout.contains("later0")
    });
    world.ctl().apply("", &["--force"]);
    add();
    let refused = world.ctl().try_apply(TWO).expect(1);
    row("filtered interfaces").is_said(2, &refused.stderr);
    assert_eq!(world.ctl().status().interfaces.len(), 0);
}

/// Each of many small prefixes has many services of a large one besides its own.
#[test]
fn image() {
    let world = World::new(Role::Host, Datapath::Tc);
    let large = (0..8000).map(|port| format!("ports = {}, cidrs = [\"10.0.0.0/8\"]", port * 2));
    let small = (0..8000).map(|net| {
        format!("ports = {}, cidrs = [\"10.{}.{}.0/24\"]", net * 2 + 20_001, net >> 8, net & 255)
    });
    let rules: String =
        large.chain(small).map(|rule| format!("{{ protocol = \"tcp\", {rule} }},\n")).collect();
    let rules = format!(
        "[settings.quotas]\nrules_per_group = 1000000\ngroups_per_interface = 1\n\
         rules_per_interface = 1000000\n{GROUP}ingress = [\n{rules}]\n"
    );
    let refused = world.ctl().try_apply(world.rules(&["a"], &rules)).expect(1);
    row("compiled rules").is_said(2, &refused.stderr);
    assert_eq!(world.ctl().status().revision, 0);
}

/// See `tracking::full_table_keeps_established_flows` and `troubleshooting::table_full` for the packets.
#[test]
fn names_of_reasons() {
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    for name in ["tracked flows, each family", "VLAN tags, IPv6 extension headers"] {
        row(name).is_quoted(2, &reasons.join(" "));
    }
}

#[test]
fn time_to_confirm() {
    let world = World::new(Role::Host, Datapath::Tc);
    let file = ctl::file(GROUP.as_bytes());
    let refused = world.ctl().run(&["apply", "--confirm", "86401", &file]).expect(2);
    row("time to confirm a change").is_said(2, &refused.stderr);
    world.ctl().run(&["apply", "--confirm", "86400", &file]).expect(0);
}

#[test]
fn revisions() {
    let world = World::new(Role::Host, Datapath::Tc);
    for revision in 1..=101 {
        let applied =
            world.ctl().post_rules(&group(1).replace("ports = 1", &format!("ports = {revision}")));
        assert_eq!(applied.revision, revision);
    }
    let row = row("revisions kept");
    let history = world.ctl().run(&["history"]).expect(0).stdout;
    // And a line of headings.
    assert_eq!((history.lines().count() - 1).to_string(), row.0[1], "{history}");
    row.is_quoted(2, &world.ctl().run(&["rollback", "1"]).expect(1).stderr);
    world.ctl().run(&["rollback", "2"]).expect(0);
}

/// The third tag, and the ninth header: `fields::link` and `fields::extensions` have all numbers.
#[test]
fn tags() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["a"], GROUP);
    let mut frame = [&mac("nic0")[..], &world.gateway_mac(), &[8, 0]].concat();
    frame.resize(60, 0);
    for (tags, reason) in [(2, "ingress malformed"), (3, "ingress too_many_headers")] {
        let frame = tagged(&[0x8100; 3][..tags], &frame);
        let ((), counts) = world.counted(|| world.toward().send(&frame));
        counts.of_direction("ingress").exactly(&[(reason, 1)]);
    }
}

#[test]
fn records() {
    let flags = ["--flow-log-interval", "1"];
    let world = World::with_flags(Role::Host, Datapath::Tc, &flags);
    world.apply(&["a"], GROUP);
    let lines = || world.ctl().run(&["log"]).expect(0).stdout.lines().count();
    let limit: usize =
        row("records of past intervals that `sgctl log` shows").0[1].parse().expect("a number");
    let socket = world.remote.run(|| UdpSocket::bind((V4.remote, 0))).expect("a socket");
    // No more at a time than the agent is told of.
    for port in 1000..6000 {
        socket.send_to(&[0], V4.instance_port(port)).expect("a datagram");
        thread::sleep(Duration::from_millis(1));
    }
    // When the interval under way has passed; and not fewer.
    sg_tests::eventually("as many as are kept", || lines() == limit);
}
