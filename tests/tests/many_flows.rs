//! Many flows at once, by real sockets: none is in another one's way.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr},
    os::unix::net::UnixStream,
    path::Path,
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use sg_tests::{
    Datapath, FAMILIES, Role, V4, World, matrix,
    probe::{
        Link,
        craft::{self, UDP},
        udp,
    },
    topology::mac,
};

matrix! {
    fn each_of_many_flows_has_its_answers(world) {
        world.apply(&["in"], r#"
            [[security_group]]
            name = "in"
            ingress = [{ protocol = "udp", ports = 53, cidrs = ["10.9.0.0/16", "fd09::/16"] }]
            egress = []
        "#);
        for at in FAMILIES {
            let _server = udp::serve(&world.instance, at.instance_port(53));
            let ((), counts) = world.counted(|| {
                let flows: Vec<_> =
                    (0..300).map(|_| udp::open(&world.remote, at.remote, at.instance_port(53))).collect();
                for flow in flows.iter().chain(&flows) {
                    flow.passes();
                }
            });
            counts.exactly(&[("ingress rule", 300), ("ingress flow", 300), ("egress flow", 600)]);
        }
    }
}

/// Flows in the table when it is listed.
const MANY: u32 = 150_000;
const LISTERS: usize = 12;
/// KiB more that the agent may take meanwhile: each lister has a part of the answer and what its socket takes.
const MORE: u64 = 64 << 10;

/// Reads a list of all flows as slowly as the others; how many there are.
fn list(socket: &Path, all_read: &Barrier) -> usize {
    let mut stream = UnixStream::connect(socket).expect("the agent's socket");
    let request = "GET /v1/flows HTTP/1.1\r\nHost: sg-agent\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("room in the socket");
    let (mut piece, mut flows) = (vec![0; 1 << 16], 0);
    for number in 0.. {
        if number == 1 {
            all_read.wait();
        }
        let length = stream.read(&mut piece).expect("an answer");
        if length == 0 {
            break;
        }
        // One for each flow, and none elsewhere.
        flows += piece[..length].iter().filter(|byte| **byte == b'{').count();
    }
    flows
}

/// The list is read from the table as fast as it is taken.
#[test]
fn those_who_list_many_flows_take_little_memory() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(
        &["in"],
        r#"
        [[security_group]]
        name = "in"
        ingress = [{ protocol = "udp", ports = 53, cidrs = ["10.0.0.0/8"] }]
        egress = []
        "#,
    );
    let link = Link::open(&world.remote, "up0");
    for number in 0..MANY {
        let [_, a, b, c] = number.to_be_bytes();
        let source: IpAddr = Ipv4Addr::new(10, 64 | a, b, c).into();
        let path = craft::Path { source, destination: V4.instance };
        let datagram = path.packet(UDP, &path.udp(5000, 53, b"data"));
        link.send(&craft::frame([2, 0, 0, 0, 0, 9], mac("nic0"), &datagram));
    }
    let before = world.agent.rss();
    let (socket, barrier) = (world.agent.socket(), Barrier::new(LISTERS));
    let mut most = 0;
    thread::scope(|scope| {
        let listers: Vec<_> =
            (0..LISTERS).map(|_| scope.spawn(|| list(&socket, &barrier))).collect();
        while !listers.iter().all(ScopedJoinHandle::is_finished) {
            most = most.max(world.agent.rss());
            thread::sleep(Duration::from_millis(5));
        }
        for lister in listers {
            // A busy machine drops some of so many datagrams.
            let flows = lister.join().expect("no panic");
            assert!(flows > MANY as usize / 2, "{flows}");
        }
    });
    eprintln!("{before} KiB before, {most} at most");
    assert!(most < before + MORE, "{before} KiB before, {most} at most");
}
