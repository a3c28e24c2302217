//! Two interfaces share a table: what one of them does to the flows of the other.

use std::net::SocketAddr;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use sg_common::{Direction, Family, Reason, flow::TCP, usage::Table};
use sg_datapath::{AdoptedConnection, Opening, Phase, testing::trial::Program};
use sg_policy::{
    compile::{Parameters, compile},
    model::LiveInterface,
    reference::{TrackedFlow, frames},
};
use sg_tests::differential::Rig;

use super::host::{Client, Host, RST, SYN, SYN_ACK, Small};

/// Lanes of each family's table.
const CAPACITY: usize = 4096;
/// Interfaces of a host.
const FLOODED: usize = 0;
const OTHER: usize = 1;

/// The flooded interface has these lines in its entry.
fn rules(flooded: &str) -> String {
    format!(
        r#"
[[security_group]]
name = "clients"
ingress = [
  {{ protocol = "tcp", ports = 443, cidrs = ["10.0.0.0/8", "fd00::/8"] }},
  {{ protocol = "udp", ports = 53, cidrs = ["10.0.0.0/8", "fd00::/8"] }},
  {{ protocol = "icmp", type = 8, cidrs = ["10.0.0.0/8"] }},
  {{ protocol = "icmpv6", type = 128, cidrs = ["fd00::/8"] }},
  {{ protocol = 47, cidrs = ["10.0.0.0/8", "fd00::/8"] }},
]
egress = [{{ protocol = "tcp", ports = 443, cidrs = ["10.0.0.0/8", "fd00::/8"] }}]

[[interface]]
name = "lo"
groups = ["clients"]
{flooded}

[[interface]]
name = "left"
groups = ["clients"]
"#
    )
}

fn both_families(flooded: &str, test: impl Fn(&mut Host<'_>) + Sync) {
    let rules = rules(flooded);
    Rig::with_capacity(CAPACITY as u32, |rig| {
        for family in Family::BOTH {
            test(&mut Host::new(rig, family, &rules));
        }
    });
}

#[derive(Clone, Copy, Debug)]
enum Flood {
    Syn,
    /// A SYN, its answer, and a segment without ACK from the same made-up source.
    SynAndSegment,
    /// An accomplice on each side.
    Handshake,
    Small(Small, usize),
}

const FLOODS: [Flood; 7] = [
    Flood::Syn,
    Flood::SynAndSegment,
    Flood::Handshake,
    Flood::Small(Small::Udp, 1),
    Flood::Small(Small::Udp, 2),
    Flood::Small(Small::Echo, 1),
    Flood::Small(Small::Other, 1),
];

/// Clients of the flooded interface try this once each.
fn flood(host: &mut Host<'_>, flood: Flood, clients: usize) {
    host.on(FLOODED);
    for _ in 0..clients {
        match flood {
            Flood::Syn => _ = host.floods(1),
            Flood::Handshake => _ = host.connects(),
            Flood::Small(small, times) => {
                let client = host.next_client();
                host.exchanges(small, client, times);
            }
            Flood::SynAndSegment => {
                let client = host.next_client();
                if host.receives(client, SYN) == Reason::Rule {
                    assert_eq!(host.sends(client, SYN_ACK), Reason::Flow);
                    assert_eq!(host.receives(client, 0), Reason::Flow);
                }
            }
        }
    }
}

fn usage(host: &Host<'_>, interface: usize) -> usize {
    let usage = host.rig.datapath.usage(interface as u16).expect("it is readable");
    usage[Table::flows(host.family) as usize] as usize
}

/// Flows in the table by interface.
fn flows(host: &Host<'_>, interface: usize) -> usize {
    host.rig.flows().iter().filter(|flow| usize::from(flow.slot) == interface).count()
}

/// 99 of 100 new flows of the other interface find room, in both directions, and what is established on
/// either goes on.
#[test]
fn one_interface_does_not_keep_others_from_opening_flows() {
    for kind in FLOODS {
        both_families("", |host| {
            let connect = |host: &mut Host<'_>, interface| -> Vec<Client> {
                host.on(interface);
                (0..100).filter_map(|_| host.connects()).collect()
            };
            let before = [connect(host, FLOODED), connect(host, OTHER)];
            let mut opened = 0;
            for _ in 0..20 {
                flood(host, kind, CAPACITY / 4);
                host.on(OTHER);
                opened += (0..5).filter(|_| host.connects().is_some()).count();
                opened += (0..5).filter(|_| host.connects_out().is_some()).count();
            }
            assert!(opened >= 198, "{kind:?}: only {opened} of 200 got in");
            for (interface, clients) in before.iter().enumerate() {
                assert!(clients.len() >= 99, "{kind:?}: {}", clients.len());
                host.on(interface).all_live(clients);
            }
            assert_eq!(usage(host, FLOODED), CAPACITY / 2, "{kind:?}");
        });
    }
}

