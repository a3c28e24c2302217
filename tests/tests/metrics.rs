//! Metrics as Prometheus and its tools take them. They are Debian's, unpacked under `target/tools`.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sg_tests::{
    Datapath, NetNs, Role, V4, World, eventually,
    probe::{PATIENCE, tcp, udp},
    sandbox,
    tools::{self, Running},
};

const AGENT: &str = "127.0.0.1:9790";
const PROMETHEUS: &str = "127.0.0.1:9791";

const RULES: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8"] }]
"#;

fn world() -> World {
    let world = World::with_flags(Role::Port, Datapath::Tc, &["--metrics", AGENT]);
    world.apply(&["web"], RULES);
    world
}

/// One of each verdict.
fn traffic(world: &World) {
    let _server = tcp::serve(&world.instance, V4.instance_port(80));
    tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(53));
}

/// Status and body of an answer.
fn ask(namespace: &NetNs, at: &str, request: &str) -> (u16, String) {
    let at: SocketAddr = at.parse().expect("an address");
    let answer = namespace.run(|| {
        let mut stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    });
    let answer = answer.unwrap_or_else(|error| panic!("{at}: {error}"));
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn get(namespace: &NetNs, at: &str, path: &str) -> (u16, String) {
    ask(namespace, at, &format!("GET {path} HTTP/1.0\r\nHost: sg\r\n\r\n"))
}

#[test]
fn promtool_passes_the_exposition() {
    let world = world();
    traffic(&world);
    let (status, text) = get(world.host(), AGENT, "/metrics");
    assert_eq!(status, 200);
    for line in [
        "sg_packets_total{interface=\"port0\",direction=\"ingress\",verdict=\"deny\",reason=\"no_rule\"}",
        "sg_conntrack_allowance_exceeded_total{interface=\"port0\"} 0",
        "sg_interface_info{interface=\"port0\",role=\"port\",datapath=\"tc",
        "sg_publish_duration_seconds_count ",
        "sg_flows{interface=\"port0\"} 1",
        "sg_rules 3",
        "sg_classes{family=\"ipv4\"} 2",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line} is not in\n{text}");
    }
    let mut promtool = Command::new(tools::path("prometheus/usr/bin/promtool"));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut promtool = promtool.stderr(Stdio::piped()).spawn().expect("promtool");
    promtool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("all of it");
    let ran = promtool.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

/// A client that can reach the port can do no more than read the metrics.
#[test]
fn the_server_gives_nothing_else_and_cannot_be_leaned_on() {
    let world = world();
    let host = world.host();
    assert_eq!(get(host, AGENT, "/").0, 404);
    assert_eq!(get(host, AGENT, "/v1/status").0, 404);
    assert_eq!(ask(host, AGENT, "POST /metrics HTTP/1.0\r\n\r\n").0, 405);
    let long = format!("GET /metrics HTTP/1.0\r\nX: {}\r\n\r\n", "x".repeat(1 << 16));
    assert_eq!(ask(host, AGENT, &long).0, 431);
    // More who say nothing than are served at once.
    let silent: Vec<TcpStream> =
        host.run(|| (0..40).map(|_| TcpStream::connect(AGENT).expect("a connection")).collect());
    let began = Instant::now();
    assert_eq!(get(host, AGENT, "/metrics").0, 200);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(silent);
}

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path)
}

#[test]
fn promtool_passes_the_alert_rules() {
    for (verb, file) in [("check", "sg-alerts.yml"), ("test", "sg-alerts-test.yml")] {
        let mut promtool = Command::new(tools::path("prometheus/usr/bin/promtool"));
        promtool.current_dir(packaging("prometheus"));
        sg_tests::Ran::of(promtool.args([verb, "rules", file])).expect(0);
    }
}

/// Queries of a dashboard with its variables filled in, and the metrics that its variables ask for.
fn queries() -> Vec<String> {
    let text = fs::read_to_string(packaging("grafana/sg-dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let mut queries: Vec<String> =
        targets.map(|target| target["expr"].as_str().expect("a query").to_owned()).collect();
    assert!(queries.len() >= 20, "{queries:?}");
    let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
    queries.extend(variables.filter_map(|variable| {
        let query = variable["query"].as_str()?.strip_prefix("label_values(")?;
        Some(query.rsplit_once(", ")?.0.to_owned())
    }));
    for query in &mut queries {
        *query = query.replace("$instance", ".*").replace("$interface", ".*");
        *query = query.replace("$__rate_interval", "20s");
        assert!(!query.contains('$'), "{query}");
    }
    queries
}

fn escaped(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn prometheus_answers_every_query_of_the_dashboard() {
    let world = world();
    let directory = sandbox::directory("prometheus");
    let alerts = packaging("prometheus/sg-alerts.yml");
    let config = directory.join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{alerts:?}]\n\
         scrape_configs:\n  - job_name: sg\n    static_configs: [{{ targets: [\"{AGENT}\"] }}]\n"
    );
    fs::write(&config, text).expect("a file");
    let mut prometheus = Command::new(tools::path("prometheus/usr/bin/prometheus"));
    prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address={PROMETHEUS}"))
        .arg("--log.level=error")
        .stdout(Stdio::null())
        .stderr(fs::File::create(directory.join("log")).expect("a file"));
    // On this thread: it is to die with it, and no other lives as long.
    let namespace = world.host().fd().try_clone_to_owned().expect("a descriptor");
    use std::os::unix::process::CommandExt as _;
    // SAFETY: one system call between fork and exec.
    unsafe {
        prometheus.pre_exec(move || {
            Ok(nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)?)
        });
    }
    let mut prometheus = Running::start(&mut prometheus);
    let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
    let query = |query: &str| -> Value {
        let path = format!("/api/v1/query?query={}", escaped(query));
        let (status, body) = get(world.host(), PROMETHEUS, &path);
        assert_eq!(status, 200, "{query}: {body}");
        serde_json::from_str(&body).expect("JSON")
    };
    // It listens before it answers.
    let listens = || world.host().run(|| TcpStream::connect(PROMETHEUS).is_ok());
    let is_ready = || listens() && get(world.host(), PROMETHEUS, "/-/ready").0 == 200;
    let deadline = Instant::now() + PATIENCE;
    while !is_ready() {
        let ended = prometheus.child().try_wait().expect("our child");
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "Prometheus does not get ready\n{}",
            log()
        );
        thread::sleep(Duration::from_millis(100));
    }
    let up = |answer: &Value| answer["data"]["result"][0]["value"][1] == "1";
    eventually("the agent is scraped", || up(&query("up")));
    // A rate takes two scrapes, with traffic between them.
    traffic(&world);
    world.apply(&["web"], &RULES.replace("80", "81"));
    let mut unanswered: BTreeSet<String> = queries().into_iter().collect();
    let deadline = Instant::now() + PATIENCE;
    while !unanswered.is_empty() {
        assert!(Instant::now() < deadline, "no data for {unanswered:#?}\n{}", log());
        traffic_again(&world);
        unanswered
            .retain(|text| query(text)["data"]["result"].as_array().is_none_or(Vec::is_empty));
    }
    let (status, body) = get(world.host(), PROMETHEUS, "/api/v1/rules");
    assert_eq!(status, 200);
    let rules: Value = serde_json::from_str(&body).expect("JSON");
    let rules = rules["data"]["groups"][0]["rules"].as_array().expect("rules").clone();
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    assert!(rules.iter().all(|rule| rule["state"] == "inactive"), "{rules:#?}");
}

fn traffic_again(world: &World) {
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(53));
    thread::sleep(Duration::from_millis(200));
}
