//! docs/troubleshooting.md: each row's symptom is provoked, its question is asked, and what it says to do
//! helps.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    process::Command,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    net::if_::if_nametoindex,
};
use sg_datapath::testing::generator::BaselineProgram;
use sg_tests::{
    Agent, Ctl, Datapath, NetNs, Ran, Role, V4, World,
    agent::{public_binary, ran_within},
    ctl,
    document::{Row, row, rows},
    eventually,
    probe::{
        PATIENCE, bulk,
        craft::{self, Path as Way, UDP},
        tcp, udp,
    },
    tools::Strace,
    topology::{mac, number},
};

const DOCUMENT: &str = "docs/troubleshooting.md";
const WEB: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.9.0.0/24"] }]
"#;
const SSH: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 22, cidrs = ["10.9.0.0/24"] }]
"#;
/// The cells.
const SEEN: usize = 0;
const ASK: usize = 1;
const DO: usize = 2;

/// A test for each row, and one that there are no others.
macro_rules! rows {
    ($($symptom:literal fn $name:ident($row:ident) $body:block)+) => {
        $(
            #[test]
            fn $name() {
                let $row = &row(DOCUMENT, $symptom);
                $body
            }
        )+

        #[test]
        fn every_row_is_provoked() {
            let mut listed: Vec<String> =
                rows(DOCUMENT).into_iter().map(|mut row| row.0.swap_remove(SEEN)).collect();
            let mut tested = vec![$($symptom.to_owned()),+];
            listed.sort_unstable();
            tested.sort_unstable();
            assert_eq!(listed, tested);
        }
    };
}

fn host() -> World {
    World::new(Role::Host, Datapath::Tc)
}

fn port() -> World {
    World::new(Role::Port, Datapath::Tc)
}

fn status(ctl: &Ctl) -> String {
    ctl.run(&["status"]).expect(0).stdout
}

/// The output of `explain` for a TCP packet from the remote machine.
fn explained(row: &Row, world: &World, sport: u16, dport: u16) -> String {
    let ends = format!("--src {}:{sport} --dst {}:{dport}", V4.remote, V4.instance);
    let more =
        format!("--interface {} --direction ingress --protocol tcp {ends}", world.interface());
    row.sgctl(ASK, &world.ctl(), world.interface(), &more)
}

/// The remote machine's connection to port 80.
fn connect(world: &World) -> (tcp::Server, tcp::Connection) {
    let server = tcp::serve(&world.instance, V4.instance_port(80));
    let connection = tcp::open(&world.remote, V4.remote, V4.instance_port(80));
    (server, connection)
}

#[track_caller]
fn web_passes(world: &World) {
    tcp::passes(&world.remote, V4.remote, V4.instance_port(80));
}

/// Its question about a file that is given with it.
fn with_file(row: &Row) -> Row {
    Row(row.0.iter().map(|cell| cell.replace(" FILE", "")).collect())
}

/// As sgctl in this SSH session.
fn apply_in(session: &str, world: &World, text: &str, flags: &[&str]) -> Ran {
    let file = ctl::file(world.rules(&["web"], text).as_bytes());
    let mut command = world.ctl().command();
    Ran::of(command.env("SSH_CONNECTION", session).args(["apply", &file]).args(flags))
}

