//! Rows: a frame, what is beside it, and what it gets; of guests and of packet sockets.

use std::io;

use sg_tests::{
    Counts, Datapath, Role, World, eventually,
    probe::{
        Link,
        craft::{BROADCAST, Mac, Path, TCP, UDP},
        vnet::{Header, TCP4, TCP6, UFO},
    },
    topology::mac,
};

use crate::{
    frames::{OUT, OUT6, TRANSPORT4, TRANSPORT6, checksum, cut, framed, plain_udp},
    site::{GROUP, GUEST, Site, datapaths},
};

/// A frame, what is beside it, what its bytes alone get, and what it gets.
struct Row {
    name: &'static str,
    header: Header,
    frame: Vec<u8>,
    by_bytes: &'static str,
    gets: &'static str,
}

/// Frames from one machine to the other, each with other ports than those before it.
fn rows(from: Mac, to: Mac, path: Path, path6: Path) -> Vec<Row> {
    let port = std::cell::Cell::new(2000);
    let next = || {
        port.set(port.get() + 1);
        port.get()
    };
    let frame = |packet: &[u8]| framed(from, to, packet);
    let udp = |length: usize| frame(&path.packet(UDP, &path.udp(next(), 53, &vec![1; length])));
    let udp6 = |length: usize| frame(&path6.packet(UDP, &path6.udp(next(), 53, &vec![1; length])));
    let syn = || frame(&path.packet(TCP, &path.syn(next(), 80)));
    let syn6 = || frame(&path6.packet(TCP, &path6.syn(next(), 80)));
    let long = |mut segment: Vec<u8>| {
        segment.extend([1; 600]);
        segment
    };
    let bulk = || frame(&path.packet(TCP, &long(path.syn(next(), 80))));
    let bulk6 = || frame(&path6.packet(TCP, &long(path6.syn(next(), 80))));
    let row = |name, header, frame, by_bytes, gets| Row { name, header, frame, by_bytes, gets };
    let good = |name, header, frame| row(name, header, frame, "rule", "rule");
    let bad = |name, header, frame| row(name, header, frame, "rule", "malformed");
    let (t4, t6) = (TRANSPORT4, TRANSPORT6);
    let gre = || {
        frame(&path.packet(
            47,
            &[&[0, 0, 8, 0][..], &OUT.packet(UDP, &plain_udp((1, 2), &[0; 50]))].concat(),
        ))
    };
    vec![
        good("UDP", checksum(t4, 6), udp(50)),
        good("UDPv6", checksum(t6, 6), udp6(50)),
        good("SYN", checksum(t4, 16), syn()),
        good("SYNv6", checksum(t6, 16), syn6()),
        good("another start, the same place", checksum(t4 + 4, 2), udp(50)),
        good("a checksum in the payload, as of an inner packet", checksum(t4 + 8, 16), udp(50)),
        good("GRE with an inner checksum", checksum(t4 + 24, 6), gre()),
        bad("source port", checksum(t4, 0), udp(50)),
        bad("destination port", checksum(t4, 2), udp(50)),
        bad("length", checksum(t4, 4), udp(50)),
        bad("half of the checksum", checksum(t4, 5), udp(50)),
        bad("half of the checksum, half of the payload", checksum(t4, 7), udp(50)),
        bad("TCP's port", checksum(t4, 2), syn()),
        bad("TCP's flags", checksum(t4, 12), syn()),
        bad("UDP's place in TCP", checksum(t4, 6), syn()),
        bad("TCP's urgent pointer", checksum(t4, 18), syn()),
        bad("IPv4 source", checksum(26, 0), udp(50)),
        bad("IPv4 destination", checksum(30, 2), udp(50)),
        bad("IPv4 protocol", checksum(22, 0), udp(50)),
        bad("IPv4 checksum", checksum(22, 2), udp(50)),
        bad("IPv6 destination", checksum(38, 14), udp6(50)),
        good("TSO", Header { unfinished: Some((t4, 16)), ..cut(TCP4, 54, 200) }, bulk()),
        good("TSOv6", Header { unfinished: Some((t6, 16)), ..cut(TCP6, 74, 200) }, bulk6()),
        good("UFO", Header { unfinished: Some((t4, 6)), ..cut(UFO, 42, 200) }, udp(600)),
        bad(
            "UFO, TCP's checksum place",
            Header { unfinished: Some((t4, 2)), ..cut(UFO, 42, 200) },
            udp(600),
        ),
        bad(
            "UFO in fragments without ports",
            Header { unfinished: Some((t4, 6)), ..cut(UFO, 42, 4) },
            udp(600),
        ),
    ]
}

