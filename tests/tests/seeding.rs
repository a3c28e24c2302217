//! A filter that starts on a busy machine: connections that the rules allow go on, also where the side
//! speaks next that may open nothing. Without pickup: only a flow lets them through.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use sg_tests::{
    Addresses, Counts, Datapath, FAMILIES, NetNs, Role, World,
    ctl::file,
    probe::{PATIENCE, SILENCE},
};

/// Out to 443 and 53, in to 22; everything else is closed, in both directions.
const RULES: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "narrow"
ingress = [{ protocol = "tcp", ports = 22, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
egress = [
  { protocol = "tcp", ports = 443, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "udp", ports = 53, cidrs = ["10.9.0.0/24", "fd09::/64"] },
]
"#;

/// Both ends of a connection, in our hands.
struct Pair {
    opener: TcpStream,
    acceptor: TcpStream,
    /// `None`: nobody listens any more.
    _listener: Option<TcpListener>,
}

impl Pair {
    fn open(from: &NetNs, source: IpAddr, to: &NetNs, destination: SocketAddr) -> Self {
        let listener = to.run(|| TcpListener::bind(destination)).expect("a listener");
        let opener = from.run(|| {
            let domain = socket2::Domain::for_address(destination);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            socket.connect(&destination.into())?;
            std::io::Result::Ok(TcpStream::from(socket))
        });
        let (acceptor, _) = listener.accept().expect("a connection");
        Self { opener: opener.expect("a connection"), acceptor, _listener: Some(listener) }
    }

    /// The acceptor speaks first, then the opener.
    #[track_caller]
    fn goes_on(&self) {
        for (from, to) in [(&self.acceptor, &self.opener), (&self.opener, &self.acceptor)] {
            assert!(arrives(from, to, PATIENCE), "{self:?}");
        }
    }

    #[track_caller]
    fn is_dead(&self) {
        assert!(!arrives(&self.acceptor, &self.opener, SILENCE), "{self:?}");
        assert!(!arrives(&self.opener, &self.acceptor, SILENCE), "{self:?}");
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} -> {:?}", self.opener.local_addr(), self.opener.peer_addr())
    }
}

fn arrives(mut from: &TcpStream, mut to: &TcpStream, limit: std::time::Duration) -> bool {
    from.write_all(b"word").expect("room in the socket");
    to.set_read_timeout(Some(limit)).expect("a timeout");
    to.read_exact(&mut [0; 4]).is_ok()
}

/// Connections that are open before the filter starts, in one family.
struct Busy {
    out: Pair,
    into: Pair,
    forbidden_out: Pair,
    forbidden_in: Pair,
    /// The instance's and the remote machine's, connected to each other.
    datagrams: [UdpSocket; 2],
}

fn udp(from: &NetNs, at: SocketAddr) -> UdpSocket {
    from.run(|| UdpSocket::bind(at)).expect("a socket")
}

fn busy(world: &World, at: &Addresses) -> Busy {
    let (instance, remote) = (&world.instance, &world.remote);
    let out = |port| Pair::open(instance, at.instance, remote, at.remote_port(port));
    let into = |port| Pair::open(remote, at.remote, instance, at.instance_port(port));
    let asks = udp(instance, at.instance_port(5353));
    let answers = udp(remote, at.remote_port(53));
    asks.connect(at.remote_port(53)).expect("a peer");
    answers.connect(at.instance_port(5353)).expect("a peer");
    for (from, to) in [(&asks, &answers), (&answers, &asks), (&asks, &answers), (&answers, &asks)] {
        from.send(b"word").expect("sent");
        to.recv(&mut [0; 8]).expect("received");
    }
    Busy {
        out: out(443),
        into: into(22),
        forbidden_out: out(444),
        forbidden_in: into(23),
        datagrams: [asks, answers],
    }
}

#[track_caller]
fn starts_on_a_busy_machine(world: &World) {
    let before = FAMILIES.map(|at| busy(world, &at));
    world.apply(&["narrow"], RULES);
    let ((), counts) = world.counted(|| {
        for busy in &before {
            let [asks, answers] = &busy.datagrams;
            answers.send(b"late").expect("sent");
            asks.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            assert_eq!(asks.recv(&mut [0; 8]).expect("the far side's datagram"), 4);
            busy.into.goes_on();
            busy.out.goes_on();
        }
    });
    only_flows(&counts);
    for busy in &before {
        busy.forbidden_out.is_dead();
        busy.forbidden_in.is_dead();
    }
    let flows = world.ctl().flows();
    assert!(flows.iter().all(|flow| [443, 53, 22].contains(&flow.dport)), "{flows:#?}");
    assert_eq!(flows.len(), 6, "{flows:#?}");
    let of = |protocol, port| {
        let is = |flow: &&sg_api::Flow| (&*flow.protocol, flow.dport) == (protocol, port);
        let flow = flows.iter().find(is).expect("a flow");
        (flow.direction.as_str(), flow.state.as_str())
    };
    assert_eq!(of("tcp", 443), ("egress", "established"));
    assert_eq!(of("tcp", 22), ("ingress", "established"));
    // conntrack speaks of a stream when it has lasted two seconds.
    let state = if world.role == Role::Host { "stream" } else { "replied" };
    assert_eq!(of("udp", 53), ("egress", state));
}

#[track_caller]
fn only_flows(counts: &Counts) {
    for reason in ["no_rule", "not_syn"] {
        for direction in ["ingress", "egress"] {
            assert_eq!(counts.get(&format!("{direction} {reason}")), 0, "{counts}");
        }
    }
    assert!(counts.get("ingress flow") > 0 && counts.get("egress flow") > 0, "{counts}");
}

/// The host's own sockets.
#[test]
fn host_tc() {
    starts_on_a_busy_machine(&World::new(Role::Host, Datapath::Tc));
}

#[test]
fn host_xdp() {
    starts_on_a_busy_machine(&World::new(Role::Host, Datapath::Xdp));
}

/// The router's conntrack, which something has to use: here a rule of nft.
#[track_caller]
fn with_conntrack(world: &World, more: &str) {
    let table = format!(
        "table inet busy {{
            chain forward {{ type filter hook forward priority 0; ct state invalid drop; }}
            {more}
        }}"
    );
    assert!(world.router().succeeds("nft", &[&table]), "nft; `cargo xtask setup --bench`");
}

