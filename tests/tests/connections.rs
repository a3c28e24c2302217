//! The life of TCP connections by real stacks.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use sg_tests::{
    Addresses, FAMILIES, NetNs, Role, V4, World, eventually, matrix,
    probe::{Outcome, PATIENCE, tcp},
    topology::mac,
};
use socket2::{Domain, SockRef, Socket, Type};

/// Port 80 from the remote network, and its port 4000 from here.
const WEB: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
egress = [{ protocol = "tcp", ports = 4000, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
"#;

/// Client from port 4000, and server on port 80.
fn pair(world: &World, at: Addresses) -> (TcpStream, TcpStream) {
    let listener = socket(&world.instance, at.instance_port(80));
    listener.listen(1).expect("a listener");
    let listener = TcpListener::from(listener);
    let client = socket(&world.remote, at.remote_port(4000));
    client.connect_timeout(&at.instance_port(80).into(), PATIENCE).expect("a connection");
    let (server, _) = listener.accept().expect("the connection");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (client.into(), server)
}

/// A socket on an address that is free at once when it is closed.
fn socket(namespace: &NetNs, at: SocketAddr) -> Socket {
    let bound = || -> io::Result<Socket> {
        let socket = namespace.run(|| Socket::new(Domain::for_address(at), Type::STREAM, None))?;
        socket.set_reuse_address(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.bind(&at.into())?;
        Ok(socket)
    };
    bound().unwrap_or_else(|error| panic!("{at}: {error}"))
}

/// State of the flow between the two ports, and the seconds that it has left.
fn flow(world: &World, at: Addresses) -> Option<(String, u64)> {
    let flows = world.ctl().flows();
    let found = flows.into_iter().find(|flow| {
        let ends = [(flow.src, flow.sport), (flow.dst, flow.dport)];
        ends.contains(&(at.remote, 4000)) && ends.contains(&(at.instance, 80))
    });
    found.map(|flow| (flow.state, flow.expires_s))
}

fn is(world: &World, at: Addresses, state: &str, seconds: u64) {
    eventually(&format!("the flow is {state}"), || {
        flow(world, at)
            .is_some_and(|flow| flow.0 == state && (seconds / 2..=seconds).contains(&flow.1))
    });
}

/// Ends without a trace in either stack, so that the ports are free.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
}

matrix! {
    /// The side that has not closed goes on sending, either one.
    fn half_closed(world) {
        world.apply(&["web"], WEB);
        for at in FAMILIES {
            for server_closes in [false, true] {
                let (client, server) = pair(world, at);
                is(world, at, "established", 432_000);
                let (mut closes, mut sends) =
                    if server_closes { (server, client) } else { (client, server) };
                closes.write_all(b"last words").expect("data");
                closes.shutdown(Shutdown::Write).expect("a FIN");
                let mut heard = String::new();
                sends.read_to_string(&mut heard).expect("all there is");
                assert_eq!(heard, "last words");
                is(world, at, "closing", 120);
                let data = vec![7; 1 << 20];
                let ((), counts) = world.counted(|| {
                    thread::scope(|scope| {
                        scope.spawn(|| sends.write_all(&data).expect("data"));
                        let mut received = vec![0; data.len()];
                        closes.read_exact(&mut received).expect("data");
                        assert!(received == data);
                    });
                });
                counts.are(&["ingress flow", "egress flow"]);
                reset(sends);
                reset(closes);
                is(world, at, "reset", 120);
            }
        }
    }

    /// The same ports again, at once: after a reset, and after an end.
    fn ports_are_used_again(world) {
        world.apply(&["web"], WEB);
        for at in FAMILIES {
            for round in 0..3 {
                let ((client, mut server), counts) = world.counted(|| pair(world, at));
                assert_eq!(counts.get("ingress rule"), 1, "{counts}");
                is(world, at, "established", 432_000);
                if round == 1 {
                    client.shutdown(Shutdown::Write).expect("a FIN");
                    assert_eq!(server.read(&mut [0; 8]).expect("an end"), 0);
                    is(world, at, "closing", 120);
                }
                reset(client);
                reset(server);
                is(world, at, "reset", if round == 1 { 120 } else { 10 });
            }
        }
    }

    /// A refused connection leaves nothing, and its ports may be used at once.
    fn refused(world) {
        world.apply(&["web"], WEB);
        for at in FAMILIES {
            let outcome = tcp::attempt(&world.remote, at.remote, at.instance_port(80), PATIENCE);
            assert_eq!(outcome, Outcome::Refused);
            let flows = world.ctl().flows();
            assert!(!flows.iter().any(|flow| flow.dst == at.instance), "{flows:?}");
            let (client, server) = pair(world, at);
            reset(client);
            reset(server);
        }
    }

    /// Both connect, neither listens, and both SYNs are on the way before either arrives.
    fn simultaneous_open(world) {
        world.apply(&["web"], WEB);
        let at = V4;
        // Nobody tells the remote machine its gateway's MAC address, so its SYN waits for it.
        let (gateway, far, name) = match world.role {
            Role::Host => (at.instance, &world.instance, "nic0"),
            Role::Port => (IpAddr::from([10, 9, 0, 1]), world.router(), "up1"),
        };
        far.sysctl(&format!("ipv4/conf/{name}/arp_ignore"), "8");
        world.remote.sysctl("ipv4/neigh/up0/mcast_solicit", "60");
        let knows = |namespace: &NetNs, address: IpAddr, end: &str, device: &str| {
            let mac = mac(end).map(|byte| format!("{byte:02x}")).join(":");
            let entry = format!("{address} lladdr {mac} dev {device} nud permanent");
            namespace.ip(&format!("neighbour replace {entry}"));
        };
        // Its question would be the answer.
        knows(far, at.remote, "up0", name);
        let remote = socket(&world.remote, at.remote_port(4000));
        let instance = socket(&world.instance, at.instance_port(80));
        let (_, counts) = world.counted(|| {
            thread::scope(|scope| {
                let there = scope
                    .spawn(|| remote.connect_timeout(&at.instance_port(80).into(), PATIENCE));
                eventually("the SYN waits", || {
                    world.remote.shows("neighbour").contains(&format!("{gateway} dev up0 INCOMPLETE"))
                });
                let here = scope
                    .spawn(|| instance.connect_timeout(&at.remote_port(4000).into(), PATIENCE));
                // The instance's SYN has arrived, and the other one is yet to go out.
                eventually("the first SYN came", || world.counters().get("egress rule") == 1);
                knows(&world.remote, gateway, name, "up0");
                there.join().expect("no panic").expect("a connection");
                here.join().expect("no panic").expect("a connection");
            });
        });
        // The second SYN is the first one's flow.
        assert_eq!((counts.get("egress rule"), counts.get("ingress rule")), (1, 0), "{counts}");
        let (remote, instance): (TcpStream, TcpStream) = (remote.into(), instance.into());
        for (mut sends, mut receives) in [(&remote, &instance), (&instance, &remote)] {
            sends.write_all(b"both").expect("data");
            let mut heard = [0; 4];
            receives.read_exact(&mut heard).expect("data");
            assert_eq!(&heard, b"both");
        }
        is(world, at, "established", 432_000);
    }
}
