//! The flow log: what it has of real traffic, held against the counters and the flow table, and read by
//! a parser that is not ours.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use sg_api::FlowRecord;
use sg_tests::{
    Datapath, FAMILIES, Ran, Role, V4, World, eventually, matrix,
    probe::{
        Link,
        craft::{self, Path, TCP},
        tcp, udp,
    },
    sandbox,
    tools::{self, Running},
};

const RULES: &str = r#"
[[security_group]]
name = "web"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8", "fd00::/8"] },
  { protocol = "tcp", ports = 8080, cidrs = ["0.0.0.0/0", "::/0"] },
]
"#;
const TRACKED: u16 = 80;
const OPEN: u16 = 8080;
const CLOSED: u16 = 22;

fn records(world: &World) -> Vec<FlowRecord> {
    world.ctl().json(&["log"])
}

/// Packets of the records with this destination port and reason.
fn packets(records: &[FlowRecord], dport: u16, reason: &str) -> u64 {
    records
        .iter()
        .filter(|record| record.reason.as_deref() == Some(reason))
        .filter(|record| record.dport == Some(dport) || record.sport == Some(dport))
        .filter_map(|record| record.packets)
        .sum()
}

matrix! {
    /// Without any setting: what was refused, what passed untracked, what a flow carried.
    fn what_passes_and_what_does_not_is_logged(world) {
        world.apply(&["web"], RULES);
        for at in FAMILIES {
            let before = records(world);
            let ((), counted) = world.counted(|| {
                for port in [TRACKED, OPEN] {
                    let _server = tcp::serve(&world.instance, at.instance_port(port));
                    tcp::passes(&world.remote, at.remote, at.instance_port(port));
                }
                tcp::is_dropped(&world.remote, at.remote, at.instance_port(CLOSED));
            });
            let log = records(world);
            let added = |port, reason| packets(&log, port, reason) - packets(&before, port, reason);
            let count = |reason: &str| {
                counted.get(&format!("ingress {reason}")) + counted.get(&format!("egress {reason}"))
            };
            assert_eq!(added(CLOSED, "no_rule"), count("no_rule"), "{log:#?}");
            assert_eq!(added(OPEN, "untracked"), count("untracked"), "{log:#?}");
            assert_eq!(added(TRACKED, "flow"), count("flow") + count("rule"), "{log:#?}");
            // Records of one second come in any order.
            let is = |it: &&FlowRecord| it.dport == Some(CLOSED) && it.dst == Some(at.instance);
            let refused = log.iter().rfind(is);
            let refused = refused.expect("a record");
            assert_eq!(refused.interface, world.interface());
            assert_eq!((refused.src, refused.dst), (Some(at.remote), Some(at.instance)));
            assert_eq!(refused.direction.as_deref(), Some("ingress"));
            assert_eq!((refused.protocol, refused.tcp_flags), (Some(6), Some(2)));
            assert_eq!(refused.action.as_deref(), Some("REJECT"));
        }
    }
}

fn read_by_another(files: &[&str]) -> Vec<serde_json::Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/flow_log.py");
    let mut python = Command::new(tools::path("python/bin/python"));
    let ran = Ran::of(python.args(["-W", "ignore", script]).args(files)).expect(0);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

fn logging(flags: &[&str]) -> (World, String) {
    let file = sandbox::directory("log").join("flows.log").to_str().expect("ASCII").to_owned();
    let flags = [&["--flow-log", &file, "--flow-log-interval", "1"], flags].concat();
    let world = World::with_flags(Role::Port, Datapath::Tc, &flags);
    world.apply(&["web"], RULES);
    (world, file)
}

#[test]
fn a_parser_of_vpc_flow_logs_reads_the_file() {
    let (mut world, file) = logging(&["--flow-log-account", "123456789012"]);
    let _server = tcp::serve(&world.instance, V4.instance_port(TRACKED));
    let mut connection = tcp::open(&world.remote, V4.remote, V4.instance_port(TRACKED));
    let client = connection.local().port();
    for _ in 0..3 {
        connection.passes();
        thread::sleep(Duration::from_millis(700));
    }
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(CLOSED));
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(53));
    let flow = world.ctl().flows().into_iter().find(|flow| flow.sport == client).expect("a flow");
    // A window without anything; then it writes what it has, and goes.
    thread::sleep(Duration::from_millis(2500));
    assert!(world.agent.terminate().success());
    let records = read_by_another(&[&file]);
    let with = |key: &str, value: u64| {
        let records = records.iter().filter(move |record| record[key] == value);
        records.cloned().collect::<Vec<_>>()
    };
    let accepted = with("srcport", client.into());
    let sum = |key: &str| accepted.iter().filter_map(|it| it[key].as_u64()).sum::<u64>();
    assert!(accepted.len() > 1, "several windows: {accepted:#?}");
    assert_eq!((sum("packets"), sum("bytes")), (flow.packets, flow.bytes), "{accepted:#?}");
    for record in &accepted {
        assert_eq!(record["account_id"], "123456789012");
        assert_eq!(
            (&record["interface_id"], &record["action"]),
            (&"port0".into(), &"ACCEPT".into())
        );
        assert_eq!((&record["version"], &record["log_status"]), (&2.into(), &"OK".into()));
        assert_eq!(record["srcaddr"], V4.remote.to_string());
    }
    for (port, protocol) in [(u64::from(CLOSED), 6), (53, 17)] {
        let refused = with("dstport", port);
        assert!(!refused.is_empty(), "{port}: {records:#?}");
        for record in refused {
            assert_eq!(
                (&record["action"], &record["protocol"]),
                (&"REJECT".into(), &protocol.into())
            );
        }
    }
    let quiet = records.iter().find(|record| record["log_status"] == "NODATA");
    let quiet = quiet.unwrap_or_else(|| panic!("no NODATA in {records:#?}"));
    assert_eq!((&quiet["interface_id"], quiet.get("packets")), (&"port0".into(), None));
}

