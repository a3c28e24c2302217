//! Port role: an instance sends from its own addresses only.

use std::net::IpAddr;

use sg_tests::{
    Datapath, Role, V4, V6, World,
    probe::{icmp, udp},
    topology::number,
};

const ANY: &str = "[[security_group]]\nname = \"any\"\n";

/// Not the instance's, but of its network.
const SPOOFED: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 66)),
    IpAddr::V6(std::net::Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0x66)),
];

fn world(datapath: Datapath) -> World {
    let world = World::new(Role::Port, datapath);
    number(&world.instance, "nic0", &SPOOFED);
    world
}

fn spoofed_source_is_dropped(datapath: Datapath) {
    let world = world(datapath);
    world.apply(&["any"], ANY);
    for (at, spoofed) in [(V4, SPOOFED[0]), (V6, SPOOFED[1])] {
        let _server = udp::serve(&world.remote, at.remote_port(53));
        udp::passes(&world.instance, at.instance, at.remote_port(53));
        let ((), counts) = world.counted(|| {
            udp::is_dropped(&world.instance, spoofed, at.remote_port(53));
            icmp::is_dropped(&world.instance, spoofed, at.remote);
        });
        counts.exactly(&[("egress source_check", 2)]);
    }
}

#[test]
fn spoofed_source_is_dropped_xdp() {
    spoofed_source_is_dropped(Datapath::Xdp);
}

#[test]
fn spoofed_source_is_dropped_tc() {
    spoofed_source_is_dropped(Datapath::Tc);
}

/// A gateway's port: whatever it forwards is judged by the rules.
#[test]
fn it_can_be_turned_off() {
    let world = world(Datapath::Tc);
    let rules = world.rules(&["any"], ANY);
    world.ctl().apply(&format!("{rules}source_check = false\n"), &[]);
    for (at, spoofed) in [(V4, SPOOFED[0]), (V6, SPOOFED[1])] {
        let _server = udp::serve(&world.remote, at.remote_port(53));
        udp::passes(&world.instance, spoofed, at.remote_port(53));
    }
}

/// With `mac`, another Ethernet source is no source at all.
#[test]
fn mac() {
    let world = world(Datapath::Tc);
    let rules = world.rules(&["any"], ANY);
    let _server = udp::serve(&world.remote, V4.remote_port(53));
    for (mac, passes) in [("02:00:00:00:00:05", true), ("02:00:00:00:00:06", false)] {
        world.instance.ip("link set dev nic0 address 02:00:00:00:00:05");
        world.ctl().apply(&format!("{rules}mac = \"{mac}\"\n"), &[]);
        if passes {
            udp::passes(&world.instance, V4.instance, V4.remote_port(53));
        } else {
            let ((), counts) =
                world.counted(|| udp::is_dropped(&world.instance, V4.instance, V4.remote_port(53)));
            assert!(counts.get("egress source_check") > 0, "{counts}");
        }
    }
}
