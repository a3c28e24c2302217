use super::*;

const RULES: &str = r#"
[[prefix_list]]
name = "office"
max_entries = 5
entries = ["192.0.2.0/24"]

[[security_group]]
name = "web"
ingress = [
  { protocol = "tcp", ports = 443, cidrs = ["0.0.0.0/0"] },
  { protocol = "tcp", ports = 22, prefix_lists = ["office"] },
]

[[security_group]]
name = "db"
ingress = [{ protocol = "tcp", ports = 5432, groups = ["web"] }]

[[security_group]]
name = "idle"

[[interface]]
name = "web*"
groups = ["web"]

[[interface]]
name = "we*"
groups = ["idle"]

[[interface]]
name = "db0"
role = "port"
groups = ["db"]
addresses = ["10.0.2.2"]
tracking = { udp = 40 }
"#;

fn state(text: &str) -> DesiredState {
    crate::parse("rules.toml", text.as_bytes()).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

/// Replacements in `RULES`, the changes they make, and the interfaces they reach.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a [&'a str]);

#[test]
fn plans_say_what_changes_and_where() {
    let ssh = "{ protocol = \"tcp\", ports = 22, prefix_lists = [\"office\"] }";
    let table: &[Case<'_>] = &[
        (&[], &[], &[]),
        (
            &[("ports = 443", "ports = 80")],
            &["+ web ingress tcp 80 from 0.0.0.0/0", "- web ingress tcp 443 from 0.0.0.0/0"],
            &["web*"],
        ),
        (
            &[(
                ssh,
                "{ protocol = \"tcp\", ports = 22, prefix_lists = [\"office\"], description = \"x\" }",
            )],
            &["~ web ingress tcp 22 from prefix list office"],
            &[],
        ),
        (
            &[("entries = [\"192.0.2.0/24\"]", "entries = [\"198.51.100.0/24\"]")],
            &["~ office: +198.51.100.0/24, -192.0.2.0/24"],
            &["web*"],
        ),
        (&[("max_entries = 5", "max_entries = 6")], &["~ office: max_entries: 5 -> 6"], &[]),
        (
            &[("\"192.0.2.0/24\"", "{ cidr = \"192.0.2.0/24\", description = \"x\" }")],
            &["~ office: description"],
            &[],
        ),
        (&[("name = \"db\"", "name = \"db\"\ndescription = \"x\"")], &["~ db: description"], &[]),
        (
            &[(
                "\n[[prefix_list]]",
                "[[prefix_list]]\nname = \"one\"\nentries = [\"192.0.2.0/25\"]\n[[prefix_list]]\nname = \"two\"\nentries = [\"192.0.2.1/32\", \"192.0.2.2/32\"]\n[[prefix_list]]",
            )],
            &["+ one (1 entry)", "+ two (2 entries)"],
            &[],
        ),
        // db's rule names web, whose members change.
        (
            &[("name = \"web*\"", "name = \"web0\"")],
            &["+ web0 role host groups web", "- web* role host groups web"],
            &["web0", "db0", "web*"],
        ),
        (&[("groups = [\"db\"]", "groups = [\"db\", \"web\"]")], &["~ db0: groups +web"], &["db0"]),
        (
            &[(
                "addresses = [\"10.0.2.2\"]",
                "addresses = [\"10.0.2.3\"]\nmac = \"02:00:00:00:00:05\"\nsource_check = false\ndatapath = \"tc\"",
            )],
            &[
                "~ db0: mac: none -> 02:00:00:00:00:05, source_check: true -> false, datapath: auto -> tc, addresses +10.0.2.3 -10.0.2.2",
            ],
            &["db0"],
        ),
        // db0 has its own time, so the settings' does not reach it.
        (
            &[("\n[[prefix_list]]", "[settings.tracking]\nudp = 50\n[[prefix_list]]")],
            &["~ tracking.udp: 30 -> 50"],
            &["web*", "we*"],
        ),
        (&[("udp = 40", "udp = 41")], &["~ db0: udp: 40 -> 41"], &["db0"]),
        (
            &[("\n[[prefix_list]]", "[settings]\non_revoke = \"cut\"\n[[prefix_list]]")],
            &["~ on_revoke: keep -> cut"],
            &["web*", "we*", "db0"],
        ),
        (
            &[("\n[[prefix_list]]", "[settings.quotas]\nrules_per_group = 61\n[[prefix_list]]")],
            &["~ quotas.rules_per_group: 60 -> 61"],
            &[],
        ),
        (
            &[
                ("name = \"web*\"\ngroups = [\"web\"]", "X"),
                ("name = \"we*\"\ngroups = [\"idle\"]", "name = \"web*\"\ngroups = [\"web\"]"),
                ("X", "name = \"we*\"\ngroups = [\"idle\"]"),
            ],
            &["~ we*: order among the globs", "~ web*: order among the globs"],
            &["we*", "web*"],
        ),
        (
            &[("name = \"idle\"", "name = \"idle\"\negress = []")],
            &["- idle egress all to 0.0.0.0/0", "- idle egress all to ::/0"],
            &["we*"],
        ),
    ];
    let old = state(RULES);
    for (edits, expected, reach) in table {
        let text = edits.iter().fold(RULES.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        let new = state(&text);
        let changes = diff(&old, &new);
        let lines: Vec<_> =
            changes.iter().map(|change| format!("{} {}", change.op.sign(), change.text)).collect();
        assert_eq!(lines, *expected, "{edits:?}");
        assert_eq!(is_same(&old, &new), changes.is_empty(), "{edits:?}");
        assert_eq!(reached(&old, &new, &changes), *reach, "{edits:?}");
    }
}

/// As a control plane has them; in a file they follow `[settings]`.
#[test]
fn settings_of_one_interface_are_its_own_change() {
    let old = state(RULES);
    let mut new = old.clone();
    new.interfaces[2].filter.related_icmp = false;
    new.interfaces[2].filter.on_revoke = OnRevoke::Cut;
    let changes = diff(&old, &new);
    let texts: Vec<_> = changes.iter().map(|change| &*change.text).collect();
    assert_eq!(texts, ["db0: related_icmp: true -> false, on_revoke: keep -> cut"]);
    assert_eq!(reached(&old, &new, &changes), ["db0"]);
    assert!(!is_same(&old, &new));
}

#[test]
fn order_within_a_group_means_nothing() {
    let mut new = state(RULES);
    new.groups[0].ingress.reverse();
    assert!(is_same(&state(RULES), &new));
    new.groups.reverse();
    assert_eq!(diff(&state(RULES), &new), []);
    assert!(is_same(&state(RULES), &new));
}

#[test]
fn everything_is_new_on_an_empty_host() {
    let new = state(RULES);
    let changes = diff(&DesiredState::default(), &new);
    let of = |kind| changes.iter().filter(|change| change.kind == kind).count();
    let kinds = [Kind::Rule, Kind::SecurityGroup, Kind::PrefixList, Kind::Interface, Kind::Setting];
    assert_eq!(kinds.map(of), [9, 3, 1, 3, 0]);
    assert!(changes.iter().all(|change| change.op == Op::Add));
    assert_eq!(reached(&DesiredState::default(), &new, &changes), ["web*", "we*", "db0"]);
}