/// Runs rows; `behind_xdp`: XDP has counted what it saw before TC looks.
#[track_caller]
fn check(
    rows: &[Row],
    behind_xdp: bool,
    direction: &str,
    run: impl Fn(&Row) -> io::Result<Counts>,
) {
    let mut wrong = vec![];
    for row in rows {
        let counts = match run(row) {
            Ok(counts) => counts,
            Err(error) => {
                wrong.push(format!("{}: not sent: {error}", row.name));
                continue;
            }
        };
        let mut expected = vec![row.gets];
        if behind_xdp && row.by_bytes != row.gets {
            expected.push(row.by_bytes);
        }
        let all = ["rule", "malformed", "no_rule", "not_syn", "source_check", "fragment", "flow"];
        for reason in all {
            let found = counts.get(&format!("{direction} {reason}"));
            if found != u64::from(expected.contains(&reason)) {
                wrong.push(format!("{}: {counts}, not {expected:?}", row.name));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_a_guest_may_ask_for() {
    for datapath in datapaths() {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let rows = rows(mac(GUEST), mac("port0"), OUT, OUT6);
        check(&rows, datapath.contains("xdp"), "egress", |row| {
            site.of_guest(|tap| tap.send(row.header, &row.frame))
        });
    }
}

/// A container behind a veth, and a peer of a host's own veth.
fn what_a_packet_socket_may_ask_for(role: Role, datapath: Datapath) {
    let world = World::new(role, datapath);
    world.apply(&["some"], GROUP);
    let (namespace, interface, path, path6, direction) = match role {
        Role::Host => {
            let back = |path: Path| Path { source: path.destination, destination: path.source };
            (&world.remote, "up0", back(OUT), back(OUT6), "ingress")
        }
        Role::Port => (&world.instance, "nic0", OUT, OUT6, "egress"),
    };
    let link = Link::open_with_headers(namespace, interface);
    let rows: Vec<_> = rows(mac(interface), BROADCAST, path, path6)
        .into_iter()
        // The sending end cuts segments of a packet socket.
        .filter(|row| row.header.segments.is_none())
        .collect();
    check(&rows, datapath == Datapath::Xdp, direction, |row| {
        let before = world.counters();
        link.send_with(row.header, &row.frame)?;
        let count = || world.counters().all_since(&before).of_direction(direction);
        // Native XDP takes them a moment later.
        eventually("the frame is judged", || {
            count().get(&format!("{direction} {}", row.gets)) != 0
        });
        Ok(count())
    });
}

#[test]
fn packet_sockets_toward_a_host_tc() {
    what_a_packet_socket_may_ask_for(Role::Host, Datapath::Tc);
}

#[test]
fn packet_sockets_toward_a_host_xdp() {
    what_a_packet_socket_may_ask_for(Role::Host, Datapath::Xdp);
}

#[test]
fn packet_sockets_of_a_port_tc() {
    what_a_packet_socket_may_ask_for(Role::Port, Datapath::Tc);
}

#[test]
fn packet_sockets_of_a_port_xdp() {
    what_a_packet_socket_may_ask_for(Role::Port, Datapath::Xdp);
}

/// On the way out, too: what a router hands on, and what a host's own packet socket sends.
#[test]
fn what_goes_out_is_held_to_it() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["some"], GROUP);
    let link = Link::open_with_headers(&world.instance, "nic0");
    let rows = rows(mac("nic0"), BROADCAST, OUT, OUT6);
    check(&rows, false, "egress", |row| {
        let before = world.counters();
        link.send_with(row.header, &row.frame)?;
        Ok(world.counters().all_since(&before).of_direction("egress"))
    });
}
