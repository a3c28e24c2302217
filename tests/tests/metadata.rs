//! Guests and containers that say beside a packet's bytes what the kernel is to do to it. What is expected is
//! written by hand: a verdict, and what arrives.
//!
//! ```text
//! tap:   remote [up0] == [up1] router [port0] -- a test's descriptor
//! veth:  as in every other test, and a packet socket at the far end
//! ```
//!
//! `up1` finishes checksums and segments in software.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
};

use sg_tests::{
    Agent, Counts, Datapath, NetNs, Role, V4, V6, World, eventually,
    probe::{
        Link, PATIENCE, SILENCE,
        craft::{self, BROADCAST, ICMPV6, Mac, Path, TCP, UDP, arp, ethernet},
        vnet::{Header, TCP4, TCP6, Tap, UFO, USO},
    },
    topology::{connect, mac, number},
};

/// UDP to port 53, TCP to port 80 and echo requests, both ways.
const GROUP: &str = r#"[[security_group]]
name = "some"
ingress = [
  { protocol = "udp", ports = 53, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = "tcp", ports = 80, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = 47, cidrs = ["0.0.0.0/0"] },
]
egress = [
  { protocol = "udp", ports = 53, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = "tcp", ports = 80, cidrs = ["0.0.0.0/0", "::/0"] },
  { protocol = 47, cidrs = ["0.0.0.0/0"] },
]
"#;
const NOTHING: &str = "[[security_group]]\nname = \"some\"\negress = []\n";

const GUEST: &str = "guest";

/// A router with a guest on a tap.
struct Site {
    agent: Agent,
    tap: Tap,
    remote: NetNs,
    router: NetNs,
    /// Line of the entry.
    datapath: &'static str,
}

