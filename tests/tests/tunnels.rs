//! Tunnels and SCTP over a filtered underlay, with all offloads: the checksum that is yet to be written lies in the
//! inner packet, and the segments are the inner ones. A kind that the kernel lacks is left out, and the test says
//! so. The guests of `cargo xtask vm-test` lack none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sg_tests::{
    Counts, Datapath, Role, V4, World,
    differential::fewer,
    probe::{PATIENCE, Watch, bulk},
};

/// The underlay lets the tunnel through and nothing else.
const UNDERLAY: &str = r#"[[security_group]]
name = "underlay"
ingress = [
  { protocol = "udp", ports = 4789, cidrs = ["10.9.0.10/32"] },
  { protocol = "udp", ports = 6081, cidrs = ["10.9.0.10/32"] },
  { protocol = 4, cidrs = ["10.9.0.10/32"] },
  { protocol = 47, cidrs = ["10.9.0.10/32"] },
  { protocol = 50, cidrs = ["10.9.0.10/32"] },
  { protocol = 132, cidrs = ["10.9.0.10/32"] },
]
egress = [
  { protocol = "udp", ports = 4789, cidrs = ["10.9.0.10/32"] },
  { protocol = "udp", ports = 6081, cidrs = ["10.9.0.10/32"] },
  { protocol = 4, cidrs = ["10.9.0.10/32"] },
  { protocol = 47, cidrs = ["10.9.0.10/32"] },
  { protocol = 50, cidrs = ["10.9.0.10/32"] },
]
"#;

const INNER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1)), IpAddr::V4(Ipv4Addr::new(172, 16, 0, 2))];

/// In guests of `cargo xtask vm-test` without the last, which differs from the first in no program.
fn ways() -> impl Iterator<Item = (Role, Datapath)> {
    let all = [(Role::Host, Datapath::Tc), (Role::Host, Datapath::Xdp), (Role::Port, Datapath::Tc)];
    all.into_iter().filter(|(role, _)| *role == Role::Host || !fewer())
}

/// Says that this kernel was built without it.
///
/// # Panics
/// In guests of `cargo xtask vm-test`, which have every kind.
#[track_caller]
fn is_left_out(error: &dyn std::fmt::Display) {
    assert!(!fewer(), "a guest lacks a module: {error}");
    eprintln!("left out, this kernel has none: {error}");
}

/// Nothing was taken for an attack, all belonged to a flow, and by TC the interface had packets of many segments.
#[track_caller]
fn passed(datapath: Datapath, counts: &Counts, largest: usize) {
    for way in ["ingress", "egress"] {
        assert_eq!(counts.get(&format!("{way} malformed")), 0, "{counts}");
        assert_ne!(counts.get(&format!("{way} flow")), 0, "{counts}");
    }
    assert!(datapath == Datapath::Xdp || largest > 2 * 1514, "no offload: {largest}");
}

/// TCP inside a tunnel that `ip link add` makes of `kind`; its end is told from which address to which.
fn carries_tcp(kind: impl Fn(IpAddr, IpAddr) -> String) {
    for (role, datapath) in ways() {
        let world = World::new(role, datapath);
        world.apply(&["underlay"], UNDERLAY);
        let (instance, remote) = (V4.instance, V4.remote);
        let ends = [
            (&world.instance, INNER[0], kind(instance, remote)),
            (&world.remote, INNER[1], kind(remote, instance)),
        ];
        for (namespace, inner, kind) in &ends {
            if let Err(error) = namespace.try_ip(&format!("link add name inner0 type {kind}")) {
                return is_left_out(&error);
            }
            namespace.ip(&format!("address add {inner}/24 dev inner0"));
            namespace.ip("link set dev inner0 up");
        }
        let server = (&world.instance, SocketAddr::new(INNER[0], 80));
        let watch = Watch::open(world.host(), world.interface());
        let (done, counts) =
            world.counted(|| bulk::exchange((&world.remote, INNER[1]), server, 4 << 20, PATIENCE));
        done.unwrap_or_else(|error| {
            panic!("{role:?} {datapath:?} {}: {error}, {counts}", ends[0].2)
        });
        passed(datapath, &counts, watch.largest());
    }
}

