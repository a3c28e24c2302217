//! `feed.sock` and `admin.sock`. These tests need root, as the sockets do.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use sg_api::feed::{FromHost, Position, Status, ToHost, VERSION, line};

use crate::{
    api::make_group,
    harness::{Server, connect, is_root, text},
};

/// The agent's end of the feed.
struct Host {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Host {
    fn connect(server: &Server, at: Option<Position>) -> Self {
        assert!(is_root(), "the feed serves root only");
        let writer = connect(&server.socket("feed.sock"));
        let reader = BufReader::new(writer.try_clone().expect("a copy"));
        let mut host = Self { reader, writer };
        host.say(&FromHost::Hello {
            version: VERSION,
            host: "h1".to_owned(),
            machine_id: "m1".to_owned(),
            agent: "test".to_owned(),
            at,
        });
        host
    }

    fn say(&mut self, message: &FromHost) {
        self.writer.write_all(&line(message)).expect("the server reads");
    }

    fn enforces(&mut self, revision: u64) {
        self.say(&FromHost::Status(Status { enforced: revision, ..Status::default() }));
    }

    fn hear(&mut self) -> Option<ToHost> {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line");
        (!line.is_empty()).then(|| serde_json::from_str(&line).expect("a message"))
    }

    /// The welcome, and the complete list with its revision.
    fn listed(&mut self) -> (Position, Vec<String>) {
        let Some(ToHost::Welcome { epoch, resumes: false, .. }) = self.hear() else {
            panic!("a welcome without a resume");
        };
        let mut keys = Vec::new();
        loop {
            let Some(ToHost::List { at, entries, has_more }) = self.hear() else {
                panic!("a list");
            };
            keys.extend(entries.into_iter().map(|entry| entry.key));
            if !has_more {
                return (Position { epoch, revision: at }, keys);
            }
        }
    }

    /// Events until one of a key that holds `part`.
    fn until(&mut self, part: &str) -> u64 {
        loop {
            let Some(ToHost::Events { events, through }) = self.hear() else { panic!("events") };
            if events.iter().any(|event| event.key.contains(part)) {
                return through;
            }
        }
    }
}

#[test]
fn a_host_gets_the_list_then_changes_and_no_secrets() {
    let server = Server::start();
    let before = make_group(&server, "before");
    let mut host = Host::connect(&server, None);
    let (at, keys) = host.listed();
    assert!(keys.iter().any(|key| key.contains(&before)));
    assert!(keys.iter().any(|key| key == "/sg/1/epoch"));
    assert!(!keys.iter().any(|key| key.contains("/acct/") || key.contains("/x/")), "{keys:?}");
    host.enforces(at.revision);
    let server = &server;
    thread::scope(|scope| {
        let made = scope.spawn(|| make_group(server, "after"));
        let through = host.until("/g/sg-");
        assert!(through > at.revision);
        host.enforces(through);
        made.join().expect("a group");
    });
    // A host that was away resumes where it was.
    drop(host);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut host = Host::connect(server, Some(at.clone()));
        match host.hear() {
            Some(ToHost::Welcome { resumes, .. }) => {
                assert!(resumes);
                host.until("/g/sg-");
                break;
            }
            // The server may not have seen yet that the host was gone.
            _ if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_change_is_answered_once_the_host_enforces_it_or_a_second_has_passed() {
    let server = Server::start();
    let mut host = Host::connect(&server, None);
    let (at, _) = host.listed();
    host.enforces(at.revision);
    let parameters = [("GroupName", "slow"), ("GroupDescription", "d")];
    let begun = Instant::now();
    let slow = server.call("CreateSecurityGroup", &parameters).done();
    assert_eq!(slow.header("x-sg-enforced"), Some("false"), "nobody has enforced it");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    let server = &server;
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            let parameters = [("GroupName", "fast"), ("GroupDescription", "d")];
            server.call("CreateSecurityGroup", &parameters).done()
        });
        let revision = loop {
            let Some(ToHost::Events { events, through }) = host.hear() else { panic!("events") };
            let fast = |event: &sg_api::feed::Event| {
                event.value.as_ref().is_some_and(|value| value.contains("fast"))
            };
            if events.iter().any(fast) {
                break through;
            }
        };
        host.enforces(revision);
        let fast = call.join().expect("a call");
        assert_eq!(fast.header("x-sg-enforced"), Some("true"));
        assert!(fast.revision() <= revision);
    });
}

