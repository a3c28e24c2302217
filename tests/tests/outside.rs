//! Frames from outside of the machine, through the drivers of real NICs: only in the guests of `cargo
//! xtask vm-test`.

use std::time::SystemTime;

use etherparse::{SlicedPacket, TransportSlice};
use sg_tests::{
    Addresses, Agent, Counts, Datapath, FAMILIES, NetNs, V4, V6,
    differential::over_a_wire,
    eventually,
    outside::{Nic, Outside},
    probe::{
        PATIENCE, SILENCE,
        craft::{self, BROADCAST, ICMP, ICMPV6, Path, TCP, UDP},
        udp,
    },
    topology::{mac, number},
};

/// Services that the far end may use, and nothing else.
const RULES: &str = r#"
[[security_group]]
name = "server"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "udp", ports = 53, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "icmp", type = 8, cidrs = ["10.9.0.0/24"] },
  { protocol = "icmpv6", type = 128, cidrs = ["fd09::/64"] },
]
egress = [{ protocol = "udp", ports = 123, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
[[interface]]
name = "nic0"
groups = ["server"]
"#;

/// The guest as the instance, with a NIC whose other end is outside.
struct Machine {
    agent: Agent,
    outside: Outside,
    instance: NetNs,
}

impl Machine {
    fn new(nic: Nic, datapath: Datapath) -> Self {
        let instance = NetNs::new("instance");
        let outside = Outside::connect(nic, &instance);
        instance.sysctl("ipv6/conf/nic0/accept_dad", "0");
        instance.sysctl("ipv6/conf/nic0/router_solicitations", "0");
        let address = |end| mac(end).map(|byte| format!("{byte:02x}")).join(":");
        instance.ip(&format!("link set dev nic0 address {}", address("nic0")));
        instance.ip("link set dev nic0 up");
        number(&instance, "nic0", &[V4.instance, V6.instance]);
        instance.ip("-4 route add 10.9.0.0/24 dev nic0
                     -6 route add fd09::/64 dev nic0");
        for at in FAMILIES {
            let far = address("up0");
            instance.ip(&format!("neighbour add {} lladdr {far} dev nic0", at.remote));
        }
        let agent = Agent::start(&instance, &[]);
        agent.ctl().apply(&format!("{RULES}datapath = \"{}\"\n", datapath.name()), &[]);
        let mut machine = Self { agent, outside, instance };
        let natively = datapath == Datapath::Xdp && nic.has_xdp();
        let status = machine.agent.ctl().status();
        assert_eq!(status.interfaces[0].datapath == "xdp", natively, "{status:#?}");
        // Drivers take the link down to give or take a hook, and the kernel brings it up when it will.
        eventually("the link is up", || machine.asks_who_has());
        machine
    }

    /// Whether ARP is answered, which no rule is asked about.
    fn asks_who_has(&mut self) -> bool {
        let question = craft::arp(1, (mac("up0"), V4.remote), ([0; 6], V4.instance));
        self.outside.send(&craft::ethernet(mac("up0"), BROADCAST, 0x0806, &padded(question)));
        self.outside.receive(SILENCE, |frame| frame[12..14] == [8, 6]).is_some()
    }

    /// Sends frames; what they add to the counters of what comes in, as soon as they are counted.
    #[track_caller]
    fn counted(&mut self, frames: &[Vec<u8>], expected: &[(&str, u64)]) {
        let before = self.counters();
        for frame in frames {
            self.outside.send(frame);
        }
        let sum: u64 = expected.iter().map(|(_, packets)| packets).sum();
        let added = || self.counters().since(&before).of_direction("ingress");
        eventually("all frames are counted", || {
            let counted = expected.iter().map(|(key, _)| added().get(key)).sum::<u64>();
            counted == sum
        });
        added().exactly(expected);
    }

    fn counters(&self) -> Counts {
        Counts::of(&self.agent.ctl().status(), "nic0")
    }

    /// A message with this source port (ICMP: of this type) comes out.
    #[track_caller]
    fn answers(&self, protocol: u8, from: u16) {
        let wanted = |frame: &[u8]| sender(frame) == Some((protocol, from));
        let frame = self.outside.receive(PATIENCE, wanted);
        assert!(frame.is_some(), "no answer of protocol {protocol} from {from}");
    }

    #[track_caller]
    fn is_silent(&self, protocol: u8, from: u16) {
        let wanted = |frame: &[u8]| sender(frame) == Some((protocol, from));
        let frame = self.outside.receive(SILENCE, wanted);
        assert!(frame.is_none(), "an answer of protocol {protocol} from {from}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The next test is to find the NIC free.
        self.agent.ctl().run(&["detach", "--yes"]);
    }
}

/// Protocol and source port of a frame, or its ICMP type; TCP only where it opens a connection.
fn sender(frame: &[u8]) -> Option<(u8, u16)> {
    match SlicedPacket::from_ethernet(frame).ok()?.transport? {
        TransportSlice::Tcp(tcp) => (tcp.syn() && tcp.ack()).then(|| (TCP, tcp.source_port())),
        TransportSlice::Udp(udp) => Some((UDP, udp.source_port())),
        TransportSlice::Icmpv4(icmp) => Some((ICMP, u16::from(icmp.type_u8()))),
        TransportSlice::Icmpv6(icmp) => Some((ICMPV6, u16::from(icmp.type_u8()))),
        _ => None,
    }
}

/// As long as Ethernet wants it.
fn padded(mut payload: Vec<u8>) -> Vec<u8> {
    payload.resize(payload.len().max(46), 0);
    payload
}

fn framed(packet: Vec<u8>) -> Vec<u8> {
    craft::frame(mac("up0"), mac("nic0"), &padded(packet))
}

/// Each kind of packet, what comes back, and how it is counted.
fn frames_of_all_kinds(nic: Nic, datapath: Datapath) {
    let mut machine = Machine::new(nic, datapath);
    for at in FAMILIES {
        let path = Path { source: at.remote, destination: at.instance };
        let packet = |protocol, payload: &[u8]| framed(path.packet(protocol, payload));
        let _servers = (
            [80, 81]
                .map(|port| sg_tests::probe::tcp::serve(&machine.instance, at.instance_port(port))),
            [53, 54].map(|port| udp::serve(&machine.instance, at.instance_port(port))),
        );

        machine.counted(&[packet(TCP, &path.syn(2000, 80))], &[("ingress rule", 1)]);
        machine.answers(TCP, 80);
        machine.counted(&[packet(TCP, &path.syn(2000, 81))], &[("ingress no_rule", 1)]);
        machine.is_silent(TCP, 81);

        machine.counted(&[packet(UDP, &path.udp(2000, 53, b"question"))], &[("ingress rule", 1)]);
        machine.answers(UDP, 53);
        machine.counted(&[packet(UDP, &path.udp(2000, 53, b"question"))], &[("ingress flow", 1)]);
        machine.answers(UDP, 53);
        machine
            .counted(&[packet(UDP, &path.udp(2000, 54, b"question"))], &[("ingress no_rule", 1)]);
        machine.is_silent(UDP, 54);

        let (icmp, request, reply) = match at.instance.is_ipv4() {
            true => (ICMP, 8, 0),
            false => (ICMPV6, 128, 129),
        };
        machine
            .counted(&[packet(icmp, &path.icmp(request, &[0, 7, 0, 1]))], &[("ingress rule", 1)]);
        machine.answers(icmp, reply);

        // In two pieces, and the second piece of what never had a first one.
        let datagram = path.udp(2001, 53, &[1; 100]);
        let fragment =
            |id, offset: u16, more, part: &[u8]| framed(path.fragment(UDP, id, offset, more, part));
        let pieces =
            [fragment(1, 0, true, &datagram[..64]), fragment(1, 64, false, &datagram[64..])];
        machine.counted(&pieces, &[("ingress rule", 1), ("ingress fragment", 1)]);
        machine.answers(UDP, 53);
        let alone = fragment(2, 64, false, &datagram[64..]);
        machine.counted(&[alone], &[("ingress fragment_unknown", 1)]);

        // A VLAN tag that the NIC may take off; one more than it takes off and we read.
        let syn = packet(TCP, &path.syn(2002, 80));
        machine.counted(&[craft::tagged(&[0x8100], &syn)], &[("ingress rule", 1)]);
        let deep = craft::tagged(&[0x8100; 4], &syn);
        machine.counted(&[deep], &[("ingress too_many_headers", 1)]);

        // Longer than the frame.
        let mut cut = syn;
        cut[14 + 2] = 9;
        cut[14 + 4] = 9;
        machine.counted(&[cut], &[("ingress malformed", 1)]);

        sends(&machine, at);
    }
}

/// The instance's own packets.
fn sends(machine: &Machine, at: Addresses) {
    let before = machine.counters();
    for (port, comes) in [(123, true), (124, false)] {
        let exchange = udp::open(&machine.instance, at.instance, at.remote_port(port));
        // Nobody answers either.
        exchange.is_dropped();
        let from = exchange.local().port();
        if comes { machine.answers(UDP, from) } else { machine.is_silent(UDP, from) }
    }
    let added = machine.counters().since(&before).of_direction("egress");
    assert_eq!((added.get("egress rule"), added.get("egress no_rule")), (1, 1), "{added}");
}

/// Frames that are likely to be interesting, each held against the reference evaluator.
fn random_frames(nic: Nic, datapath: Datapath) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = now.as_millis() as u64;
    eprintln!("seeds from {seed}");
    let frames = over_a_wire(nic, datapath, seed, 30);
    eprintln!("{frames} frames");
    assert!(frames > 100, "{frames} frames");
}

macro_rules! nics {
    ($($body:ident)+) => {$(
        mod $body {
            use super::*;

            #[test]
            #[ignore = "in the guests of `cargo xtask vm-test`"]
            fn virtio_xdp() {
                super::$body(Nic::Virtio, Datapath::Xdp);
            }

            #[test]
            #[ignore = "in the guests of `cargo xtask vm-test`"]
            fn virtio_tc() {
                super::$body(Nic::Virtio, Datapath::Tc);
            }

            #[test]
            #[ignore = "in the guests of `cargo xtask vm-test`"]
            fn vmxnet3_xdp() {
                super::$body(Nic::Vmxnet3, Datapath::Xdp);
            }

            #[test]
            #[ignore = "in the guests of `cargo xtask vm-test`"]
            fn vmxnet3_tc() {
                super::$body(Nic::Vmxnet3, Datapath::Tc);
            }
        }
    )+};
}

nics! { frames_of_all_kinds random_frames }
