//! The guard against lock-out where the wire shows something else than the session's socket: NAT, tunnels, a
//! server whose listener is gone, a session from this host itself. Real TCP connections pose as the
//! session, and each verdict is checked by what then becomes of the connection. Without pickup: only the rules
//! and what the agent knows of older connections count.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::SocketAddr,
    process::Command,
    sync::Arc,
    thread,
};

use sg_tests::{
    Datapath, NetNs, Ran, Role, V4, World, ctl,
    probe::{
        tcp::{self, Connection},
        vnet,
    },
};

fn rules(ingress: &[&str], egress: &str) -> String {
    let ingress = ingress.join(", ");
    format!(
        "[settings.tracking]\npickup = 0\n[[security_group]]\nname = \"admin\"\n\
         ingress = [{ingress}]\negress = [{egress}]\n"
    )
}

/// In to a port from the remote networks, tunnelled ones included.
fn port(protocol: &str, port: u16) -> String {
    let cidrs = r#"["10.9.0.0/24", "10.77.0.0/24"]"#;
    format!("{{ protocol = \"{protocol}\", ports = {port}, cidrs = {cidrs} }}")
}

fn environment(client: SocketAddr, server: SocketAddr) -> String {
    format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port())
}

/// `sgctl apply` in a session.
fn apply(session: &str, world: &World, text: &str, flags: &[&str]) -> Ran {
    let file = ctl::file(world.rules(&["admin"], text).as_bytes());
    let mut command: Command = world.ctl().command();
    Ran::of(command.args(["apply", &file]).args(flags).env("SSH_CONNECTION", session))
}

fn nft(namespace: &NetNs, table: &str) {
    assert!(namespace.succeeds("nft", &[table]), "nft; `cargo xtask setup --bench`");
}

const CUTS: &str = "would cut this SSH session";

/// Port 2222 of the wire is port 22 of the server: the wire's port is the one that rules see.
fn redirected(datapath: Datapath) {
    let world = World::new(Role::Host, datapath);
    nft(
        &world.instance,
        "table ip shift { chain incoming { type nat hook prerouting priority -100; tcp dport 2222 redirect to :22; }; }",
    );
    let _server = tcp::serve(&world.instance, V4.instance_port(22));
    let log_in = || tcp::open(&world.remote, V4.remote, V4.instance_port(2222));
    let mut connection = log_in();
    let session = environment(connection.local(), V4.instance_port(22));

    // First filter.
    let refused = apply(&session, &world, &rules(&[&port("tcp", 22)], ""), &[]).expect(1);
    refused.says(&[CUTS, "TCP port 2222 on nic0", "--confirm", "--force"]);
    connection.passes();
    apply(&session, &world, &rules(&[&port("tcp", 2222)], ""), &[]).expect(0);
    connection.passes();

    // It is filtered now.
    let wrong = rules(&[&port("tcp", 22)], "");
    let would_go_on = apply(&session, &world, &wrong, &[]).expect(1);
    would_go_on.says(&["would go on", "TCP port 2222 on nic0"]);
    let cuts = format!("[settings]\non_revoke = \"cut\"\n{wrong}");
    apply(&session, &world, &cuts, &[]).expect(1).says(&[CUTS, "TCP port 2222"]);
    let both = rules(&[&port("tcp", 2222), &port("tcp", 80)], "");
    apply(&session, &world, &both, &[]).expect(0);
    connection.passes();
    log_in().passes();
    // The refusal was right.
    apply(&session, &world, &cuts, &["--force"]).expect(0);
    connection.is_dropped();
}

#[test]
fn redirected_tc() {
    redirected(Datapath::Tc);
}

#[test]
fn redirected_xdp() {
    redirected(Datapath::Xdp);
}

/// Flows that a flush would end are the wire's, too.
#[test]
fn redirected_and_flushed() {
    let world = World::new(Role::Host, Datapath::Tc);
    nft(
        &world.instance,
        "table ip shift { chain incoming { type nat hook prerouting priority -100; tcp dport 2222 redirect to :22; }; }",
    );
    world.apply(&["admin"], &rules(&[&port("tcp", 2222)], ""));
    let _server = tcp::serve(&world.instance, V4.instance_port(22));
    let mut connection = tcp::open(&world.remote, V4.remote, V4.instance_port(2222));
    let session = environment(connection.local(), V4.instance_port(22));
    let flush =
        |args: &[&str]| Ran::of(world.ctl().command().args(args).env("SSH_CONNECTION", &session));
    flush(&["flows", "flush", "--dport", "2222"]).expect(1).says(&[CUTS, "nic0"]);
    flush(&["flows", "flush", "--dport", "80"]).expect(0);
    connection.passes();
}

