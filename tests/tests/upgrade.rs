//! Agents of different ABI one after the other: the filter has no gap, and sessions go on.

use std::{
    collections::BTreeSet,
    env, fs,
    net::{Shutdown, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use sg_api::{Applied, FlowUse, Revision};
use sg_common::{ABI, handover::TABLES};
use sg_tests::{
    Addresses, Datapath, FAMILIES, Role, V4, World, agent, eventually, matrix,
    probe::{PATIENCE, tcp},
};
use socket2::SockRef;

/// From the remote network: TCP and UDP on port 80, and nothing else. Nothing is picked up.
const WEB: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "web"
ingress = [
  { protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] },
  { protocol = "udp", ports = 80, cidrs = ["10.9.0.0/24", "fd09::/64"] },
]
egress = []
"#;

/// An agent of this ABI and layout of tables.
fn agent_of(world: &World, number: u32, tables: u32) -> Command {
    let mut command = world.agent.command_of(Path::new(env!("CARGO_BIN_EXE_sg-agent-abi")), &[]);
    command.env("SG_ABI", format!("{number}.{tables}"));
    command
}

/// The agent of the commit before, which `SG_AGENT_BEFORE` names. Without it, this one hands over to itself.
fn agent_before(world: &World) -> Command {
    let before = env::var_os("SG_AGENT_BEFORE").map(PathBuf::from);
    world.agent.command_of(&before.unwrap_or_else(|| agent::binary("sg-agent")), &[])
}

/// The folders of pins.
fn versions(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.agent.bpffs()).expect("a bpffs").flatten();
    let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    names.filter(|name| name.starts_with('v')).collect()
}

/// Datagrams from the remote machine to a port of the instance, all the time.
struct Stream {
    stop: Arc<AtomicBool>,
    sending: Option<JoinHandle<u64>>,
    came: Arc<AtomicU64>,
    receiver: UdpSocket,
    receiving: Option<JoinHandle<()>>,
}

