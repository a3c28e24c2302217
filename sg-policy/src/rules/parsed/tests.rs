use std::fmt::Write as _;

use proptest::prelude::*;

use super::{super::parse, *};

/// Lists, groups with rules of all kinds, an interface.
fn file(rules: usize) -> String {
    let mut text = "[settings.quotas]\nrules_per_group = 900\nrules_per_interface = 900\n\
                    groups_per_interface = 1\n"
        .to_owned();
    for (name, prefix) in [("four", "192.0.2."), ("six", "2001:db8::")] {
        let length = if name == "four" { 32 } else { 128 };
        let _ =
            write!(text, "\n[[prefix_list]]\nname = \"{name}\"\nmax_entries = 20\nentries = [\n");
        for entry in 0..9 {
            let _ = match entry % 3 {
                0 => writeln!(
                    text,
                    "  {{ cidr = \"{prefix}{entry}/{length}\", description = \"x\" }},"
                ),
                _ => writeln!(text, "  \"{prefix}{entry}/{length}\", # {entry}"),
            };
        }
        text += "]\n";
    }
    for group in ["web", "db"] {
        let _ = write!(text, "\n[[security_group]]\nname = \"{group}\"\ningress = [\n");
        for rule in 0..rules {
            let _ = match rule % 5 {
                0 => writeln!(
                    text,
                    "  {{ protocol = \"udp\", ports = [{rule}, 9{rule}], cidrs = [\"10.0.0.0/8\", \"::/0\"] }},"
                ),
                1 => writeln!(
                    text,
                    "  {{ protocol = \"tcp\", ports = {rule}, groups = [\"db\"], description = \"] }}\" }}, # {{"
                ),
                2 => writeln!(
                    text,
                    "  {{ protocol = \"tcp\", ports = \"{rule}-999\", prefix_lists = [\"four\", \"six\"] }},"
                ),
                3 => writeln!(
                    text,
                    "  # {rule}\n  {{ protocol = \"icmp\", type = {rule}, prefix_lists = [\"four\"] }},"
                ),
                _ => writeln!(text, "  {{ protocol = {rule}, cidrs = [\"10.{rule}.0.0/16\"] }},"),
            };
        }
        text += "]\n";
    }
    text + "egress = [ { protocol = \"all\", cidrs = [\"::/0\"] } ]\n\n\
            [[interface]]\nname = \"eth0\"\ngroups = [\"web\"]\n"
}

