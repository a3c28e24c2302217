//! A host whose programs judge packets of many clients.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use sg_common::{Family, Reason};
use sg_datapath::testing::trial::Program;
use sg_policy::{model::LiveInterface, reference::frames};
use sg_tests::differential::Rig;

pub(super) const SYN: u8 = 0x02;
pub(super) const SYN_ACK: u8 = 0x12;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;

pub(super) struct Host<'a> {
    pub(super) rig: &'a mut Rig,
    pub(super) family: Family,
    clients: u32,
    /// Number of the interface that packets pass.
    interface: usize,
}

/// A client's number says its address and port.
pub(super) type Client = u32;

impl Host<'_> {
    /// The interfaces that `rules` has entries for, with slots in that order.
    pub(super) fn new<'a>(rig: &'a mut Rig, family: Family, rules: &str) -> Host<'a> {
        let state = sg_policy::parse("rules.toml", rules.as_bytes()).expect("valid rules");
        let live = |entry: usize| LiveInterface {
            slot: entry as u16,
            ifindex: rig.ifindexes[entry],
            entry,
            addresses: vec![],
            ethernet: true,
            delivers: false,
            pickup_until: 0,
        };
        let live: Vec<_> = (0..state.interfaces.len()).map(live).collect();
        rig.start(&state, &live);
        Host { rig, family, clients: 0, interface: 0 }
    }

    /// From now on packets pass this interface.
    pub(super) fn on(&mut self, interface: usize) -> &mut Self {
        self.interface = interface;
        self
    }

    fn ifindex(&self) -> u32 {
        self.rig.ifindexes[self.interface]
    }

    pub(super) fn next_client(&mut self) -> Client {
        self.clients += 1;
        self.clients
    }

    pub(super) fn receives(&mut self, client: Client, flags: u8) -> Reason {
        let frame = segment(self.family, client, flags, true, false);
        let program = if client.is_multiple_of(2) { Program::Xdp } else { Program::TcIn };
        self.rig.reason(program, self.ifindex(), &frame)
    }

    pub(super) fn sends(&mut self, client: Client, flags: u8) -> Reason {
        let frame = segment(self.family, client, flags, false, false);
        self.rig.reason(Program::TcOut, self.ifindex(), &frame)
    }

    /// Whether there was room for a client that then shakes hands.
    pub(super) fn connects(&mut self) -> Option<Client> {
        let client = self.next_client();
        match self.receives(client, SYN) {
            Reason::Rule => {
                assert_eq!(self.sends(client, SYN_ACK), Reason::Flow, "{client}");
                assert_eq!(self.receives(client, ACK), Reason::Flow, "{client}");
                Some(client)
            }
            Reason::AllowanceExceeded => {
                assert_eq!(self.sends(client, SYN_ACK), Reason::NoRule, "{client}");
                None
            }
            reason => panic!("{client}: {reason:?}"),
        }
    }

    /// The same of a server that the host connects to.
    pub(super) fn connects_out(&mut self) -> Option<Client> {
        let server = self.next_client();
        let segment = |host: &mut Self, flags, inwards| {
            let frame = segment(host.family, server, flags, inwards, true);
            let program = if inwards { Program::TcIn } else { Program::TcOut };
            host.rig.reason(program, host.ifindex(), &frame)
        };
        match segment(self, SYN, false) {
            Reason::Rule => {
                assert_eq!(segment(self, SYN_ACK, true), Reason::Flow, "{server}");
                assert_eq!(segment(self, ACK, false), Reason::Flow, "{server}");
                Some(server)
            }
            Reason::AllowanceExceeded => None,
            reason => panic!("{server}: {reason:?}"),
        }
    }

    pub(super) fn floods(&mut self, packets: u32) -> u32 {
        let mut admitted = 0;
        for _ in 0..packets {
            let client = self.next_client();
            admitted += u32::from(self.receives(client, SYN) == Reason::Rule);
        }
        admitted
    }

    /// A packet of a client, or to it.
    pub(super) fn passes(&mut self, small: Small, client: Client, inwards: bool) -> Reason {
        let frame = small.frame(self.family, client, inwards);
        let program = if inwards { Program::TcIn } else { Program::TcOut };
        self.rig.reason(program, self.ifindex(), &frame)
    }

    /// A request and its answer, `times` over; whether there was room.
    pub(super) fn exchanges(&mut self, small: Small, client: Client, times: usize) -> bool {
        for time in 0..times {
            match self.passes(small, client, true) {
                Reason::Rule if time == 0 => {}
                Reason::Flow if time > 0 => {}
                Reason::AllowanceExceeded if time == 0 => return false,
                reason => panic!("{small:?} {client} {time}: {reason:?}"),
            }
            assert_eq!(self.passes(small, client, false), Reason::Flow, "{small:?} {client}");
        }
        true
    }

    /// How many of so many clients exchange a request and its answer.
    pub(super) fn floods_with_answers(&mut self, small: Small, clients: u32) -> u32 {
        let exchanged = (0..clients).map(|_| {
            let client = self.next_client();
            u32::from(self.exchanges(small, client, 1))
        });
        exchanged.sum()
    }

    /// Established connections move data both ways.
    pub(super) fn all_live(&mut self, clients: &[Client]) {
        for client in clients {
            assert_eq!(self.receives(*client, ACK), Reason::Flow, "{client}");
            assert_eq!(self.sends(*client, ACK), Reason::Flow, "{client}");
        }
    }
}