impl Site {
    fn new(datapath: &'static str) -> Self {
        let (remote, router) = (NetNs::new("remote"), NetNs::new("router"));
        connect(&remote, "up0", &router, "up1");
        number(&remote, "up0", &[V4.remote, V6.remote]);
        let tap = Tap::open(&router, "port0");
        let address = mac("port0").map(|byte| format!("{byte:02x}")).join(":");
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv6/conf/all/forwarding", "1");
        router.sysctl("ipv6/conf/port0/accept_dad", "0");
        router.ip(&format!("link set dev port0 address {address} up"));
        router.ip("address add 10.1.0.1/24 dev port0
             address add 10.9.0.1/24 dev up1
             address add fd01::1/64 dev port0 nodad
             address add fd09::1/64 dev up1 nodad");
        remote.ip("-4 route add 10.9.0.1 dev up0
             -4 route add default via 10.9.0.1
             -6 route add fd09::/64 dev up0
             -6 route add default via fd09::1");
        let off = ["-K", "up1", "tx", "off", "tso", "off", "gso", "off"];
        assert!(router.succeeds("ethtool", &off), "ethtool");
        let agent = Agent::start(&router, &[]);
        Self { agent, tap, remote, router, datapath }
    }

    fn apply(&self, group: &str) {
        let mac = mac(GUEST).map(|byte| format!("{byte:02x}")).join(":");
        let entry = format!(
            "[[interface]]\nname = \"port0\"\nrole = \"port\"\ngroups = [\"some\"]\nmac = \"{mac}\"\n\
             addresses = [\"{}\", \"{}\"]\n{}\n",
            V4.instance, V6.instance, self.datapath
        );
        self.agent.ctl().apply(&format!("{group}{entry}"), &[]);
    }

    fn counters(&self) -> Counts {
        Counts::of(&self.agent.ctl().status(), "port0")
    }

    /// Sends a frame; what was counted of it.
    #[track_caller]
    fn counted(&self, header: Header, frame: &[u8]) -> Counts {
        let before = self.counters();
        self.tap.send(header, frame).expect("a header that the kernel takes");
        self.counters().all_since(&before).of_direction("egress")
    }

    /// A socket of the remote machine.
    fn listens(&self, port: u16) -> UdpSocket {
        let at = SocketAddr::new(V4.remote, port);
        self.remote.run(|| UdpSocket::bind(at)).expect("a socket")
    }
}

/// What arrives at a socket, in time.
fn received(socket: &UdpSocket, patience: std::time::Duration) -> Option<Vec<u8>> {
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    let mut data = vec![0; 65536];
    match socket.recv(&mut data) {
        Ok(length) => Some(data[..length].to_vec()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

const OUT: Path = Path { source: V4.instance, destination: V4.remote };
const OUT6: Path = Path { source: V6.instance, destination: V6.remote };
/// Offsets of the transport header.
const TRANSPORT4: u16 = 34;
const TRANSPORT6: u16 = 54;

fn framed(from: Mac, to: Mac, packet: &[u8]) -> Vec<u8> {
    craft::frame(from, to, packet)
}

/// RFC 1071, not inverted.
fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Bytes whose last two make the checksum of all of them `wanted`.
fn summing_up_to(mut bytes: Vec<u8>, wanted: u16) -> Vec<u8> {
    let end = bytes.len() - 2;
    bytes[end..].fill(0);
    let missing = (u32::from(!wanted) + 0xffff - u32::from(sum(&bytes))) % 0xffff;
    bytes[end..].copy_from_slice(&(missing as u16).to_be_bytes());
    assert_eq!(!sum(&bytes), wanted);
    bytes
}

/// A datagram in whose checksum field the sum over the pseudo header is, as its sender leaves it.
fn unfinished_udp(ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut datagram = plain_udp(ports, data);
    let pseudo = match (V4.instance, V4.remote) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        _ => unreachable!("IPv4"),
    };
    let length = u16::try_from(datagram.len()).expect("it fits");
    let pseudo = [&pseudo[..], &[0, UDP], &length.to_be_bytes()].concat();
    datagram[6..8].copy_from_slice(&sum(&pseudo).to_be_bytes());
    datagram
}

/// A datagram without a checksum.
fn plain_udp((from, to): (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut datagram = OUT.udp(from, to, data);
    datagram[6..8].fill(0);
    datagram
}

const DHCP: (u16, u16) = (68, 67);

/// `auto` takes TC on a tap; the others are asked for.
const DATAPATHS: [&str; 3] = ["", "datapath = \"tc\"", "datapath = \"xdp\""];

/// A checksum over the destination port: the verdict was on another one.
fn no_port_is_written(datapath: &'static str) {
    let site = Site::new(datapath);
    let denied = site.listens(7777);
    for (group, ports) in [(NOTHING, DHCP), (GROUP, (1000, 53))] {
        site.apply(group);
        let datagram = summing_up_to(plain_udp(ports, b"smuggled.."), 7777);
        let frame = framed(mac(GUEST), mac("port0"), &OUT.packet(UDP, &datagram));
        let header = Header { unfinished: Some((TRANSPORT4, 2)), ..Header::default() };
        let counts = site.counted(header, &frame);
        assert_eq!(counts.get("egress malformed"), 1, "{counts}");
        assert_eq!(received(&denied, SILENCE), None, "a port that no rule opens");
    }
}

#[test]
fn no_port_is_written_by_a_guest() {
    DATAPATHS.into_iter().for_each(no_port_is_written);
}

/// A checksum over the source address: the source check was on another one.
#[test]
fn no_address_is_written_by_a_guest() {
    for datapath in DATAPATHS {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let open = site.listens(53);
        // The second half of 10.1.0.2 becomes that of 10.1.9.9.
        let datagram = plain_udp((1000, 53), b"someone else..");
        let packet = OUT.packet(UDP, &datagram);
        let tail = summing_up_to(packet[14..].to_vec(), 0x0909);
        let frame = framed(mac(GUEST), mac("port0"), &[&packet[..14], &tail].concat());
        let header = Header { unfinished: Some((28, 0)), ..Header::default() };
        let counts = site.counted(header, &frame);
        assert_eq!(counts.get("egress malformed"), 1, "{counts}");
        assert_eq!(received(&open, SILENCE), None);
    }
}

/// Segmentation counts fragments from 0 again: a later one became a datagram of its own.
#[test]
fn no_fragment_becomes_a_datagram() {
    for datapath in DATAPATHS {
        let site = Site::new(datapath);
        let denied = site.listens(7777);
        for (group, ports) in [(NOTHING, DHCP), (GROUP, (1000, 53))] {
            site.apply(group);
            let first = plain_udp(ports, &[0; 2000])[..32].to_vec();
            let mut first = OUT.fragment(UDP, 99, 0, true, &first);
            // Nobody else takes it: its header's checksum is wrong.
            first[10] ^= 0x55;
            site.counted(Header::default(), &framed(mac(GUEST), mac("port0"), &first));
            let hidden = plain_udp((1000, 7777), &[0; 2000]);
            let later = OUT.fragment(UDP, 99, 32, false, &hidden);
            let header = Header { segments: Some((UFO, 34, 1472)), ..Header::default() };
            let counts = site.counted(header, &framed(mac(GUEST), mac("port0"), &later));
            let key = if datapath.contains("xdp") && group == NOTHING {
                // XDP drops it before: nothing is remembered of what is always let through.
                "egress fragment_unknown"
            } else {
                "egress malformed"
            };
            assert_eq!(counts.get(key), 1, "{counts}");
            assert_eq!(received(&denied, SILENCE), None, "a port that no rule opens");
        }
    }
}

/// What a datagram is to be cut into, its length, and the lengths that arrive.
type Case<'a> = (Option<(u8, u16, u16)>, usize, &'a [usize]);

/// Honest packets arrive, finished by the kernel: one by one, in segments of datagrams, in fragments.
#[test]
fn a_guest_with_offloads_is_served() {
    for datapath in DATAPATHS {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let open = site.listens(53);
        let own = Some((TRANSPORT4, 6));
        let cases: [Case<'_>; 3] = [
            (None, 100, &[100]),
            (Some((USO, 42, 1000)), 2500, &[1000, 1000, 500]),
            (Some((UFO, 42, 1000)), 2500, &[2500]),
        ];
        for (segments, length, arrives) in cases {
            let datagram = unfinished_udp((1000, 53), &vec![7; length]);
            let frame = framed(mac(GUEST), mac("port0"), &OUT.packet(UDP, &datagram));
            let header = Header { unfinished: own, segments };
            if let Err(error) = site.tap.send(header, &frame) {
                // Linux 6.1 has no USO.
                assert_eq!(segments.map(|(kind, ..)| kind), Some(USO), "{error}");
                continue;
            }
            for length in arrives {
                let data = received(&open, PATIENCE).expect("a datagram");
                assert_eq!((data.len(), data[0]), (*length, 7), "{segments:?}");
            }
        }
    }
}

/// A frame, what is beside it, what its bytes alone get, and what it gets.
struct Row {
    name: &'static str,
    header: Header,
    frame: Vec<u8>,
    by_bytes: &'static str,
    gets: &'static str,
}

fn checksum(start: u16, offset: u16) -> Header {
    Header { unfinished: Some((start, offset)), ..Header::default() }
}

fn cut(kind: u8, headers: u16, size: u16) -> Header {
    Header { unfinished: None, segments: Some((kind, headers, size)) }
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
    for datapath in DATAPATHS {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let rows = rows(mac(GUEST), mac("port0"), OUT, OUT6);
        check(&rows, datapath.contains("xdp"), "egress", |row| {
            let before = site.counters();
            site.tap.send(row.header, &row.frame)?;
            Ok(site.counters().all_since(&before).of_direction("egress"))
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
        // What a packet socket sends in segments, the sending end cuts.
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

/// TCP's segments of a datagram, and the other way round; and a frame that the kernel takes for IPv4 that is none.
#[test]
fn segments_of_another_protocol() {
    for datapath in DATAPATHS {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let own = mac(GUEST);
        let udp = framed(own, mac("port0"), &OUT.packet(UDP, &OUT.udp(3000, 53, &[1; 600])));
        let mut segment = OUT.syn(3001, 80);
        segment.extend([1; 600]);
        let syn = framed(own, mac("port0"), &OUT.packet(TCP, &segment));
        for (header, frame) in [
            (Header { unfinished: Some((TRANSPORT4, 6)), ..cut(TCP4, 54, 200) }, &udp),
            (Header { unfinished: Some((TRANSPORT4, 16)), ..cut(UFO, 42, 200) }, &syn),
            (Header { unfinished: Some((TRANSPORT4, 16)), ..cut(TCP6, 54, 200) }, &syn),
        ] {
            let before = site.counters();
            // Newer kernels refuse some by themselves.
            if site.tap.send(header, frame).is_ok() {
                let counts = site.counters().all_since(&before).of_direction("egress");
                assert_eq!(counts.get("egress malformed"), 1, "{header:?}: {counts}");
            }
        }
    }
}

/// Neither a claim in ARP nor one in neighbour discovery changes after the source check.
#[test]
fn no_claim_is_written_by_a_guest() {
    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));
    for datapath in DATAPATHS {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let own = mac(GUEST);
        let message = arp(2, (own, V4.instance), (mac("port0"), GATEWAY));
        let claim = ethernet(own, mac("port0"), 0x0806, &[&message[..], &[0; 18]].concat());
        // The sender's address is at 28 of the frame.
        for (start, offset, key) in [
            (28, 0, "egress malformed"),
            (20, 2, "egress malformed"),
            (26, 6, "egress malformed"),
            // Behind the message, in padding.
            (30, 12, "egress exempt"),
        ] {
            let counts = site.counted(checksum(start, offset), &claim);
            assert_eq!(counts.get(key), 1, "{start} {offset}: {counts}");
        }
        let counts = site.counted(Header::default(), &claim);
        assert_eq!(counts.get("egress exempt"), 1, "{counts}");
        let source = IpAddr::V6(craft::link_local(own));
        let target = [&[0x60, 0, 0, 0][..], &v6_octets(V6.instance), &[2, 1], &own].concat();
        let path = Path { source, destination: V6.remote };
        let advertisement = path.packet(ICMPV6, &path.icmp(136, &target));
        let frame = framed(own, mac("port0"), &advertisement);
        for (offset, key) in [
            (2, "egress exempt"),
            (22, "egress malformed"),
            (8, "egress malformed"),
            (28, "egress malformed"),
        ] {
            let counts = site.counted(checksum(TRANSPORT6, offset), &frame);
            assert_eq!(counts.get(key), 1, "{offset}: {counts}");
        }
    }
}

fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(_) => panic!("an IPv6 address"),
    }
}

/// `status` says which hook judges, and why.
#[test]
fn status_says_why() {
    for (datapath, hook, reason) in [
        ("", "tcx", "XDP does not see"),
        ("datapath = \"tc\"", "tcx", "datapath = \"tc\""),
        ("datapath = \"xdp\"", "xdp", "TC for what XDP does not see"),
    ] {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let status = site.agent.ctl().status();
        let shown = &status.interfaces[0];
        // Without TCX, before Linux 6.6.
        let hook = if hook == "tcx" && shown.datapath == "tc" { "tc" } else { hook };
        assert_eq!(shown.datapath, hook);
        assert!(shown.datapath_reason.contains(reason), "{}", shown.datapath_reason);
        assert!(site.router.succeeds("ip", &["link", "show", "port0"]));
    }
}