fn source(text: &str) -> ParsedRules {
    ParsedRules::read("rules.toml", text).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Holds the short cut's state against that of the whole file. Returns true if the short cut was
/// taken.
#[track_caller]
fn check(old: &ParsedRules, new: &str) -> bool {
    let Some((state, outline)) = old.changed_to(new) else { return false };
    let whole = source(new);
    assert_eq!(state, **whole.state(), "{new}");
    assert_eq!(outline, whole.outline, "{new}");
    true
}

#[test]
fn usual_changes_take_the_short_cut() {
    let text = file(40);
    let old = source(&text);
    let rule = "  { protocol = \"tcp\", ports = 4444, cidrs = [\"10.9.9.0/24\"] },\n";
    for (from, to) in [
        // nothing, a rule's port, description, peers
        ("", ""),
        ("ports = 6,", "ports = 60000,"),
        ("ports = [10, 910]", "ports = [10, 911, 912]"),
        ("cidrs = [\"10.14.0.0/16\"]", "cidrs = [\"10.14.0.0/16\", \"10.15.0.0/16\"]"),
        // two rules, no byte more or less
        (
            "type = 13, prefix_lists = [\"four\"] },\n  { protocol = 14, cidrs",
            "type = 31, prefix_lists = [\"four\"] },\n  { protocol = 41, cidrs",
        ),
        // the first, one in the middle, the last goes, comes, or is made a comment
        ("ingress = [\n", &*format!("ingress = [\n{rule}")),
        ("  # 13\n", &*format!("{rule}  # 13\n")),
        ("]\negress", &*format!("{rule}]\negress")),
        ("  # 13\n  {", "  # 13\n  # {"),
        ("  { protocol = 39, cidrs = [\"10.39.0.0/16\"] },\n]\n\n", "]\n\n"),
        ("egress = [ {", "# {\negress = [ {"),
        // a list
        ("  \"192.0.2.4/32\", # 4\n", ""),
        ("\"192.0.2.8/32\",", "\"192.0.2.8/32\", \"192.0.2.9/32\","),
        ("name = \"four\"\nmax_entries = 20\n", "name = \"four\"\n"),
        ("name = \"six\"\n", "name = \"six\"\ndescription = \"6\"\n"),
        // an interface
        ("\"eth0\"", "\"eth1\""),
        ("groups = [\"web\"]\n", "groups = [\"db\"]\naddresses = [\"10.0.0.1\"]\n"),
    ] {
        assert!(text.contains(from), "{from:?}");
        assert!(check(&old, &text.replacen(from, to, 1)), "{from:?} -> {to:?}");
    }
}

/// Where more than elements has changed, or something is wrong with them together.
#[test]
fn the_whole_file_is_read_where_it_has_to_be() {
    let text = file(40);
    let old = source(&text);
    let web = "\n[[security_group]]\nname = \"web\"\n";
    for (from, to) in [
        (web, "\n[[security_group]]\nname = \"www\"\n"),
        (web, &*format!("\n[[security_group]]\nname = \"new\"\n{web}")),
        ("rules_per_group = 900", "rules_per_group = 800"),
        ("[settings.quotas]", "[settings]\nrelated_icmp = false\n[settings.quotas]"),
        // a rule twice, an entry twice, too many entries, another family
        ("ingress = [\n", "ingress = [\n  { protocol = 4, cidrs = [\"10.4.0.0/16\"] },\n"),
        ("entries = [\n", "entries = [\n \"192.0.2.8/32\",\n"),
        ("max_entries = 20", "max_entries = 8"),
        ("entries = [\n", "entries = [\n \"::/0\",\n"),
        // more than the quota, with what the list weighs
        ("max_entries = 20", "max_entries = 120"),
        // not TOML, or something else than it seems
        ("\n  # 13", "\n  \"\"\"\n  # 13"),
        ("\n  # 13", "\n  [\n  # 13"),
        ("\n  # 13", "\n  false,\n  # 13"),
        ("\n  # 13", "\n  ]\n  # 13"),
    ] {
        assert!(text.contains(from), "{from:?}");
        assert!(!check(&old, &text.replacen(from, to, 1)), "{from:?} -> {to:?}");
    }
}

#[test]
fn a_file_that_is_all_new_is_read_whole() {
    let old = source(&file(40));
    assert!(!check(&old, &file(6).replace("10.", "11.")));
    assert!(!check(&ParsedRules::default(), &file(6)));
}

/// Faults are those of the whole file, with its lines.
#[test]
fn faults_are_where_they_are_in_the_file() {
    let text = file(40);
    let new = text.replacen("ports = 31,", "ports = 70000,", 1);
    let short = source(&text).read_next("f", &*new).expect_err("a fault");
    let whole = parse("f", new.as_bytes()).expect_err("a fault");
    assert_eq!(short.to_string(), whole.to_string());
}

const SNIPPETS: [&str; 18] = [
    "",
    " ",
    "\n",
    "#",
    "\"",
    "\"\"\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    "false",
    "]\n[[security_group]]\nname = \"new\"\ningress = [",
    "{ protocol = \"tcp\", ports = 4444, cidrs = [\"10.9.9.0/24\"] },",
    "{ protocol = \"icmpv6\", prefix_lists = [\"four\"] },",
    "\"192.0.2.77/32\",",
    "1",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    /// Any edit, at a line's start or anywhere, and one more after it.
    #[test]
    fn what_the_short_cut_gives_is_what_the_file_says(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..90usize, prop::sample::select(&SNIPPETS[..]), any::<bool>()),
            1..3,
        ),
    ) {
        let mut text = file(12);
        let mut old = source(&text);
        for (place, length, snippet, at_line) in edits {
            let mut at = place.index(text.len());
            if at_line {
                at = text[..at].rfind('\n').map_or(0, |line| line + 1);
            }
            // Half of them insert, the others replace as much as stands there.
            let end = (at + length.saturating_sub(45)).min(text.len());
            text.replace_range(at..end, snippet);
            check(&old, &text);
            match ParsedRules::read("rules.toml", &*text) {
                Ok(new) => old = new,
                Err(_) => break,
            }
        }
    }
}
