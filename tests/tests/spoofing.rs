//! Port role: what an instance must not claim, by crafted frames, and what it must be able to do,
//! by its kernel.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};

use sg_tests::{
    FAMILIES, NetNs, V4, V6, World, eventually, ports,
    probe::{
        PATIENCE, SILENCE,
        craft::{self, BROADCAST, Mac, Path, UDP, arp, ethernet, extended, tagged},
        udp,
    },
    topology::mac,
};

/// Everything out, nothing in.
const ANY: &str = "[[security_group]]\nname = \"any\"\n";
/// Nothing at all.
const NOTHING: &str = "[[security_group]]\nname = \"any\"\negress = []\n";

/// An address of the instance's network, but not the instance's.
const SPOOFED4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 66));
const SPOOFED6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0x66));
const NONE4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const NONE6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const ALL4: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
const GATEWAY4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
const ALL_DHCP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

const INSTANCE: &str = "nic0";

/// A frame that an instance might send: what it is, and what it is counted as where nothing is
/// checked.
type Sent = (&'static str, Vec<u8>, &'static str);

fn own() -> Mac {
    mac(INSTANCE)
}

fn own_link_local() -> IpAddr {
    IpAddr::V6(craft::link_local(own()))
}

fn between(source: IpAddr, destination: IpAddr) -> Path {
    Path { source, destination }
}

/// From the instance's MAC address to everyone's.
fn framed(packet: &[u8]) -> Vec<u8> {
    craft::frame(own(), BROADCAST, packet)
}

fn datagram(source: IpAddr, destination: IpAddr, ports: (u16, u16)) -> Vec<u8> {
    let path = between(source, destination);
    framed(&path.packet(UDP, &path.udp(ports.0, ports.1, b"spoof")))
}

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Neighbour discovery (RFC 4861): four bytes of flags, the target, and the sender's MAC address.
fn neighbor(kind: u8, source: IpAddr, target: IpAddr) -> Vec<u8> {
    let IpAddr::V6(target) = target else { panic!("for IPv6") };
    let mut message = vec![0; 4];
    message.extend(target.octets());
    if source != NONE6 {
        message.extend([if kind == SOLICITATION { 1 } else { 2 }, 1]);
        message.extend(own());
    }
    icmpv6(kind, source, &message)
}

fn icmpv6(kind: u8, source: IpAddr, message: &[u8]) -> Vec<u8> {
    let path = between(source, ALL_NODES);
    framed(&path.packet(58, &path.icmp(kind, message)))
}

/// A router advertisement that gives addresses in fd01::/64 (RFC 4862).
fn advertisement(source: IpAddr) -> Vec<u8> {
    let path = between(source, ALL_NODES);
    let mut message = vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0];
    message.extend([0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0]);
    message.extend(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0).octets());
    path.packet(58, &path.icmp(134, &message))
}

/// Claims to be someone else.
fn claims() -> Vec<Sent> {
    let asked =
        |sender| ethernet(own(), BROADCAST, ARP, &arp(1, (own(), sender), ([0; 6], GATEWAY4)));
    let answered =
        |sender| ethernet(own(), BROADCAST, ARP, &arp(2, (own(), sender), ([0; 6], GATEWAY4)));
    let later = between(SPOOFED4, V4.remote).fragment(UDP, 1, 24, false, &[0; 8]);
    let (options, hidden) = extended(&[0, 60], 58, &advertisement(own_link_local())[40..]);
    let behind = between(own_link_local(), ALL_NODES).packet(options, &hidden);
    vec![
        ("IPv4", datagram(SPOOFED4, V4.remote, (7, 7)), "rule"),
        ("IPv4 in a VLAN", tagged(&[0x8100], &datagram(SPOOFED4, V4.remote, (8, 8))), "rule"),
        ("IPv4 later fragment", framed(&later), "fragment"),
        ("IPv4 from nowhere", datagram(NONE4, V4.remote, (7, 7)), "rule"),
        ("IPv4 broadcast", datagram(ALL4, V4.remote, (7, 7)), "rule"),
        ("IPv6", datagram(SPOOFED6, V6.remote, (7, 7)), "rule"),
        ("IPv6 from nowhere", datagram(NONE6, V6.remote, (7, 7)), "rule"),
        ("IPv6 multicast", datagram(ALL_NODES, V6.remote, (7, 7)), "rule"),
        ("ARP request", asked(SPOOFED4), "exempt"),
        ("ARP reply", answered(SPOOFED4), "exempt"),
        ("ARP in a VLAN", tagged(&[0x8100], &answered(SPOOFED4)), "exempt"),
        ("ARP for the gateway", answered(GATEWAY4), "exempt"),
        ("ND question", neighbor(SOLICITATION, SPOOFED6, GATEWAY6.into()), "exempt"),
        ("ND answer", neighbor(ADVERTISEMENT, own_link_local(), SPOOFED6), "exempt"),
        ("ND answer from another", neighbor(ADVERTISEMENT, SPOOFED6, V6.instance), "exempt"),
        ("ND for DAD", neighbor(SOLICITATION, NONE6, SPOOFED6), "exempt"),
        ("RA", framed(&advertisement(own_link_local())), "exempt"),
        ("RA behind options", framed(&behind), "exempt"),
        ("DHCPv4 server", datagram(V4.instance, ALL4, (67, 68)), "rule"),
        ("DHCPv4 server, other port", datagram(V4.instance, ALL4, (1067, 68)), "rule"),
        ("DHCPv6 server", datagram(own_link_local(), ALL_NODES, (547, 546)), "rule"),
        ("DHCPv6 server, other port", datagram(own_link_local(), ALL_NODES, (1547, 546)), "rule"),
    ]
}

