//! `cargo xtask vm-test --systemd`: the package on a Debian system with systemd, in qemu, looked at from
//! a network namespace that its NIC is wired to. Says what it has seen; panics where that is not right.

mod guest;
mod outside;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use sg_common::ABI;
use sg_tests::{
    NetNs, eventually,
    probe::{SILENCE, tcp},
};

use crate::{
    guest::{Guest, install},
    outside::{GUEST, HERE, Prober, Traffic},
};

const TAP: &str = "tap0";
const TAP_MAC: &str = "02:00:00:00:77:01";
const GUEST_MAC: &str = "02:00:00:00:77:02";

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    kernel: PathBuf,
    /// The first root file system, which hands over to the disk
    #[arg(long)]
    initrd: PathBuf,
    /// Is written to
    #[arg(long)]
    disk: PathBuf,
    /// Where the kernel's console goes
    #[arg(long)]
    console: PathBuf,
    /// Seconds that all may take
    #[arg(long)]
    limit: u64,
    /// The agent's package to install, one of another version, and one of another ABI; the server's package
    #[arg(num_args = 4)]
    packages: Vec<PathBuf>,
}

/// TCP to port 80 from outside, and nothing else, either way. Only a flow carries a connection on.
const RULES: &str = r#"
[settings.tracking]
pickup = 0
[[security_group]]
name = "test"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.77.0.0/24"] }]
egress = []
[[interface]]
name = "e*"
groups = ["test"]
"#;

fn main() {
    let args = Args::parse();
    let outside = NetNs::new("outside");
    outside.ip(&format!(
        "tuntap add dev {TAP} mode tap
         link set dev {TAP} address {TAP_MAC} up
         address add {HERE}/24 dev {TAP}
         neighbour add {GUEST} lladdr {GUEST_MAC} dev {TAP} nud permanent"
    ));
    let prober = Prober::start(&outside, [2, 0, 0, 0, 0x77, 1], [2, 0, 0, 0, 0x77, 2]);
    let mut test = Test {
        began: Instant::now(),
        guest: Guest::start(&args, &outside),
        prober,
        outside: &outside,
    };
    test.guest.is_up();
    test.is_open("without the package");
    test.installs(&args);
    test.applies();
    test.reboots();
    let traffic = Traffic::start(test.connect());
    test.goes_on(&traffic, "systemctl restart", "systemctl restart sg-agent");
    let kill = "kill -9 $(systemctl show -P MainPID sg-agent)";
    test.goes_on(&traffic, "kill -9", kill);
    test.goes_on(&traffic, "SIGSTOP, until the watchdog ends it", &kill.replace("-9", "-STOP"));
    let (status, _) = test.guest.run("journalctl -u sg-agent | grep -qi watchdog");
    assert_eq!(status, 0, "it was the watchdog");
    test.goes_on(&traffic, "an upgrade to another version", &install('c', &args.packages[1]));
    test.is_of_abi(ABI);
    test.goes_on(&traffic, "an upgrade to another ABI", &install('d', &args.packages[2]));
    test.is_of_abi(ABI + 1);
    test.goes_on(&traffic, "the way back", &install('c', &args.packages[1]));
    test.is_of_abi(ABI);
    let connection = traffic.end();
    test.serves(&install('e', &args.packages[3]));
    test.detaches();
    test.removes(connection);
    println!("systemd: all as it should be, in {} s", test.began.elapsed().as_secs());
}

struct Test<'a> {
    began: Instant,
    /// Before the namespace goes.
    guest: Guest<'a>,
    prober: Prober,
    outside: &'a NetNs,
}

impl Drop for Test<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let (_, log) =
                self.guest.run("sgctl status; journalctl -b -u sg-agent --no-pager | tail -40");
            eprintln!("--- sgctl status, and the agent's log\n{log}");
        }
    }
}

