//! Groups: as peers, several on an interface, and their directions.

use crate::{
    peers::{open_to, with_peer},
    table::{Setup, check, check_all, check_setups},
    way::group,
};

/// Members are the addresses of the entries that carry a group, there or not; the rules of a group
/// that is named are not taken over.
const GROUPS: &str = r#"
[[security_group]]
name = "lb"
ingress = [{ protocol = "tcp", ports = 8080, cidrs = ["0.0.0.0/0"] }]
egress = []
[[security_group]]
name = "nobody"
ingress = []
egress = []

[[interface]]
name = "absent"
role = "port"
groups = ["lb"]
addresses = ["10.0.0.20", "fd00::20"]
[[interface]]
name = "twin"
role = "port"
groups = ["web"]
addresses = ["10.0.0.30", "fd00::30"]
[[interface]]
name = "tap*"
role = "port"
groups = ["lb", "nobody"]
"#;

#[test]
fn group_peers() {
    let rule = |port: u16, name: &str| {
        format!("  {{ protocol = \"tcp\", ports = {port}, groups = [\"{name}\"] }},\n")
    };
    let strangers: [(&str, &[u16]); 6] = [
        ("10.0.0.19", &[]),
        ("10.0.0.21", &[]),
        ("10.0.0.31", &[]),
        ("fd00::1f", &[]),
        ("fd00::21", &[]),
        ("fd00::31", &[]),
    ];
    let without_itself = rule(80, "lb") + &rule(22, "nobody");
    let others: [(&str, &[u16]); 4] =
        [("10.0.0.20", &[80]), ("fd00::20", &[80]), ("10.0.0.30", &[]), ("fd00::30", &[])];
    let with_itself = without_itself.clone() + &rule(443, "web");
    let twins: [(&str, &[u16]); 4] =
        [("10.0.0.20", &[80]), ("fd00::20", &[80]), ("10.0.0.30", &[443]), ("fd00::30", &[443])];
    let table = |rules: &str, cases: &[(&str, &[u16])]| {
        (GROUPS.to_owned() + &group("web", rules), open_to(&[cases, &strangers[..]].concat()))
    };
    check_all(&[table(&without_itself, &others), table(&with_itself, &twins)]);
}

/// All rules of all groups are one union.
#[test]
fn several_groups() {
    let rules = group("web", "  { protocol = \"tcp\", ports = 80, cidrs = [\"10.0.0.0/8\"] },\n")
        + &group(
            "ops",
            "  { protocol = \"tcp\", ports = 22, cidrs = [\"10.1.0.0/16\", \"2001:db8::/32\"] },\n",
        )
        + &group("none", "")
        + &group("other", "  { protocol = \"all\", cidrs = [\"0.0.0.0/0\", \"::/0\"] },\n");
    let both = open_to(&[
        ("10.0.0.9", &[80]),
        ("10.1.0.9", &[22, 80]),
        ("2001:db8::9", &[22]),
        ("2001:db9::9", &[]),
        ("192.0.2.1", &[]),
    ]);
    let only_ops = open_to(&[("10.0.0.9", &[]), ("10.1.0.9", &[22]), ("2001:db8::9", &[22])]);
    let none = open_to(&[("10.0.0.9", &[]), ("10.1.0.9", &[]), ("2001:db8::9", &[])]);
    let with = |groups| Setup { groups, ..Setup::new(&rules) };
    check_setups(&[
        (with(r#""web", "ops""#), &both),
        (with(r#""none", "ops", "web""#), &both),
        (with(r#""ops""#), &only_ops),
        (with(r#""none""#), &none),
    ]);
}

/// A rule is for its direction.
#[test]
fn directions() {
    let rules = r#"
[[security_group]]
name = "web"
ingress = [{ protocol = "tcp", ports = 80, cidrs = ["192.0.2.0/24", "2001:db8::/32"] }]
egress = [{ protocol = "tcp", ports = 443, cidrs = ["198.51.100.0/24", "2001:db9::/32"] }]
"#;
    let mut rows = vec![];
    for (peer, port, ingress, egress) in [
        ("192.0.2.1", 80, true, false),
        ("192.0.2.1", 443, false, false),
        ("198.51.100.1", 80, false, false),
        ("198.51.100.1", 443, false, true),
        ("2001:db8::1", 80, true, false),
        ("2001:db8::1", 443, false, false),
        ("2001:db9::1", 80, false, false),
        ("2001:db9::1", 443, false, true),
    ] {
        let [inward, _] = with_peer(peer, port, ingress);
        let [_, outward] = with_peer(peer, port, egress);
        rows.extend([inward, outward]);
    }
    check(rules, &rows);
}

/// A new group: out everything, in nothing.
#[test]
fn default_egress() {
    let mut rows = vec![];
    for peer in ["192.0.2.1", "0.0.0.1", "255.255.255.254", "2001:db8::1", "::1"] {
        let [inward, _] = with_peer(peer, 80, false);
        let [_, outward] = with_peer(peer, 80, true);
        rows.extend([inward, outward]);
    }
    check("[[security_group]]\nname = \"web\"\n", &rows);
}