const ARP: u16 = 0x0806;

/// Frames that the instance may send, whether its MAC address is known or not.
fn honest() -> Vec<Sent> {
    let says = |operation, sender, target| {
        ethernet(own(), BROADCAST, ARP, &arp(operation, (own(), sender), ([0; 6], target)))
    };
    vec![
        ("IPv4", datagram(V4.instance, V4.remote, (9, 9)), "rule"),
        ("IPv6", datagram(V6.instance, V6.remote, (9, 9)), "rule"),
        ("link-local", datagram(own_link_local(), GATEWAY6.into(), (9, 9)), "rule"),
        ("ARP request", says(1, V4.instance, GATEWAY4), "exempt"),
        ("gratuitous ARP", says(2, V4.instance, V4.instance), "exempt"),
        ("ARP probe", says(1, NONE4, V4.instance), "exempt"),
        ("ND question", neighbor(SOLICITATION, V6.instance, GATEWAY6.into()), "exempt"),
        ("ND answer", neighbor(ADVERTISEMENT, own_link_local(), V6.instance), "exempt"),
        ("DAD", neighbor(SOLICITATION, NONE6, V6.instance), "exempt"),
        ("DAD of the link-local", neighbor(SOLICITATION, NONE6, own_link_local()), "exempt"),
        ("RS from nowhere", icmpv6(133, NONE6, &[0; 4]), "exempt"),
        ("RS", icmpv6(133, own_link_local(), &[0; 4]), "exempt"),
        ("MLD from nowhere", icmpv6(143, NONE6, &[0; 4]), "exempt"),
        ("DHCPv4 client", datagram(NONE4, ALL4, (68, 67)), "exempt"),
        ("DHCPv6 client", datagram(own_link_local(), ALL_DHCP.into(), (546, 547)), "exempt"),
    ]
}

