//! Interfaces come, go and change their names.

use std::{
    net::{SocketAddr, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use sg_api::InterfaceStatus;
use sg_tests::{
    Agent, Counts, Datapath, FAMILIES, NetNs, Ran, Role, V4, V6, World, eventually, matrix,
    probe::{PATIENCE, tcp},
    topology::{connect, number},
};

const WEB: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] }]
"#;

fn find(world: &World, name: &str) -> Option<InterfaceStatus> {
    world.ctl().status().interfaces.into_iter().find(|entry| entry.name == name)
}

/// Port 80 is open, 81 is not.
#[track_caller]
fn is_filtered(world: &World) {
    for at in FAMILIES {
        tcp::passes(&world.remote, at.remote, at.instance_port(80));
        tcp::is_dropped(&world.remote, at.remote, at.instance_port(81));
    }
}

/// Servers on both ports, in both families.
fn serve(world: &World) -> Vec<tcp::Server> {
    let ports = [80, 81];
    let at = |port| FAMILIES.map(|at| tcp::serve(&world.instance, at.instance_port(port)));
    ports.into_iter().flat_map(at).collect()
}

matrix! {
    /// `status` tells role, data path and groups as they are.
    fn status_tells_the_attachment(world) {
        world.apply(&["web"], WEB);
        let status = find(world, world.interface()).expect("it is filtered");
        let role = if world.role == Role::Host { "host" } else { "port" };
        assert_eq!((status.role.as_str(), status.groups.as_slice()), (role, &["web".to_owned()][..]));
        match world.datapath {
            Datapath::Xdp => assert_eq!(status.datapath, "xdp", "{status:?}"),
            Datapath::Tc => assert!(["tcx", "tc"].contains(&status.datapath.as_str()), "{status:?}"),
        }
        assert!(!status.datapath_reason.is_empty());
        let sysfs = format!("/sys/class/net/{}/ifindex", world.interface());
        // sysfs shows the namespace of its mounter, so ask through `ip netns exec`, which remounts.
        let args = ["netns", "exec", world.host().name(), "cat", &sysfs];
        let output = std::process::Command::new("ip").args(args).output().expect("ip");
        let ifindex = String::from_utf8_lossy(&output.stdout).trim().parse();
        assert_eq!(Ok(status.ifindex), ifindex, "{output:?}");
    }

    /// An interface that goes and comes again is filtered again, without an apply.
    fn recreated(world) {
        let _servers = serve(world);
        world.apply(&["web"], WEB);
        is_filtered(world);
        world.instance.ip("link del dev nic0");
        eventually("it is gone", || find(world, world.interface()).is_none());
        match world.role {
            Role::Host => {
                connect(&world.remote, "up0", &world.instance, "nic0");
                number(&world.remote, "up0", &[V4.remote, V6.remote]);
                world.remote.ip("-4 route add 10.1.0.0/24 dev up0
                    -6 route add fd01::/64 dev up0");
                world.instance.ip("-4 route add 10.9.0.0/24 dev nic0
                    -6 route add fd09::/64 dev nic0");
            }
            Role::Port => {
                let router = world.host();
                connect(router, "port0", &world.instance, "nic0");
                router.ip("address add 10.1.0.1/32 dev port0
                    address add fe80::1/64 dev port0 nodad
                    -4 route add 10.1.0.0/24 dev port0
                    -6 route add fd01::/64 dev port0");
                world.instance.ip("-4 route add 10.9.0.0/24 dev nic0 via 10.1.0.1 onlink
                    -6 route add fd09::/64 dev nic0 via fe80::1");
            }
        }
        number(&world.instance, "nic0", &[V4.instance, V6.instance]);
        eventually("it is filtered", || find(world, world.interface()).is_some());
        is_filtered(world);
    }

    /// A renamed interface follows its new name: unknown, it is no longer filtered, with a warning;
    /// known again, it is.
    fn renamed(world) {
        let _servers = serve(world);
        world.apply(&["web"], WEB);
        let name = world.interface();
        // A live rename, which keeps routes and addresses; kernels before 6.2 refuse it.
        let rename = |from: &str, to: &str| world.host().ip(&format!("link set dev {from} name {to}"));
        rename(name, "stranger");
        eventually("it is not filtered", || world.ctl().status().interfaces.is_empty());
        for at in FAMILIES {
            tcp::passes(&world.remote, at.remote, at.instance_port(81));
        }
        let log = world.agent.log();
        assert!(log.contains("WARN") && log.contains("stranger"), "{log}");
        rename("stranger", name);
        eventually("it is filtered", || find(world, name).is_some());
        is_filtered(world);
    }

    /// An entry that goes takes the filter with it.
    fn entry_removed(world) {
        let _servers = serve(world);
        world.apply(&["web"], WEB);
        is_filtered(world);
        // Not unasked: it was the last one. Nor for a name that no interface has.
        for text in [WEB.to_owned(), world.rules(&["web"], WEB).replace(world.interface(), "typo0")] {
            let refused = world.ctl().try_apply(&text).expect(1);
            refused.says(&["no interface filtered", world.interface(), "--confirm", "--force"]);
        }
        is_filtered(world);
        world.ctl().apply(WEB, &["--confirm", "60"]);
        world.ctl().run(&["rollback"]).expect(0);
        is_filtered(world);
        world.ctl().apply(WEB, &["--force"]);
        assert_eq!(world.ctl().status().interfaces.len(), 0);
        for at in FAMILIES {
            tcp::passes(&world.remote, at.remote, at.instance_port(81));
        }
    }
}

/// A glob filters what appears under it; an exact name goes before it.
#[test]
fn glob() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.ctl().apply(
        r#"
        [[security_group]]
        name = "any"
        [[security_group]]
        name = "exact"
        [[interface]]
        name = "hot*"
        groups = ["any"]
        [[interface]]
        name = "hot1"
        groups = ["exact"]
        "#,
        &[],
    );
    assert_eq!(world.ctl().status().interfaces.len(), 0);
    for (name, group) in [("hot0", "any"), ("hot1", "exact"), ("hot22", "any")] {
        connect(&world.instance, name, &world.remote, &format!("far{name}"));
        eventually("it is filtered", || find(&world, name).is_some());
        assert_eq!(find(&world, name).expect("just seen").groups, [group]);
    }
    world.instance.ip("link del dev hot0");
    eventually("it is gone", || find(&world, "hot0").is_none());
    assert_eq!(world.ctl().status().interfaces.len(), 2);
}

/// Where an explicit `xdp` cannot be had (a bridge has no native XDP), TC filters all the same and
/// `status` says why.
#[test]
fn xdp_that_cannot_be_had() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.instance.ip("link add name bridge0 type bridge");
    world.ctl().apply(
        &format!(
            "{WEB}\n[[interface]]\nname = \"bridge0\"\ngroups = [\"web\"]\ndatapath = \"xdp\"\n"
        ),
        &[],
    );
    let status = find(&world, "bridge0").expect("it is filtered all the same");
    assert!(["tcx", "tc"].contains(&status.datapath.as_str()), "{status:?}");
    assert!(status.datapath_reason.to_lowercase().contains("xdp"), "{status:?}");
}

/// Most interfaces of a crowd get clsact filters first, and TCX when the crowd is over. The rules
/// hold meanwhile. Qdiscs that were made for it go, and those of others stay.
#[test]
fn a_crowd() {
    const CROWD: u16 = 12;
    let (host, guest) = (NetNs::new("host"), NetNs::new("guest"));
    let agent = Agent::start(&host, &[]);
    let rule = "{ protocol = \"udp\", ports = 80, cidrs = [\"10.0.0.0/8\"] }";
    let group = format!("name = \"web\"\ningress = [{rule}]\negress = []");
    let entry = "[[interface]]\nname = \"c*\"\nrole = \"port\"\ngroups = [\"web\"]";
    agent.ctl().apply(&format!("[[security_group]]\n{group}\n{entry}\n"), &[]);
    for number in 0..CROWD {
        connect(&host, &format!("c{number}"), &guest, &format!("far{number}"));
    }
    let shown = |path| {
        let interfaces = agent.ctl().status().interfaces;
        interfaces.iter().filter(|entry| entry.datapath == path).count()
    };
    eventually("all are filtered", || shown("tcx") + shown("tc") == usize::from(CROWD));
    // The last one's turn comes after seconds.
    let last = format!("c{}", CROWD - 1);
    let theirs = format!("filter add dev {last} ingress pref 9 protocol ip u32 match u32 0 0");
    let theirs: Vec<&str> = theirs.split(' ').collect();
    assert!(host.succeeds("tc", &theirs), "{}", agent.log());
    host.ip(&format!("address add 10.0.0.1/24 dev {last}"));
    guest.ip(&format!("address add 10.0.0.2/24 dev far{}", CROWD - 1));
    let at = |port| SocketAddr::from(([10, 0, 0, 2], port));
    let servers = [80, 81].map(|port| {
        let server = guest.run(|| UdpSocket::bind(at(port))).expect("a socket");
        setsockopt(&server, RcvBufForce, &(32 << 20)).expect("a larger buffer");
        server
    });
    let client = host.run(|| UdpSocket::bind("10.0.0.1:0")).expect("a socket");
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let (began, mut sent) = (Instant::now(), 0);
            while !done.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
                for port in [80, 81] {
                    client.send_to(b"datagram", at(port)).expect("it is sent");
                }
                sent += 1;
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        eventually("all have TCX", || shown("tcx") == usize::from(CROWD));
        done.store(true, Ordering::Relaxed);
        sender.join().expect("a sender")
    });
    let came = servers.map(|server| {
        server.set_nonblocking(true).expect("a socket");
        std::iter::from_fn(|| server.recv(&mut [0; 16]).ok()).count()
    });
    assert_eq!(came, [sent, 0]);
    // Judged once, but for what came in the moment between two hooks; an attachment takes 11 or more.
    let counts = Counts::of(&agent.ctl().status(), &last).of_direction("ingress");
    let counted: u64 = ["rule", "flow", "no_rule"]
        .map(|reason| counts.get(&format!("ingress {reason}")))
        .iter()
        .sum();
    let sent = 2 * sent as u64;
    assert!((sent..sent + 4).contains(&counted), "{sent} sent, {counted} counted");
    assert!(agent.log().contains("many came at once"), "{}", agent.log());
    let of = |name: &str, what: &str| {
        let args = ["netns", "exec", host.name(), "tc", what, "show", "dev", name];
        Ran::of(Command::new("ip").args(args).args((what == "filter").then_some("ingress"))).stdout
    };
    assert!(of(&last, "filter").contains("u32"));
    let before = format!("c{}", CROWD - 2);
    assert!(!of(&before, "qdisc").contains("clsact"), "{}", of(&before, "qdisc"));
}