impl Stream {
    fn start(world: &World, at: Addresses, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let came = Arc::new(AtomicU64::new(0));
        let bind = |at| move || UdpSocket::bind(at).expect("a socket");
        let receiver = world.instance.run(bind(at.instance_port(port)));
        // Room for what comes while it waits for a CPU; by default that is a quarter of a second's.
        setsockopt(&receiver, RcvBufForce, &(32 << 20)).expect("a larger buffer");
        let sender = world.remote.run(bind(at.remote_port(0)));
        let (inbox, counter) = (receiver.try_clone().expect("a descriptor"), Arc::clone(&came));
        let receiving = thread::spawn(move || {
            let mut datagram = [0; 16];
            // Nothing comes once it is shut down.
            while let Ok(1..) = inbox.recv(&mut datagram) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (stopped, target) = (Arc::clone(&stop), at.instance_port(port));
        let sending = thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                sender.send_to(b"datagram", target).expect("it is sent");
                sent += 1;
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        Self { stop, sending: Some(sending), came, receiver, receiving: Some(receiving) }
    }

    fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// Sends no more; how many there were.
    fn end(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.take().map_or(0, |sending| sending.join().expect("no panic"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.end();
        // ENOTCONN, but the receiver wakes all the same.
        let _ = SockRef::from(&self.receiver).shutdown(Shutdown::Both);
        // The port is free once it has ended.
        let _ = self.receiving.take().map(JoinHandle::join);
    }
}

/// Packets that came to the instance and found no room, in sockets and in interfaces.
fn losses(world: &World) -> String {
    let udp = world.instance.run(|| fs::read_to_string("/proc/thread-self/net/snmp"));
    let udp = udp.expect("statistics");
    let udp: Vec<_> = udp.lines().filter(|line| line.starts_with("Udp:")).collect();
    let links = world.instance.shows("-s link show");
    format!("{}\n{links}", udp.join("\n"))
}

/// Every packet that the rules allow passes meanwhile, and none that they do not.
#[track_caller]
fn without_a_gap(world: &mut World, change: impl FnOnce(&mut World)) {
    let [mut allowed, mut denied] = [80, 81].map(|port| Stream::start(world, V4, port));
    change(world);
    // A change of a tenth of a second has few datagrams in it; some come after it, too.
    thread::sleep(Duration::from_millis(100));
    let sent = allowed.end();
    let limit = Instant::now() + PATIENCE;
    while allowed.came() < sent && Instant::now() < limit {
        thread::sleep(Duration::from_millis(5));
    }
    let came = allowed.came();
    assert!(
        came == sent,
        "of {sent} that are allowed {came} came; where others are lost: {}",
        losses(world)
    );
    assert!(sent > 100, "{sent} datagrams are no traffic");
    let sent = denied.end();
    assert_eq!(denied.came(), 0, "of {sent} that are denied");
}

fn serve(world: &World) -> [tcp::Server; 2] {
    FAMILIES.map(|at| tcp::serve(&world.instance, at.instance_port(80)))
}

fn connect(world: &World) -> [tcp::Connection; 2] {
    FAMILIES.map(|at| tcp::open(&world.remote, at.remote, at.instance_port(80)))
}

/// Leaves the interface with a slot that it would not get if it were new.
#[track_caller]
fn takes_the_second_slot(world: &World) {
    world.host().ip("link add spare0 type veth peer name spare1");
    let spare = format!("{WEB}[[interface]]\nname = \"spare0\"\ngroups = [\"web\"]\n");
    world.ctl().apply(&spare, &[]);
    eventually("spare0", || world.ctl().status().interfaces.len() == 1);
    world.apply(&["web"], &spare);
}

matrix! {
    /// Up and down again, where the tables are the same: flows, counters and slots go on.
    fn flows_are_carried_over(world) {
        let _servers = serve(world);
        takes_the_second_slot(world);
        let revision = world.apply(&["web"], WEB).revision;
        let mut open = connect(world);
        for (number, tables) in [(ABI + 1, TABLES), (ABI, TABLES)] {
            let before = world.counters();
            let command = agent_of(world, number, tables);
            without_a_gap(world, |world| {
                world.agent.terminate();
                world.agent.restart_by(command);
            });
            assert_eq!(versions(world), [format!("v{number}")]);
            assert_eq!(world.ctl().status().revision, revision);
            let ((), added) = world.counted(|| open.iter_mut().for_each(tcp::Connection::passes));
            assert_eq!(added.get("ingress rule"), 0, "{added}");
            assert_eq!(added.get("ingress not_syn"), 0, "{added}");
            let since = world.counters().since(&before);
            assert!(since.get("ingress no_rule") > 100, "denied by old and new: {since}");
        }
        // Packets to port 81 are not lost on the way.
        world.apply(&["web"], &WEB.replace("80", "81"));
        let stream = Stream::start(world, V4, 81);
        eventually("datagrams to port 81", || stream.came() > 0);
    }

    /// The agent of another commit, this one and that one again, on one state directory. Each reads the revisions
    /// of the other, and flows go on that no rule allows any more.
    fn commits_hand_over_to_each_other(world) {
        let _servers = serve(world);
        world.agent.terminate();
        world.agent.restart_by(agent_before(world));
        takes_the_second_slot(world);
        world.apply(&["web"], WEB);
        let mut open = connect(world);
        let streams = FAMILIES.map(|at| Stream::start(world, at, 80));
        for stream in &streams {
            eventually("a datagram", || stream.came() > 0);
        }
        let closed = world.apply(&["web"], &WEB.replace("80", "82")).revision;
        let mut current = closed;
        for number in 0..3 {
            let rules: String = world.ctl().run(&["export"]).expect(0).stdout;
            let history: Vec<Revision> = world.ctl().json(&["history"]);
            let counted = world.counters();
            let next = if number == 1 { agent_before(world) } else { world.agent.command(&[]) };
            world.agent.terminate();
            world.agent.restart_by(next);
            assert_eq!(world.ctl().status().revision, current);
            assert_eq!(world.ctl().run(&["export"]).expect(0).stdout, rules);
            let told: Vec<Revision> = world.ctl().json(&["history"]);
            assert_eq!(format!("{told:?}"), format!("{history:?}"));
            open.iter_mut().for_each(tcp::Connection::passes);
            for stream in &streams {
                let before = stream.came();
                eventually("another datagram", || stream.came() > before);
            }
            let since = world.counters().since(&counted);
            let dropped = (since.get("ingress no_rule"), since.get("ingress not_syn"));
            assert_eq!(dropped, (0, 0), "{since}");
            // The next one reads a change that this one made, and the revisions of both.
            let back: Applied = world.ctl().json(&["rollback", "2"]);
            let applied = world.apply(&["web"], &WEB.replace("80", &format!("9{number}")));
            assert_eq!(applied.revision, back.revision + 1);
            current = applied.revision;
        }
    }

    /// Where they are not: what the rules allow is picked up again for a while, and only then. In host role
    /// the kernel's own sockets tell of it, for as long as they last.
    fn sessions_are_picked_up(world) {
        let _servers = serve(world);
        world.apply(&["web"], &WEB.replace("pickup = 0", "pickup = 30"));
        let mut open = connect(world);
        for (number, tables) in [(ABI + 1, TABLES + 1), (ABI, TABLES)] {
            let command = agent_of(world, number, tables);
            without_a_gap(world, |world| {
                world.agent.kill();
                world.agent.restart_by(command);
            });
            assert_eq!(versions(world), [format!("v{number}")]);
            let ((), added) = world.counted(|| open.iter_mut().for_each(tcp::Connection::passes));
            let picked_up = if world.role == Role::Host { 0 } else { 2 };
            assert_eq!(added.get("ingress rule"), picked_up, "{added}");
        }
        world.apply(&["web"], WEB);
        let command = agent_of(world, ABI + 1, TABLES + 1);
        world.agent.kill();
        world.agent.restart_by(command);
        match world.role {
            Role::Host => open.iter_mut().for_each(tcp::Connection::passes),
            Role::Port => open.iter_mut().for_each(tcp::Connection::is_dropped),
        }
    }

    /// Started anew with room for more flows. Only flows let in what is open, no rule does any more.
    fn flow_table_grows(world) {
        let _servers = serve(world);
        world.apply(&["web"], WEB);
        let mut open = connect(world);
        let mut stream = Stream::start(world, V4, 80);
        eventually("datagrams", || stream.came() > 0);
        world.apply(&["web"], &WEB.replace("80", "82"));
        let (before, dropped) = (flow_use(world), world.counters());
        let command = more_flows(world, 1);
        world.agent.kill();
        world.agent.restart_by(command);
        let after = flow_use(world);
        assert_eq!(after.capacity, 2 * before.capacity);
        assert_eq!(after.used, before.used);
        open.iter_mut().for_each(tcp::Connection::passes);
        let sent = stream.end();
        eventually("every datagram", || stream.came() == sent);
        let dropped = world.counters().since(&dropped);
        assert_eq!((dropped.get("ingress no_rule"), dropped.get("ingress not_syn")), (0, 0));
        assert!(!has_smaller_tables(world));
        // And it stays.
        world.agent.terminate();
        world.agent.restart();
        assert_eq!(flow_use(world).capacity, after.capacity);
        open.iter_mut().for_each(tcp::Connection::passes);
    }
}

fn flow_use(world: &World) -> FlowUse {
    world.ctl().status().interfaces[0].flows
}

/// An agent with so many times double the room of the usual one.
fn more_flows(world: &World, doublings: u32) -> Command {
    let flows = (262_144u32 << doublings).to_string();
    world.agent.command(&["--max-flows", &flows])
}

fn has_smaller_tables(world: &World) -> bool {
    let maps = world.agent.bpffs().join(format!("v{ABI}/maps"));
    let entries = fs::read_dir(maps).expect("a folder of maps").flatten();
    let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    names.into_iter().any(|name| name.ends_with("_OLD"))
}

/// One that dies while the table grows leaves all flows to the next.
#[test]
fn killed_while_the_flow_table_grows() {
    const TIMES: u32 = 12;
    let mut world = World::new(Role::Port, Datapath::Xdp);
    let _servers = serve(&world);
    world.apply(&["web"], WEB);
    let mut open = connect(&world);
    world.apply(&["web"], &WEB.replace("80", "82"));
    world.agent.kill();
    let began = Instant::now();
    world.agent.restart();
    let took = began.elapsed();
    world.agent.kill();
    let (mut capacity, mut on_the_way) = (0, 0);
    for time in 0..TIMES {
        // Each size three times, so that some find what one before has left.
        let mut child = more_flows(&world, 1 + time / 3).spawn().expect("it starts");
        thread::sleep(took.mul_f64(0.2 + f64::from(time) / f64::from(TIMES)));
        child.kill().expect("SIGKILL");
        child.wait().expect("our child");
        on_the_way += u32::from(has_smaller_tables(&world));
        open.iter_mut().for_each(tcp::Connection::passes);
        capacity = capacity.max(1 + time / 3);
    }
    assert!(on_the_way > 0, "never killed on its way");
    world.agent.restart_by(more_flows(&world, capacity));
    assert!(!has_smaller_tables(&world));
    assert_eq!(flow_use(&world).used, 2);
    open.iter_mut().for_each(tcp::Connection::passes);
}

/// An agent that dies anywhere on its way leaves all to the next, of whichever ABI.
#[test]
fn killed_on_the_way() {
    const TIMES: u64 = 10;
    let mut world = World::new(Role::Port, Datapath::Xdp);
    let _servers = serve(&world);
    world.apply(&["web"], WEB);
    let mut open = connect(&world);
    world.agent.kill();
    let began = Instant::now();
    world.agent.restart_by(agent_of(&world, ABI + 1, TABLES));
    let took = began.elapsed();
    world.agent.kill();
    let mut seen = BTreeSet::new();
    without_a_gap(&mut world, |world| {
        for time in 0..5 * TIMES {
            // On a busy machine it may take longer than it took.
            if time >= TIMES && seen.len() > 2 {
                break;
            }
            let mut child =
                agent_of(world, ABI + (time % 2) as u32, TABLES).spawn().expect("it starts");
            thread::sleep(took.mul_f64(1.2 * time as f64 / TIMES as f64));
            child.kill().expect("SIGKILL");
            child.wait().expect("our child");
            seen.insert(versions(world));
            open.iter_mut().for_each(tcp::Connection::passes);
        }
    });
    assert!(seen.len() > 2, "not killed on its way: {seen:?}");
    world.agent.restart();
    assert_eq!(versions(&world), [format!("v{ABI}")]);
    open.iter_mut().for_each(tcp::Connection::passes);
}