/// Each frame is counted under its reason, and none is dropped or passed that should not be; the
/// instance's kernel may send something of its own meanwhile.
#[track_caller]
fn each_gets<'a>(world: &World, sent: &'a [Sent], expected: impl Fn(&Sent) -> &'a str) {
    let link = world.from_instance();
    let mut wrong = Vec::new();
    for frame in sent {
        let before = world.counters();
        link.send(&frame.1);
        let counts = world.counters().all_since(&before).of_direction("egress");
        let reason = expected(frame);
        let count = |reason: &str| counts.get(&format!("egress {reason}"));
        let faults = match reason {
            "source_check" => ["rule", "fragment", "no_rule", "malformed"],
            _ => ["source_check", "non_ip", "no_rule", "malformed"],
        };
        let fault = faults.into_iter().any(|fault| count(fault) != 0);
        if count(reason) == 0 || fault {
            wrong.push(format!("{}: {counts}, not {reason}", frame.0));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn apply(world: &World, group: &str, more: &str) {
    world.ctl().apply(&format!("{}{more}", world.rules(&["any"], group)), &[]);
}

/// The entry's line that tells the instance's MAC address.
fn known_mac() -> String {
    format!("mac = \"{}\"\n", own().map(|byte| format!("{byte:02x}")).join(":"))
}

/// The line of `ip` for an address in its namespace.
fn shown(namespace: &NetNs, address: IpAddr) -> String {
    let all = namespace.shows("-o address show");
    let found = all.lines().find(|line| line.contains(&format!(" {address}/")));
    found.unwrap_or_default().to_owned()
}

/// The router has learnt who has an address.
fn knows(world: &World, address: IpAddr) -> bool {
    let family = if address.is_ipv4() { "-4" } else { "-6" };
    let neighbors = world.router().shows(&format!("{family} neighbour show dev port0"));
    neighbors
        .lines()
        .any(|line| line.starts_with(&format!("{address} ")) && line.contains("lladdr"))
}

/// A socket on an interface, as DHCP programs have it.
fn bound(namespace: &NetNs, device: &str, port: u16, any: IpAddr) -> UdpSocket {
    let at = SocketAddr::new(any, port);
    let opened = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
        socket.bind_device(Some(device.as_bytes()))?;
        if any.is_ipv4() {
            socket.set_broadcast(true)?;
        } else if port == 547 {
            socket.join_multicast_v6(&ALL_DHCP, if_nametoindex(device)?)?;
        }
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.bind(&at.into())?;
        Ok(socket.into())
    };
    namespace.run(opened).unwrap_or_else(|error| panic!("{device} {at}: {error}"))
}

/// The next datagram, and its sender.
#[track_caller]
fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut data = [0; 64];
    let (length, peer) = socket.recv_from(&mut data).expect("a message");
    (String::from_utf8_lossy(&data[..length]).into_owned(), peer)
}

/// Two questions and their answers; answers go to `to`, or to who asked.
#[track_caller]
fn lease(client: &UdpSocket, servers: SocketAddr, server: &UdpSocket, to: Option<SocketAddr>) {
    for (question, answer) in [("discover", "offer"), ("request", "ack")] {
        client.send_to(question.as_bytes(), servers).expect("a question");
        let (asked, asker) = receive(server);
        assert_eq!(asked, question);
        server.send_to(answer.as_bytes(), to.unwrap_or(asker)).expect("an answer");
        assert_eq!(receive(client).0, answer);
    }
}