#[test]
fn a_format_of_ones_own() {
    let format = "${version} ${interface-id} ${dstport} ${action} ${tcp-flags} ${type} \
        ${pkt-srcaddr} ${flow-direction} ${vpc-id} ${start} ${end}";
    let (mut world, file) = logging(&["--flow-log-format", format]);
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(CLOSED));
    assert!(world.agent.terminate().success());
    let records = read_by_another(&[&file]);
    let refused = records.iter().find(|it| it["dstport"] == u64::from(CLOSED)).expect("a record");
    assert_eq!((&refused["version"], &refused["tcp_flags"]), (&5.into(), &2.into()));
    assert_eq!((&refused["type"], &refused["flow_direction"]), (&"IPv4".into(), &"ingress".into()));
    assert_eq!(
        (&refused["pkt_srcaddr"], refused.get("vpc_id")),
        (&V4.remote.to_string().into(), None)
    );
}

/// More at once than the rings hold: every packet has a record or is said to have none.
#[test]
fn a_flood_is_counted_to_the_packet() {
    let (mut world, file) = logging(&[]);
    let link = Link::open(&world.remote, "up0");
    let ((), counted) = world.counted(|| {
        let to = sg_tests::topology::mac("up1");
        for number in 0..20_000_u32 {
            let [_, _, a, b] = number.to_be_bytes();
            let path = Path { source: [10, 9, a, b].into(), destination: V4.instance };
            link.send(&craft::frame(
                [2, 0, 0, 0, 0, 9],
                to,
                &path.packet(TCP, &path.syn(1, CLOSED)),
            ));
        }
    });
    let refused = counted.get("ingress no_rule");
    assert!(refused > 10_000, "{refused} came through");
    let status = world.ctl().status();
    let not_logged = status.interfaces[0].ingress.not_logged.packets;
    assert!(not_logged > 0, "no flood: {status:#?}");
    assert!(world.agent.terminate().success());
    let records = read_by_another(&[&file]);
    let sum = |status: &str| {
        let of_status = records.iter().filter(|record| record["log_status"] == status);
        of_status.filter_map(|record| record["packets"].as_u64()).sum::<u64>()
    };
    assert_eq!(sum("SKIPDATA"), not_logged);
    assert_eq!(sum("OK") + not_logged, refused);
}

#[test]
fn sgctl_follows() {
    let world = World::new(Role::Port, Datapath::Tc);
    world.apply(&["web"], RULES);
    let mut follow = world.ctl().command();
    follow.args(["log", "--follow", "--interface", "port0"]).stdout(Stdio::piped());
    let mut follow = Running::start(&mut follow);
    let lines = BufReader::new(follow.child().stdout.take().expect("its output")).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let expected = format!(" port0 {} {} ", V4.remote, V4.instance);
    eventually("a drop is printed", || {
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(CLOSED));
        receiver.try_iter().any(|line| {
            line.starts_with("2 - ")
                && line.contains(&expected)
                && line.contains(" 22 6 ")
                && line.ends_with(" REJECT OK")
        })
    });
}

#[test]
fn sgctl_prints_what_it_is_asked_for() {
    let world = World::new(Role::Port, Datapath::Xdp);
    world.apply(&["web"], RULES);
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(53));
    let log = |args: &[&str]| world.ctl().run(&[&["log"], args].concat()).expect(0).stdout;
    let lines = log(&["--format", "${dstport} ${reject-reason} ${interface-name}"]);
    assert!(lines.lines().any(|line| line == "53 no_rule port0"), "{lines}");
    assert_eq!(log(&["--interface", "nowhere"]), "");
    world.ctl().run(&["log", "--format", "srcaddr"]).expect(2).says(&["is no field", "${srcaddr}"]);
}

#[test]
fn a_log_that_is_off_says_so() {
    let world = World::with_flags(Role::Port, Datapath::Tc, &["--flow-log", "off"]);
    world.apply(&["web"], RULES);
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(53));
    for args in [&["log"][..], &["log", "--follow"], &["top", "--json"]] {
        world.ctl().run(args).expect(1).says(&["there is no flow log"]);
    }
    assert_eq!(world.ctl().status().interfaces[0].ingress.not_logged.packets, 0);
}

/// The next agent goes on where this one ended: no packet twice, none of before.
#[test]
fn a_restart_logs_nothing_twice() {
    let (mut world, file) = logging(&[]);
    let _server = tcp::serve(&world.instance, V4.instance_port(TRACKED));
    let mut connection = tcp::open(&world.remote, V4.remote, V4.instance_port(TRACKED));
    connection.passes();
    assert!(world.agent.terminate().success());
    let before = fs::read_to_string(&file).expect("a file").lines().count();
    world.agent.restart();
    thread::sleep(Duration::from_millis(1500));
    let log: Vec<FlowRecord> = world.ctl().json(&["log"]);
    assert_eq!(packets(&log, TRACKED, "flow"), 0, "of before: {log:#?}");
    connection.passes();
    let log: Vec<FlowRecord> = world.ctl().json(&["log"]);
    assert!((1..=4).contains(&packets(&log, TRACKED, "flow")), "{log:#?}");
    assert!(world.agent.terminate().success());
    let after = fs::read_to_string(&file).expect("a file");
    assert!(after.lines().count() > before, "{after}");
    assert_eq!(after.lines().filter(|line| line.starts_with("version ")).count(), 1, "{after}");
}
