//! Names that somebody else has chosen, of files and of interfaces. People read them in tables, messages and
//! logs, where they must neither move what stands beside them nor make lines of their own.

use std::{fs, path::Path};

use sg_tests::{Agent, NetNs, Ran, eventually, sandbox};

/// Would be a revision of its own in `history`, clear the screen, and turn the rest of the line.
const FILE: &str = "a\n9  current\u{1b}[2J\u{9b}31m\u{202e}.toml";
/// As far as the kernel takes it: no blanks, 15 bytes.
const INTERFACE: &str = "\u{1b}[2J\u{202e}\u{7f}x";

const RULES: &str = r#"
[[security_group]]
name = "web"
[[interface]]
name = "*x"
groups = ["web"]
"#;

/// Whether a terminal would do something for it, other than to begin a line.
fn moves(c: char) -> bool {
    (c.is_control() && c != '\n') || c == '\u{202e}'
}

#[track_caller]
fn is_plain(ran: &Ran) {
    assert!(!ran.stdout.contains(moves) && !ran.stderr.contains(moves), "{ran:?}");
}

fn rules_file(text: &str) -> String {
    let path = sandbox::directory("names").join(FILE);
    fs::write(&path, text).expect("a file");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn of_files_and_interfaces_stay_on_their_line() {
    let host = NetNs::new("host");
    host.ip(&format!(
        "link add name {INTERFACE} type veth peer name other0\nlink set dev {INTERFACE} up"
    ));
    let agent = Agent::start(&host, &[]);
    let ctl = agent.ctl();
    let run = |args: &[&str], status| {
        let ran = ctl.run(args).expect(status);
        is_plain(&ran);
        ran
    };
    let file = rules_file(RULES);
    for verb in ["check", "plan", "apply"] {
        run(&[verb, &file], 0);
        run(&[verb, &file, "--json"], 0);
    }
    eventually("it is filtered", || !ctl.status().interfaces.is_empty());
    assert_eq!(ctl.status().interfaces[0].name, INTERFACE);

    let history = run(&["history"], 0).stdout;
    assert_eq!(history.lines().count(), 2, "{history}");
    assert!(history.ends_with("a\\n9  current\\u{1b}[2J\\u{9b}31m\\u{202e}.toml\n"), "{history}");
    let shown = "\\u{1b}[2J\\u{202e}\\u{7f}x";
    assert!(run(&["status"], 0).stdout.contains(&format!("\n{shown}  host")));
    for args in [
        &["status", "--json"] as &[&str],
        &["history", "--json"],
        &["show", "interfaces"],
        &["show", "interfaces", "--json"],
        &["flows"],
        &["flows", "--json"],
        &["log"],
        &["log", "--json"],
        &["export"],
        &["export", "--json"],
    ] {
        run(args, 0);
    }
    let ends = ["--protocol", "tcp", "--src", "192.0.2.1:1", "--dst", "192.0.2.2:22"];
    for interface in [INTERFACE, FILE] {
        let about = ["explain", "--interface", interface, "--direction", "ingress"];
        run(&[&about[..], &ends].concat(), i32::from(interface == FILE));
    }

    // Refused, each fault and message with the file's name.
    let refused = run(&["apply", &rules_file("")], 1).stderr;
    assert_eq!(refused.lines().count(), 1, "{refused}");
    assert!(refused.contains(shown), "{refused}");
    for text in ["name = 1", "[[interface]]\nname = \"\\u001b[2J\"\ngroups = [\"\\u202e\"]\n"] {
        for verb in ["check", "plan", "apply"] {
            let fault = run(&[verb, &rules_file(text)], 2).stderr;
            assert!(fault.contains("a\\n9  current\\u{1b}"), "{fault}");
        }
    }
    let absent = Path::new(&file).with_file_name(format!("{FILE}\nerror: b"));
    let absent = run(&["apply", absent.to_str().expect("UTF-8")], 2).stderr;
    assert_eq!(absent.lines().count(), 1, "{absent}");
    let unwritable = format!("/proc/{FILE}");
    assert_eq!(run(&["man", &unwritable], 1).stderr.lines().count(), 1);

    host.ip(&format!("link del dev {INTERFACE}"));
    eventually("it is gone", || ctl.status().interfaces.is_empty());
    let log = agent.log();
    assert!(log.contains(shown) && log.contains("current\\\\u{1b}[2J"), "{log}");
    assert!(!log.contains(moves), "{log}");
    assert!(!log.lines().any(|line| line.starts_with('9')), "{log}");
}
