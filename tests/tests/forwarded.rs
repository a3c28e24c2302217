//! A filter in host role that starts on a machine which forwards: containers behind masquerade, published
//! ports, routed guests. Their connections go on where the rules allow them, also where the far side speaks
//! next. The kernel's conntrack knows who opened them; without pickup only its flow lets them through. Frames of
//! bridged guests pass no conntrack, and are picked up.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use sg_tests::{
    Addresses, Agent, FAMILIES, NetNs, Role, Topology, V4,
    probe::{PATIENCE, SILENCE},
};

/// The uplink of the machine in the middle. Out to 443, in to 2222 and 22; nothing else.
const RULES: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "narrow"
ingress = [{ protocol = "tcp", ports = [22, 2222], cidrs = ["10.9.0.0/24", "fd09::/64"] }]
egress = [{ protocol = "tcp", ports = 443, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
[[interface]]
name = "up1"
groups = ["narrow"]
"#;

/// Both ends of a connection, in our hands.
struct Pair {
    opener: TcpStream,
    acceptor: TcpStream,
    _listener: TcpListener,
}

impl Pair {
    /// The opener calls `called`, which NAT may make another address than `at`.
    fn open(from: &NetNs, source: IpAddr, called: SocketAddr, to: &NetNs, at: SocketAddr) -> Self {
        let listener = to.run(|| TcpListener::bind(at)).expect("a listener");
        let opener = from.run(|| {
            let domain = socket2::Domain::for_address(called);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            socket.connect_timeout(&called.into(), PATIENCE)?;
            std::io::Result::Ok(TcpStream::from(socket))
        });
        let opener = opener.unwrap_or_else(|error| panic!("{called}: {error}"));
        let (acceptor, _) = listener.accept().expect("a connection");
        Self { opener, acceptor, _listener: listener }
    }

    /// The acceptor speaks first, then the opener.
    #[track_caller]
    fn goes_on(&self) {
        assert!(arrives(&self.acceptor, &self.opener, PATIENCE), "to {:?}", self.called());
        assert!(arrives(&self.opener, &self.acceptor, PATIENCE), "to {:?}", self.called());
    }

    #[track_caller]
    fn is_dead(&self) {
        assert!(!arrives(&self.acceptor, &self.opener, SILENCE), "to {:?}", self.called());
        assert!(!arrives(&self.opener, &self.acceptor, SILENCE), "to {:?}", self.called());
    }

    fn called(&self) -> SocketAddr {
        self.opener.peer_addr().expect("an address")
    }
}

fn arrives(mut from: &TcpStream, mut to: &TcpStream, limit: Duration) -> bool {
    from.write_all(b"word").expect("room in the socket");
    to.set_read_timeout(Some(limit)).expect("a timeout");
    to.read_exact(&mut [0; 4]).is_ok()
}

/// The machine in the middle, whose port0 no entry names.
struct Site {
    topology: Topology,
    agent: Agent,
}

impl Site {
    fn new(nat: &str) -> Self {
        let site = Self::without_conntrack();
        site.track(nat);
        site
    }

    fn without_conntrack() -> Self {
        let topology = Topology::new(Role::Port);
        let router = topology.router.as_ref().expect("a router");
        router.ip("address add fd09::1/128 dev up1 nodad");
        topology.remote.ip("-4 route add 10.9.0.1/32 dev up0
             -6 route add fd09::1/128 dev up0");
        let agent = Agent::start(router, &[]);
        Self { topology, agent }
    }

    /// Something has to use conntrack, or it tracks nothing.
    fn track(&self, nat: &str) {
        let table = format!(
            "table inet site {{
                chain forward {{ type filter hook forward priority 0; ct state invalid drop; }}
                {nat}
            }}"
        );
        let router = self.topology.router.as_ref().expect("a router");
        assert!(router.succeeds("nft", &[&table]), "nft; `cargo xtask setup --bench`");
    }

    /// From the container to a port of the remote machine.
    fn out(&self, at: &Addresses, port: u16) -> Pair {
        let Topology { remote, instance, .. } = &self.topology;
        let called = at.remote_port(port);
        Pair::open(instance, at.instance, called, remote, called)
    }

    /// From the remote machine to `called`, which is port 22 of the container.
    fn inward(&self, at: &Addresses, called: SocketAddr, port: u16) -> Pair {
        let Topology { remote, instance, .. } = &self.topology;
        Pair::open(remote, at.remote, called, instance, at.instance_port(port))
    }

    fn flows(&self) -> Vec<(String, u16)> {
        let flows = self.agent.ctl().flows().into_iter();
        let mut flows: Vec<_> = flows.map(|flow| (flow.direction, flow.dport)).collect();
        flows.sort_unstable();
        flows
    }
}

fn owned(flows: &[(&str, u16)]) -> Vec<(String, u16)> {
    flows.iter().map(|&(direction, port)| (direction.to_owned(), port)).collect()
}

#[test]
fn masqueraded_containers() {
    let site = Site::new(
        "chain out { type nat hook postrouting priority 100; oifname \"up1\" masquerade; }",
    );
    let pairs = FAMILIES.map(|at| (site.out(&at, 443), site.out(&at, 444)));
    for (allowed, _) in &pairs {
        let seen = allowed.acceptor.peer_addr().expect("an address").ip();
        assert!(["10.9.0.1", "fd09::1"].contains(&seen.to_string().as_str()), "{seen}");
    }
    site.agent.ctl().apply(RULES, &[]);
    for (allowed, forbidden) in &pairs {
        allowed.goes_on();
        forbidden.is_dead();
    }
    assert_eq!(site.flows(), owned(&[("egress", 443), ("egress", 443)]));
}

/// The uplink sees the port that was published, and the container another one.
#[test]
fn published_ports() {
    let site = Site::new(
        "chain incoming { type nat hook prerouting priority -100;
            ip daddr 10.9.0.1 tcp dport 2222 dnat ip to 10.1.0.2:22
            ip daddr 10.9.0.1 tcp dport 2223 dnat ip to 10.1.0.2:23
            ip6 daddr fd09::1 tcp dport 2222 dnat ip6 to [fd01::2]:22
            ip6 daddr fd09::1 tcp dport 2223 dnat ip6 to [fd01::2]:23; }",
    );
    let pairs = FAMILIES.map(|at| {
        let host: IpAddr =
            if at.instance.is_ipv4() { "10.9.0.1" } else { "fd09::1" }.parse().expect("one");
        let into = |port, inner| site.inward(&at, SocketAddr::new(host, port), inner);
        (into(2222, 22), into(2223, 23))
    });
    site.agent.ctl().apply(RULES, &[]);
    for (allowed, forbidden) in &pairs {
        allowed.goes_on();
        forbidden.is_dead();
    }
    assert_eq!(site.flows(), owned(&[("ingress", 2222), ("ingress", 2222)]));
}

