//! Bad input: a clear error, the right exit status, nothing changed.

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};

use sg_tests::{
    Ctl, Datapath, Ran, Role, V4, World,
    agent::{public_binary, ran_within},
    ctl::file,
    probe::{PATIENCE, tcp},
    sandbox,
};

const WEB: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24"] }]
"#;

/// A file, and what its error must say beside the line and column.
const FAULTS: &[(&str, &str)] = &[
    ("[[security_group]]\nname = \"web\n", ""),
    ("[[security_group]]\nname = \"web\"\nimgress = []\n", "imgress"),
    ("[[security_group]]\nname = 7\n", ""),
    ("[[security_group]]\nname = \"web\"\ningress = 5\n", ""),
    (
        "[[security_group]]\nname = \"web\"\ningress = [{ protocol = \"tcp\", ports = 80, cidrs = [\"10.0.0.0/33\"] }]\n",
        "10.0.0.0/33",
    ),
    (
        "[[security_group]]\nname = \"web\"\ningress = [{ protocol = \"tcp\", ports = 80, cidrs = [\"10.0.0.1\"] }]\n",
        "10.0.0.1/32",
    ),
    (
        "[[security_group]]\nname = \"web\"\ningress = [{ protocol = \"tcp\", cidrs = [\"10.0.0.0/8\"] }]\n",
        "ports",
    ),
    (
        "[[security_group]]\nname = \"web\"\ningress = [{ protocol = \"tcp\", ports = 65536, cidrs = [\"10.0.0.0/8\"] }]\n",
        "65536",
    ),
    ("[[security_group]]\nname = \"web\"\ningress = [{ protocol = \"tcp\", ports = 80 }]\n", ""),
    (
        "[[security_group]]\nname = \"web\"\ningress = [{ protocol = \"tcp\", ports = 80, groups = [\"absent\"] }]\n",
        "absent",
    ),
    ("[[security_group]]\nname = \"web\"\n[[security_group]]\nname = \"WEB\"\n", "WEB"),
    ("[[interface]]\nname = \"eth7\"\ngroups = [\"absent\"]\n", "absent"),
    ("[[interface]]\nname = \"eth7\"\ngroups = []\n", ""),
    ("[settings.quotas]\nrules_per_group = 1000000\n", ""),
];

#[test]
fn check_shows_the_place() {
    for (text, says) in FAULTS {
        let path = file(text.as_bytes());
        let ran = check(&path).expect(2).says(&[&path, says]);
        // `file:line:column`, as compilers have it.
        let place = ran.stderr.split(&format!("{path}:")).nth(1).unwrap_or_default();
        let numbers: Vec<_> = place.split(|c: char| !c.is_ascii_digit()).take(2).collect();
        assert!(numbers.len() == 2 && numbers.iter().all(|number| !number.is_empty()), "{ran:#?}");
    }
    check(&file(WEB.as_bytes())).expect(0);
}

/// `check` without an agent.
fn check(path: &str) -> Ran {
    Ctl::new("/nowhere".as_ref()).run(&["check", path])
}

#[test]
fn all_faults_at_once() {
    let text = "nonsense = 1\n[[security_group]]\nname = \"web\"\ningress = [\n  \
                { protocol = \"tcp\", ports = 80, cidrs = [\"10.0.0.0/33\"] },\n  \
                { protocol = \"tcp\", ports = 80, groups = [\"absent\"] },\n]\n";
    check(&file(text.as_bytes())).expect(2).says(&[
        "nonsense",
        "10.0.0.0/33",
        "absent",
        ":1:",
        ":5:",
        ":6:",
    ]);
}

#[test]
fn too_many_rules() {
    let rule =
        |port| format!("{{ protocol = \"tcp\", ports = {port}, cidrs = [\"10.0.0.0/8\"] }},\n");
    let group = |rules: u16| {
        let rules: String = (1..=rules).map(rule).collect();
        format!("[[security_group]]\nname = \"web\"\ningress = [\n{rules}]\n")
    };
    check(&file(group(60).as_bytes())).expect(0);
    check(&file(group(61).as_bytes())).expect(2).says(&["60"]);
}

/// After any refused file, the agent goes on with the rules that it had.
#[test]
fn refused_files_change_nothing() {
    let world = World::new(Role::Host, Datapath::Tc);
    let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
    let revision = world.apply(&["web"], WEB).revision;
    let exported = world.ctl().run(&["export"]).expect(0).stdout;
    for (text, says) in FAULTS {
        world.ctl().try_apply(text).expect(2).says(&[says]);
    }
    world.ctl().try_apply(b"[[security_group]]\nname = \"w\xffb\"\n").expect(2).says(&["UTF-8"]);
    world.ctl().run(&["apply", "/nowhere/rules.toml"]).expect(2).says(&["/nowhere/rules.toml"]);
    world.ctl().run(&["apply", "/run"]).expect(2).says(&["/run"]);
    assert_eq!(world.ctl().status().revision, revision);
    assert_eq!(world.ctl().run(&["export"]).expect(0).stdout, exported);
    tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
}