/// A new flow is the first to give way in a full table, but not to a flood of another interface.
#[test]
fn a_flow_that_waits_for_its_answer_outlasts_the_flood_of_another_interface() {
    for kind in FLOODS {
        both_families("", |host| {
            let mut waiting = vec![];
            host.on(OTHER);
            for _ in 0..200 {
                let client = host.next_client();
                assert_eq!(host.receives(client, SYN), Reason::Rule);
                waiting.push(client);
            }
            flood(host, kind, 5 * CAPACITY);
            host.on(OTHER);
            let answered =
                waiting.iter().filter(|client| host.sends(**client, SYN_ACK) == Reason::Flow);
            let answered = answered.count();
            assert!(answered >= 198, "{kind:?}: only {answered} of 200 were answered");
        });
    }
}

/// The flooded interface's own new flows take the places of its flood.
#[test]
fn a_flooded_interface_goes_on_to_open_flows() {
    for kind in [Flood::Syn, Flood::SynAndSegment, Flood::Small(Small::Udp, 1)] {
        both_families("", |host| {
            let mut opened = 0;
            for _ in 0..20 {
                flood(host, kind, CAPACITY / 4);
                opened += (0..10).filter(|_| host.connects().is_some()).count();
            }
            assert!(opened >= 194, "{kind:?}: only {opened} of 200 got in");
        });
    }
}

/// With nothing but established connections, so many and none more.
#[test]
fn an_allowance_is_a_number_or_a_share_of_each_table() {
    for (line, most) in [
        ("", CAPACITY / 2),
        ("tracking = { max_flows = 20 }", 20),
        ("tracking = { max_flows = \"25%\" }", CAPACITY / 4),
    ] {
        both_families(line, |host| {
            let admitted = (0..2 * CAPACITY).filter(|_| host.connects().is_some()).count();
            assert_eq!(admitted, most, "{line}");
            assert_eq!(usage(host, FLOODED), most, "{line}");
            // The other one has half of the table as ever.
            host.on(OTHER);
            assert!(host.connects().is_some());
        });
    }
}

/// An exempt service and the instance on the other side of a datagram.
struct Call<'a> {
    service: &'a str,
    /// The service's port.
    port: u16,
    protocol: fn(&str, &str) -> frames::Ip,
}

impl Call<'_> {
    fn out(&self, host: &mut Host<'_>, interface: usize) -> Reason {
        let packet = (self.protocol)(self.instance(), &self.end());
        host.rig.reason(Program::TcOut, host.rig.ifindexes[interface], &packet.frame())
    }

    fn answer(&self, host: &mut Host<'_>, interface: usize) -> [Reason; 2] {
        let packet = (self.protocol)(&self.end(), self.instance()).frame();
        let ifindex = host.rig.ifindexes[interface];
        [Program::Xdp, Program::TcIn].map(|program| host.rig.reason(program, ifindex, &packet))
    }

    fn instance(&self) -> &'static str {
        if self.service.contains(':') { "[fd01::1]:4000" } else { "192.0.2.1:4000" }
    }

    fn end(&self) -> String {
        let (service, port) = (self.service, self.port);
        if service.contains(':') {
            format!("[{service}]:{port}")
        } else {
            format!("{service}:{port}")
        }
    }
}