impl Test<'_> {
    fn says(&self, what: &str) {
        println!("systemd {:>4} s | {what}", self.began.elapsed().as_secs());
    }

    fn connect(&self) -> tcp::Connection {
        tcp::open(self.outside, HERE.into(), (GUEST, 80).into())
    }

    /// Nothing is filtered, and the probes are such that one sees it.
    #[track_caller]
    fn is_open(&self, when: &str) {
        eventually("answers to what the rules are to deny", || self.prober.in_a_second().1 > 20);
        let (sent, answers) = self.prober.in_a_second();
        self.says(&format!("{when}: {answers} answers to {sent} probes in a second"));
    }

    /// The allowed port passes, and nothing else.
    #[track_caller]
    fn is_filtered(&self) {
        tcp::passes(self.outside, HERE.into(), (GUEST, 80).into());
        let outcome = tcp::attempt(self.outside, HERE.into(), (GUEST, 81).into(), SILENCE);
        outcome.dropped();
    }

    fn installs(&mut self, args: &Args) {
        let guest = &mut self.guest;
        guest.does(&install('b', &args.packages[0]));
        guest.does("systemctl is-active sg-agent");
        guest.does("systemctl is-enabled sg-agent");
        guest.does("sgctl check /etc/sg/rules.toml");
        assert_eq!(guest.does("stat -c %G /run/sg/agent.sock"), "sg");
        let exposure = guest.does("systemd-analyze security --no-pager sg-agent | tail -1");
        self.is_open("installed, nothing applied");
        let mut connection = self.connect();
        let guest = &mut self.guest;
        guest.does("sgctl apply /etc/sg/rules.toml");
        connection.passes();
        self.is_open("the rules as they are shipped applied");
        self.says(exposure.trim_start_matches(|c: char| !c.is_ascii()));
    }

    fn applies(&mut self) {
        let text = RULES.replace('\n', "\\n");
        self.guest.does(&format!("printf '{text}' > /root/rules.toml"));
        self.guest.does("sgctl apply /root/rules.toml");
        self.is_filtered();
        let (sent, answers) = self.prober.in_a_second();
        assert_eq!(answers, 0, "of {sent}");
        let status = self.guest.does("sgctl status");
        self.says(&format!("applied: no answer to {sent} probes in a second\n{status}"));
    }

    /// Not one answer from the last moment before to the end of the boot.
    fn reboots(&mut self) {
        let before = self.prober.now();
        let boot = self.guest.does("cat /proc/sys/kernel/random/boot_id");
        self.guest.reboots();
        assert_ne!(self.guest.does("cat /proc/sys/kernel/random/boot_id"), boot);
        self.is_filtered();
        let after = self.prober.now();
        assert_eq!(after.1, before.1, "answers that the rules forbid");
        let up = "systemctl show -P ActiveEnterTimestampMonotonic";
        let agent = self.guest.does(&format!("{up} sg-agent"));
        let network = self.guest.does(&format!("{up} systemd-networkd"));
        let [agent, network] = [agent, network].map(|at| at.parse::<f64>().expect("µs") / 1e6);
        assert!(agent < network, "the agent is ready at {agent} s, the network at {network} s");
        let dropped = self.dropped();
        assert!(dropped > 0, "no probe reached it");
        self.says(&format!(
            "rebooted: no answer to {} probes, {dropped} of them dropped by the rules; ready {agent:.1} s \
             after boot, before the network at {network:.1} s",
            after.0 - before.0
        ));
    }

    /// Packets that no rule allowed, as the agent counts them.
    fn dropped(&mut self) -> u64 {
        let status = self.guest.does("sgctl status --json");
        let status: sg_api::Status = serde_json::from_str(&status).expect("JSON");
        let counters = status.interfaces.iter().flat_map(|interface| &interface.ingress.dropped);
        counters
            .filter(|(reason, _)| **reason == "no_rule")
            .map(|(_, counter)| counter.packets)
            .sum()
    }

    /// Another agent takes over: no answer that the rules forbid, and the connection lives.
    #[track_caller]
    fn goes_on(&mut self, traffic: &Traffic, what: &str, command: &str) {
        let pid = "systemctl show -P MainPID sg-agent";
        let (echoes, _) = traffic.now();
        let (before, counted) = (self.prober.now(), self.dropped());
        let revision = self.guest.does("sgctl status --json | grep -o '\"revision\":[0-9]*'");
        let first = self.guest.does(pid);
        let began = Instant::now();
        self.guest.does(command);
        self.guest.waits(&format!(
            "p=$({pid}); test $p != {first} -a $p != 0 && sgctl status >/dev/null"
        ));
        let took = began.elapsed().as_secs_f64();
        self.is_filtered();
        assert_eq!(
            self.guest.does("sgctl status --json | grep -o '\"revision\":[0-9]*'"),
            revision
        );
        let (after, (echoed, slowest)) = (self.prober.now(), traffic.now());
        assert_eq!(after.1, before.1, "answers that the rules forbid");
        assert!(self.dropped() > counted, "counters go on");
        assert!(echoed > echoes, "no traffic");
        self.says(&format!(
            "{what}: the next agent after {took:.1} s, no answer to {} probes, {} echoes on the connection, \
             the slowest in {slowest} ms",
            after.0 - before.0,
            echoed - echoes
        ));
    }

    /// All pins are of this ABI, and of no other.
    #[track_caller]
    fn is_of_abi(&mut self, number: u32) {
        assert_eq!(self.guest.does("ls /sys/fs/bpf/sg"), format!("v{number}"));
    }

    /// The server's package: nothing runs before `init`; then a user without rights serves, and the agent follows.
    fn serves(&mut self, install: &str) {
        const STORE: &str = "/var/lib/sg-server/store.redb";
        let guest = &mut self.guest;
        guest.does(install);
        guest.does("systemctl is-enabled sg-server");
        assert_eq!(guest.run("systemctl is-active sg-server").1, "inactive");
        let key = guest.does("sg-server init");
        assert!(key.contains("access key"), "{key}");
        guest.does("systemctl start sg-server");
        let pid = "$(systemctl show -P MainPID sg-server)";
        let users = guest.does(&format!("stat -c %U {STORE} /proc/{pid}"));
        assert_eq!(users, "sg-server\nsg-server");
        assert_eq!(guest.does("stat -c %a /var/lib/sg-server"), "700");
        let capabilities = guest.does(&format!("grep -h '^Cap[EPB]' /proc/{pid}/status"));
        assert!(!capabilities.contains(|c: char| c.is_ascii_digit() && c != '0'), "{capabilities}");
        let accounts = guest.does("sg-server account list");
        assert!(accounts.contains("first"), "{accounts}");
        let exposure = guest.does("systemd-analyze security --no-pager sg-server | tail -1");
        let settings = "/etc/sg/agent.toml";
        let lines = r#"floor = []\ncontrol = "unix:/run/sg-server/feed.sock"\n"#;
        guest.does(&format!("cp {settings} /root && printf '{lines}' >> {settings}"));
        guest.does("systemctl restart sg-agent");
        guest.waits("sgctl status | grep -q 'feed.sock: connected'");
        // The rules of before stay where nothing is bound.
        self.is_filtered();
        let guest = &mut self.guest;
        let first = guest.does(&format!("echo {pid}"));
        guest.does(&format!("kill -9 {first}"));
        guest.waits(&format!("systemctl is-active sg-server && test {pid} != {first}"));
        guest.waits("sgctl status | grep -q 'feed.sock: connected'");
        guest.does(&format!("cp /root/agent.toml {settings} && systemctl restart sg-agent"));
        guest.does("dpkg -P sg-server");
        let (_, left) = guest.run("ls -d /var/lib/sg-server /usr/sbin/sg-server 2>/dev/null");
        assert_eq!(left, "", "left by a purge");
        self.is_filtered();
        self.says(&format!(
            "server: nothing before init; as sg-server, without a capability; the agent follows, also after a \
             kill -9; purged\n{}",
            exposure.trim_start_matches(|c: char| !c.is_ascii())
        ));
    }

    /// Detached is detached, until somebody starts it again.
    fn detaches(&mut self) {
        self.guest.does("sgctl detach --yes");
        self.guest.waits("systemctl is-active sg-agent | grep -qx inactive");
        // systemd would be quicker.
        thread::sleep(Duration::from_secs(5));
        assert_eq!(self.guest.run("systemctl is-active sg-agent").1, "inactive");
        self.is_open("sgctl detach, and no other agent");
        self.guest.does("systemctl start sg-agent");
        self.is_filtered();
    }

    fn removes(&mut self, mut connection: tcp::Connection) {
        let version = self.guest.does("dpkg-query -W -f '${Version}' sg-agent");
        assert!(version.ends_with("+upgrade"), "{version}");
        self.guest.does("dpkg -r sg-agent");
        self.is_open(&format!("version {version} removed"));
        connection.passes();
        assert_eq!(
            self.guest.does("ls /sys/fs/bpf/sg; ls -d /var/lib/sg /etc/sg"),
            "/etc/sg\n/var/lib/sg"
        );
        self.guest.does("dpkg -P sg-agent");
        assert_ne!(self.guest.run("ls -d /var/lib/sg /etc/sg /run/sg /usr/sbin/sgctl").0, 0);
        let (_, left) =
            self.guest.run("ls -d /var/lib/sg /etc/sg /run/sg /usr/sbin/sgctl 2>/dev/null");
        assert_eq!(left, "", "left by a purge");
        self.says("purged: state, settings and programs are gone");
    }
}
