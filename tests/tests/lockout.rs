//! `apply`, `rollback` and `flows flush` over an SSH session: what would cut it, or leave no way back in,
//! is not done unasked. A TCP connection poses as the session.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    process::Command,
};

use nix::sched::{CloneFlags, setns};
use sg_tests::{
    Datapath, FAMILIES, Ran, Role, V4, World,
    agent::binary,
    ctl, eventually,
    probe::tcp::{self, Connection},
    topology::number,
};

/// Who may come in to port 22, if anybody; out goes what these networks are.
fn rules(ingress: &str, egress: &str) -> String {
    let egress = if egress.is_empty() { String::new() } else { format!("egress = [{egress}]") };
    format!(
        "[settings.tracking]\npickup = 0\n[[security_group]]\nname = \"admin\"\ningress = [{ingress}]\n{egress}\n"
    )
}

const SSH: &str = r#"{ protocol = "tcp", ports = 22, cidrs = ["10.9.0.0/24", "fd09::/64"] }"#;
const WEB: &str = r#"{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] }"#;
const SSH_FOR_ALL: &str = r#"{ protocol = "tcp", ports = 22, cidrs = ["0.0.0.0/0", "::/0"] }"#;

/// `SSH_CONNECTION` of a session.
fn environment(client: SocketAddr, server: SocketAddr) -> String {
    format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port())
}

/// `sgctl apply` of rules for the interface, to which more can be added.
fn apply(world: &World, text: &str, flags: &[&str]) -> Command {
    let mut command = world.ctl().command();
    let file = ctl::file(world.rules(&["admin"], text).as_bytes());
    command.env_remove("SSH_CONNECTION").args(["apply", &file]).args(flags);
    command
}

/// The same in a session.
fn apply_in(session: &str, world: &World, text: &str, flags: &[&str]) -> Ran {
    Ran::of(apply(world, text, flags).env("SSH_CONNECTION", session))
}

/// Another verb of `sgctl` in a session.
fn run_in(session: &str, world: &World, args: &[&str]) -> Ran {
    Ran::of(world.ctl().command().args(args).env("SSH_CONNECTION", session))
}

/// A session from the remote machine to the instance, whose other end is an echo server.
fn log_in(world: &World, from: IpAddr, to: SocketAddr) -> (tcp::Server, Connection, String) {
    let server = tcp::serve(&world.instance, to);
    let connection = tcp::open(&world.remote, from, to);
    let session = environment(connection.local(), to);
    (server, connection, session)
}

const CUTS: &str = "would cut this SSH session";

/// On an interface that was not filtered before.
fn first_filter(world: &World) {
    for at in FAMILIES {
        let (_server, mut connection, session) = log_in(world, at.remote, at.instance_port(22));
        let revision = world.ctl().status().revision;
        let refused = apply_in(&session, world, &rules(WEB, ""), &[]).expect(1);
        refused.says(&[CUTS, "port 22 on nic0", "--confirm", "--force", "nothing was changed"]);
        assert_eq!(world.ctl().status().revision, revision);
        connection.passes();

        // A way in, and the session, which is older than the filter, goes on.
        apply_in(&session, world, &rules(SSH, WEB), &[]).expect(0);
        connection.passes();
        world.ctl().apply("", &["--force"]);
    }
}

#[test]
fn first_filter_tc() {
    first_filter(&World::new(Role::Host, Datapath::Tc));
}

#[test]
fn first_filter_xdp() {
    first_filter(&World::new(Role::Host, Datapath::Xdp));
}

/// Asked for, it is done.
#[test]
fn forced_or_to_be_confirmed() {
    let world = World::new(Role::Host, Datapath::Tc);
    let (_server, mut connection, session) = log_in(&world, V4.remote, V4.instance_port(22));
    apply_in(&session, &world, &rules(WEB, WEB), &["--confirm", "60"]).expect(0);
    connection.is_dropped();
    world.ctl().run(&["rollback"]).expect(0);
    // TCP repeats the data that was dropped meanwhile; begin with a new session.
    let mut connection = tcp::open(&world.remote, V4.remote, V4.instance_port(22));
    let session = environment(connection.local(), V4.instance_port(22));
    apply_in(&session, &world, &rules(WEB, WEB), &["--force"]).expect(0);
    connection.is_dropped();
}

