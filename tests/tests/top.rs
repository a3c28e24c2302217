//! `sgctl top` on a terminal: tmux is one that can be read.

use std::{path::PathBuf, process::Command};

use sg_tests::{
    Ctl, Datapath, Ran, Role, V4, World, eventually, probe::tcp, sandbox, tools::Running,
};

const RULES: &str = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8"] }]
"#;

/// A tmux server of its own with one window of 80x24.
struct Screen {
    socket: PathBuf,
    _server: Running,
}

impl Screen {
    fn of(ctl: &Ctl, verb: &str) -> Self {
        let socket = sandbox::directory("tmux").join("socket");
        let mut server = Command::new("tmux");
        let server =
            Running::start(server.arg("-D").arg("-S").arg(&socket).args(["-f", "/dev/null"]));
        let screen = Self { socket, _server: server };
        eventually("tmux listens", || screen.socket.exists());
        let command = ctl.command();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        // The window stays when the program has ended, to show what it said.
        let line = format!("{} {verb}; echo \"status $?\"; exec cat", words.join(" "));
        screen.tmux(&["new-session", "-d", "-x", "80", "-y", "24", &line]);
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        Ran::of(Command::new("tmux").arg("-S").arg(&self.socket).args(args)).expect(0).stdout
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits for all of this to be on the screen.
    #[track_caller]
    fn shows(&self, parts: &[&str]) {
        let mut text = String::new();
        eventually(&format!("{parts:?} on the screen"), || {
            text = self.text();
            parts.iter().all(|part| text.contains(part))
        });
    }
}

#[test]
fn a_drop_is_seen_and_explained() {
    let world = World::new(Role::Port, Datapath::Tc);
    world.apply(&["web"], RULES);
    let screen = Screen::of(&world.ctl(), "top");
    screen.shows(&["sg top  revision 1", "port0", "tc", "Newest drops", "q quit"]);
    let _server = tcp::serve(&world.instance, V4.instance_port(80));
    let mut connection = tcp::open(&world.remote, V4.remote, V4.instance_port(80));
    let there = format!("> {}", V4.instance_port(80));
    eventually("the flow is among the busiest", || {
        connection.passes();
        screen.text().contains(&there)
    });
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(22));
    let dropped = format!("> {}", V4.instance_port(22));
    screen.shows(&["no_rule", &dropped]);
    // Interfaces, flows, drops.
    screen.press("Tab");
    screen.press("Tab");
    screen.press("Enter");
    screen.shows(&[
        "REJECT then: no_rule",
        "a packet like it now: deny: no_rule",
        "no rule allows it",
    ]);
    screen.press("Escape");
    eventually("the window is gone", || !screen.text().contains("REJECT then"));
    screen.press("q");
    screen.shows(&["status 0"]);
    assert!(!screen.text().contains("Newest drops"), "the terminal is as it was");
}

#[test]
fn no_agent_is_said_before_the_screen_is_taken() {
    sandbox::enter();
    let screen = Screen::of(&Ctl::new("/run/nowhere.sock".as_ref()), "top");
    screen.shows(&["cannot reach the agent", "status 1"]);
}

#[test]
fn once_for_programs() {
    let world = World::new(Role::Port, Datapath::Tc);
    world.apply(&["web"], RULES);
    tcp::is_dropped(&world.remote, V4.remote, V4.instance_port(22));
    let top: serde_json::Value = world.ctl().json(&["top"]);
    assert_eq!((&top["revision"], &top["interfaces"][0]["name"]), (&1.into(), &"port0".into()));
    assert_eq!(
        (&top["drops"][0]["dport"], &top["drops"][0]["reason"]),
        (&22.into(), &"no_rule".into())
    );
    let text = world.ctl().run(&["top"]).expect(0).stdout;
    assert!(text.contains("INTERFACE") && text.contains("no_rule"), "{text}");
}