/// 100 MB are refused at once by their size, by `sgctl` and by the agent.
#[test]
fn huge_file() {
    let world = World::new(Role::Host, Datapath::Tc);
    let revision = world.apply(&["web"], WEB).revision;
    let path = sandbox::directory("huge").join("rules.toml");
    let mut out = BufWriter::new(File::create(&path).expect("a file"));
    for _ in 0..1_000_000 {
        out.write_all(&[b'#'; 99]).and_then(|()| out.write_all(b"\n")).expect("100 bytes");
    }
    out.flush().expect("100 MB");
    let path = path.to_str().expect("ASCII");
    let started = Instant::now();
    for verb in ["check", "apply", "plan"] {
        let ran = ran_within(world.ctl().command().args([verb, path]), PATIENCE);
        ran.expect(2).says(&[path]);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(world.ctl().status().revision, revision);
    assert!(world.agent.rss() < 60 * 1024, "{} KiB", world.agent.rss());
}

/// Bytes that are no HTTP, or no request of ours, do not hurt the agent.
#[test]
fn garbage_on_the_socket() {
    use std::os::unix::net::UnixStream;
    let world = World::new(Role::Host, Datapath::Tc);
    for bytes in [
        &b"\0\xff\n\r\n"[..],
        b"POST /v1/apply HTTP/1.1\r\nhost: sg\r\ncontent-length: 2\r\n\r\n{]",
        b"POST /v1/apply HTTP/1.1\r\nhost: sg\r\ncontent-length: 99999999999\r\n\r\n",
        b"GET /v1/nothing HTTP/1.1\r\nhost: sg\r\n\r\n",
    ] {
        let mut socket = UnixStream::connect(world.agent.socket()).expect("the socket");
        // The agent may close before all is written.
        let _ = socket.write_all(bytes);
    }
    world.ctl().run(&["status"]).expect(0);
}

#[test]
fn wrong_usage() {
    let ctl = Ctl::new("/nowhere".as_ref());
    for args in [
        &[][..],
        &["nonsense"],
        &["apply"],
        &["status", "--nonsense"],
        &["apply", "rules.toml", "--confirm", "0"],
        &["apply", "rules.toml", "--confirm", "86401"],
        &["explain", "--interface", "eth0"],
    ] {
        ctl.run(args).expect(2);
    }
    ctl.run(&["--help"]).expect(0);
    ctl.run(&["--version"]).expect(0);
}

/// Questions that make no sense, answered by the agent.
#[test]
fn wrong_questions() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["web"], WEB);
    let ends = ["--src", "10.9.0.10:1", "--dst", "10.1.0.2:80"];
    let explain = |interface: &str, protocol: &str, ends: &[&str]| {
        let mut args = vec!["explain", "--interface", interface, "--direction", "ingress"];
        args.extend(["--protocol", protocol]);
        args.extend(ends);
        world.ctl().run(&args)
    };
    explain("nic0", "tcp", &ends).expect(0);
    explain("absent0", "tcp", &ends).expect(1).says(&["absent0"]);
    let mixed = explain("nic0", "tcp", &["--src", "10.9.0.10:1", "--dst", "[fd01::2]:80"]);
    assert!(matches!(mixed.status, Some(1 | 2)) && !mixed.stderr.is_empty(), "{mixed:#?}");
}

#[test]
fn absent_socket() {
    let socket = sandbox::directory("nothing").join("agent.sock");
    for verb in ["status", "flows", "history", "export", "confirm"] {
        Ctl::new(&socket).run(&[verb]).expect(1).says(&[socket.to_str().expect("ASCII")]);
    }
}

/// Only root and the group `sg` get in.
#[test]
fn socket_of_another_user() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["web"], WEB);
    let mut command = Command::new(public_binary("sgctl"));
    command.arg("--socket").arg(world.agent.socket()).arg("status").uid(65534).gid(65534);
    let ran = Ran::of(&mut command).expect(1);
    let said = ran.stderr.to_lowercase();
    assert!(
        said.contains("permi") || said.contains("not allowed") || said.contains("root"),
        "{ran:#?}"
    );
    assert!(!ran.stdout.contains("nic0"), "{ran:#?}");
}