/// Where a flow of the call has no room, its answers pass by address and port, for 30 s.
#[test]
fn exempt_services_answer_without_an_entry() {
    both_families("", |host| {
        flood(host, Flood::Handshake, 2 * CAPACITY);
        let [dns, other] = match host.family {
            Family::V4 => ["169.254.169.253", "169.254.169.254"],
            Family::V6 => ["fd00:ec2::253", "fd00:ec2::254"],
        };
        let syn = |from: &str, to: &str| frames::tcp(from, to, "S");
        let call = Call { service: dns, port: 53, protocol: frames::udp };
        let others = [
            Call { service: dns, port: 54, ..call },
            Call { service: other, port: 53, ..call },
            Call { service: dns, port: 53, protocol: syn },
        ];
        assert_eq!(call.answer(host, FLOODED), [Reason::NoRule; 2]);
        assert_eq!(call.out(host, FLOODED), Reason::Exempt);
        assert_eq!((usage(host, FLOODED), flows(host, FLOODED)), (CAPACITY / 2, CAPACITY / 2));
        assert_eq!(call.answer(host, FLOODED), [Reason::Exempt; 2]);
        for other in &others {
            assert_eq!(other.answer(host, FLOODED), [Reason::NoRule; 2]);
        }
        // The other interface has room for flows, and has called nobody.
        assert_eq!(call.answer(host, OTHER), [Reason::NoRule; 2]);
        host.rig.seconds_pass(29);
        assert_eq!(call.out(host, FLOODED), Reason::Exempt);
        host.rig.seconds_pass(30);
        assert_eq!(call.answer(host, FLOODED), [Reason::Exempt; 2]);
        host.rig.seconds_pass(1);
        assert_eq!(call.answer(host, FLOODED), [Reason::NoRule; 2]);
        let handshake = Call { service: other, port: 80, protocol: syn };
        assert_eq!(handshake.out(host, FLOODED), Reason::Exempt);
        let answers = Call { protocol: |from, to| frames::tcp(from, to, "SA"), ..handshake };
        assert_eq!(answers.answer(host, FLOODED), [Reason::Exempt; 2]);
        assert_eq!(call.out(host, OTHER), Reason::Exempt);
        assert_eq!(call.answer(host, OTHER), [Reason::Flow; 2]);
    });
}

/// Without an agent: what has idled out makes room for its interface, and counts until then.
#[test]
fn what_has_idled_out_makes_room_within_the_allowance() {
    both_families("", |host| {
        flood(host, Flood::Handshake, 2 * CAPACITY);
        host.rig.seconds_pass(432_001);
        let opened = (0..200).filter(|_| host.connects().is_some()).count();
        assert!(opened >= 194, "only {opened} of 200 got in");
        assert_eq!(usage(host, FLOODED), CAPACITY / 2);
    });
}

/// The agent's census frees what has idled out, and not before.
#[test]
fn a_census_gives_back_what_has_idled_out() {
    both_families("", |host| {
        flood(host, Flood::Handshake, CAPACITY / 8);
        flood(host, Flood::Small(Small::Udp, 1), CAPACITY);
        let census = host.rig.datapath.census().expect("descriptors");
        let (all, lasting) = (CAPACITY / 2, flows(host, FLOODED));
        assert_eq!((usage(host, FLOODED), lasting), (all, all));
        let taken = census.take().expect("it is readable");
        assert_eq!((taken.freed, taken.corrected), (0, 0));
        host.rig.seconds_pass(31);
        let taken = census.take().expect("it is readable");
        let established = all - taken.freed as usize;
        assert_eq!(taken.corrected, 0);
        assert!((CAPACITY / 8 - 2..=CAPACITY / 8).contains(&established), "{established}");
        assert_eq!((usage(host, FLOODED), flows(host, FLOODED)), (established, established));
        assert!(host.on(FLOODED).connects().is_some());
    });
}

/// A reset leaves a lane that the flow log may have to see: 10 s.
#[test]
fn a_census_leaves_what_a_reset_has_ended_to_the_flow_log() {
    both_families("", |host| {
        let client = host.next_client();
        assert_eq!(host.receives(client, SYN), Reason::Rule);
        assert_eq!(host.sends(client, RST), Reason::Flow);
        let census = host.rig.datapath.census().expect("descriptors");
        assert_eq!(census.take().expect("it is readable").freed, 0);
        host.rig.seconds_pass(11);
        assert_eq!(census.take().expect("it is readable").freed, 1);
    });
}

/// Counts are those of the table after all that takes and frees lanes.
#[test]
fn counts_are_those_of_the_table() {
    both_families("", |host| {
        let check = |host: &Host<'_>, what: &str| {
            for interface in [FLOODED, OTHER] {
                let counts = (usage(host, interface), flows(host, interface));
                assert_eq!(counts.0, counts.1, "interface {interface} {what}");
            }
        };
        for kind in FLOODS {
            flood(host, kind, CAPACITY);
            host.on(OTHER);
            (0..20).for_each(|_| _ = host.connects());
            check(host, "after a flood");
        }
        // Lanes of one interface go to the other: what has idled out belongs to nobody.
        host.rig.seconds_pass(432_001);
        host.on(OTHER);
        (0..CAPACITY / 2).for_each(|_| _ = host.connects());
        check(host, "when lanes have changed hands");
        host.rig.datapath.flush(&mut |flow| flow.src.is_ipv4() && flow.sport % 2 == 0);
        host.rig.datapath.flush(&mut |flow| flow.sport % 3 == 0);
        check(host, "when some were forgotten");
        host.rig.datapath.release(&[OTHER as u16]);
        check(host, "when an interface has gone");
        assert_eq!(usage(host, OTHER), 0);
    });
}