/// sshd was restarted or its package removed: nobody listens, and the session goes on.
#[test]
fn the_listener_is_gone() {
    let world = World::new(Role::Host, Datapath::Tc);
    let server = tcp::serve(&world.instance, V4.instance_port(22));
    let mut connection = tcp::open(&world.remote, V4.remote, V4.instance_port(22));
    drop(server);
    let session = environment(connection.local(), V4.instance_port(22));
    let refused = apply(&session, &world, &rules(&[&port("tcp", 80)], ""), &[]).expect(1);
    refused.says(&[CUTS, "TCP port 22 on nic0"]);
    connection.passes();
    apply(&session, &world, &rules(&[&port("tcp", 22)], ""), &[]).expect(0);
    connection.passes();
}

/// A VXLAN tunnel over nic0, with 10.77.0.1 and .2 in it.
fn vxlan(world: &World) -> SocketAddr {
    for (namespace, device, local, remote, address) in [
        (&world.instance, "nic0", V4.instance, V4.remote, "10.77.0.2"),
        (&world.remote, "up0", V4.remote, V4.instance, "10.77.0.1"),
    ] {
        namespace.ip(&format!(
            "link add name vx7 type vxlan id 7 dev {device} local {local} remote {remote} dstport 4789
             address add {address}/24 dev vx7
             link set dev vx7 up"
        ));
    }
    "10.77.0.2:22".parse().expect("an address")
}

const VXLAN_OUT: &str = r#"{ protocol = "udp", ports = 4789, cidrs = ["10.9.0.0/24"] }"#;

/// The filtered interface sees the tunnel's outer packets. VXLAN has a flow for each direction.
#[test]
fn through_vxlan() {
    let world = World::new(Role::Host, Datapath::Tc);
    let server_at = vxlan(&world);
    let _server = tcp::serve(&world.instance, server_at);
    let client = "10.77.0.1".parse().expect("an address");
    let mut connection: Connection = tcp::open(&world.remote, client, server_at);
    let session = environment(connection.local(), server_at);
    let (ssh, outer) = (port("tcp", 22), port("udp", 4789));
    for (text, direction) in [
        (rules(&[&ssh], ""), "from"),
        (rules(&[&ssh], VXLAN_OUT), "from"),
        (rules(&[&ssh, &outer], ""), "to"),
    ] {
        let refused = apply(&session, &world, &text, &[]).expect(1);
        refused.says(&[CUTS, "vx7", &format!("UDP port 4789 {direction} 10.9.0.10 on nic0")]);
    }
    connection.passes();
    let right = rules(&[&ssh, &outer], VXLAN_OUT);
    apply(&session, &world, &right, &[]).expect(0);
    connection.passes();
    apply(&session, &world, &rules(&[&ssh], VXLAN_OUT), &[]).expect(1).says(&[CUTS, "vx7"]);
    // Changes that do not concern it.
    apply(&session, &world, &rules(&[&ssh, &outer, &port("tcp", 80)], VXLAN_OUT), &[]).expect(0);
    connection.passes();
    apply(&session, &world, &rules(&[&ssh], VXLAN_OUT), &["--force"]).expect(0);
    tcp::is_dropped(&world.remote, client, server_at);
}

/// Carries packets between two TUN devices, as a VPN's programs do.
fn pump(from: &Arc<File>, to: &Arc<File>) {
    let (from, to) = (Arc::clone(from), Arc::clone(to));
    thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok(length) = (&*from).read(&mut packet) {
            if (&*to).write_all(&packet[..length]).is_err() {
                break;
            }
        }
    });
}

