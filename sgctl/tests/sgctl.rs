//! `sgctl` as users and scripts meet it: its text, JSON and exit status, against an agent that
//! answers from a script.

mod fake_agent;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Output, Stdio},
};

use fake_agent::{FakeAgent, answer, failure};
use serde_json::{Value, json};

fn sgctl(agent: &FakeAgent, args: &[&str]) -> Output {
    command(agent, args).output().expect("sgctl runs")
}

fn command(agent: &FakeAgent, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sgctl"));
    command.args(args).env("SGCTL_SOCKET", agent.socket()).env_remove("NO_COLOR");
    command
}

/// Runs `args` and expects this exit status, and nothing but `stdout` or nothing but `stderr`.
#[track_caller]
fn expect(agent: &FakeAgent, args: &[&str], status: i32, stdout: &str, stderr: &str) {
    let output = sgctl(agent, args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let got = (output.status.code(), text(&output.stdout), text(&output.stderr));
    assert_eq!(got, (Some(status), stdout.to_owned(), stderr.to_owned()), "{args:?}");
}

/// Runs `args` with `--json` and expects status 0 and this document on one line.
#[track_caller]
fn expect_json(agent: &FakeAgent, args: &[&str], expected: &Value) {
    let output = sgctl(agent, &[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
    let got: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(&got, expected, "{args:?}");
}

fn rules_file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("it takes the rules");
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().expect("UTF-8")
}

fn applied(changed: bool, confirm_until: Option<u64>) -> Value {
    json!({"revision": 7, "changed": changed, "interfaces": 3, "took_us": 812,
        "confirm_until": confirm_until})
}

#[test]
fn apply_sends_the_text_and_prints_the_revision() {
    let file = rules_file(b"# caf\xc3\xa9\n");
    let body = applied(true, None);
    let agent = FakeAgent::start(vec![("POST /v1/apply", answer(&body))]);
    let args = ["apply", path(&file)];
    expect(&agent, &args, 0, "revision 7 is in force on 3 interfaces (0.8 ms)\n", "");
    expect_json(&agent, &args, &body);
    let sent = json!({"file": path(&file), "text": "# café\n", "confirm": null});
    assert_eq!(agent.bodies("POST /v1/apply"), [sent.clone(), sent]);
}

/// In JSON they are part of the answer.
#[test]
fn warnings_of_the_agent_are_shown() {
    let file = rules_file(b"");
    let mut body = applied(true, None);
    body["warnings"] = json!(["\"a\nb\" matches nothing"]);
    let plan = json!({"changes": [], "interfaces": [], "warnings": body["warnings"]});
    let agent =
        FakeAgent::start(vec![("POST /v1/apply", answer(&body)), ("POST /v1/plan", answer(&plan))]);
    let warning = "warning: \"a\\nb\" matches nothing\n";
    let in_force = "revision 7 is in force on 3 interfaces (0.8 ms)\n";
    expect(&agent, &["apply", path(&file)], 0, in_force, warning);
    expect(&agent, &["plan", path(&file)], 0, "no changes\n", warning);
    expect_json(&agent, &["apply", path(&file)], &body);
    expect_json(&agent, &["plan", path(&file)], &plan);
}

#[test]
fn force_is_sent() {
    let file = rules_file(b"");
    let body = applied(true, None);
    let answers = vec![
        ("POST /v1/apply", answer(&body)),
        ("POST /v1/rollback", answer(&applied(true, None))),
    ];
    let agent = FakeAgent::start(answers);
    for args in [&["apply", path(&file), "--force"][..], &["rollback", "--force"]] {
        assert_eq!(sgctl(&agent, args).status.code(), Some(0), "{args:?}");
    }
    for request in ["POST /v1/apply", "POST /v1/rollback"] {
        assert_eq!(agent.bodies(request)[0]["force"], true, "{request}");
    }
}

#[test]
fn apply_without_a_change_says_so() {
    let file = rules_file(b"");
    let body = applied(false, None);
    let agent = FakeAgent::start(vec![("POST /v1/apply", answer(&body))]);
    let text = "no change: revision 7 is in force on 3 interfaces\n";
    expect(&agent, &["apply", path(&file)], 0, text, "");
}

#[test]
fn apply_says_that_a_newer_one_is_in_force() {
    let file = rules_file(b"");
    let body = json!({"revision": 7, "changed": true, "interfaces": 1, "took_us": 812,
        "superseded_by": 9, "confirm_until": null});
    let agent = FakeAgent::start(vec![("POST /v1/apply", answer(&body))]);
    let text = "revision 7 is recorded, and superseded: revision 9 is in force on 1 interface\n";
    expect(&agent, &["apply", path(&file)], 0, text, "");
}

#[test]
fn apply_confirm_tells_how_to_keep_the_change() {
    let file = rules_file(b"");
    let agent = FakeAgent::start(vec![("POST /v1/apply", answer(&applied(true, Some(1))))]);
    let text = "revision 7 is in force on 3 interfaces (0.8 ms)\n\
        it rolls back in 0 s; to keep it: sgctl confirm\n";
    expect(&agent, &["apply", path(&file), "--confirm", "60"], 0, text, "");
    assert_eq!(agent.bodies("POST /v1/apply")[0]["confirm"], 60);
    for seconds in ["0", "86401", "-1", "soon"] {
        let output = sgctl(&agent, &["apply", path(&file), &format!("--confirm={seconds}")]);
        assert_eq!(output.status.code(), Some(2), "{seconds}");
    }
    assert_eq!(agent.bodies("POST /v1/apply").len(), 1);
}

#[test]
fn apply_reads_standard_input() {
    let body = applied(true, None);
    let agent = FakeAgent::start(vec![("POST /v1/apply", answer(&body))]);
    let mut child = command(&agent, &["apply", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("sgctl runs");
    child.stdin.take().expect("piped").write_all(b"[settings]\n").expect("it reads");
    assert!(child.wait().expect("it ends").success());
    let sent = json!({"file": "<stdin>", "text": "[settings]\n", "confirm": null});
    assert_eq!(agent.bodies("POST /v1/apply"), [sent]);
}

#[test]
fn an_invalid_file_is_status_2_with_the_agents_rendering() {
    let file = rules_file(b"x");
    let faults = "error: unknown key `x`\n --> rules.toml:1:1\n";
    let agent = FakeAgent::start(vec![
        ("POST /v1/apply", failure(422, faults)),
        ("POST /v1/plan", failure(422, faults)),
    ]);
    expect(&agent, &["apply", path(&file)], 2, "", faults);
    expect(&agent, &["plan", path(&file)], 2, "", faults);
}

#[test]
fn a_refusal_is_status_1_and_a_senseless_request_2() {
    let file = rules_file(b"");
    for (http, status) in [(500, 1), (409, 1), (403, 1), (503, 1), (400, 2), (413, 2)] {
        let agent = FakeAgent::start(vec![("POST /v1/apply", failure(http, "it is so"))]);
        expect(&agent, &["apply", path(&file)], status, "", "error: it is so\n");
    }
}

#[test]
fn a_file_that_cannot_be_rules_is_status_2_and_reaches_no_agent() {
    let agent = FakeAgent::start(vec![]);
    let binary = rules_file(b"ok\n\xff\xfe");
    let large = rules_file(b"");
    large.as_file().set_len(100 << 20).expect("sparse");
    let cases = [
        ("/nonexistent.toml".to_owned(), "cannot read /nonexistent.toml: no such file".to_owned()),
        ("/".to_owned(), "cannot read /: it is a directory".to_owned()),
        (
            "/dev/zero".to_owned(),
            "/dev/zero is larger than 64 MiB, the most that is taken".to_owned(),
        ),
        (
            path(&large).to_owned(),
            format!("{} is larger than 64 MiB, the most that is taken", path(&large)),
        ),
        (
            path(&binary).to_owned(),
            format!("{}: not UTF-8: invalid byte at offset 3, line 2", path(&binary)),
        ),
    ];
    for (file, why) in &cases {
        expect(&agent, &["apply", file], 2, "", &format!("error: {why}\n"));
        expect(&agent, &["plan", file], 2, "", &format!("error: {why}\n"));
    }
}

#[test]
fn an_agent_that_is_not_there_is_status_1_with_a_hint() {
    let dir = tempfile::tempdir().expect("a directory");
    let absent = dir.path().join("agent.sock");
    let dead = dir.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("bound"));
    for (socket, hint) in [
        (&absent, "no such socket; is sg-agent running?"),
        (&dead, "nobody listens; is sg-agent running?"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_sgctl"))
            .args(["status", "--socket"])
            .arg(socket)
            .output()
            .expect("sgctl runs");
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("error: cannot reach the agent at {}: {hint}\n", socket.display());
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    }
}

#[test]
fn an_answer_that_is_no_json_is_status_1() {
    let agent = FakeAgent::start(vec![("GET /v1/status", (200, "hello".to_owned()))]);
    let output = sgctl(&agent, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("sent an answer that this sgctl does not understand"), "{stderr}");
}

#[test]
fn plan_lists_changes_and_the_interfaces_they_reach() {
    let file = rules_file(b"");
    let body = json!({"changes": [
        {"op": "+", "kind": "rule", "id": "sgr-00000000000000001",
            "text": "web ingress tcp 443 from 0.0.0.0/0"},
        {"op": "-", "kind": "security_group", "id": "db", "text": "db"},
    ], "interfaces": ["tap0", "tap1"]});
    let agent = FakeAgent::start(vec![("POST /v1/plan", answer(&body))]);
    let text = "+ rule web ingress tcp 443 from 0.0.0.0/0 (sgr-00000000000000001)\n\
        - security group db\n\
        2 changes, reaching tap0, tap1\n";
    expect(&agent, &["plan", path(&file)], 0, text, "");
    expect(&agent, &["plan", path(&file), "--exit-code"], 3, text, "");
    expect_json(&agent, &["plan", path(&file)], &body);
}

#[test]
fn plan_without_changes_is_status_0_whatever_is_asked() {
    let file = rules_file(b"");
    let body = json!({"changes": [], "interfaces": []});
    let agent = FakeAgent::start(vec![("POST /v1/plan", answer(&body))]);
    expect(&agent, &["plan", path(&file)], 0, "no changes\n", "");
    expect(&agent, &["plan", path(&file), "--exit-code"], 0, "no changes\n", "");
}

#[test]
fn confirm_and_rollback() {
    let body = applied(true, None);
    let agent = FakeAgent::start(vec![
        ("POST /v1/confirm", answer(&body)),
        ("POST /v1/rollback", answer(&body)),
    ]);
    let done = "revision 7 is in force on 3 interfaces (0.8 ms)\n";
    let confirmed = "confirmed: revision 7 is in force on 3 interfaces\n";
    expect(&agent, &["confirm"], 0, confirmed, "");
    expect_json(&agent, &["confirm"], &body);
    expect(&agent, &["rollback"], 0, done, "");
    expect_json(&agent, &["rollback", "5"], &body);
    let sent = [json!({"revision": null}), json!({"revision": 5})];
    assert_eq!(agent.bodies("POST /v1/rollback"), sent);
}

#[test]
fn history_is_a_table_of_revisions() {
    let body = json!([
        {"revision": 2, "applied_at": 1_709_251_199, "state": "current", "rules": 12, "groups": 3,
            "origin": "rules.toml"},
        {"revision": 1, "applied_at": 0, "state": "past", "rules": 1, "groups": 1,
            "origin": "first.toml"},
    ]);
    let agent = FakeAgent::start(vec![("GET /v1/history", answer(&body))]);
    let text = "\
REVISION  STATE    APPLIED (UTC)        GROUPS  RULES  ORIGIN
2         current  2024-02-29 23:59:59  3       12     rules.toml
1         past     1970-01-01 00:00:00  1       1      first.toml
";
    expect(&agent, &["history"], 0, text, "");
    expect_json(&agent, &["history"], &body);
}

fn status(interfaces: &Value) -> Value {
    json!({"version": "0.1.0", "pid": 4242, "revision": 7, "kernel": "6.18.5", "rules": 12,
        "confirm_until": null, "interfaces": interfaces})
}

#[test]
fn status_has_a_line_per_interface_and_drops_by_reason() {
    let body = status(&json!([
        {"name": "tap0", "ifindex": 4, "role": "port", "state": "filtered", "fault": null,
         "datapath": "tcx",
            "datapath_reason": "tun has no native XDP here", "groups": ["web", "admin"],
            "others": ["XDP program xdpdump (id 7), before us"],
            "ingress": {
                "allowed": {"flow": {"packets": 5_430_000, "bytes": 12_300_000_000_u64},
                    "rule": {"packets": 12, "bytes": 720}},
                "dropped": {"no_rule": {"packets": 1234, "bytes": 74_040}}},
            "egress": {"allowed": {}, "dropped": {"source_check": {"packets": 3, "bytes": 180}}},
            "flows": {"used": 17, "capacity": 524_288, "max": 26_214}},
        {"name": "tap1", "ifindex": 5, "role": "port", "state": "filtered", "fault": null,
         "datapath": "tcx",
            "datapath_reason": "tun has no native XDP here", "groups": ["db"], "others": [],
            "ingress": {"allowed": {}, "dropped": {}}, "egress": {"allowed": {}, "dropped": {}},
            "flows": {"used": 0, "capacity": 524_288, "max": 26_214}},
    ]));
    let agent = FakeAgent::start(vec![("GET /v1/status", answer(&body))]);
    let head = "\
sg-agent 0.1.0, pid 4242, kernel 6.18.5
revision 7, 12 rules, 17 of 524288 flows

INTERFACE  ROLE  PATH  IN PKT/B  OUT PKT/B  DROPPED  FLOWS  GROUPS
tap0       port  tcx   5.4M/12G  0/0        1.2k     17     web, admin
tap1       port  tcx   0/0       0/0        0        0      db
";
    let allowed = "
ALLOWED      PACKETS  BYTES  REASON
tap0     in  5.4M     12G    flow
tap0     in  12       720    rule
";
    let dropped = "
DROPPED       PACKETS  BYTES  REASON
tap0     in   1.2k     74k    no_rule
tap0     out  3        180    source_check
";
    let paths = "
PATH  BECAUSE                     ON
tcx   tun has no native XDP here  tap0, tap1

OTHER PROGRAMS                         ON
XDP program xdpdump (id 7), before us  tap0
";
    expect(&agent, &["status"], 0, &format!("{head}{dropped}{paths}"), "");
    expect(&agent, &["status", "-v"], 0, &format!("{head}{allowed}{dropped}{paths}"), "");
    expect_json(&agent, &["status"], &body);
}

#[test]
fn status_of_an_agent_without_rules() {
    let mut body = status(&json!([]));
    body["revision"] = json!(0);
    let agent = FakeAgent::start(vec![("GET /v1/status", answer(&body))]);
    let text = "sg-agent 0.1.0, pid 4242, kernel 6.18.5\nnothing was applied yet\n\n\
        no interface is filtered\n";
    expect(&agent, &["status"], 0, text, "");
}

fn rule() -> Value {
    json!({"id": "sgr-00000000000000001", "group": "web", "direction": "ingress",
        "protocol": "tcp", "ports": "443", "peer": "0.0.0.0/0", "description": "HTTPS"})
}

const RULE_TABLE: &str = "\
ID                     GROUP  DIRECTION  PROTOCOL  PORTS  PEER       DESCRIPTION
sgr-00000000000000001  web    ingress    tcp       443    0.0.0.0/0  HTTPS
";

#[test]
fn show_has_the_four_parts_of_the_state() {
    let body = json!({
        "groups": [{"name": "web", "description": "public", "ingress_rules": 1, "egress_rules": 2,
            "members": ["10.0.0.5", "fd00::5"]}],
        "rules": [rule()],
        "prefix_lists": [{"name": "office", "description": "branch offices", "max_entries": 100,
            "entries": [{"cidr": "192.0.2.0/24", "description": ""},
                {"cidr": "198.51.100.0/24", "description": "Lyon"}]}],
        "interfaces": [{"name": "tap*", "role": "port", "groups": ["web"], "addresses": [],
            "mac": null, "source_check": false, "datapath": "auto", "matches": ["tap0", "tap1"]}],
    });
    let agent = FakeAgent::start(vec![("GET /v1/show", answer(&body))]);
    let groups = "\
NAME  INGRESS  EGRESS  DESCRIPTION  MEMBERS
web   1        2       public       10.0.0.5, fd00::5
";
    let lists = "\
office: 2 of 100 entries, branch offices
  192.0.2.0/24
  198.51.100.0/24     Lyon
";
    let interfaces = "\
NAME  ROLE  DATAPATH  SOURCE CHECK  MAC  NOW           GROUPS  ADDRESSES
tap*  port  auto      no            -    2 interfaces  web     -
";
    expect(&agent, &["show", "groups"], 0, groups, "");
    expect(&agent, &["show", "rules"], 0, RULE_TABLE, "");
    expect(&agent, &["show", "prefix-lists"], 0, lists, "");
    expect(&agent, &["show", "interfaces"], 0, interfaces, "");
    expect_json(&agent, &["show", "groups"], &body["groups"]);
    expect_json(&agent, &["show", "rules"], &body["rules"]);
    expect_json(&agent, &["show", "prefix-lists"], &body["prefix_lists"]);
    expect_json(&agent, &["show", "interfaces"], &body["interfaces"]);
}

fn flow(sport: u16) -> Value {
    json!({"interface": "tap0", "direction": "ingress", "protocol": "tcp", "src": "fd00::9",
        "sport": sport, "dst": "fd00::5", "dport": 443, "state": "established", "idle_s": 3,
        "expires_s": 431_997, "packets": 12, "bytes": 3456})
}

#[test]
fn explain_prints_verdict_reason_flow_and_rules() {
    let body = json!({"verdict": "allow", "reason": "flow", "flow": flow(1025), "rules": [rule()]});
    let agent = FakeAgent::start(vec![("POST /v1/explain", answer(&body))]);
    let args = [
        "explain",
        "--interface",
        "tap0",
        "--direction",
        "ingress",
        "--protocol",
        "tcp",
        "--src",
        "[fd00::9]:1025",
        "--dst",
        "[fd00::5]:443",
    ];
    let text = "allow: flow (the packet belongs to a tracked flow)\n\
        flow: tap0 ingress tcp [fd00::9]:1025 -> [fd00::5]:443 established, idle 3 s, expires in \
        431997 s, 12 packets, 3.4k bytes\n\
        rules that allow this packet:\n"
        .to_owned()
        + RULE_TABLE;
    expect(&agent, &args, 0, &text, "");
    expect_json(&agent, &args, &body);
    let sent = json!({"interface": "tap0", "direction": "ingress", "protocol": "tcp",
        "src": "fd00::9", "sport": 1025, "dst": "fd00::5", "dport": 443, "type": null,
        "code": null});
    assert_eq!(agent.bodies("POST /v1/explain")[0], sent);
}

#[test]
fn explain_of_a_denied_packet() {
    let body = json!({"verdict": "deny", "reason": "no_rule", "flow": null, "rules": []});
    let agent = FakeAgent::start(vec![("POST /v1/explain", answer(&body))]);
    let args = [
        "explain",
        "--interface",
        "tap0",
        "--direction",
        "egress",
        "--protocol",
        "icmp",
        "--src",
        "10.0.0.5",
        "--dst",
        "192.0.2.1",
        "--type",
        "8",
        "--code",
        "0",
    ];
    let text = "deny: no_rule (no rule of any group on the interface allows the packet)\n\
        flow: none\nrules: none allows this packet\n";
    expect(&agent, &args, 0, text, "");
    let sent = &agent.bodies("POST /v1/explain")[0];
    assert_eq!((&sent["type"], &sent["code"]), (&json!(8), &json!(0)));
}

#[test]
fn explain_refuses_mixed_families() {
    let agent = FakeAgent::start(vec![]);
    let args = [
        "explain",
        "--interface",
        "tap0",
        "--direction",
        "egress",
        "--protocol",
        "tcp",
        "--src",
        "10.0.0.5:1",
        "--dst",
        "[fd00::1]:2",
    ];
    let why = "error: --src and --dst are of different address families\n";
    expect(&agent, &args, 2, "", why);
}

#[test]
fn flows_are_listed_and_filtered() {
    let body = json!([flow(1025)]);
    let agent = FakeAgent::start(vec![
        ("GET /v1/flows", answer(&body)),
        ("GET /v1/flows?interface=tap%200", answer(&json!([]))),
    ]);
    let text = "\
INTERFACE  DIRECTION  PROTOCOL  SOURCE          DESTINATION    STATE        IDLE  EXPIRES  PACKETS  BYTES
tap0       ingress    tcp       [fd00::9]:1025  [fd00::5]:443  established  3s    431997s  12       3.4k
";
    expect(&agent, &["flows"], 0, text, "");
    expect_json(&agent, &["flows"], &body);
    expect(&agent, &["flows", "--interface", "tap 0"], 0, "no tracked flows\n", "");
}

#[test]
fn follow_tells_which_flows_come_and_go_until_nobody_reads() {
    let agent = FakeAgent::start(vec![
        ("GET /v1/flows", answer(&json!([flow(1), flow(2)]))),
        ("GET /v1/flows", answer(&json!([flow(2), flow(3)]))),
        ("GET /v1/flows", answer(&json!([flow(3)]))),
    ]);
    let mut child = command(&agent, &["flows", "--follow", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sgctl runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut events: Vec<(String, u64)> = (0..4)
        .map(|_| {
            let line = lines.next().expect("a line").expect("readable");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(event["dst"], "fd00::5");
            (event["event"].to_string(), event["sport"].as_u64().expect("a port"))
        })
        .collect();
    events[..2].sort();
    drop(lines);
    let expected = [("\"new\"", 1), ("\"new\"", 2), ("\"ended\"", 1), ("\"new\"", 3)];
    assert_eq!(events, expected.map(|(event, port)| (event.to_owned(), port)));
    // The third answer has something to say, and nobody reads it.
    let output = child.wait_with_output().expect("it ends by itself");
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}

#[test]
fn flush_sends_its_filters() {
    let body = json!({"flows": 1});
    let agent = FakeAgent::start(vec![("POST /v1/flows/flush", answer(&body))]);
    expect(&agent, &["flows", "flush"], 0, "forgot 1 flow\n", "");
    expect(&agent, &["flows", "flush", "--denied"], 0, "cut 1 flow\n", "");
    let filters = [
        "flows",
        "flush",
        "--interface",
        "tap0",
        "--protocol",
        "tcp",
        "--src",
        "10.0.0.0/8",
        "--dst",
        "10.0.0.5",
        "--sport",
        "1",
        "--dport",
        "443",
    ];
    expect_json(&agent, &filters, &body);
    let none = json!({"denied": false, "interface": null, "protocol": null, "src": null,
        "dst": null, "sport": null, "dport": null});
    let all = json!({"denied": false, "interface": "tap0", "protocol": "tcp",
        "src": "10.0.0.0/8", "dst": "10.0.0.5", "sport": 1, "dport": 443});
    let sent = agent.bodies("POST /v1/flows/flush");
    assert_eq!((&sent[0], &sent[2]), (&none, &all));
    assert_eq!(sent[1]["denied"], true);
}

#[test]
fn a_filter_before_flush_is_refused_rather_than_forgotten() {
    let agent = FakeAgent::start(vec![]);
    let output = sgctl(&agent, &["flows", "--interface", "tap0", "flush"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn export_prints_the_file_and_ends_quietly_on_a_full_device() {
    let text = "[settings]\non_revoke = \"cut\"\n";
    let agent = FakeAgent::start(vec![("GET /v1/export", (200, text.to_owned()))]);
    expect(&agent, &["export"], 0, text, "");
    expect_json(&agent, &["export"], &json!({"file": "rules.toml", "text": text}));
    let full = std::fs::File::create("/dev/full").expect("opened");
    let output = command(&agent, &["export"]).stdout(full).stderr(Stdio::piped()).output();
    let output = output.expect("sgctl runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("error: cannot write the output: No space left"), "{stderr}");
}

#[test]
fn detach_wants_a_yes() {
    let agent = FakeAgent::start(vec![("POST /v1/detach", answer(&json!({})))]);
    let output = sgctl(&agent, &["detach"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(agent.bodies("POST /v1/detach").len(), 0);
    let text = "detached: nothing is filtered any more, and the agent has ended\n";
    expect(&agent, &["detach", "--yes"], 0, text, "");
    expect_json(&agent, &["detach", "--yes"], &json!({}));
}

#[test]
fn man_pages_for_every_verb() {
    let agent = FakeAgent::start(vec![]);
    let dir = tempfile::tempdir().expect("a directory");
    let man = dir.path().join("deep/man1");
    expect(&agent, &["man", man.to_str().expect("UTF-8")], 0, "", "");
    for page in ["sgctl.1", "sgctl-apply.1", "sgctl-explain.1", "sgctl-flows-flush.1"] {
        let text = std::fs::read_to_string(man.join(page)).expect(page);
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn the_readme_lists_every_reason() {
    let readme = include_str!("../../README.md");
    for reason in sg_common::Reason::ALL {
        let verdict = if reason.allowed() { "allowed" } else { "dropped" };
        let row = format!("| `{}` | {verdict} |", reason.name());
        assert!(readme.contains(&row), "README.md has no row {row}");
    }
}