/// An open session outlives its rule, unless rules cut; the next one would not come in.
#[test]
fn a_rule_goes() {
    let world = World::new(Role::Host, Datapath::Tc);
    for at in FAMILIES {
        world.apply(&["admin"], &rules(SSH, ""));
        let (_server, mut connection, session) = log_in(&world, at.remote, at.instance_port(22));
        let revision = world.ctl().status().revision;
        let closed = rules(WEB, "");
        let would_go_on = apply_in(&session, &world, &closed, &[]).expect(1);
        would_go_on.says(&["would go on", "none allows it TCP port 22 on nic0"]);
        let cuts = format!("[settings]\non_revoke = \"cut\"\n{closed}");
        apply_in(&session, &world, &cuts, &[]).expect(1).says(&[CUTS]);
        assert_eq!(world.ctl().status().revision, revision);
        // A change that does not touch the session is done.
        apply_in(&session, &world, &rules(&format!("{SSH}, {WEB}"), ""), &[]).expect(0);
        connection.passes();
    }
}

/// Open to all, connections are not tracked; a narrower rule does not know them.
#[test]
fn a_service_becomes_tracked() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["admin"], &rules(SSH_FOR_ALL, ""));
    let (_server, mut connection, session) = log_in(&world, V4.remote, V4.instance_port(22));
    let narrow = rules(SSH, "");
    apply_in(&session, &world, &narrow, &[]).expect(1).says(&[CUTS, "open to all"]);
    apply_in(&session, &world, &narrow, &["--force"]).expect(0);
    connection.is_dropped();
}

/// The way back is closed, too, to who came in since.
#[test]
fn back_to_earlier_rules() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["admin"], &rules(WEB, WEB));
    for at in FAMILIES {
        let revision = world.apply(&["admin"], &rules(SSH, "")).revision;
        let (_server, mut connection, session) = log_in(&world, at.remote, at.instance_port(22));
        let refused = run_in(&session, &world, &["rollback"]).expect(1);
        let refused =
            refused.says(&["this SSH session would go on", "rules of revision", "--force"]);
        assert!(!refused.stderr.contains("--confirm"), "{refused:?}");
        let earlier = revision - 1;
        let earlier = earlier.to_string();
        run_in(&session, &world, &["rollback", &earlier]).expect(1).says(&["port 22 on nic0"]);
        assert_eq!(world.ctl().status().revision, revision);
        connection.passes();
        run_in(&session, &world, &["rollback", "--force"]).expect(0);
        run_in("", &world, &["rollback"]).expect(0);
    }
    // An unconfirmed change goes back at its deadline, even if that cuts the session.
    world.apply(&["admin"], &format!("[settings]\non_revoke = \"cut\"\n{}", rules(WEB, WEB)));
    let open = rules(SSH, "");
    world.ctl().apply(&world.rules(&["admin"], &open), &["--confirm", "5"]);
    let (_server, mut connection, session) = log_in(&world, V4.remote, V4.instance_port(22));
    run_in(&session, &world, &["rollback"]).expect(1).says(&[CUTS]);
    connection.passes();
    eventually("it goes back", || world.ctl().status().confirm_until.is_none());
    connection.is_dropped();

    // It is lost, and what lets the next one in is no harm to it.
    let flows = world.ctl().flows();
    assert!(flows.iter().any(|flow| flow.state == "cut"), "{flows:?}");
    apply_in(&session, &world, &open, &[]).expect(0);
    tcp::open(&world.remote, V4.remote, V4.instance_port(22)).passes();
}

/// Flows that a flush ends.
#[test]
fn flushed() {
    let world = World::new(Role::Host, Datapath::Tc);
    for at in FAMILIES {
        world.apply(&["admin"], &rules(SSH, WEB));
        let (_server, mut connection, session) = log_in(&world, at.remote, at.instance_port(22));
        let denied = ["flows", "flush", "--denied"];
        run_in(&session, &world, &denied).expect(0);
        connection.passes();
        run_in(&session, &world, &["flows", "flush", "--dport", "22"]).expect(1).says(&[CUTS]);
        world.apply(&["admin"], &rules(WEB, WEB));
        let refused = run_in(&session, &world, &denied).expect(1);
        let refused = refused.says(&[CUTS, "nic0", "nothing was changed", "--force"]);
        assert!(!refused.stderr.contains("--confirm"), "{refused:?}");
        run_in(&session, &world, &["flows", "flush", "--denied", "--dport", "80"]).expect(0);
        connection.passes();
        run_in(&session, &world, &["flows", "flush", "--denied", "--force"]).expect(0);
        connection.is_dropped();
    }
}