rows! {
    "`no_rule`"
    fn no_rule(row) {
        let world = host();
        world.apply(&["web"], WEB);
        let _server = tcp::serve(&world.instance, V4.instance_port(81));
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
        row.is_quoted(SEEN, &status(&world.ctl()));
        let rules = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(rules.contains("10.9.0.0/24") && !rules.contains("81"), "{rules}");
        world.apply(&["web"], &WEB.replace("80", "[80, 81]"));
        tcp::passes(&world.remote, V4.remote, V4.instance_port(81));
    }

    "`no_rule`, though a group is the peer"
    fn no_members(row) {
        let world = port();
        let rules = world.rules(
            &["server"],
            r#"
            [[security_group]]
            name = "client"
            [[security_group]]
            name = "server"
            ingress = [{ protocol = "tcp", ports = 80, groups = ["client"] }]
            "#,
        );
        let peer = |name: &str, more: &str| {
            format!("{rules}[[interface]]\nname = \"{name}\"\nrole = \"port\"\ngroups = [\"client\"]\n{more}\n")
        };
        world.ctl().apply(&peer("up*", ""), &[]);
        let _server = tcp::serve(&world.instance, V4.instance_port(80));
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(80));
        row.is_quoted(SEEN, &status(&world.ctl()));
        let shown = row.sgctl(ASK, &world.ctl(), "", "");
        let glob = shown.lines().find(|line| line.contains("up*")).expect("the entry");
        assert!(!glob.contains("10.9.0.10"), "{shown}");
        world.ctl().apply(&peer("up1", &format!("addresses = [\"{}\"]", V4.remote)), &[]);
        web_passes(&world);
    }

    "`not_syn`"
    fn not_syn(row) {
        let world = host();
        let rules = format!("[settings.tracking]\npickup = 0\n{WEB}");
        world.apply(&["web"], &rules);
        let (_server, mut connection) = connect(&world);
        // As if it had idled out.
        world.ctl().run(&["flows", "flush"]).expect(0);
        connection.is_dropped();
        row.is_quoted(SEEN, &status(&world.ctl()));
        let flows = row.sgctl(ASK, &world.ctl(), world.interface(), "");
        assert!(flows.contains("no tracked flows"), "{flows}");
        web_passes(&world);
    }

    "`conntrack_allowance_exceeded`"
    fn table_full(row) {
        let mut world = host();
        let set = |world: &World, flows: u32| {
            let settings = world.agent.state_dir().with_file_name("agent.toml");
            fs::write(settings, format!("max-flows = {flows}\n")).expect("a file");
        };
        // 256 for each family are the least.
        set(&world, 64);
        world.ctl().run(&["detach", "--yes"]).expect(0);
        assert!(world.agent.wait().success());
        world.agent.restart();
        world.apply(&["web"], WEB);
        let _server = tcp::serve(&world.instance, V4.instance_port(80));
        // Connections that are open give way to none.
        let limit = Duration::from_millis(200);
        let open = |_| tcp::try_open(&world.remote, V4.remote, V4.instance_port(80), limit).ok();
        let open: Vec<_> = (0..400).map_while(open).collect();
        assert!(open.len() < 400);
        let text = row.sgctl(ASK, &world.ctl(), "", "");
        row.is_quoted(SEEN, &text);
        assert!(text.contains("of 512 flows"), "{text}");
        let mut set_and_restart = |flows| {
            set(&world, flows);
            world.agent.terminate();
            world.agent.restart();
            status(&world.ctl())
        };
        let text = set_and_restart(512);
        assert!(text.contains("of 1024 flows"), "{text}");
        // Less room makes it no smaller.
        let text = set_and_restart(64);
        assert!(text.contains("of 1024 flows"), "{text}");
        assert!(world.agent.log().contains("the flow table of the earlier agent stays"));
    }

    "`source_check`"
    fn source_check(row) {
        let world = port();
        let spoofed = "10.1.0.66".parse().expect("an address");
        number(&world.instance, "nic0", &[spoofed]);
        world.apply(&["web"], WEB);
        let _server = udp::serve(&world.remote, V4.remote_port(53));
        udp::is_dropped(&world.instance, spoofed, V4.remote_port(53));
        row.is_quoted(SEEN, &status(&world.ctl()));
        let shown = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(shown.contains("10.1.0.2") && !shown.contains("10.1.0.66"), "{shown}");
        let rules = world.rules(&["web"], WEB);
        let added = rules.replace("addresses = [", "addresses = [\"10.1.0.66\", ");
        world.ctl().apply(&added, &[]);
        udp::passes(&world.instance, spoofed, V4.remote_port(53));
        world.ctl().apply(&format!("{rules}source_check = false\n"), &[]);
        udp::passes(&world.instance, spoofed, V4.remote_port(53));
    }

    "`fragment_unknown`"
    fn fragment_unknown(row) {
        let world = host();
        world.apply(&["web"], WEB);
        let way = Way { source: V4.remote, destination: V4.instance };
        let send = |packet: &[u8]| {
            world.toward().send(&craft::frame(world.gateway_mac(), mac("nic0"), packet));
        };
        let send_both = |identification| {
            let datagram = way.udp(identification, 53, &[7; 32]);
            send(&way.fragment(UDP, identification, 0, true, &datagram[..24]));
            send(&way.fragment(UDP, identification, 24, false, &[7; 16]));
        };
        send_both(1);
        row.is_quoted(SEEN, &row.sgctl(ASK, &world.ctl(), "", ""));
        let dns = WEB.replace("tcp", "udp").replace("80", "53");
        world.apply(&["web"], &dns);
        let ((), counts) = world.counted(|| send_both(2));
        counts.of_direction("ingress").exactly(&[("ingress rule", 1), ("ingress fragment", 1)]);
    }

    "`flow_cut`"
    fn flow_cut(row) {
        let world = host();
        let cut = "[settings]\non_revoke = \"cut\"\n";
        world.apply(&["web"], &format!("{cut}{WEB}"));
        let (_server, mut connection) = connect(&world);
        world.apply(&["web"], &format!("{cut}{SSH}"));
        connection.is_dropped();
        row.is_quoted(SEEN, &status(&world.ctl()));
        let flows = row.sgctl(ASK, &world.ctl(), world.interface(), "");
        assert!(flows.contains("cut"), "{flows}");
        world.apply(&["web"], &format!("{cut}{WEB}"));
        connection.is_dropped();
        web_passes(&world);
    }

    "`non_ip`"
    fn non_ip(row) {
        let world = port();
        let all = "[[security_group]]\nname = \"web\"\n\
            ingress = [{ protocol = \"all\", cidrs = [\"0.0.0.0/0\", \"::/0\"] }]\n";
        world.apply(&["web"], all);
        let mut frame = [mac("nic0"), world.gateway_mac()].concat();
        // LLDP.
        frame.extend([0x88, 0xcc]);
        frame.resize(60, 0);
        world.toward().send(&frame);
        row.is_quoted(SEEN, &row.sgctl(ASK, &world.ctl(), "", ""));
    }

    "nothing is counted"
    fn nothing_is_counted(row) {
        let world = port();
        world.apply(&["web"], WEB);
        let _server = tcp::serve(&world.instance, V4.instance_port(80));
        world.router().sysctl("ipv4/ip_forward", "0");
        let before = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(before.contains("port0"), "{before}");
        let ((), counts) = world.counted(|| {
            tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(80));
        });
        assert_eq!(counts.total(), 0, "{counts}\n{before}");
        world.router().sysctl("ipv4/ip_forward", "1");
        web_passes(&world);
    }

    "`allow: flow`"
    fn flow(row) {
        let world = host();
        world.apply(&["web"], WEB);
        let (_server, mut connection) = connect(&world);
        world.apply(&["web"], SSH);
        connection.passes();
        let text = explained(row, &world, connection.local().port(), 80);
        row.is_quoted(SEEN, &text);
        assert!(text.contains("none allows this packet"), "{text}");
        row.sgctl(DO, &world.ctl(), "", "");
        connection.is_dropped();
    }

    "`allow: untracked`"
    fn untracked(row) {
        let world = host();
        world.apply(&["web"], &WEB.replace("10.9.0.0/24", "0.0.0.0/0"));
        let (_server, mut connection) = connect(&world);
        connection.passes();
        let text = explained(row, &world, 40_000, 80);
        row.is_quoted(SEEN, &text);
        assert!(text.contains("0.0.0.0/0"), "{text}");
        // No flow carries it, so it ends with its rule.
        world.apply(&["web"], SSH);
        connection.is_dropped();
    }

    "`allow: exempt`"
    fn exempt(row) {
        let world = host();
        let closed = format!("{WEB}egress = []\n");
        let ask = || {
            let more = "--interface nic0 --direction egress --protocol udp \
                --src 10.1.0.2:40000 --dst 169.254.169.253:53";
            row.sgctl(ASK, &world.ctl(), "", more)
        };
        world.apply(&["web"], &closed);
        row.is_quoted(SEEN, &ask());
        world.apply(&["web"], &format!("[settings]\nexempt_services = false\n{closed}"));
        assert!(ask().starts_with("deny: no_rule"), "{}", ask());
    }

    "the interface is not in `status`"
    fn not_in_status(row) {
        let world = host();
        let rules = world.rules(&["web"], WEB);
        world.ctl().apply(&rules.replace("nic0", "nic9"), &[]);
        let (_server, _connection) = connect(&world);
        tcp::serve(&world.instance, V4.instance_port(81));
        let text = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(text.contains("no interface is filtered"), "{text}");
        let shown = world.ctl().run(&["show", "interfaces"]).expect(0).stdout;
        assert!(shown.contains("nic9"), "{shown}");
        world.ctl().apply(&rules, &[]);
        assert!(row.sgctl(ASK, &world.ctl(), "", "").contains("nic0"));
    }

    "another program, `before us`"
    fn others(row) {
        let world = World::new(Role::Host, Datapath::Xdp);
        let attach = || BaselineProgram::XdpPass.attach(if_nametoindex("nic0").expect("an interface"));
        let _program = world.instance.run(attach).expect("a program");
        world.apply(&["web"], WEB);
        row.is_quoted(SEEN, &row.sgctl(ASK, &world.ctl(), "", ""));
    }

    "`one of its other names (altname)`"
    fn altname(row) {
        let world = host();
        world.instance.ip("link property add dev nic0 altname uplink");
        let rules = world.rules(&["web"], WEB);
        world.ctl().apply(&rules.replace("nic0", "uplink"), &[]);
        row.is_quoted(SEEN, &row.sgctl(ASK, &world.ctl(), "", ""));
        world.ctl().apply(&rules, &[]);
        let text = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(!text.contains("NOT filtered"), "{text}");
    }

    "`is NOT filtered:`, and then it is again"
    fn taken_off(row) {
        let world = host();
        world.apply(&["web"], WEB);
        let index = world.instance.run(|| if_nametoindex("nic0")).expect("an interface");
        let links = world.agent.bpffs().join(format!("v{}/links", sg_common::ABI));
        fs::remove_file(links.join(format!("{index}_out"))).expect("a pin");
        eventually("it is said", || world.agent.log().contains("NOT filtered"));
        row.is_quoted(SEEN, &world.agent.log());
        eventually("it is filtered again", || !status(&world.ctl()).contains("NOT filtered"));
    }

    "`other users can write to`"
    fn open_folders(row) {
        let world = host();
        world.apply(&["web"], WEB);
        let folder = world.agent.bpffs();
        let set = |mode| {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("chmod");
        };
        set(0o777);
        let ask = || row.sgctl(ASK, &world.ctl(), "", "");
        eventually("it is said", || ask().contains("NOT filtered"));
        row.is_quoted(SEEN, &ask());
        set(0o755);
        eventually("it is trusted again", || !ask().contains("NOT filtered"));
    }

    "`filters interfaces of another network namespace`"
    fn another_namespace(row) {
        let mut world = host();
        world.apply(&["web"], WEB);
        world.agent.kill();
        let elsewhere = NetNs::new("elsewhere");
        let mut other = world.agent.in_namespace(&elsewhere);
        row.is_quoted(SEEN, &other.run_another().expect(1).stderr);
        Ran::of(&mut world.agent.command(&["detach"])).expect(0);
        other.restart();
    }

    "`belongs to user`"
    fn anothers_folder(row) {
        let world = host();
        let mut agent = Agent::stopped(&world.instance, &[]);
        fs::create_dir(agent.bpffs()).expect("a mount point");
        let none: Option<&str> = None;
        mount(none, &agent.bpffs(), Some("bpf"), MsFlags::empty(), none).expect("a bpffs");
        let folder = agent.bpffs().join("v1");
        fs::create_dir(&folder).expect("a folder");
        chown(&folder, Some(1000), None).expect("chown");
        row.is_quoted(SEEN, &agent.run_another().expect(1).stderr);
        fs::remove_dir(&folder).expect("a folder");
        agent.restart();
    }

    "`cannot reach the agent at …: no such socket; is sg-agent running?`"
    fn no_agent(row) {
        let mut world = host();
        world.apply(&["web"], WEB);
        let _server = tcp::serve(&world.instance, V4.instance_port(81));
        assert!(world.agent.terminate().success());
        row.is_quoted(SEEN, &world.ctl().run(&["status"]).expect(1).stderr);
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
    }

    "`permission denied; run as root or join group sg`"
    fn permission(row) {
        let world = host();
        let program = public_binary("sgctl");
        let mut command = Command::new(program);
        command.uid(65534).gid(65534).arg("--socket").arg(world.agent.socket()).arg("status");
        row.is_quoted(SEEN, &Ran::of(&mut command).expect(1).stderr);
    }

    "`waits to be confirmed; confirm it or roll it back first`"
    fn waits(row) {
        let world = host();
        world.ctl().apply(&world.rules(&["web"], WEB), &["--confirm", "600"]);
        let refused = world.ctl().try_apply(world.rules(&["web"], SSH)).expect(1);
        row.is_quoted(SEEN, &refused.stderr);
        let history = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(history.contains("rules.toml"), "{history}");
        row.sgctl(DO, &world.ctl(), "", "");
        world.apply(&["web"], SSH);
    }

    "`would cut this SSH session`"
    fn session(row) {
        let world = host();
        let (_server, mut connection) = connect(&world);
        // The web server's port poses as SSH's.
        let (client, server) = (connection.local(), V4.instance_port(80));
        let session =
            format!("{} {} {} {}", client.ip(), client.port(), server.ip(), server.port());
        row.is_quoted(SEEN, &apply_in(&session, &world, SSH, &[]).expect(1).stderr);
        connection.passes();
        let file = ctl::file(world.rules(&["web"], SSH).as_bytes());
        let plan = with_file(row).sgctl(ASK, &world.ctl(), "", &file);
        assert!(plan.contains("interface nic0"), "{plan}");
        for flag in ["--confirm", "--force"] {
            assert!(row.0[DO].contains(flag), "{row:?}");
        }
        apply_in(&session, &world, SSH, &["--confirm", "120"]).expect(0);
        world.ctl().run(&["rollback"]).expect(0);
        apply_in(&session, &world, WEB, &[]).expect(0);
        connection.passes();
        apply_in(&session, &world, SSH, &["--force"]).expect(0);
    }

    "`would leave no interface filtered`"
    fn unfiltered(row) {
        let world = host();
        world.apply(&["web"], WEB);
        let typo = world.rules(&["web"], WEB).replace("nic0", "nic9");
        row.is_quoted(SEEN, &world.ctl().try_apply(&typo).expect(1).stderr);
        let plan = with_file(row).sgctl(ASK, &world.ctl(), "", &ctl::file(typo.as_bytes()));
        assert!(plan.contains("+ interface nic9") && plan.contains("- interface nic0"), "{plan}");
        for part in ["`ip link`", "--confirm", "--force", "sgctl detach --yes"] {
            assert!(row.0[DO].contains(part), "{row:?}");
        }
        world.ctl().apply(&typo, &["--force"]);
        assert_eq!(world.ctl().status().interfaces.len(), 0);
    }

    "`more than the quota of`"
    fn quota(row) {
        let world = host();
        let rules = WEB.replace("80", "\"all\"").replace("web", "a");
        let rules = format!("[settings.quotas]\nrules_per_group = 1\n{rules}").replace(
            "[\"10.9.0.0/24\"]",
            "[\"10.9.0.0/24\", \"10.8.0.0/24\"]",
        );
        let file = ctl::file(rules.as_bytes());
        row.is_quoted(SEEN, &with_file(row).sgctl(ASK, &world.ctl(), "", &file));
        assert!(row.0[DO].contains("[settings.quotas]"), "{row:?}");
        let raised = rules.replace("rules_per_group = 1", "rules_per_group = 2");
        world.ctl().apply(&raised, &[]);
    }

    "`another sg-agent, with a bpffs of its own, filters the interface`"
    fn two_agents(row) {
        let mut world = host();
        world.apply(&["web"], WEB);
        let second = Agent::start(&world.instance, &[]);
        let refused = second.ctl().try_apply(world.rules(&["web"], WEB)).expect(1);
        row.is_quoted(SEEN, &refused.stderr);
        let text = row.sgctl(ASK, &second.ctl(), "", "");
        assert!(text.contains("no interface is filtered"), "{text}");
        world.agent.kill();
        Ran::of(&mut world.agent.command(&["detach"])).expect(0);
        second.ctl().apply(&world.rules(&["web"], WEB), &[]);
    }

    "`No space left on device …; make room there`"
    fn disk_full(row) {
        let namespace = NetNs::new("full");
        let mut agent = Agent::stopped(&namespace, &[]);
        let state = agent.state_dir();
        fs::create_dir(&state).expect("a directory");
        let tmpfs = Some("tmpfs");
        mount(Some("sg-tests"), &state, tmpfs, MsFlags::empty(), Some("size=64k")).expect("a disk");
        agent.restart();
        agent.ctl().apply(WEB, &[]);
        fs::write(state.join("filler"), vec![0; 1 << 20]).unwrap_err();
        // More than fits into the pages that the journal has.
        let long = SSH.to_owned() + &"# not a word\n".repeat(1000);
        row.is_quoted(SEEN, &agent.ctl().try_apply(&long).expect(1).stderr);
        assert!(agent.ctl().run(&["export"]).expect(0).stdout.contains("ports = 80"));
        fs::remove_file(state.join("filler")).expect("a file");
        agent.ctl().apply(SSH, &[]);
    }

    "`a restart may bring the change back`"
    fn disk_broken(row) {
        let mut world = host();
        let _server = tcp::serve(&world.instance, V4.instance_port(80));
        world.apply(&["web"], WEB);
        let inject = "inject=fdatasync:error=EIO";
        let strace = Strace::attach(&world.agent, &["-e", "trace=fdatasync", "-e", inject]);
        let other = world.rules(&["web"], SSH);
        row.is_quoted(SEEN, &world.ctl().try_apply(&other).expect(1).stderr);
        web_passes(&world);
        strace.end();
        // The agent says so when nothing is in doubt any more.
        eventually("the doubt ends", || world.agent.log().contains("is void now"));
        world.agent.kill();
        world.agent.restart();
        web_passes(&world);
        world.ctl().apply(&other, &[]);
    }

    "`another sg-agent runs on`"
    fn second_agent(row) {
        let world = host();
        row.is_quoted(SEEN, &world.agent.run_another().expect(1).stderr);
    }

    "`cannot mount a BPF file system`"
    fn no_bpffs(row) {
        const CAP_SYS_ADMIN: u32 = 21;
        let namespace = NetNs::new("nobpffs");
        let mut agent = Agent::stopped(&namespace, &[]);
        let without = |command: &mut Command| {
            let drop = || {
                // SAFETY: takes numbers.
                match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            };
            // SAFETY: a system call between fork and exec. After the closure that enters the namespace.
            unsafe { command.pre_exec(drop) };
        };
        let mut command = agent.command(&[]);
        without(&mut command);
        row.is_quoted(SEEN, &ran_within(&mut command, PATIENCE).expect(1).stderr);
        // Where somebody has mounted one, it is not needed.
        Ran::of(&mut agent.command(&["mount"])).expect(0);
        let mut command = agent.command(&[]);
        without(&mut command);
        agent.restart_by(command);
    }

    "`is corrupted`"
    fn corrupted(row) {
        let mut world = host();
        world.apply(&["web"], WEB);
        world.agent.kill();
        let state = world.agent.state_dir();
        fs::write(state.join("state.json"), "{").expect("a file");
        row.is_quoted(SEEN, &world.agent.run_another().expect(1).stderr);
        let _servers = [80, 81].map(|port| tcp::serve(&world.instance, V4.instance_port(port)));
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
        fs::rename(&state, state.with_extension("old")).expect("out of the way");
        world.agent.restart();
        world.apply(&["web"], WEB);
        web_passes(&world);
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(81));
    }

    "`was written by a newer sg-agent`"
    fn newer(row) {
        let mut world = host();
        world.apply(&["web"], WEB);
        world.agent.kill();
        let ledger = world.agent.state_dir().join("state.json");
        let text = fs::read_to_string(&ledger).expect("a ledger");
        fs::write(&ledger, text.replace("\"format\": 2", "\"format\": 3")).expect("a file");
        row.is_quoted(SEEN, &world.agent.run_another().expect(1).stderr);
    }

    "`tcx` where `xdp` is expected"
    fn no_xdp(row) {
        let world = host();
        world.ctl().apply(&world.rules(&["web"], WEB).replace("\"tc\"", "\"auto\""), &[]);
        let text = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(row.0[DO].starts_with("BECAUSE") && text.contains("BECAUSE"), "{text}");
        let because = text.lines().find(|line| line.starts_with("tcx")).expect("a reason");
        assert!(because.contains("veth") && because.contains("XDP does not see"), "{text}");
    }

    "large transfers hang, small ones pass"
    fn hangs(row) {
        let world = World::routed(Role::Host, Datapath::Tc);
        world.router().ip("link set dev up1 mtu 1280");
        world.remote.ip("link set dev up0 mtu 1280
             -4 route replace 10.1.0.0/24 dev up0 via 10.9.0.1 onlink advmss 1460");
        let rules = format!("[settings]\nrelated_icmp = false\n{WEB}egress = []\n");
        world.apply(&["web"], &rules);
        let transfer = |limit| {
            let client = (&world.remote, V4.remote);
            bulk::exchange(client, (&world.instance, V4.instance_port(80)), 1 << 20, limit)
        };
        transfer(Duration::from_secs(1)).expect_err("it hangs");
        let (_server, mut connection) = connect(&world);
        connection.passes();
        let settings = row.sgctl(ASK, &world.ctl(), "", "");
        assert!(row.0[DO].contains("related_icmp = false"), "{row:?}");
        assert!(settings.contains("related_icmp = false"), "{settings}");
        let icmp = "ingress = [{ protocol = \"icmp\", type = 3, cidrs = [\"0.0.0.0/0\"] }, ";
        world.apply(&["web"], &rules.replace("ingress = [", icmp));
        drop((_server, connection));
        transfer(PATIENCE).expect("a transfer");
    }

    "you are locked out"
    fn locked_out(row) {
        let world = host();
        world.apply(&["web"], WEB);
        let (_server, _connection) = connect(&world);
        world.apply(&["web"], SSH);
        tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(80));
        row.sgctl(DO, &world.ctl(), "", "");
        web_passes(&world);
        let other = tcp::serve(&world.instance, V4.instance_port(81));
        let detach = Row(vec![row.0[DO].replace("sgctl rollback", "")]);
        detach.sgctl(0, &world.ctl(), "", "");
        tcp::passes(&world.remote, V4.remote, V4.instance_port(81));
        drop(other);
    }
}
