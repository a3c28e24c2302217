//! Bad input and strangers: the right error, never a 5xx, and nothing changes.

use std::{io::Write as _, net::TcpStream, thread, time::Duration};

use sg_api::admin::Issued;

use crate::{
    api::make_group,
    harness::{EC2, Server, form, now, send, send_bytes, signed, text},
};

#[test]
fn signatures_that_are_wrong_in_any_way_are_refused() {
    let server = Server::start();
    let body = form("DescribeVpcs", EC2, &[]);
    let request = |key: &Issued, at| signed(key, server.address, "POST", "/", &body, "ec2", at);
    let good = request(&server.key, now());
    assert_eq!(send(server.address, &good).expect("an answer").status, 200);
    let other = |change: &dyn Fn(&mut Issued)| {
        let mut key = server.key.clone();
        change(&mut key);
        request(&key, now())
    };
    let unsigned = good.lines().filter(|line| !line.starts_with("authorization"));
    let unsigned: String = unsigned.map(|line| format!("{line}\r\n")).collect();
    for (what, request, status, code) in [
        ("secret", other(&|key| key.secret_access_key.push('x')), 401, "AuthFailure"),
        (
            "key",
            other(&|key| key.access_key_id = "AKIAAAAAAAAAAAAAAAAA".into()),
            401,
            "AuthFailure",
        ),
        ("region", other(&|key| key.region = "moon-1".into()), 401, "AuthFailure"),
        ("body", good.replace("DescribeVpcs", "DescribeTags"), 401, "AuthFailure"),
        ("old", request(&server.key, now() - 3600), 400, "RequestExpired"),
        ("early", request(&server.key, now() + 3600), 400, "RequestExpired"),
        ("none", unsigned, 403, "MissingAuthenticationToken"),
    ] {
        let answer = send(server.address, &request).expect("an answer");
        assert_eq!((answer.status, answer.code()), (status, code), "{what}: {}", answer.body);
        assert!(!answer.body.contains(&server.key.secret_access_key));
    }
}

#[test]
fn unreadable_requests_get_an_error_of_the_client() {
    let server = Server::start();
    let group = make_group(&server, "web");
    let id = ("GroupId", group.as_str());
    let deep = "A.".repeat(200) + "1";
    let many: Vec<(String, String)> =
        (1..10_000).map(|number| (format!("GroupId.{number}"), group.clone())).collect();
    let many: Vec<(&str, &str)> =
        many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let gap = [("GroupId.1", group.as_str()), ("GroupId.3", group.as_str())];
    let calls: [(&str, &[(&str, &str)]); 6] = [
        ("DescribeSecurityGroups", &many),
        ("DescribeSecurityGroups", &[(deep.as_str(), "x")]),
        ("DescribeSecurityGroups", &gap),
        ("DeleteSecurityGroup", &[id, id]),
        ("DescribeEverything", &[]),
        ("AuthorizeSecurityGroupIngress", &[id, ("IpPermissions.1.FromPort", "x")]),
    ];
    for (action, parameters) in calls {
        let answer = server.call(action, parameters);
        assert_eq!(answer.status, 400, "{action}: {}", answer.body);
        assert!(!answer.code().is_empty());
    }
    let still = server.call("DescribeSecurityGroups", &[("GroupId.1", group.as_str())]).done();
    assert!(!still.body.contains("<fromPort>"), "no call changed the group");
}

#[test]
fn a_body_that_is_too_large_or_no_text_is_refused_and_the_next_call_answered() {
    let server = Server::start();
    let huge = "x".repeat(2 << 20);
    let request = signed(&server.key, server.address, "POST", "/", &huge, "ec2", now());
    let answer = send(server.address, &request).expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    let bytes = [
        &b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nconnection: close\r\n\r\n"[..],
        &[0xff, 0xfe, b'=', 0x80],
    ]
    .concat();
    assert_eq!(send_bytes(server.address, &bytes).expect("an answer").status, 403);
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "y".repeat(100_000));
    let answer = send(server.address, &head).expect("an answer");
    assert_eq!(answer.status, 431);
    server.call("DescribeVpcs", &[]).done();
}

#[test]
fn health_says_nothing_and_needs_no_signature() {
    let server = Server::start();
    for target in ["/", "/healthz"] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = send(server.address, &request).expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    let server = Server::start();
    let idle: Vec<TcpStream> = (0..1000)
        .map(|number| {
            let mut stream = TcpStream::connect(server.address).expect("a connection");
            if number % 2 == 0 {
                stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\n").expect("half a head");
            }
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    server.call("DescribeVpcs", &[]).done();
    drop(idle);
}

#[test]
fn requests_beyond_the_limits_are_told_so() {
    let server = Server::stopped(&[]);
    let config = server.state_dir().with_file_name("limits.toml");
    std::fs::write(&config, "[limits]\nrequests_per_second = 1\nburst = 3\n").expect("a file");
    let mut server = server;
    server.configure(&config);
    server.restart();
    // Ours is one connection more, which asks nothing.
    let answers: Vec<u16> = (0..5).map(|_| server.call("DescribeVpcs", &[]).status).collect();
    assert!(answers.starts_with(&[200, 200]) && answers.ends_with(&[503]), "{answers:?}");
    let refused = server.call("DescribeVpcs", &[]);
    assert_eq!(refused.code(), "RequestLimitExceeded");
}

#[test]
fn a_second_init_another_key_and_a_second_server_are_refused() {
    let mut server = Server::start();
    let again = server.run(&["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("there is a store already"), "{}", text(&again.stderr));
    let second = server.run(&[]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another sg-server"), "{}", text(&second.stderr));
    assert!(server.run(&["check"]).status.success());
    server.kill();
    let key = server.state_dir().join("sealing.key");
    std::fs::write(&key, format!("{}\n", "ab".repeat(32))).expect("another key");
    for verb in [&["check"][..], &[]] {
        let refused = server.run(verb);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("sealing.key") && said.contains("does not open"), "{said}");
    }
    let wrong = server.run(&["check", "--store", "sqlite"]);
    assert_eq!(wrong.status.code(), Some(2));
}
