//! The flow table when it gets full, where the reference evaluator, whose table has no end, is no
//! measure.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use sg_common::{Family, Reason};
use sg_datapath::testing::trial::Program;
use sg_policy::model::LiveInterface;
use sg_tests::differential::Rig;

const RULES: &str = r#"
[[security_group]]
name = "clients"
ingress = [{ protocol = "tcp", ports = 443, cidrs = ["10.0.0.0/8", "fd00::/8"] }]
egress = []

[[interface]]
name = "lo"
groups = ["clients"]
"#;

/// Lanes of each family's table.
const CAPACITY: usize = 512;

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

struct Host<'a> {
    rig: &'a mut Rig,
    family: Family,
    clients: u32,
}

/// A client's number says its address and port.
type Client = u32;

impl Host<'_> {
    fn new(rig: &mut Rig, family: Family) -> Host<'_> {
        let state = sg_policy::parse("rules.toml", RULES.as_bytes()).expect("valid rules");
        let live = LiveInterface {
            slot: 0,
            ifindex: rig.ifindexes[0],
            entry: 0,
            addresses: vec![],
            ethernet: true,
            pickup_until: 0,
        };
        rig.start(&state, &[live]);
        Host { rig, family, clients: 0 }
    }

    fn next_client(&mut self) -> Client {
        self.clients += 1;
        self.clients
    }

    fn receives(&mut self, client: Client, flags: u8) -> Reason {
        let frame = segment(self.family, client, flags, true);
        let program = if client.is_multiple_of(2) { Program::Xdp } else { Program::TcIn };
        self.rig.reason(program, self.rig.ifindexes[0], &frame)
    }

    fn sends(&mut self, client: Client, flags: u8) -> Reason {
        let frame = segment(self.family, client, flags, false);
        self.rig.reason(Program::TcOut, self.rig.ifindexes[0], &frame)
    }

    /// Whether there was room for a client that then shakes hands.
    fn connects(&mut self) -> Option<Client> {
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

    fn floods(&mut self, packets: u32) -> u32 {
        let mut admitted = 0;
        for _ in 0..packets {
            let client = self.next_client();
            admitted += u32::from(self.receives(client, SYN) == Reason::Rule);
        }
        admitted
    }

    /// Established connections move data both ways.
    fn all_live(&mut self, clients: &[Client]) {
        for client in clients {
            assert_eq!(self.receives(*client, ACK), Reason::Flow, "{client}");
            assert_eq!(self.sends(*client, ACK), Reason::Flow, "{client}");
        }
    }
}

fn segment(family: Family, client: Client, flags: u8, towards_host: bool) -> Vec<u8> {
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
    let ((from, sport), (to, dport)) = match towards_host {
        true => ((remote, port), (local, 443)),
        false => ((local, 443), (remote, port)),
    };
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
        _ => unreachable!("both are of one family"),
    };
    let mut tcp = ip.tcp(sport, dport, 1, 1000);
    if flags & SYN != 0 {
        tcp = tcp.syn();
    }
    if flags & ACK != 0 {
        tcp = tcp.ack(1);
    }
    let mut frame = Vec::new();
    tcp.write(&mut frame, &[]).expect("memory");
    frame
}

fn both_families(test: impl Fn(&mut Host<'_>) + Sync) {
    Rig::with_capacity(CAPACITY as u32, |rig| {
        for family in Family::BOTH {
            test(&mut Host::new(rig, family));
        }
    });
}

#[test]
fn a_full_table_keeps_what_is_established_and_drops_the_rest() {
    both_families(|host| {
        // A flow is refused when both of its buckets are full of established ones: one of these 358
        // on the average, more than 14 in less than one run in 10^8; some 30 with a single bucket.
        let first = CAPACITY * 70 / 100;
        let mut established: Vec<_> = (0..first).filter_map(|_| host.connects()).collect();
        assert!(established.len() >= first - 14, "only {} of {first} got in", established.len());
        host.all_live(&established);
        // Those that find a lane in one of their buckets still get in; in the end nearly none does.
        for _ in 0..20 * CAPACITY {
            established.extend(host.connects());
        }
        assert!(established.len() > CAPACITY * 95 / 100, "only {} got in", established.len());
        assert!(established.len() <= CAPACITY);
        host.all_live(&established);
        assert!(host.floods(1000) < 50);
        host.all_live(&established);
    });
}

#[test]
fn a_flood_evicts_only_what_has_seen_no_reply() {
    both_families(|host| {
        let mut established = vec![];
        while established.len() < CAPACITY / 4 {
            established.extend(host.connects());
        }
        for _ in 0..50 {
            // Nearly each finds a lane: all eight of an address are seldom established ones.
            assert!(host.floods(200) >= 195);
            established.extend(host.connects());
            host.all_live(&established);
        }
        // Clients came in through the flood, too.
        assert!(established.len() >= CAPACITY / 4 + 45);
    });
}

#[test]
fn what_has_idled_out_makes_room() {
    both_families(|host| {
        let mut established = vec![];
        for _ in 0..20 * CAPACITY {
            established.extend(host.connects());
        }
        host.rig.seconds_pass(432_001);
        assert_eq!(host.receives(established[0], ACK), Reason::NotSyn);
        for _ in 0..CAPACITY / 4 {
            assert!(host.connects().is_some());
        }
    });
}