#[test]
fn port_tc() {
    let world = World::new(Role::Port, Datapath::Tc);
    with_conntrack(&world, "");
    starts_on_a_busy_machine(&world);
}

#[test]
fn port_xdp() {
    let world = World::new(Role::Port, Datapath::Xdp);
    with_conntrack(&world, "");
    starts_on_a_busy_machine(&world);
}

/// Behind NAT the port sees other addresses than the far side does.
#[test]
fn port_behind_nat() {
    let world = World::new(Role::Port, Datapath::Tc);
    with_conntrack(
        &world,
        "chain out { type nat hook postrouting priority 100; oifname \"up1\" masquerade; }
         chain in { type nat hook prerouting priority -100; ip daddr 10.9.0.1 tcp dport 2222 dnat to 10.1.0.2:22; }",
    );
    world.remote.ip("-4 route add 10.9.0.1/32 dev up0");
    let at = &FAMILIES[0];
    let out = Pair::open(&world.instance, at.instance, &world.remote, at.remote_port(443));
    assert_eq!(out.acceptor.peer_addr().expect("a peer").ip().to_string(), "10.9.0.1");
    let listener =
        world.instance.run(|| TcpListener::bind(at.instance_port(22))).expect("a listener");
    let opener = world.remote.run(|| TcpStream::connect("10.9.0.1:2222")).expect("a connection");
    let (acceptor, _) = listener.accept().expect("a connection");
    let into = Pair { opener, acceptor, _listener: Some(listener) };
    world.apply(&["narrow"], RULES);
    out.goes_on();
    into.goes_on();
}

/// Without anything that tracks, a port starts as it always did.
#[test]
fn port_without_conntrack() {
    let world = World::new(Role::Port, Datapath::Tc);
    let busy = busy(&world, &FAMILIES[0]);
    world.apply(&["narrow"], RULES);
    busy.out.is_dead();
    assert_eq!(world.ctl().flows(), []);
}