/// The host's admin comes from behind a port: to open the session is the instance's part there.
#[test]
fn from_behind_a_port() {
    let world = World::new(Role::Port, Datapath::Tc);
    let gateway: SocketAddr = "10.1.0.1:22".parse().expect("an address");
    world.instance.ip("-4 route add 10.1.0.1/32 dev nic0");
    let _server = tcp::serve(world.host(), gateway);
    let mut connection = tcp::open(&world.instance, V4.instance, gateway);
    let session = environment(connection.local(), gateway);
    let to_elsewhere = r#"{ protocol = "tcp", ports = 22, cidrs = ["10.9.0.0/24"] }"#;
    apply_in(&session, &world, &rules("", to_elsewhere), &[]).expect(1).says(&[CUTS, "port0"]);
    connection.passes();
    let to_host = r#"{ protocol = "tcp", ports = 22, cidrs = ["10.1.0.1/32"] }"#;
    apply_in(&session, &world, &rules("", to_host), &[]).expect(0);
}

/// Where nobody's session is concerned, nothing is asked for.
#[test]
fn without_a_session() {
    let world = World::new(Role::Host, Datapath::Tc);
    let (_server, _connection, session) = log_in(&world, V4.remote, V4.instance_port(22));
    // Not over SSH; from elsewhere; nonsense.
    let stranger = session.replace("10.9.0.10", "10.9.0.77");
    for session in ["", &stranger, "nonsense"] {
        apply_in(session, &world, &rules(WEB, ""), &[]).expect(0);
        world.ctl().apply("", &["--force"]);
    }
    // A terminal multiplexer remembers the session in which it was started.
    let (_, port) = session.split_once(' ').expect("four fields");
    let (port, _) = port.split_once(' ').expect("four fields");
    let old = session.replacen(port, "1", 1);
    apply_in(&old, &world, &rules(WEB, ""), &[]).expect(1).says(&[CUTS, port]);
}

/// `sudo` keeps the environment from what it runs, but not from /proc.
#[test]
fn below_sudo() {
    let world = World::new(Role::Host, Datapath::Tc);
    let (_server, _connection, session) = log_in(&world, V4.remote, V4.instance_port(22));
    let file = ctl::file(world.rules(&["admin"], &rules(WEB, "")).as_bytes());
    let socket = world.agent.socket();
    let script = format!(
        "env -u SSH_CONNECTION {} --socket {} apply {file}; exit $?",
        binary("sgctl").display(),
        socket.display()
    );
    let ran = Ran::of(Command::new("sh").args(["-c", &script]).env("SSH_CONNECTION", &session));
    ran.expect(1).says(&[CUTS]);
}

/// No environment has it: the connection of the SSH server itself does, here of an IPv6 socket that
/// takes IPv4, too. This process poses as the server.
#[test]
fn by_the_server_s_socket() {
    let world = World::new(Role::Host, Datapath::Tc);
    let listener = world.instance.run(|| TcpListener::bind("[::]:22")).expect("a listener");
    let client = world.remote.run(|| TcpStream::connect(V4.instance_port(22))).expect("connected");
    let (_server, _) = listener.accept().expect("a connection");
    let name = fs::read_to_string("/proc/self/comm").expect("a name");
    fs::write("/proc/self/comm", "sshd-session").expect("another name");
    let mut command = apply(&world, &rules(WEB, ""), &[]);
    let namespace = world.instance.fd().try_clone_to_owned().expect("a descriptor");
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?));
    }
    let ran = Ran::of(&mut command);
    fs::write("/proc/self/comm", name.trim()).expect("the name it had");
    let client = client.local_addr().expect("an address").to_string();
    ran.expect(1).says(&[CUTS, &client]);
}

/// The address is a bridge's, the filter on its port.
#[test]
fn through_a_bridge() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.instance.ip("address flush dev nic0
        link add name br0 type bridge
        link set dev br0 up
        link set dev nic0 master br0");
    number(&world.instance, "br0", &[V4.instance]);
    world.instance.ip("-4 route add 10.9.0.0/24 dev br0");
    let (_server, _connection, session) = log_in(&world, V4.remote, V4.instance_port(22));
    apply_in(&session, &world, &rules(WEB, ""), &[]).expect(1).says(&[CUTS, "nic0"]);
}