/// A program carries the session: only it knows by which packets.
#[test]
fn through_a_vpn_program() {
    let world = World::new(Role::Host, Datapath::Tc);
    let ends = [(&world.instance, "10.77.0.2"), (&world.remote, "10.77.0.1")].map(
        |(namespace, address)| {
            let tun = Arc::new(vnet::tun(namespace, "vpn0"));
            namespace.ip(&format!("address add {address}/24 dev vpn0\nlink set dev vpn0 up"));
            tun
        },
    );
    pump(&ends[0], &ends[1]);
    pump(&ends[1], &ends[0]);
    let server_at: SocketAddr = "10.77.0.2:22".parse().expect("an address");
    let _server = tcp::serve(&world.instance, server_at);
    let connection = tcp::open(&world.remote, "10.77.0.1".parse().expect("one"), server_at);
    let session = environment(connection.local(), server_at);
    let ssh = rules(&[&port("tcp", 22)], "");
    let unknown = apply(&session, &world, &ssh, &[]).expect(1);
    unknown.says(&["cannot be known", "vpn0", "nothing was changed", "--confirm", "--force"]);
    apply(&session, &world, &ssh, &["--confirm", "60"]).expect(0);
    world.ctl().run(&["confirm"]).expect(0);
    // Rules that reach no interface change nothing for it.
    let more = format!("{ssh}\n[[security_group]]\nname = \"unused\"\n");
    apply(&session, &world, &more, &[]).expect(0);
    apply(&session, &world, &rules(&[&port("tcp", 80)], ""), &[]).expect(1);
    apply(&session, &world, &rules(&[&port("tcp", 80)], ""), &["--force"]).expect(0);
}

/// Something on this host, a proxy say, has the session's other end: its own connection is what counts.
#[test]
fn from_this_host() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.instance.ip("link set dev lo up");
    let _server = tcp::serve(&world.instance, V4.instance_port(22));
    let connection = tcp::open(&world.instance, V4.instance, V4.instance_port(22));
    let session = environment(connection.local(), V4.instance_port(22));
    let ssh = rules(&[&port("tcp", 22)], "");
    let unknown = apply(&session, &world, &ssh, &[]).expect(1);
    unknown.says(&["cannot be known", "this host itself", "--confirm", "--force"]);
    apply(&session, &world, &ssh, &["--force"]).expect(0);
}

/// The server is a guest's or a container's, and its port published: the session is none of this host's sockets.
#[test]
fn forwarded_to_a_guest() {
    let world = World::new(Role::Port, Datapath::Tc);
    nft(
        world.router(),
        "table ip shift { chain incoming { type nat hook prerouting priority -100; ip daddr 10.9.0.1 tcp dport 2222 dnat to 10.1.0.2:22; }; }",
    );
    world.remote.ip("-4 route add 10.9.0.1/32 dev up0");
    let _server = tcp::serve(&world.instance, V4.instance_port(22));
    let mut connection =
        tcp::open(&world.remote, V4.remote, "10.9.0.1:2222".parse().expect("an address"));
    let session = environment(connection.local(), V4.instance_port(22));
    let refused = apply(&session, &world, &rules(&[&port("tcp", 80)], ""), &[]).expect(1);
    refused.says(&[CUTS, "TCP port 22 on port0"]);
    connection.passes();
    apply(&session, &world, &rules(&[&port("tcp", 22)], ""), &[]).expect(0);
    connection.passes();
    // The uplink sees port 2222.
    let uplink = |port| {
        let entry = "\n[[interface]]\nname = \"up1\"\ngroups = [\"uplink\"]\n[[security_group]]\n\
                     name = \"uplink\"\ningress = [";
        let rule = format!("{{ protocol = \"tcp\", ports = {port}, cidrs = [\"10.9.0.0/24\"] }}");
        let before = world.rules(&["admin"], &rules(&[&self::port("tcp", 22)], ""));
        format!("{before}{entry}{rule}]\n")
    };
    let apply_text = |text: &str| {
        let file = ctl::file(text.as_bytes());
        let mut command = world.ctl().command();
        Ran::of(command.args(["apply", &file]).env("SSH_CONNECTION", &session))
    };
    apply_text(&uplink(22)).expect(1).says(&[CUTS, "TCP port 2222 on up1"]);
    connection.passes();
    apply_text(&uplink(2222)).expect(0);
    connection.passes();
}