/// A single packet asks, and a single packet answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Small {
    Udp,
    Echo,
    /// A protocol that is neither: GRE.
    Other,
}

impl Small {
    fn frame(self, family: Family, client: Client, inwards: bool) -> Vec<u8> {
        let [_, a, b, c] = client.to_be_bytes();
        let (remote, local) = match family {
            Family::V4 => (format!("10.{a}.{b}.{c}"), "192.0.2.1".to_owned()),
            Family::V6 => (format!("fd00::{a:x}:{:x}", client as u16), "fd01::1".to_owned()),
        };
        let at = |address: &str, port: u32| match family {
            Family::V4 => format!("{address}:{port}"),
            Family::V6 => format!("[{address}]:{port}"),
        };
        let (from, to) = if inwards { (&remote, &local) } else { (&local, &remote) };
        let (port, kind) = (1024 + client % 60_000, if inwards { 8 } else { 0 });
        let kind = if family == Family::V6 { 129 - kind / 8 } else { kind };
        let packet = match self {
            Self::Udp if inwards => frames::udp(&at(from, port), &at(to, 53)),
            Self::Udp => frames::udp(&at(from, 53), &at(to, port)),
            Self::Echo => frames::icmp(from, to, kind, 0, port as u16),
            Self::Other => frames::ip(from, to, 47, &[0; 8]),
        };
        packet.frame()
    }
}

/// `by_host`: of a connection that the host opened.
fn segment(
    family: Family,
    client: Client,
    flags: u8,
    towards_host: bool,
    by_host: bool,
) -> Vec<u8> {
    let [_, a, b, c] = client.to_be_bytes();
    let port = 1024 + (client % 60_000) as u16;
    let (remote, local): (IpAddr, IpAddr) = match family {
        Family::V4 => ([10, a, b, c].into(), [192, 0, 2, 1].into()),
        Family::V6 => {
            let host = client as u16;
            (
                [0xfd00, 0, 0, 0, 0, 0, u16::from(a), host].into(),
                [0xfd01, 0, 0, 0, 0, 0, 0, 1].into(),
            )
        }
    };
    let (remote_port, local_port) = if by_host { (443, port) } else { (port, 443) };
    let ((from, sport), (to, dport)) = match towards_host {
        true => ((remote, remote_port), (local, local_port)),
        false => ((local, local_port), (remote, remote_port)),
    };
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
        _ => unreachable!("both are of one family"),
    };
    let sequence = if flags & SYN != 0 { 1000 } else { 1001 };
    let mut tcp = ip.tcp(sport, dport, sequence, 1024);
    if flags & SYN != 0 {
        tcp = tcp.syn();
    }
    if flags & ACK != 0 {
        tcp = tcp.ack(1001);
    }
    if flags & RST != 0 {
        tcp = tcp.rst();
    }
    let mut frame = Vec::new();
    tcp.write(&mut frame, &[]).expect("memory");
    frame
}
