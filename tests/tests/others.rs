//! XDP and TC users besides us go on, see only what is allowed, and are named in `status`.

use std::process::Command;

use nix::net::if_::if_nametoindex;
use sg_datapath::testing::generator::{Attached, BaselineProgram};
use sg_tests::{
    Datapath, Ran, Role, V4, World,
    probe::{PATIENCE, SILENCE, Watch, tcp, udp},
    topology::{connect, mac},
};

const WEB: &str = r#"
[[security_group]]
name = "web"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24"] },
  { protocol = "udp", ports = 53, cidrs = ["10.9.0.0/24"] },
]
egress = []
"#;

fn attach(world: &World, program: BaselineProgram) -> Attached {
    let interface = world.interface();
    let attach = || program.attach(if_nametoindex(interface).expect("an interface"));
    world.host().run(attach).expect("a program")
}

#[track_caller]
fn others(world: &World) -> Vec<String> {
    let status = world.ctl().status();
    let text = world.ctl().run(&["status"]).expect(0).stdout;
    let others = status.interfaces[0].others.clone();
    assert!(others.iter().all(|other| text.contains(other.as_str())), "{text}");
    others
}

#[track_caller]
fn is_filtered(world: &World) {
    let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
    tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
}

/// Another XDP program keeps its place: TC filters behind it, and `status` says so.
#[test]
fn xdp() {
    let world = World::new(Role::Host, Datapath::Xdp);
    let foreign = attach(&world, BaselineProgram::XdpPass);
    world.apply(&["web"], WEB);
    let status = world.ctl().status();
    let interface = &status.interfaces[0];
    assert_eq!(interface.datapath, "tcx", "{interface:?}");
    assert!(interface.datapath_reason.contains("another XDP program"), "{interface:?}");
    let [other] = &others(&world)[..] else { panic!("{interface:?}") };
    assert!(other.starts_with("XDP program") && other.ends_with("before us"), "{other}");
    is_filtered(&world);
    let shown = world.instance.shows("link show dev nic0");
    assert!(shown.contains("prog/xdp"), "{shown}");
    // With the other one gone, the next apply that concerns the interface may have XDP.
    drop(foreign);
    assert_eq!(others(&world), [""; 0]);
}

/// One that was on TCX before us, and ours in front of it: it sees what is allowed, and nothing else.
#[test]
fn tcx_before_and_after_the_apply() {
    let world = World::new(Role::Host, Datapath::Tc);
    // The sink takes ARP and what IPv6 has to say by itself, too.
    for namespace in [&world.instance, &world.remote] {
        namespace.sysctl("ipv6/conf/all/disable_ipv6", "1");
    }
    for (namespace, interface, peer, other) in
        [(&world.instance, "nic0", V4.remote, "up0"), (&world.remote, "up0", V4.instance, "nic0")]
    {
        let mac = mac(other).map(|byte| format!("{byte:02x}")).join(":");
        namespace.ip(&format!("neigh replace {peer} lladdr {mac} dev {interface} nud permanent"));
    }
    let first = attach(&world, BaselineProgram::Sink);
    world.apply(&["web"], WEB);
    let second = attach(&world, BaselineProgram::TcDrop);
    let order: Vec<String> = others(&world);
    assert_eq!(order.len(), 2, "{order:?}");
    assert!(order[0].starts_with("TCX program on ingress") && order[0].ends_with("before us"));
    assert!(order[1].starts_with("TCX program on ingress") && order[1].ends_with("after us"));
    drop(second);
    let _server = udp::serve(&world.instance, V4.instance_port(53));
    let before = first.sunk();
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(54));
    assert_eq!(first.sunk(), before, "denied");
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(53));
    assert_eq!(first.sunk(), before + 1, "allowed by us, dropped by it");
    drop(first);
    udp::passes(&world.remote, V4.remote, V4.instance_port(53));
    assert_eq!(others(&world), [""; 0]);
}

fn tc(world: &World, args: &str) -> Ran {
    let mut command = Command::new("tc");
    Ran::of(command.args(["-n", world.host().name()]).args(args.split_whitespace())).expect(0)
}

/// Filters of clsact stay, see what is allowed, and outlive us.
#[test]
fn clsact_filters() {
    let mut world = World::new(Role::Host, Datapath::Tc);
    tc(&world, "qdisc add dev nic0 clsact");
    // UDP is sent to where nobody is at home.
    connect(&world.instance, "sink0", &world.instance, "sink1");
    tc(
        &world,
        "filter add dev nic0 ingress pref 7 protocol ip u32 match ip protocol 17 0xff \
         action mirred egress redirect dev sink0",
    );
    world.apply(&["web"], WEB);
    let named = others(&world);
    assert_eq!(named, ["tc filter on ingress u32 (pref 7), after us"]);
    let count = |world: &World| {
        let shown = tc(world, "-s filter show dev nic0 ingress").stdout;
        let sent = shown.split("Sent ").nth(1).expect("statistics").to_owned();
        sent.split_whitespace().nth(2).expect("packets").parse::<u64>().expect("a number")
    };
    let before = count(&world);
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(54));
    assert_eq!(count(&world), before, "denied");
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(53));
    assert_eq!(count(&world), before + 1, "allowed by us, taken by it");
    world.ctl().run(&["detach", "--yes"]).expect(0);
    assert!(world.agent.wait().success());
    udp::is_dropped(&world.remote, V4.remote, V4.instance_port(54));
    assert_eq!(count(&world), before + 2, "it is there still");
}

/// tcpdump shows denied ingress under TC, and does not under XDP. It never shows denied egress.
#[test]
fn packet_sockets() {
    for (datapath, sees_denied) in [(Datapath::Tc, true), (Datapath::Xdp, false)] {
        let world = World::new(Role::Host, datapath);
        world.apply(&["web"], WEB);
        let _server = udp::serve(&world.instance, V4.instance_port(53));
        let seen = |from_remote: bool, port: u16, limit| {
            let watch = Watch::open(&world.instance, "nic0");
            let exchange = if from_remote {
                udp::open(&world.remote, V4.remote, V4.instance_port(port))
            } else {
                udp::open(&world.instance, V4.instance, V4.remote_port(port))
            };
            let _ = exchange.echo(1000, limit);
            watch.largest() > 1000
        };
        assert!(seen(true, 53, PATIENCE), "allowed in, {datapath:?}");
        assert_eq!(seen(true, 54, SILENCE), sees_denied, "denied in, {datapath:?}");
        assert!(!seen(false, 54, SILENCE), "denied out, {datapath:?}");
    }
}