/// Nothing is translated: neither end is an address of the machine that filters.
#[test]
fn routed_guests() {
    let site = Site::new("");
    let pairs = FAMILIES.map(|at| {
        let into = |port| site.inward(&at, at.instance_port(port), port);
        ([site.out(&at, 443), into(22)], [site.out(&at, 444), into(23)])
    });
    site.agent.ctl().apply(RULES, &[]);
    for (allowed, forbidden) in &pairs {
        allowed.iter().for_each(Pair::goes_on);
        forbidden.iter().for_each(Pair::is_dead);
    }
    let two = [("egress", 443), ("egress", 443), ("ingress", 22), ("ingress", 22)];
    assert_eq!(site.flows(), owned(&two));
}

/// Conntrack begins to look when connections are there already, and takes whoever speaks first for the opener.
/// Then their ports tell.
#[test]
fn tracked_from_the_middle() {
    let site = Site::without_conntrack();
    let pairs = FAMILIES.map(|at| {
        let into = |port| site.inward(&at, at.instance_port(port), port);
        ([site.out(&at, 443), into(22)], [site.out(&at, 444), into(23)])
    });
    site.track("");
    for (allowed, forbidden) in &pairs {
        allowed.iter().chain(forbidden).for_each(Pair::goes_on);
    }
    site.agent.ctl().apply(RULES, &[]);
    for (allowed, forbidden) in &pairs {
        allowed.iter().for_each(Pair::goes_on);
        forbidden.iter().for_each(Pair::is_dead);
    }
    let two = [("egress", 443), ("egress", 443), ("ingress", 22), ("ingress", 22)];
    assert_eq!(site.flows(), owned(&two));
}

/// A service of the machine itself behind a redirection: its socket has another port than the wire.
#[test]
fn redirected_ports() {
    let site = Site::new(
        "chain incoming { type nat hook prerouting priority -100;
            tcp dport 2222 redirect to :22
            tcp dport 2223 redirect to :23; }",
    );
    let router = site.topology.router.as_ref().expect("a router");
    let pair = |port, inner| {
        let host = |port| SocketAddr::new([10, 9, 0, 1].into(), port);
        Pair::open(&site.topology.remote, V4.remote, host(port), router, host(inner))
    };
    let (allowed, forbidden) = (pair(2222, 22), pair(2223, 23));
    site.agent.ctl().apply(RULES, &[]);
    allowed.goes_on();
    forbidden.is_dead();
    assert_eq!(site.flows(), owned(&[("ingress", 2222)]));
}
/// Frames of bridged guests pass no conntrack. Who opened a connection is then told by its ports, and the
/// pickup lets it go on, whichever side speaks next.
#[test]
fn bridged_guests() {
    let topology = Topology::new(Role::Host);
    let machine = NetNs::new("machine");
    let Topology { remote, instance, .. } = &topology;
    // The wire between the two is cut, and the machine's bridge put in its place.
    remote.ip("link del dev up0");
    sg_tests::topology::connect(remote, "up0", &machine, "eth1");
    sg_tests::topology::connect(&machine, "tap0", instance, "nic0");
    machine.ip("link add name br0 type bridge
         link set dev eth1 master br0
         link set dev tap0 master br0
         link set dev br0 up");
    sg_tests::topology::number(remote, "up0", &[V4.remote]);
    sg_tests::topology::number(instance, "nic0", &[V4.instance]);
    remote.ip("-4 route add 10.1.0.0/24 dev up0");
    instance.ip("-4 route add 10.9.0.0/24 dev nic0");
    let out = |port| {
        let called = V4.remote_port(port);
        Pair::open(instance, V4.instance, called, remote, called)
    };
    let into = |port| {
        let called = V4.instance_port(port);
        Pair::open(remote, V4.remote, called, instance, called)
    };
    let (allowed, forbidden) = ([out(443), into(22)], [out(444), into(23)]);
    let agent = Agent::start(&machine, &[]);
    let entries = "[[interface]]\nname = \"tap0\"\nrole = \"port\"\naddresses = [\"10.1.0.2\"]\n\
                   groups = [\"narrow\"]\n";
    let rules = RULES.replace("pickup = 0", "pickup = 30").replace("\"up1\"", "\"eth1\"");
    agent.ctl().apply(&format!("{rules}{entries}"), &[]);
    allowed.iter().for_each(Pair::goes_on);
    forbidden.iter().for_each(Pair::is_dead);
}