/// An agent that comes back takes flows over; it does not open those anew that were flushed.
#[test]
fn not_at_a_restart() {
    let mut world = World::new(Role::Host, Datapath::Tc);
    let busy = busy(&world, &FAMILIES[0]);
    world.apply(&["narrow"], RULES);
    world.ctl().run(&["flows", "flush"]).expect(0);
    world.agent.kill();
    world.agent.restart();
    // The denied ones were cut once more.
    let live: Vec<_> = world.ctl().flows().into_iter().filter(|flow| flow.state != "cut").collect();
    assert_eq!(live, []);
    busy.out.is_dead();
}

/// Everything out, nothing in: the instance's next segment would be picked up as one that it opened.
const OUT: &str = r#"
[settings]
on_revoke = "ON_REVOKE"
[[security_group]]
name = "out"
"#;

/// A session that no rule lets open is cut from the start, and stays so: nothing picks it up.
#[track_caller]
fn denied_sessions_are_cut(world: &World) {
    for on_revoke in ["keep", "cut"] {
        let sessions = FAMILIES.map(|at| {
            let (instance, remote) = (&world.instance, &world.remote);
            (
                Pair::open(remote, at.remote, instance, at.instance_port(23)),
                Pair::open(instance, at.instance, remote, at.remote_port(443)),
            )
        });
        world.apply(&["out"], &OUT.replace("ON_REVOKE", on_revoke));
        let ((), counts) = world.counted(|| {
            for (denied, allowed) in &sessions {
                denied.is_dead();
                allowed.goes_on();
            }
        });
        assert_eq!(counts.get("egress rule"), 0, "nothing was picked up: {counts}");
        assert!(
            counts.get("egress flow_cut") > 0 && counts.get("ingress flow_cut") > 0,
            "{counts}"
        );
        // Pickup begins anew, and finds them cut again.
        world.ctl().run(&["flows", "flush"]).expect(0);
        for (denied, allowed) in &sessions {
            denied.is_dead();
            assert!(arrives(&allowed.opener, &allowed.acceptor, PATIENCE), "{allowed:?}");
        }
        let flows = world.ctl().flows();
        for (denied, _) in &sessions {
            let port = denied.opener.local_addr().expect("an address").port();
            let flow = flows.iter().find(|flow| (flow.sport, flow.dport) == (port, 23));
            let state = flow.map(|flow| (flow.state.as_str(), flow.direction.as_str()));
            assert_eq!(state, Some(("cut", "ingress")), "{flows:#?}");
        }
        world.ctl().run(&["apply", "--force", &file(NOTHING)]).expect(0);
    }
}

const NOTHING: &[u8] = b"";

/// Sockets say who opened them.
#[test]
fn host_cuts_denied_sessions() {
    denied_sessions_are_cut(&World::new(Role::Host, Datapath::Tc));
}

/// Only their ports say it, which is enough for the programs: no entry is needed.
#[test]
fn denied_sessions_of_a_server_that_has_ended_are_not_picked_up() {
    let world = World::new(Role::Host, Datapath::Xdp);
    let sessions = FAMILIES.map(|at| {
        let denied = Pair::open(&world.remote, at.remote, &world.instance, at.instance_port(23));
        Pair { _listener: None, ..denied }
    });
    world.apply(&["out"], &OUT.replace("ON_REVOKE", "keep"));
    let ((), counts) = world.counted(|| sessions.iter().for_each(Pair::is_dead));
    assert_eq!(counts.get("egress rule"), 0, "{counts}");
    assert!(counts.get("egress no_rule") > 0 && counts.get("ingress no_rule") > 0, "{counts}");
    assert_eq!(world.ctl().flows().len(), 0);
}

/// conntrack says it.
#[test]
fn port_cuts_denied_sessions() {
    let world = World::new(Role::Port, Datapath::Xdp);
    with_conntrack(&world, "");
    denied_sessions_are_cut(&world);
}