#[test]
fn two_agents_of_one_host_and_strangers_are_refused() {
    let server = Server::start();
    let mut first = Host::connect(&server, None);
    first.listed();
    let mut second = Host::connect(&server, None);
    let Some(ToHost::Refused { reason }) = second.hear() else { panic!("a refusal") };
    assert!(reason.contains("connected already"), "{reason}");
    let hello = r#"{"hello":{"version":1,"host":"h2","machine_id":"m2","agent":"test"}}"#;
    for (socket, message) in [("feed.sock", hello), ("admin.sock", r#""list_accounts""#)] {
        let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(20); \
                      s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b'\\n'); \
                      print(len(s.recv(100)))";
        let as_user = |uid: &str| {
            let ids = [&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups"];
            let mut python = Command::new("setpriv");
            python.args(ids).args(["/usr/bin/python3", "-c", script]);
            python.arg(server.socket(socket)).arg(message);
            let ran = python.output().expect("setpriv runs");
            format!("{}{}", text(&ran.stdout), text(&ran.stderr)).trim().to_owned()
        };
        let said = as_user("65534");
        let is_cut = said == "0" || said.contains("ConnectionReset") || said.contains("BrokenPipe");
        assert!(is_cut, "{socket}: {said}");
        // The same message of root is answered.
        let said = as_user("0");
        assert!(said.parse::<usize>().is_ok_and(|bytes| bytes > 0), "{socket}: {said}");
    }
}

#[test]
fn accounts_have_keys_of_their_own_and_do_not_see_each_other() {
    let server = Server::start();
    let as_root = |verb: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sg-server"));
        command.args(verb).arg("--runtime-dir").arg(server.socket(""));
        command.output().expect("sg-server runs")
    };
    let made = as_root(&["account", "create", "team", "--allow", "10.9.0.0/16", "--json"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let team: sg_api::admin::Issued = serde_json::from_slice(&made.stdout).expect("a key");
    let again = as_root(&["account", "create", "team", "--allow", "10.9.0.0/16"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("already"), "{}", text(&again.stderr));
    let listed = as_root(&["account", "list", "--json"]);
    assert!(text(&listed.stdout).contains(r#""name":"team""#), "{}", text(&listed.stdout));

    let group = make_group(&server, "web");
    let vpcs = server.call_as(&team, "DescribeVpcs", &[]).done();
    assert_eq!(vpcs.element("cidrBlock"), "10.9.0.0/16");
    let stranger = server.call_as(&team, "DescribeSecurityGroups", &[("GroupId.1", &group)]);
    assert_eq!(stranger.code(), "InvalidGroup.NotFound");

    let reset = as_root(&["account", "reset-root-key", &team.account, "--json"]);
    let new: sg_api::admin::Issued = serde_json::from_slice(&reset.stdout).expect("a key");
    assert_eq!(server.call_as(&team, "DescribeVpcs", &[]).code(), "AuthFailure");
    server.call_as(&new, "DescribeVpcs", &[]).done();
}

#[test]
fn root_does_not_serve() {
    let server = Server::stopped(&[]);
    let served = Command::new(env!("CARGO_BIN_EXE_sg-server"))
        .arg("--state-dir")
        .arg(server.state_dir())
        .output()
        .expect("sg-server runs");
    assert_eq!(served.status.code(), Some(1));
    assert!(text(&served.stderr).contains("does not serve as root"), "{}", text(&served.stderr));
}