/// Chunks of many packets in one (SKB_GSO_SCTP), whose CRC32c is yet to be written.
#[test]
fn sctp() {
    for (role, datapath) in ways() {
        let world = World::new(role, datapath);
        world.apply(&["underlay"], UNDERLAY);
        let server = (&world.instance, V4.instance_port(80));
        let watch = Watch::open(world.host(), world.interface());
        let (done, counts) = world.counted(|| {
            bulk::exchange_by_sctp((&world.remote, V4.remote), server, 4 << 20, PATIENCE)
        });
        match done {
            Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
                return is_left_out(&error);
            }
            done => done.unwrap_or_else(|error| panic!("{role:?} {datapath:?}: {error}, {counts}")),
        }
        passed(datapath, &counts, watch.largest());
    }
}

#[test]
fn vxlan() {
    carries_tcp(|local, remote| format!("vxlan id 7 local {local} remote {remote} dstport 4789"));
}

#[test]
fn vxlan_with_outer_checksums() {
    carries_tcp(|local, remote| {
        format!("vxlan id 7 local {local} remote {remote} dstport 4789 udpcsum")
    });
}

#[test]
fn geneve() {
    carries_tcp(|_, remote| format!("geneve id 7 remote {remote} dstport 6081"));
}

#[test]
fn gre() {
    carries_tcp(|local, remote| format!("gre local {local} remote {remote} ttl 64"));
}

#[test]
fn gre_with_ethernet_and_checksums() {
    carries_tcp(|local, remote| format!("gretap local {local} remote {remote} csum ttl 64"));
}

#[test]
fn ipip() {
    carries_tcp(|local, remote| format!("ipip local {local} remote {remote} ttl 64"));
}

/// Policy-based IPsec in tunnel mode: what is decrypted comes to TC ingress a second time, and passes. The rules
/// allow ESP and nothing of what is inside.
#[test]
fn ipsec_is_judged_once() {
    for (role, datapath) in [(Role::Host, Datapath::Tc), (Role::Host, Datapath::Xdp)] {
        let world = World::new(role, datapath);
        world.apply(&["underlay"], UNDERLAY);
        let ends = [
            (&world.instance, V4.instance, V4.remote, INNER[0], INNER[1]),
            (&world.remote, V4.remote, V4.instance, INNER[1], INNER[0]),
        ];
        for (namespace, near, far, inner, other) in ends {
            // Nothing is kept secret here, and no more modules are needed.
            let state = |from, to, spi| {
                format!(
                    "xfrm state add src {from} dst {to} proto esp spi {spi} reqid 1 mode tunnel \
                     enc ecb(cipher_null) auth digest_null"
                )
            };
            let (out, back) = if near == V4.instance { (1, 2) } else { (2, 1) };
            for line in [state(near, far, out), state(far, near, back)] {
                // The keys are empty words, which lines of `ip` cannot have.
                let args: Vec<&str> = line
                    .split_whitespace()
                    .flat_map(|word| match word {
                        "ecb(cipher_null)" | "digest_null" => vec![word, ""],
                        word => vec![word],
                    })
                    .collect();
                if !namespace.succeeds("ip", &args) {
                    return is_left_out(&"no ESP");
                }
            }
            namespace.ip(&format!(
                "address add {inner}/32 dev lo
                 xfrm policy add src {inner} dst {other} dir out tmpl src {near} dst {far} proto esp reqid 1 mode tunnel
                 xfrm policy add src {other} dst {inner} dir in tmpl src {far} dst {near} proto esp reqid 1 mode tunnel
                 route add {other}/32 dev {} via {far} onlink src {inner}",
                if near == V4.instance { "nic0" } else { "up0" }
            ));
        }
        // Either side opens: inbound was dropped by the rules, answers to outbound were `not_syn`.
        let machines = [(&world.instance, INNER[0]), (&world.remote, INNER[1])];
        for (client, server) in [(0, 1), (1, 0)] {
            let at = SocketAddr::new(machines[server].1, 80);
            let (done, counts) = world.counted(|| {
                bulk::exchange(machines[client], (machines[server].0, at), 1 << 20, PATIENCE)
            });
            done.unwrap_or_else(|error| panic!("{datapath:?} from {client}: {error}, {counts}"));
            for reason in ["no_rule", "not_syn", "malformed"] {
                assert_eq!(counts.get(&format!("ingress {reason}")), 0, "{counts}");
            }
            assert_ne!(counts.get("ingress flow"), 0, "ESP: {counts}");
        }
    }
}
