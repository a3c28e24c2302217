//! Large packets by real stacks: a router with a small MTU on the way, jumbo frames, GSO.

use std::{io::ErrorKind, time::Duration};

use sg_tests::{
    Addresses, Datapath, FAMILIES, Role, V6, World, eventually, matrix,
    probe::{Outcome, PATIENCE, SILENCE, Watch, bulk, icmp, udp},
};

const MEGABYTE: usize = 1 << 20;

/// Nothing goes out but answers.
const SERVICES: &str = r#"
    [[security_group]]
    name = "services"
    ingress = [
      { protocol = "tcp", ports = 80, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
      { protocol = "udp", ports = 5000, cidrs = ["10.9.0.10/32", "fd09::10/128"] },
      { protocol = "icmp", type = 8, cidrs = ["10.9.0.10/32"] },
      { protocol = "icmpv6", type = 128, cidrs = ["fd09::10/128"] },
    ]
    egress = []
"#;

/// The link to the remote machine takes 1280 bytes, which the machine does not tell in its SYN.
fn narrow(world: &World) {
    world.router().ip("link set dev up1 mtu 1280");
    world.remote.ip("link set dev up0 mtu 1280
         -4 route replace 10.1.0.0/24 dev up0 via 10.9.0.1 onlink advmss 1460
         -6 route replace fd01::/64 via fe80::1 dev up0 advmss 1440");
}

fn transfer(
    world: &World,
    at: Addresses,
    megabytes: usize,
    limit: Duration,
) -> std::io::Result<()> {
    let client = (&world.remote, at.remote);
    bulk::exchange(client, (&world.instance, at.instance_port(80)), megabytes * MEGABYTE, limit)
}

fn ping(world: &World, at: Addresses, identifier: u16, data: usize, limit: Duration) -> Outcome {
    icmp::large(&world.remote, at.remote, at.instance, identifier, data, limit)
}

matrix! {
    with World::routed;

    /// Path MTU discovery works, through errors that belong to the flow; then datagrams in fragments
    /// pass both ways.
    fn small_mtu_on_the_way(world) {
        narrow(world);
        world.apply(&["services"], SERVICES);
        for at in FAMILIES {
            let (done, counts) = world.counted(|| transfer(world, at, 3, PATIENCE));
            done.expect("a transfer");
            counts.are(&["ingress rule", "ingress flow", "ingress related", "egress flow"]);

            // The first answer over IPv6 may be lost: it teaches the path's MTU.
            eventually("a large echo", || ping(world, at, 1, 4000, SILENCE) == Outcome::Passed);
            let (outcome, counts) = world.counted(|| ping(world, at, 2, 4000, PATIENCE));
            outcome.passed();
            counts.are(&["ingress rule", "ingress fragment", "egress flow", "egress fragment"]);

            let _server = udp::serve(&world.instance, at.instance_port(5000));
            let open = || udp::open(&world.remote, at.remote, at.instance_port(5000));
            let (outcome, counts) = world.counted(|| open().echo(8000, PATIENCE));
            outcome.passed();
            counts.are(&["ingress rule", "ingress fragment", "egress flow", "egress fragment"]);
        }
    }

    /// As EC2 has it: without a rule for ICMP errors, connections hang where the path is narrow.
    fn unrelated_errors_are_dropped(world) {
        narrow(world);
        world.apply(&["services"], &format!("[settings]\nrelated_icmp = false\n{SERVICES}"));
        for at in FAMILIES {
            let limit = Duration::from_secs(1);
            let (stalled, counts) = world.counted(|| transfer(world, at, 1, limit));
            let error = stalled.expect_err("nobody told the sender");
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            counts.are(&["ingress rule", "ingress flow", "ingress no_rule", "egress flow"]);
        }
    }

    /// No fragment of a denied datagram passes.
    fn denied_datagram(world) {
        narrow(world);
        world.apply(&["services"], SERVICES);
        for at in FAMILIES {
            let _server = udp::serve(&world.instance, at.instance_port(5000));
            let denied = udp::open(&world.remote, at.other, at.instance_port(5000));
            let (outcome, counts) = world.counted(|| denied.echo(8000, SILENCE));
            outcome.dropped();
            // 8008 bytes, by 1256 (IPv4) or 1232 (IPv6) a fragment.
            counts.exactly(&[("ingress no_rule", 1), ("ingress fragment_unknown", 6)]);
        }
    }

    /// Frames of 9001 bytes, which XDP has in several buffers.
    fn jumbo_frames(world) {
        world.apply(&["services"], SERVICES);
        world.router().ip("link set dev up1 mtu 9001\nlink set dev port0 mtu 9001");
        world.remote.ip("link set dev up0 mtu 9001");
        world.instance.ip("link set dev nic0 mtu 9001");
        for at in FAMILIES {
            transfer(world, at, 8, PATIENCE).expect("a transfer");
            let (outcome, counts) = world.counted(|| ping(world, at, 1, 8000, PATIENCE));
            outcome.passed();
            counts.exactly(&[("ingress rule", 1), ("egress flow", 1)]);
            let _server = udp::serve(&world.instance, at.instance_port(5000));
            let open = || udp::open(&world.remote, at.remote, at.instance_port(5000));
            let (outcome, counts) = world.counted(|| open().echo(8000, PATIENCE));
            outcome.passed();
            counts.exactly(&[("ingress rule", 1), ("egress flow", 1)]);
        }
    }

    /// Segments that the sender left for the network card to cut pass as they are, by TC.
    fn segmentation_offload(world) {
        world.apply(&["services"], SERVICES);
        for at in FAMILIES {
            let (done, counts) = world.counted(|| transfer(world, at, 8, PATIENCE));
            done.expect("a transfer");
            counts.are(&["ingress rule", "ingress flow", "egress flow"]);
            let segments = (8 * MEGABYTE / 1448) as u64;
            // A veth's peer cuts what goes to native XDP (veth_set_features), of which this end has
            // the kernel's ingress.
            let by_xdp = match (world.datapath, world.role) {
                (Datapath::Tc, _) => "",
                (Datapath::Xdp, Role::Host) => "ingress flow",
                (Datapath::Xdp, Role::Port) => "egress flow",
            };
            for key in ["ingress flow", "egress flow"] {
                let whole = counts.get(key) < segments;
                assert_eq!(whole, key != by_xdp, "{key}: {counts}");
            }
        }
    }

    /// The same of datagrams that leave a socket in one packet (UDP_SEGMENT).
    fn datagrams_in_segments(world) {
        const COUNT: u64 = 20;
        world.apply(&["services"], SERVICES);
        for at in FAMILIES {
            let _server = udp::serve(&world.instance, at.instance_port(5000));
            let open = udp::open(&world.remote, at.remote, at.instance_port(5000));
            let send = || open.echo_segments(COUNT as usize, 1000, PATIENCE);
            let (done, counts) = world.counted(send);
            done.expect("all echoes");
            // The router's end of a veth cuts what goes to native XDP, and so does the sender's.
            let is_cut = match (world.datapath, world.role) {
                (Datapath::Tc, _) | (_, Role::Port) => false,
                (Datapath::Xdp, Role::Host) => true,
            };
            let rest: &[(&str, u64)] = if is_cut { &[("ingress flow", COUNT - 1)] } else { &[] };
            counts.exactly(&[&[("ingress rule", 1), ("egress flow", COUNT)], rest].concat());
        }
    }
}

/// IPv6 segments beyond 64 KiB (BIG TCP), whose length field is 0, pass TC whole. Native XDP on a
/// veth is left out, because the kernel has no room for such a frame there. A router's port is left
/// out, because a forwarding kernel counts their jumbogram option against the MTU.
#[test]
fn big_tcp() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["services"], SERVICES);
    for (namespace, end) in [(&world.remote, "up0"), (&world.instance, "nic0")] {
        namespace.ip(&format!("link set dev {end} gso_max_size 180000 gro_max_size 180000"));
    }
    let watch = Watch::open(&world.instance, world.interface());
    let (done, counts) = world.counted(|| transfer(&world, V6, 64, PATIENCE));
    done.expect("a transfer");
    counts.are(&["ingress rule", "ingress flow", "egress flow"]);
    let largest = watch.largest();
    assert!(largest > 65_536 + 54, "no packet of more than 64 KiB: {largest}");
}