ports! {
    /// Each claim is dropped, with the MAC address known and without.
    fn claims_are_dropped(world) {
        for more in [String::new(), known_mac()] {
            apply(world, ANY, &more);
            each_gets(world, &claims(), |_| "source_check");
        }
    }

    /// Where nothing is checked, the rules alone judge, and what is always let through is.
    fn unchecked(world) {
        apply(world, ANY, "source_check = false\n");
        let sent = claims();
        each_gets(world, &sent, |frame| frame.2);
    }

    /// An instance's own claims pass.
    fn honest_frames_pass(world) {
        for more in [String::new(), known_mac()] {
            // New flows each time.
            world.agent.ctl().run(&["flows", "flush"]).expect(0);
            apply(world, ANY, &more);
            let sent = honest();
            each_gets(world, &sent, |frame| frame.2);
        }
    }

    /// With the MAC address known, other ones are claims, and so are other link-local addresses.
    fn other_mac(world) {
        let foreign = [2, 0, 0, 0, 0, 9];
        let other_link_local = IpAddr::V6(craft::link_local(foreign));
        let path = between(V4.instance, V4.remote);
        let packet = path.packet(UDP, &path.udp(10, 10, b"spoof"));
        let hardware = arp(1, (foreign, V4.instance), ([0; 6], GATEWAY4));
        let sent = [
            ("Ethernet", craft::frame(foreign, BROADCAST, &packet), "rule"),
            ("ARP hardware", ethernet(own(), BROADCAST, ARP, &hardware), "exempt"),
            ("link-local", datagram(other_link_local, GATEWAY6.into(), (10, 10)), "rule"),
            ("ND for it", neighbor(SOLICITATION, NONE6, other_link_local), "exempt"),
            ("ND by it", neighbor(SOLICITATION, other_link_local, GATEWAY6.into()), "exempt"),
        ];
        apply(world, ANY, &known_mac());
        each_gets(world, &sent, |_| "source_check");
        apply(world, ANY, "");
        each_gets(world, &sent, |frame| frame.2);
    }

    /// Other frames pass neither way, checked or not.
    fn neither_ip_nor_arp(world) {
        let (lldp, rarp) = (0x88cc, 0x8035);
        for more in ["", "source_check = false\n"] {
            apply(world, ANY, more);
            for kind in [lldp, rarp] {
                let up = ethernet(own(), BROADCAST, kind, &[0; 46]);
                let down = ethernet(world.gateway_mac(), BROADCAST, kind, &[0; 46]);
                let ((), counts) = world.counted(|| {
                    world.from_instance().send(&up);
                    world.toward().send(&down);
                });
                counts.exactly(&[("egress non_ip", 1), ("ingress non_ip", 1)]);
            }
        }
    }

    /// A router learns the instance's own addresses from it, and no others.
    fn neighbours_learn_the_truth(world) {
        world.router().sysctl("ipv4/conf/port0/arp_accept", "1");
        let link = world.from_instance();
        for more in [String::new(), known_mac()] {
            apply(world, NOTHING, &more);
            world.router().ip("neighbour flush dev port0");
            for (four, six) in [(SPOOFED4, SPOOFED6), (V4.instance, V6.instance)] {
                let gratuitous = arp(1, (own(), four), ([0; 6], four));
                link.send(&ethernet(own(), BROADCAST, ARP, &gratuitous));
                link.send(&neighbor_question(world, six));
            }
            // In the order sent: the first ones are through when the last ones are.
            for at in FAMILIES {
                eventually("the own address is learnt", || knows(world, at.instance));
            }
            assert!(!knows(world, SPOOFED4) && !knows(world, SPOOFED6));
        }
    }

    /// The kernel's duplicate address detection ends well, and finds a duplicate.
    fn duplicate_address_detection(world) {
        world.instance.sysctl(&format!("ipv6/conf/{INSTANCE}/accept_dad"), "1");
        for more in [String::new(), known_mac()] {
            apply(world, NOTHING, &more);
            let again = |address: IpAddr| {
                // Absent the first time.
                let _ = world.instance.try_ip(&format!("address del {address}/128 dev {INSTANCE}"));
                world.instance.ip(&format!("address add {address}/128 dev {INSTANCE}"));
            };
            let settled = |address| {
                eventually("detection ends", || {
                    let shown = shown(&world.instance, address);
                    shown.contains("dadfailed") || !shown.contains("tentative")
                });
                shown(&world.instance, address)
            };
            let ((), counts) = world.counted(|| {
                again(V6.instance);
                let shown = settled(V6.instance);
                assert!(shown.contains("fd01::2/128") && !shown.contains("dadfailed"), "{shown}");
            });
            counts.exactly(&[]);

            // Question and answer pass, so a second owner is found.
            world.router().ip("address add fd01::2/128 dev port0 nodad");
            again(V6.instance);
            let shown = settled(V6.instance);
            assert!(shown.contains("dadfailed"), "{shown}");
            world.router().ip("address del fd01::2/128 dev port0");

            // For another's address it is a claim: not even asked.
            let ((), counts) = world.counted(|| {
                again(SPOOFED6);
                settled(SPOOFED6);
            });
            assert!(counts.get("egress source_check") > 0, "{counts}");
        }
    }

    /// A router's advertisement gives the instance an address that works.
    fn address_autoconfiguration(world) {
        let address = IpAddr::V6(craft::eui64([0xfd01, 0, 0, 0], own()));
        let _server = udp::serve(&world.remote, V6.remote_port(53));
        for more in [String::new(), known_mac()] {
            let rules = world.rules(&["any"], ANY).replace("fd01::2", &address.to_string());
            world.ctl().apply(&format!("{rules}{more}"), &[]);
            let frame = craft::frame(
                world.gateway_mac(),
                [0x33, 0x33, 0, 0, 0, 1],
                &advertisement(GATEWAY6.into()),
            );
            world.toward().send(&frame);
            eventually("an address", || {
                let shown = shown(&world.instance, address);
                shown.contains("dynamic") && !shown.contains("tentative")
            });
            udp::passes(&world.instance, address, V6.remote_port(53));
            udp::is_dropped(&world.instance, V6.instance, V6.remote_port(53));
            world.instance.ip(&format!("address del {address}/64 dev {INSTANCE}"));
        }
    }

    /// A machine without an address gets one by DHCP through a filter that allows nothing; it cannot
    /// serve others.
    fn dhcp(world) {
        let servers = SocketAddr::new(ALL4, 67);
        let clients = SocketAddr::new(ALL4, 68);
        let own4 = format!("{}/32 dev {INSTANCE}", V4.instance);
        for more in [String::new(), known_mac()] {
            apply(world, NOTHING, &more);
            world.instance.ip(&format!("address del {own4}"));
            {
                let client = bound(&world.instance, INSTANCE, 68, NONE4);
                let server = bound(world.router(), "port0", 67, NONE4);
                let ((), counts) =
                    world.counted(|| lease(&client, servers, &server, Some(clients)));
                counts.exactly(&[]);
            }
            world.instance.ip(&format!("address add {own4}"));
            for port in [67, 1067] {
                let server = bound(&world.instance, INSTANCE, port, NONE4);
                let client = bound(world.router(), "port0", 68, NONE4);
                is_not_served(world, &server, clients, &client);
            }
        }
    }

    fn dhcpv6(world) {
        let scoped = |namespace: &NetNs, device: &str, address, port| {
            let index = namespace.run(|| if_nametoindex(device)).expect("it is there");
            SocketAddr::V6(SocketAddrV6::new(address, port, 0, index))
        };
        for more in [String::new(), known_mac()] {
            apply(world, NOTHING, &more);
            {
                let client = bound(&world.instance, INSTANCE, 546, NONE6);
                let server = bound(world.router(), "port0", 547, NONE6);
                let servers = scoped(&world.instance, INSTANCE, ALL_DHCP, 547);
                let ((), counts) = world.counted(|| lease(&client, servers, &server, None));
                counts.exactly(&[]);
                // Relays and servers answer from other ports, too.
                let other = bound(world.router(), "port0", 1547, NONE6);
                let own = client.local_addr().expect("an address");
                let to = scoped(world.router(), "port0", craft::link_local(mac(INSTANCE)), own.port());
                other.send_to(b"offer", to).expect("an answer");
                let mut got = [0; 64];
                let (length, from) = client.recv_from(&mut got).expect("the answer");
                assert_eq!((&got[..length], from.port()), (&b"offer"[..], 1547));
            }
            for port in [547, 1547] {
                let server = bound(&world.instance, INSTANCE, port, NONE6);
                let client = bound(world.router(), "port0", 546, NONE6);
                let clients = scoped(&world.instance, INSTANCE, GATEWAY6, 546);
                is_not_served(world, &server, clients, &client);
            }
        }
    }

    /// The instance and its router talk by link-local addresses, within the rules.
    fn link_local_traffic(world) {
        let _server = udp::serve(world.router(), SocketAddr::new(NONE6, 53));
        let index = world.instance.run(|| if_nametoindex(INSTANCE)).expect("it is there");
        let gateway = |port| SocketAddr::V6(SocketAddrV6::new(GATEWAY6, port, 0, index));
        for more in [String::new(), known_mac()] {
            apply(world, ANY, &more);
            let ((), counts) =
                world.counted(|| udp::passes(&world.instance, NONE6, gateway(53)));
            counts.exactly(&[("egress rule", 1), ("ingress flow", 1)]);
            apply(world, NOTHING, &more);
            let ((), counts) =
                world.counted(|| udp::is_dropped(&world.instance, NONE6, gateway(53)));
            counts.exactly(&[("egress no_rule", 1)]);
        }
    }
}

/// Asks for the router's address by multicast to it alone, as from `source`.
fn neighbor_question(world: &World, source: IpAddr) -> Vec<u8> {
    let mut frame = neighbor(SOLICITATION, source, GATEWAY6.into());
    frame[..6].copy_from_slice(&world.gateway_mac());
    frame
}

/// A server's answer of the instance's goes nowhere.
#[track_caller]
fn is_not_served(world: &World, server: &UdpSocket, to: SocketAddr, client: &UdpSocket) {
    client.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let (got, counts) = world.counted(|| {
        server.send_to(b"offer", to).expect("an answer");
        client.recv(&mut [0; 64])
    });
    assert!(got.is_err(), "the answer came");
    counts.exactly(&[("egress source_check", 1)]);
}