/// A count that an agent's death or an older agent's programs have left wrong.
#[test]
fn a_census_puts_counts_right() {
    both_families("", |host| {
        flood(host, Flood::Handshake, 300);
        let count = usage(host, FLOODED);
        let census = host.rig.datapath.census().expect("descriptors");
        for wrong in [-400, 5000, 1] {
            let table = Table::flows(host.family);
            host.rig.datapath.miscount(FLOODED as u16, table, wrong).expect("it is writable");
            // Too low shuts nobody out.
            if wrong < 0 {
                assert!(host.on(OTHER).connects().is_some());
            }
            let taken = census.take().expect("it is readable");
            assert_eq!(taken.corrected, u64::from(wrong.unsigned_abs()));
            assert_eq!(usage(host, FLOODED), count);
        }
    });
}

/// Connections that a first filter takes over or cuts.
#[test]
fn older_connections_keep_to_the_allowance() {
    const MOST: u64 = 20;
    both_families("tracking = { max_flows = 20 }", |host| {
        let rules = rules("tracking = { max_flows = 20 }");
        let state = sg_policy::parse("rules.toml", rules.as_bytes()).expect("valid rules");
        let live: Vec<LiveInterface> = (0..2)
            .map(|entry| LiveInterface {
                slot: entry as u16,
                ifindex: host.rig.ifindexes[entry],
                entry,
                addresses: vec![],
                ethernet: true,
                delivers: false,
                pickup_until: host.rig.datapath.now().wrapping_add(100),
            })
            .collect();
        let ticks_per_1000s = host.rig.ticks_per_1000s;
        let parameters = Parameters { ticks_per_1000s, revision: 1, cut_since: 0 };
        let image = compile(&state, &live, &parameters).expect("small rules fit");
        let (local, remote) = match host.family {
            Family::V4 => ("192.0.2.1", "10.0.0.1"),
            Family::V6 => ("fd01::1", "fd00::1"),
        };
        let at = |address: &str, port| SocketAddr::new(address.parse().expect("one"), port);
        let connections = |ours: u16| -> Vec<AdoptedConnection> {
            (0..100)
                .map(|number| AdoptedConnection {
                    opening: Opening {
                        slot: FLOODED as u16,
                        protocol: TCP,
                        direction: Direction::Ingress,
                        local: at(local, ours),
                        remote: at(remote, if ours == 443 { 1024 + number } else { 443 }),
                    },
                    phase: Phase::Established,
                    is_opener_known: true,
                })
                .collect()
        };
        let adopt = |connections: &[AdoptedConnection]| {
            let adopted = host.rig.datapath.adopt(&image.words, connections).expect("a table");
            (adopted.kept, adopted.cut)
        };
        // The peer opened 80, which no rule allows; the host could have opened it.
        let denied = connections(80)[0];
        assert_eq!(adopt(&[denied]), (0, 1));
        assert_eq!(adopt(&connections(443)), (MOST - 1, 0));
        assert_eq!(adopt(&connections(80)), (0, 0));
        assert_eq!(usage(host, FLOODED) as u64, MOST);
    });
}

/// Seconds that a flow may idle, and those after which it gives way to a new one of its interface.
fn lifetime(flow: &TrackedFlow) -> (u32, u32) {
    const NEVER: u32 = u32::MAX;
    match (flow.protocol, flow.state) {
        (6, "established") => (432_000, NEVER),
        (6, _) => (60, 0),
        (17, "stream") => (180, 30),
        (17 | 1 | 58, _) => (30, 0),
        (_, "new") => (600, 0),
        _ => (600, NEVER),
    }
}

