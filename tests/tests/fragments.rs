//! Crafted frames: fragments, IPv6 extension headers, VLAN tags.

use std::{net::UdpSocket, time::Duration};

use sg_tests::{
    Addresses, FAMILIES, V4, V6, World, matrix,
    probe::{
        PATIENCE, SILENCE,
        craft::{self, Path, TCP, UDP, extended, tagged},
    },
    topology::mac,
};

const SERVICES: &str = r#"
    [[security_group]]
    name = "services"
    ingress = [
      { protocol = "tcp", ports = 80, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
      { protocol = "udp", ports = 5000, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
    ]
    egress = []
"#;

/// The bytes behind a first fragment of 24 bytes.
const REST: &[u8] = &[7; 16];

fn path(at: Addresses) -> Path {
    Path { source: at.remote, destination: at.instance }
}

/// As it comes to the instance.
fn frame(world: &World, packet: &[u8]) -> Vec<u8> {
    craft::frame(world.gateway_mac(), mac("nic0"), packet)
}

/// One frame to the instance, counted once, under this reason.
#[track_caller]
fn gets_framed(world: &World, reason: &str, frame: &[u8]) {
    let link = world.toward();
    let ((), counts) = world.counted(|| link.send(frame));
    counts.of_direction("ingress").exactly(&[(&format!("ingress {reason}"), 1)]);
}

#[track_caller]
fn gets(world: &World, reason: &str, packet: &[u8]) {
    gets_framed(world, reason, &frame(world, packet));
}

/// The first 24 bytes of a datagram of 40 to this port.
fn first(path: Path, identification: u16, port: u16) -> Vec<u8> {
    let datagram = path.udp(identification, port, &[7; 32]);
    path.fragment(UDP, identification, 0, true, &datagram[..24])
}

fn last(path: Path, identification: u16) -> Vec<u8> {
    path.fragment(UDP, identification, 24, false, REST)
}

matrix! {
    /// Later fragments get what the first one got, and by nothing else.
    fn later_fragments_follow_the_first(world) {
        world.apply(&["services"], SERVICES);
        for at in FAMILIES {
            let path = path(at);
            gets(world, "fragment_unknown", &last(path, 1));
            gets(world, "rule", &first(path, 1, 5000));
            gets(world, "fragment", &last(path, 1));
            gets(world, "fragment", &path.fragment(UDP, 1, 32, true, REST));
            // Another datagram, sender, protocol, direction.
            gets(world, "fragment_unknown", &last(path, 2));
            gets(world, "fragment_unknown", &last(Path { source: at.other, ..path }, 1));
            gets(world, "fragment_unknown", &path.fragment(TCP, 1, 24, false, REST));
            let back = Path { source: at.instance, destination: at.remote };
            let link = world.from_instance();
            let answer = craft::frame(mac("nic0"), world.gateway_mac(), &last(back, 1));
            let ((), counts) = world.counted(|| link.send(&answer));
            counts.exactly(&[("egress fragment_unknown", 1)]);

            gets(world, "no_rule", &first(path, 3, 5001));
            gets(world, "fragment_unknown", &last(path, 3));
            gets(world, "malformed", &path.fragment(UDP, 1, 65528, false, REST));
        }
    }

    /// A first fragment that hides its transport header, and one that would overwrite it.
    fn tiny_fragments(world) {
        world.apply(&["services"], SERVICES);
        for at in FAMILIES {
            let path = path(at);
            let (syn, datagram) = (path.syn(4000, 80), path.udp(4000, 5000, &[7; 32]));
            let icmp = path.icmp_protocol();
            gets(world, "fragment_tiny", &path.fragment(TCP, 1, 0, true, &syn[..8]));
            gets(world, "fragment_tiny", &path.fragment(TCP, 1, 0, true, &syn[..16]));
            // Padding makes no header whole.
            let mut padded = frame(world, &path.fragment(TCP, 1, 0, true, &syn[..16]));
            padded.resize(100, 0);
            gets_framed(world, "fragment_tiny", &padded);
            gets(world, "fragment_tiny", &path.fragment(UDP, 1, 0, true, &datagram[..0]));
            gets(world, "fragment_tiny", &path.fragment(icmp, 1, 0, true, &[]));
            gets(world, "rule", &path.fragment(TCP, 2, 0, true, &[&syn[..], &[0; 4]].concat()));
            gets(world, "fragment_tiny", &path.fragment(TCP, 2, 8, false, REST));
            gets(world, "fragment", &path.fragment(TCP, 2, 24, false, REST));
        }
        // The header chain goes on in a later fragment (RFC 7112).
        let path = path(V6);
        let options = [UDP, 1, 1, 4, 0, 0, 0, 0];
        gets(world, "fragment_tiny", &path.fragment(DESTINATION, 3, 0, true, &options));
    }

    /// Allowed datagrams reach the socket whole. Overlapping fragments pass the filter, and the
    /// instance's own kernel refuses them.
    fn reassembly(world) {
        world.apply(&["services"], SERVICES);
        for at in FAMILIES {
            let path = path(at);
            let socket = world.instance.run(|| UdpSocket::bind(at.instance_port(5000)));
            let socket = socket.expect("a socket");
            let link = world.toward();
            let send = |packet: &[u8]| link.send(&frame(world, packet));
            let received = |limit: Duration| {
                socket.set_read_timeout(Some(limit)).expect("a timeout");
                let mut data = [0; 64];
                socket.recv(&mut data).ok().map(|length| data[..length].to_vec())
            };
            send(&first(path, 1, 5000));
            send(&last(path, 1));
            assert_eq!(received(PATIENCE), Some(vec![7; 32]));

            let ((), counts) = world.counted(|| {
                send(&first(path, 2, 5000));
                send(&path.fragment(UDP, 2, 16, true, &[8; 16]));
                send(&last(path, 2));
            });
            counts.of_direction("ingress").exactly(&[("ingress rule", 1), ("ingress fragment", 2)]);
            assert_eq!(received(SILENCE), None);
        }
    }

    /// The headers before the transport header hide nothing; eight of them are walked.
    fn extension_headers(world) {
        world.apply(&["services"], SERVICES);
        let path = path(V6);
        let all = [HOP_BY_HOP, DESTINATION, ROUTING, FRAGMENT, AUTHENTICATION];
        let mut chains: Vec<&[u8]> = all.iter().map(std::slice::from_ref).collect();
        chains.extend([&all[..], &[DESTINATION; 8]]);
        for (chain, source) in chains.into_iter().zip(4000..) {
            for (port, reason) in [(5000, "rule"), (5001, "no_rule")] {
                let (kind, bytes) = extended(chain, UDP, &path.udp(source, port, &[7; 32]));
                gets(world, reason, &path.packet(kind, &bytes));
            }
        }
        let (kind, bytes) = extended(&[DESTINATION; 9], UDP, &path.udp(4000, 5000, &[7; 32]));
        gets(world, "too_many_headers", &path.packet(kind, &bytes));
        // A first fragment with options behind the fragment header.
        let (kind, bytes) = extended(&[DESTINATION], UDP, &path.udp(4100, 5000, &[7; 32]));
        gets(world, "rule", &path.fragment(kind, 1, 0, true, &bytes[..32]));
        gets(world, "fragment", &path.fragment(kind, 1, 32, false, REST));
    }

    /// A packet in one or two VLAN tags is judged as it would be without.
    fn vlan_tags(world) {
        world.apply(&["services"], SERVICES);
        let (customer, service) = (0x8100, 0x88a8);
        for at in FAMILIES {
            let path = path(at);
            let chains: [&[u16]; 4] =
                [&[customer], &[service], &[service, customer], &[customer, customer]];
            for (tags, source) in chains.into_iter().zip(4000..) {
                for (port, reason) in [(5000, "rule"), (5001, "no_rule")] {
                    let packet = path.packet(UDP, &path.udp(source, port, &[7; 32]));
                    gets_framed(world, reason, &tagged(tags, &frame(world, &packet)));
                }
            }
            let packet = path.packet(UDP, &path.udp(4000, 5000, &[7; 32]));
            let three = tagged(&[service, customer, customer], &frame(world, &packet));
            gets_framed(world, "too_many_headers", &three);
        }
    }

    /// Where a rule allows the peer's whole protocol, no first fragment is needed.
    fn all_ports(world) {
        world.apply(&["services"], r#"
            [[security_group]]
            name = "services"
            ingress = [{ protocol = "udp", ports = "all", cidrs = ["10.9.0.10/32", "fd09::10/128"] }]
            egress = []
        "#);
        for at in [V4, V6] {
            let path = path(at);
            gets(world, "fragment", &last(path, 1));
            gets(world, "fragment_unknown", &last(Path { source: at.other, ..path }, 1));
            gets(world, "fragment_unknown", &path.fragment(TCP, 1, 24, false, REST));
        }
    }
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
