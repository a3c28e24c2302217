//! Faults as they are shown, and what valid files read as. Random input is in [`random`].

mod edits;
mod random;

use sg_common::Direction;

use super::*;
use crate::{
    export::to_toml,
    model::{GroupId, IcmpMatch, Peer, PortRange, Role, Rule, Services},
};

fn valid(text: &str) -> DesiredState {
    parse("rules.toml", text.as_bytes()).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

fn faults(text: &str) -> Faults {
    match parse("rules.toml", text.as_bytes()) {
        Ok(state) => panic!("accepted: {text}\n{state:?}"),
        Err(faults) => faults,
    }
}

/// A file whose group `g` has the one rule.
fn with_rule(rule: &str) -> String {
    format!(
        "[[prefix_list]]\nname = \"v4\"\nentries = [\"192.0.2.0/24\"]\n\
         [[security_group]]\nname = \"g\"\ningress = [\n{rule}\n]\n"
    )
}

/// A file with one interface in group `g`.
fn with_interface(keys: &str) -> String {
    format!("[[security_group]]\nname = \"g\"\n[[interface]]\n{keys}\n")
}

#[test]
fn examples_are_valid_and_survive_export() {
    let folder = format!("{}/../examples", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("examples") {
        let path = entry.expect("an example").path();
        let text = std::fs::read_to_string(&path).expect("an example");
        let state = valid(&text);
        assert_eq!(valid(&to_toml(&state)), state, "{}", path.display());
        count += 1;
    }
    assert!(count >= 4, "only {count} examples");
}

#[test]
fn services_are_read() {
    let ports = |from, to| PortRange { from, to };
    let icmp = |kind, code| IcmpMatch { kind, code };
    let table: &[(&str, &[Services])] = &[
        (r#"protocol = "tcp", ports = 443"#, &[Services::Tcp(ports(443, 443))]),
        (r#"protocol = 6, ports = "443""#, &[Services::Tcp(ports(443, 443))]),
        (r#"protocol = "17", ports = "1-2""#, &[Services::Udp(ports(1, 2))]),
        (r#"protocol = "udp", ports = "all""#, &[Services::Udp(PortRange::ALL)]),
        (
            r#"protocol = "tcp", ports = [22, "80-81"]"#,
            &[Services::Tcp(ports(22, 22)), Services::Tcp(ports(80, 81))],
        ),
        (r#"protocol = "all""#, &[Services::All]),
        (r#"protocol = -1"#, &[Services::All]),
        (r#"protocol = "-1""#, &[Services::All]),
        (r#"protocol = "icmp""#, &[Services::Icmp(icmp(None, None))]),
        (r#"protocol = 1, type = -1, code = -1"#, &[Services::Icmp(icmp(None, None))]),
        (r#"protocol = "icmp", type = 3, code = 4"#, &[Services::Icmp(icmp(Some(3), Some(4)))]),
        (r#"protocol = 47"#, &[Services::Protocol(47)]),
        (r#"protocol = "0""#, &[Services::Protocol(0)]),
    ];
    for (keys, expected) in table {
        let state = valid(&with_rule(&format!("{{ {keys}, cidrs = [\"10.0.0.0/8\"] }}")));
        let found: Vec<_> = state.groups[0].ingress.iter().map(|rule| rule.services).collect();
        assert_eq!(found, *expected, "{keys}");
    }
    let state = valid(&with_rule(r#"{ protocol = 58, type = 128, cidrs = ["::/0"] }"#));
    assert_eq!(state.groups[0].ingress[0].services, Services::Icmpv6(icmp(Some(128), None)));
}

#[test]
fn every_peer_makes_a_rule() {
    let rule = r#"{ protocol = "tcp", ports = [1, 2], cidrs = ["100.68.0.18/18", "::/0"],
        groups = ["G"], prefix_lists = ["V4 "], description = "d" }"#;
    let state = valid(&with_rule(rule));
    let text = |rule: &Rule| rule.text("g", Direction::Ingress, &state.names());
    let found: Vec<_> = state.groups[0].ingress.iter().map(text).collect();
    let expected = [1, 2].map(|port| {
        ["100.68.0.0/18", "::/0", "group g", "prefix list v4"]
            .map(|peer| format!("g ingress tcp {port} from {peer}"))
    });
    assert_eq!(found, expected.concat());
    assert!(state.groups[0].ingress.iter().all(|rule| rule.description == "d"));
}

#[test]
fn egress_absent_is_everything_and_empty_is_nothing() {
    let egress = |text: &str| valid(text).groups[0].egress.clone();
    let default = egress("[[security_group]]\nname = \"g\"");
    let peers: Vec<_> = default.iter().map(|rule| rule.peer).collect();
    let everyone = |net: &str| Peer::Cidr(net.parse().expect("a CIDR"));
    assert_eq!(peers, ["0.0.0.0/0", "::/0"].map(everyone));
    assert!(default.iter().all(|rule| rule.services == Services::All));
    let explicit = r#"egress = [{ protocol = "all", cidrs = ["0.0.0.0/0", "::/0"] }]"#;
    assert_eq!(egress(&format!("[[security_group]]\nname = \"g\"\n{explicit}")), default);
    assert!(egress("[[security_group]]\nname = \"g\"\negress = []").is_empty());
}

#[test]
fn source_check_follows_addresses() {
    let table = [
        ("role = \"port\"\naddresses = [\"10.0.0.5\"]", true),
        ("role = \"port\"\naddresses = [\"10.0.0.5\"]\nsource_check = false", false),
        ("role = \"port\"", false),
        ("role = \"host\"\naddresses = [\"10.0.0.5\"]", false),
        ("", false),
    ];
    for (keys, expected) in table {
        let state = valid(&with_interface(&format!("name = \"a\"\ngroups = [\"g\"]\n{keys}")));
        assert_eq!(state.interfaces[0].source_check, expected, "{keys}");
    }
    let state = valid(&with_interface("name = \"a\"\ngroups = [\"G\"]"));
    assert_eq!(state.interfaces[0].role, Role::Host);
    assert_eq!(state.interfaces[0].groups, [GroupId::of_name("g")]);
}

#[test]
fn durations_have_units() {
    let seconds = |value: &str| {
        valid(&format!("[settings.tracking]\ntcp_established = {value}"))
            .settings
            .tracking
            .tcp_established
    };
    let table = [
        ("60", 60),
        ("\"60\"", 60),
        ("\"90s\"", 90),
        ("\"5m\"", 300),
        ("\"2h\"", 7200),
        ("\"5d\"", 432_000),
    ];
    for (value, expected) in table {
        assert_eq!(seconds(value), expected, "{value}");
    }
}

#[test]
fn interfaces_take_times_from_the_settings() {
    let keys = "name = \"a\"\ngroups = [\"g\"]\ntracking = { udp = 40 }";
    let state = valid(&format!("[settings.tracking]\npickup = 7\n{}", with_interface(keys)));
    let tracking = state.interfaces[0].tracking;
    assert_eq!((tracking.udp, tracking.pickup, tracking.udp_stream), (40, 7, 180));
}

#[test]
fn quotas_count_lists_in_full_and_groups_in_both_families() {
    let file = |rules: &str, max_entries: u32| {
        format!(
            "[settings.quotas]\nrules_per_group = 10\n[[prefix_list]]\nname = \"l\"\n\
             max_entries = {max_entries}\nentries = [\"192.0.2.0/24\"]\n\
             [[security_group]]\nname = \"g\"\ningress = [{rules}]\n"
        )
    };
    let list = r#"{ protocol = "all", prefix_lists = ["l"] },"#;
    let group = r#"{ protocol = "all", groups = ["g"] },"#;
    let v6 = r#"{ protocol = "tcp", ports = [1,2,3,4,5,6,7,8,9,10], cidrs = ["::/0"] },"#;
    valid(&file(list, 10));
    valid(&file(&[list, v6].concat(), 10));
    valid(&file(&[list, group].concat(), 9));
    for (rules, family, entries) in
        [([list, ""], "IPv4", 11), ([list, group], "IPv4", 10), ([v6, group], "IPv6", 1)]
    {
        let faults = faults(&file(&rules.concat(), entries));
        let fault = faults.iter().next().expect("a fault");
        let expected = format!(
            "security group \"g\" has 11 ingress rules for {family}, more than the quota of 10"
        );
        assert_eq!((faults.total(), fault.message.as_str()), (1, expected.as_str()));
    }
}

/// Each refused for one reason, said at the right place: line, column, message, help.
#[test]
fn rules_are_refused() {
    let ports = (1..=3000).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
    let many = format!(r#"{{ protocol = "tcp", ports = [{ports}], cidrs = ["::/0"] }}"#);
    let table: &[(&str, usize, &str, &str)] = &[
        (r#"{ cidrs = ["::/0"] }"#, 1, "a rule needs `protocol`", ""),
        (
            r#"{ protocol = "tcp", cidrs = ["::/0"] }"#,
            1,
            "a rule for tcp needs `ports`",
            "a port, ",
        ),
        (r#"{ protocol = 6, cidrs = ["::/0"] }"#, 1, "a rule for tcp needs `ports`", "a port, "),
        (
            r#"{ protocol = "tpc", cidrs = ["::/0"] }"#,
            14,
            r#"unknown protocol "tpc""#,
            "did you mean \"tcp\"?",
        ),
        (r#"{ protocol = 256, cidrs = ["::/0"] }"#, 14, "there is no protocol 256", "it is tcp"),
        (
            r#"{ protocol = true, cidrs = ["::/0"] }"#,
            14,
            "`protocol` has to be a string or an integer, not a boolean",
            "",
        ),
        (
            r#"{ protocol = "all", ports = 1, cidrs = ["::/0"] }"#,
            29,
            "all has no `ports`",
            "`ports` goes with tcp and udp",
        ),
        (
            r#"{ protocol = 47, ports = "all", cidrs = ["::/0"] }"#,
            26,
            "this protocol has no `ports`",
            "",
        ),
        (
            r#"{ protocol = "udp", ports = 1, type = 1, cidrs = ["::/0"] }"#,
            39,
            "udp has no `type`",
            "",
        ),
        (
            r#"{ protocol = "udp", ports = 65536, cidrs = ["::/0"] }"#,
            29,
            "a port is 0 to 65535, not 65536",
            "",
        ),
        (
            r#"{ protocol = "udp", ports = -1, cidrs = ["::/0"] }"#,
            29,
            "a port is 0 to 65535, not -1",
            "write \"all\" for all ports",
        ),
        (
            r#"{ protocol = "udp", ports = "9-8", cidrs = ["::/0"] }"#,
            29,
            "the range of ports 9-8 is reversed",
            "write \"8-9\"",
        ),
        (
            r#"{ protocol = "udp", ports = "a", cidrs = ["::/0"] }"#,
            29,
            r#""a" is no range of ports"#,
            "",
        ),
        (r#"{ protocol = "udp", ports = [], cidrs = ["::/0"] }"#, 29, "an empty list of ports", ""),
        (
            r#"{ protocol = "icmp", code = 1, cidrs = ["0.0.0.0/0"] }"#,
            29,
            "a `code` needs a `type`",
            "",
        ),
        (
            r#"{ protocol = "icmp", type = -1, code = 1, cidrs = ["0.0.0.0/0"] }"#,
            40,
            "a `code` needs a `type`",
            "",
        ),
        (
            r#"{ protocol = "icmp", type = 256, cidrs = ["0.0.0.0/0"] }"#,
            29,
            "`type` is 0 to 255, or -1 for any, not 256",
            "",
        ),
        (
            r#"{ protocol = "icmp", cidrs = ["::/0"] }"#,
            31,
            r#""::/0" is IPv6, but icmp is IPv4"#,
            "for it, write a rule for icmpv6",
        ),
        (
            r#"{ protocol = "icmpv6", prefix_lists = ["v4"] }"#,
            40,
            r#"prefix list "v4" is IPv4, but icmpv6 is IPv6"#,
            "",
        ),
        (r#"{ protocol = "all" }"#, 1, "this rule has no peer", "give at least one of"),
        (r#"{ protocol = "all", cidrs = [] }"#, 1, "this rule has no peer", ""),
        (
            r#"{ protocol = "all", cidrs = ["10.0.0.1"] }"#,
            30,
            r#""10.0.0.1" is an address, not a CIDR"#,
            "for this single host write \"10.0.0.1/32\"",
        ),
        (
            r#"{ protocol = "all", cidrs = ["fd00::1"] }"#,
            30,
            r#""fd00::1" is an address, not a CIDR"#,
            "for this single host write \"fd00::1/128\"",
        ),
        (
            r#"{ protocol = "all", cidrs = ["010.0.0.0/8"] }"#,
            30,
            r#""010.0.0.0/8" is ambiguous: it has a leading zero"#,
            "some programs read such numbers as octal; write \"10.0.0.0/8\"",
        ),
        (
            r#"{ protocol = "all", cidrs = ["10.0.0.0/08"] }"#,
            30,
            r#""10.0.0.0/08" is ambiguous: it has a leading zero"#,
            "some programs read such numbers as octal; write \"10.0.0.0/8\"",
        ),
        (
            r#"{ protocol = "all", cidrs = ["10.0.0.0/33"] }"#,
            30,
            r#""10.0.0.0/33" is not a CIDR"#,
            "an IPv4 prefix length is 0 to 32",
        ),
        (
            r#"{ protocol = "all", cidrs = "::/0" }"#,
            29,
            "`cidrs` has to be an array, not a string",
            "",
        ),
        (
            r#"{ protocol = "all", groups = ["h"] }"#,
            31,
            r#"there is no security group "h""#,
            "did you mean \"g\"?",
        ),
        (
            r#"{ protocol = "all", prefix_lists = ["other"] }"#,
            37,
            r#"there is no prefix list "other""#,
            "",
        ),
        (
            r#"{ protocol = "all", cidr = ["::/0"], groups = ["g"] }"#,
            21,
            "unknown key `cidr` in a rule",
            "did you mean `cidrs`?",
        ),
        (
            r#"{ protocol = "all", groups = ["g"], description = "a'b" }"#,
            51,
            "a description cannot contain '\\''",
            "letters, digits",
        ),
        (
            r#"{ protocol = "all", cidrs = ["10.0.0.0/8", "10.1.0.0/8"] }"#,
            44,
            "this rule is in the group already",
            "",
        ),
        (
            r#"{ protocol = "tcp", ports = [80, "80-80"], cidrs = ["::/0"] }"#,
            34,
            "this rule is in the group already",
            "",
        ),
        (r#"7"#, 1, "a rule has to be a table, not an integer", ""),
        (
            &many,
            1,
            r#"security group "g" has 3000 ingress rules for IPv6, more than the quota of 60"#,
            "raise rules_per_group",
        ),
    ];
    for (rule, column, message, help) in table {
        check_fault(&with_rule(rule), 7, *column, message, help);
    }
}

fn check_fault(text: &str, line: usize, column: usize, message: &str, help: &str) {
    let faults = faults(text);
    let fault = faults.iter().next().expect("a fault");
    assert_eq!(faults.total(), 1, "{faults}");
    assert_eq!(
        (fault.line, fault.column, fault.message.as_str()),
        (line, column, message),
        "{text}"
    );
    assert!(fault.help.as_deref().unwrap_or_default().starts_with(help), "{fault:?}");
}

#[test]
fn interfaces_are_refused() {
    let table: &[(&str, usize, usize, &str, &str)] = &[
        ("groups = [\"g\"]", 3, 1, "an interface needs `name`", ""),
        ("name = \"a\"", 3, 1, "an interface needs `groups`", ""),
        ("groups = [\"g\"]\nname = \"\"", 5, 8, "an interface's name cannot be empty", ""),
        ("groups = [\"g\"]\nname = \"a/b\"", 5, 8, "an interface's name cannot contain '/'", ""),
        ("groups = [\"g\"]\nname = \"..\"", 5, 8, "no interface can be called \"..\"", ""),
        (
            "groups = [\"g\"]\nname = \"abcdefghijklmnop\"",
            5,
            8,
            "\"abcdefghijklmnop\" is longer than an interface's name can be",
            "Linux has 15",
        ),
        (
            "groups = [\"g\"]\nname = \"tap[\"",
            5,
            8,
            "\"tap[\" is no glob: invalid range pattern",
            "",
        ),
        ("name = \"a\"\ngroups = []", 5, 10, "an interface needs at least one group", ""),
        (
            "name = \"a\"\ngroups = [\"g\", \"G\"]",
            5,
            16,
            "group \"g\" is on this interface already",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"gg\"]",
            5,
            11,
            "there is no security group \"gg\"",
            "did you mean \"g\"?",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\nrole = \"prot\"",
            6,
            8,
            "`role` cannot be \"prot\"",
            "it is one of `port`, `host`",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\ndatapath = \"ebpf\"",
            6,
            12,
            "`datapath` cannot be \"ebpf\"",
            "",
        ),
        (
            "name = \"a*\"\ngroups = [\"g\"]\nrole = \"port\"\naddresses = [\"10.0.0.5\"]",
            7,
            13,
            "`addresses` cannot go with a glob",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\nrole = \"port\"\nsource_check = true",
            7,
            16,
            "`source_check` needs `addresses`",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\nsource_check = true",
            6,
            16,
            "`source_check` is for role \"port\"",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\nmac = \"02:00:00:00:00:05\"",
            6,
            7,
            "`mac` is for role \"port\"",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\nrole = \"port\"\naddresses = [\"10.0.0.5\"]\nmac = \"2:0:0:0:0:5\"",
            8,
            7,
            "\"2:0:0:0:0:5\" is no MAC address",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\naddresses = [\"10.0.0.5/24\"]",
            6,
            14,
            "\"10.0.0.5/24\" is not an address",
            "write the address alone: \"10.0.0.5\"",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\naddresses = [\"::1\", \"0::1\"]",
            6,
            21,
            "\"::1\" is given twice",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\ntracking = { udp = 29 }",
            6,
            20,
            "`udp` is 30 to 60 seconds, not 29",
            "",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\ntracking = { udp = \"1w\" }",
            6,
            20,
            "`udp` is no duration: \"1w\"",
            "write seconds",
        ),
        (
            "name = \"a\"\ngroups = [\"g\"]\n[[interface]]\nname = \"a\"\ngroups = [\"g\"]",
            7,
            8,
            "the interface \"a\" has two entries",
            "",
        ),
    ];
    for (keys, line, column, message, help) in table {
        check_fault(&with_interface(keys), *line, *column, message, help);
    }
    // Interfaces' names are the kernel's: their case matters.
    valid(&with_interface(
        "name = \"a\"\ngroups = [\"g\"]\n[[interface]]\nname = \"A\"\ngroups = [\"g\"]",
    ));
}

#[test]
fn definitions_and_settings_are_refused() {
    let long = format!("[[security_group]]\nname = \"{}\"", "n".repeat(256));
    let group = "[[security_group]]\nname = ";
    let list = "[[prefix_list]]\nname = \"l\"\n";
    let table: &[(&str, usize, usize, &str)] = &[
        ("[[security_group]]", 1, 1, "a security group needs `name`"),
        (&long, 2, 8, "a name has at most 255 characters, not 256"),
        (&format!("{group}\"  \""), 2, 8, "a security group's name cannot be empty"),
        (&format!("{group}\"SG-1\""), 2, 8, "a security group's name cannot begin with `sg-`"),
        (&format!("{group}\"a%\""), 2, 8, "a name cannot contain '%'"),
        (&format!("{group}7"), 2, 8, "`name` has to be a string, not an integer"),
        (
            &format!("{group}\"a\"\n{group}\"A \""),
            4,
            8,
            "the security group \"A\" is defined twice",
        ),
        (
            "[[prefix_list]]\nname = \"com.amazonaws.x\"\nentries = []",
            2,
            8,
            "a prefix list's name cannot begin with `com.amazonaws`",
        ),
        (list, 1, 1, "a prefix list needs `entries`"),
        (
            &format!("{list}entries = [\"::/0\", \"10.0.0.0/8\"]"),
            3,
            20,
            "\"10.0.0.0/8\" in a list that begins with \"::/0\"",
        ),
        (
            &format!("{list}entries = [\"::/0\", {{ cidr = \"::1/0\" }}]"),
            3,
            29,
            "\"::/0\" is in this list twice",
        ),
        (
            &format!("{list}entries = [\"::/0\"]\nmax_entries = 0"),
            4,
            15,
            "`max_entries` is 0, but the list has 1 entry",
        ),
        ("[settings]\non_revoke = \"kill\"", 2, 13, "`on_revoke` cannot be \"kill\""),
        (
            "[settings]\nrelated_icmp = 1",
            2,
            16,
            "`related_icmp` has to be true or false, not an integer",
        ),
        (
            "[settings.quotas]\ngroups_per_interface = 17",
            2,
            24,
            "`groups_per_interface` is 1 to 16, not 17",
        ),
        (
            "[settings.quotas]\nrules_per_group = 201",
            1,
            1,
            "rules_per_group x groups_per_interface (201 x 5 = 1005) exceeds rules_per_interface (1000)",
        ),
        ("[settings.tracking]\npickup = \"2h\"", 2, 10, "`pickup` is 0 to 3600 seconds, not 7200"),
        ("security_group = 3", 1, 18, "`security_group` has to be an array, not an integer"),
        ("[[settings]]", 1, 1, "`settings` has to be a table, not an array"),
        ("[[security-group]]", 1, 3, "unknown key `security-group` in a rules file"),
    ];
    for (text, line, column, message) in table {
        check_fault(text, *line, *column, message, "");
    }
}

#[test]
fn all_faults_are_shown_at_once() {
    let text = r#"
[settings]
on_revok = "cut"

[[security_group]]
name = "web"
ingress = [
  { protocol = "tcp", ports = 443, cidrs = ["0.0.0.0/0"] },
  { protocol = "tcp", ports = "443", cidrs = ["0.0.0.0/0"] },	# a tab, and ü
  { protocol = "tcp", ports = 22, cidrs = ["10.0.0.1"], groups = ["wbe"] },
]

[[interface]]
name = "eth0"
"#;
    insta::assert_snapshot!(faults(text).render(false));
}

#[test]
fn malformed_toml_is_shown_with_what_stands_before() {
    let text = "[settings]\non_revoke = \"no\"\nrelated_icmp = maybe\n\
                exempt_services = \"a\n[settings.tracking]\nudp = \npickup = 1 2\n\
                [[interface]\nname = 7\n";
    insta::assert_snapshot!(faults(text).render(false));
}

#[test]
fn other_encodings_are_refused_at_the_byte() {
    let refused =
        parse("rules.toml", b"# caf\xc3\xa9\nname = \"caf\xe9\"\n").expect_err("not UTF-8");
    insta::assert_snapshot!(refused.render(false));
}

/// Found by fuzzing: the renderer subtracted with overflow.
#[test]
fn blanks_around_a_mark_are_shown() {
    for blanks in [0, 8, 9, 30, 400] {
        for mark in ["?", "\u{1}", "\u{a0}"] {
            let text = format!("a = 1\n{mark}{}x{}y\n", " ".repeat(blanks), " ".repeat(300));
            let faults = crate::parse("rules.toml", text.as_bytes()).unwrap_err();
            assert!(faults.render(false).contains("rules.toml:2:"), "{faults}");
        }
    }
}

#[test]
fn long_lines_are_cut_around_the_mark() {
    let rules = "{ protocol = \"all\", groups = [\"g\"] },".repeat(3).replace(" },", ", x = 1 },");
    let text = format!(
        "[[security_group]]\nname = \"g\"\ningress = [{}{}]",
        " ".repeat(5000),
        &rules[..44]
    );
    let refused = faults(&text);
    assert_eq!(refused.iter().next().map(|fault| (fault.line, fault.column)), Some((3, 5048)));
    assert!(refused.to_string().lines().all(|line| line.len() < 250), "{refused}");
}

#[test]
fn very_many_faults_are_counted() {
    let refused = faults(&"[[security_group]]\n".repeat(5000));
    assert_eq!((refused.total(), refused.iter().count()), (5000, 1000));
    let shown = refused.to_string();
    assert_eq!(shown.matches("error: ").count(), 50);
    assert!(shown.ends_with("... and 4950 more faults"), "{shown}");
}

#[test]
fn color_is_asked_for() {
    let refused = faults("x = 1");
    assert!(refused.render(true).contains('\u{1b}'));
    assert!(!refused.render(false).contains('\u{1b}'));
}

#[test]
fn a_list_that_multiplies_is_not_spelt_out() {
    let ports = (0..60_000).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
    let cidrs =
        (0..60_000).map(|n| format!("\"10.{}.{}.0/24\"", n >> 8, n & 255)).collect::<Vec<_>>();
    let rule =
        format!("{{ protocol = \"tcp\", ports = [{ports}], cidrs = [{}] }}", cidrs.join(","));
    let refused = faults(&with_rule(&rule));
    assert!(refused.iter().any(|fault| fault.message.contains("3600000000 ingress rules")));
}

#[test]
fn peers_keep_the_definitions_spelling() {
    let state = valid(&with_rule(r#"{ protocol = "all", groups = ["G  "] }"#));
    assert_eq!(state.groups[0].ingress[0].peer, Peer::Group(GroupId::of_name("g")));
}

#[test]
fn depth_does_not_exhaust_the_stack() {
    let dotted = "a.".repeat(79) + "a";
    for text in [
        "[".repeat(200_000),
        "a=".to_owned() + &"[".repeat(200_000),
        "a=".to_owned() + &"{a=".repeat(200_000),
        "a.".repeat(200_000) + "a = 1",
        format!("[{}]", "a.".repeat(200_000) + "a"),
        format!("{dotted} = ") + &format!("{{ {dotted} = ").repeat(79) + "1" + &"}".repeat(79),
    ] {
        assert!(parse("deep", text.as_bytes()).is_err());
    }
}

/// As they were before groups had ids: they are in people's scripts and logs.
#[test]
fn ids_of_a_file_s_rules_stay() {
    let text = r#"
        [[prefix_list]]
        name = "db"
        entries = ["192.0.2.0/24"]
        [[security_group]]
        name = "db"
        [[security_group]]
        name = "web"
        ingress = [
          { protocol = "tcp", ports = 443, cidrs = ["0.0.0.0/0", "::/0"] },
          { protocol = "icmp", type = 8, groups = ["DB"], prefix_lists = ["Db"] },
        ]
        egress = [{ protocol = "tcp", ports = 443, cidrs = ["0.0.0.0/0"] }]
    "#;
    let state = valid(text);
    let rules = state.groups[1].ingress.iter().chain(&state.groups[1].egress);
    let ids: Vec<_> = rules.map(|rule| rule.id.to_string()).collect();
    let recorded = [
        "sgr-34758cb46a6733be5",
        "sgr-41ae1b03b62776536",
        "sgr-051fd54b568de62be",
        "sgr-c14942c6b23e867ab",
        "sgr-7e29aecb7f0aed943",
    ];
    assert_eq!(ids, recorded);
}