/// Random flows of two interfaces against a model that knows no buckets. It says which new flows must find
/// room, which may be refused, and which may take the place of which.
#[test]
fn random_flows_keep_to_the_allowance() {
    const MOST: [usize; 2] = [40, CAPACITY / 2];
    both_families("tracking = { max_flows = 40 }", |host| {
        let mut rng = SmallRng::seed_from_u64(18);
        let (mut refused, mut replaced) = (0, 0);
        for step in 0..2000 {
            let interface = rng.random_range(0..2);
            if rng.random_range(0..100) == 0 {
                host.rig.seconds_pass([10, 31, 61][rng.random_range(0..3)]);
            }
            let (before, had) = (host.rig.flows(), usage(host, interface));
            let client = host.on(interface).next_client();
            let is_admitted = match rng.random_range(0..6) {
                0 => host.receives(client, SYN) == Reason::Rule,
                1 => host.connects().is_some(),
                2 => host.exchanges(Small::Udp, client, 1 + step % 2),
                3 => host.exchanges(Small::Echo, client, 1),
                4 => host.exchanges(Small::Other, client, 1),
                _ => host.passes(Small::Other, client, true) == Reason::Rule,
            };
            let after = host.rig.flows();
            let same = |a: &TrackedFlow, b: &TrackedFlow| {
                (a.slot, a.protocol, a.src, a.sport) == (b.slot, b.protocol, b.src, b.sport)
            };
            let gone: Vec<_> =
                before.iter().filter(|old| !after.iter().any(|new| same(old, new))).collect();
            let now = host.rig.datapath.now();
            let idles = |flow: &TrackedFlow, seconds: u32| {
                let idle = u64::from(now.wrapping_sub(flow.seen)) * 1000;
                seconds == 0 || idle > u64::from(seconds) * u64::from(host.rig.ticks_per_1000s)
            };
            let is_over = |flow: &TrackedFlow| idles(flow, lifetime(flow).0);
            for flow in &gone {
                let gives_way = is_over(flow) || idles(flow, lifetime(flow).1);
                assert!(gives_way, "step {step}: {flow:?} is gone");
            }
            assert_eq!(usage(host, interface), flows(host, interface), "step {step}");
            if had < MOST[interface] {
                assert!(is_admitted, "step {step}: {had} flows, and no room");
                // Only what is over lets another interface have its place.
                assert!(gone.iter().all(|flow| is_over(flow)), "step {step}: {gone:?}");
                continue;
            }
            assert_eq!(usage(host, interface), had, "step {step}");
            let own = gone.iter().all(|flow| usize::from(flow.slot) == interface);
            assert!(own && gone.len() <= 1, "step {step}: {gone:?}");
            refused += usize::from(gone.is_empty());
            replaced += gone.len();
        }
        assert!(refused > 200 && replaced > 5, "{refused} {replaced}");
    });
}

/// The first fragment of a datagram, or the other one.
fn fragment(family: Family, client: Client, first: bool) -> Vec<u8> {
    let [_, a, b, c] = client.to_be_bytes();
    let (from, to) = match family {
        Family::V4 => (format!("10.{a}.{b}.{c}:1024"), "192.0.2.1:53"),
        Family::V6 => (format!("[fd00::{a:x}:{:x}]:1024", client as u16), "[fd01::1]:53"),
    };
    let datagram = frames::udp_with(&from, to, &[0; 24]);
    let (part, offset) =
        if first { (datagram.slice(0, 16), 0) } else { (datagram.slice(16, 32), 2) };
    match family {
        Family::V4 => part.fragment(client as u16, offset, first).frame(),
        Family::V6 => part.fragment6(client, offset, first).frame(),
    }
}

/// Verdicts on first fragments have an allowance, too.
#[test]
fn fragments_of_one_interface_do_not_make_those_of_others_unknown() {
    both_families("", |host| {
        let judge = |host: &mut Host<'_>, interface: usize, client, first| {
            let frame = fragment(host.family, client, first);
            host.rig.reason(Program::TcIn, host.rig.ifindexes[interface], &frame)
        };
        let datagrams: Vec<Client> = (0..100).map(|_| host.next_client()).collect();
        for datagram in &datagrams {
            assert_eq!(judge(host, OTHER, *datagram, true), Reason::Rule);
        }
        for _ in 0..5 * CAPACITY {
            let client = host.next_client();
            judge(host, FLOODED, client, true);
        }
        let known = datagrams
            .iter()
            .filter(|datagram| judge(host, OTHER, **datagram, false) == Reason::Fragment)
            .count();
        assert!(known >= 99, "only {known} of 100");
        let table = Table::fragments(host.family) as usize;
        let usage = host.rig.datapath.usage(FLOODED as u16).expect("it is readable")[table];
        assert_eq!(usage, 2048);
    });
}
