//! Peers by address: prefixes and their edges, prefix lists, prefixes inside others.

use sg_common::{
    Direction::{Egress as E, Ingress as I},
    Reason::NoRule,
};
use sg_policy::reference::frames::tcp;

use crate::{
    row::{Opens, Row, row},
    table::{Table, check, check_all},
    way::{at, group},
};

/// TCP between the instance and a peer, both ways.
pub fn with_peer(peer: &str, port: u16, open: bool) -> [Row; 2] {
    let own = if peer.contains(':') { "fd00::5" } else { "10.0.0.5" };
    let expected = || if open { Opens } else { NoRule.into() };
    [
        row(I, tcp(&at(peer, 9), &at(own, port), "S"), expected()),
        row(E, tcp(&at(own, 9), &at(peer, port), "S"), expected()),
    ]
}

fn http(peers: &str) -> String {
    group("web", &format!("  {{ protocol = \"tcp\", ports = 80, {peers} }},\n"))
}

/// One prefix; addresses in it, and addresses that are not.
fn prefix(cidr: &str, inside: &[&str], outside: &[&str]) -> Table {
    let rows = |peers: &[&str], open| {
        peers.iter().flat_map(|peer| with_peer(peer, 80, open)).collect::<Vec<_>>()
    };
    let table = [rows(inside, true), rows(outside, false)].concat();
    (http(&format!("cidrs = [\"{cidr}\"]")), table)
}

const ALL_ONES: &str = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";

#[test]
fn ipv4_prefixes() {
    let tables = [
        prefix(
            "0.0.0.0/0",
            &["0.0.0.0", "0.0.0.1", "127.255.255.255", "128.0.0.0", "255.255.255.255"],
            &["::", "::1", "2001:db8::1", "::ffff:10.0.0.1", ALL_ONES],
        ),
        prefix("0.0.0.0/1", &["0.0.0.0", "127.255.255.255"], &["128.0.0.0", "255.255.255.255"]),
        prefix("128.0.0.0/1", &["128.0.0.0", "255.255.255.255"], &["0.0.0.0", "127.255.255.255"]),
        prefix(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "10.1.2.3"],
            &["9.255.255.255", "11.0.0.0"],
        ),
        prefix(
            "172.16.0.0/12",
            &["172.16.0.0", "172.31.255.255"],
            &["172.15.255.255", "172.32.0.0"],
        ),
        prefix("192.0.2.0/23", &["192.0.2.0", "192.0.3.255"], &["192.0.1.255", "192.0.4.0"]),
        prefix(
            "198.51.100.64/26",
            &["198.51.100.64", "198.51.100.127"],
            &["198.51.100.63", "198.51.100.128", "198.51.101.64"],
        ),
        prefix(
            "198.51.100.8/31",
            &["198.51.100.8", "198.51.100.9"],
            &["198.51.100.7", "198.51.100.10"],
        ),
        prefix(
            "198.51.100.8/32",
            &["198.51.100.8"],
            &["198.51.100.7", "198.51.100.9", "198.51.101.8", "8.100.51.198"],
        ),
        prefix("0.0.0.0/32", &["0.0.0.0"], &["0.0.0.1", "255.255.255.255"]),
        prefix("255.255.255.255/32", &["255.255.255.255"], &["255.255.255.254", "0.0.0.0"]),
        // Host bits do not matter.
        prefix(
            "100.68.0.18/18",
            &["100.68.0.0", "100.68.0.18", "100.68.63.255"],
            &["100.67.255.255", "100.68.64.0"],
        ),
    ];
    check_all(&tables);
}

#[test]
fn ipv6_prefixes() {
    let tables = [
        prefix(
            "::/0",
            &["::", "::1", "7fff:ffff::", "8000::", ALL_ONES],
            &["0.0.0.0", "10.0.0.1", "255.255.255.255"],
        ),
        prefix("8000::/1", &["8000::", ALL_ONES], &["::", "7fff:ffff:ffff:ffff::ffff"]),
        prefix(
            "2001:db8::/32",
            &["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
            &["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"],
        ),
        prefix(
            "2001:db8:0:2::/63",
            &["2001:db8:0:2::", "2001:db8:0:3:ffff:ffff:ffff:ffff"],
            &["2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:4::"],
        ),
        prefix(
            "2001:db8:0:2::/64",
            &["2001:db8:0:2::", "2001:db8:0:2:ffff:ffff:ffff:ffff"],
            &["2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:3::"],
        ),
        prefix(
            "2001:db8:0:2:8000::/65",
            &["2001:db8:0:2:8000::", "2001:db8:0:2:ffff:ffff:ffff:ffff"],
            &["2001:db8:0:2:7fff:ffff:ffff:ffff", "2001:db8:0:3::", "2001:db8:0:1:8000::"],
        ),
        prefix(
            "2001:db8::2/127",
            &["2001:db8::2", "2001:db8::3"],
            &["2001:db8::1", "2001:db8::4", "2001:db8:0:1::2"],
        ),
        prefix(
            "2001:db8::2/128",
            &["2001:db8::2"],
            &["2001:db8::1", "2001:db8::3", "2001:db8:0:1::2", "2001:db9::2", "::2"],
        ),
        prefix("::/128", &["::"], &["::1", ALL_ONES]),
        prefix(
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            &[ALL_ONES],
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "::"],
        ),
        prefix(
            "2001:db8::ff/120",
            &["2001:db8::", "2001:db8::80", "2001:db8::ff"],
            &["2001:db8::100", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"],
        ),
    ];
    check_all(&tables);
}

/// Ports that are open to a peer under these rules; every other port of [`PORTS`] is closed to it.
pub fn open_to(cases: &[(&str, &[u16])]) -> Vec<Row> {
    const PORTS: [u16; 5] = [21, 22, 80, 443, 8080];
    let rows = cases.iter().flat_map(|(peer, open)| {
        PORTS.iter().flat_map(move |port| with_peer(peer, *port, open.contains(port)))
    });
    rows.collect()
}

/// Rules of a shorter prefix hold inside a longer one, in whatever order they are written.
#[test]
fn covering_prefixes() {
    let rules = [
        r#"  { protocol = "tcp", ports = 80, cidrs = ["10.0.0.0/8", "2001:db8::/32"] },"#,
        r#"  { protocol = "tcp", ports = 22, cidrs = ["10.1.0.0/16", "2001:db8:1::/48"] },"#,
        r#"  { protocol = "tcp", ports = 443, cidrs = ["10.1.2.3/32", "2001:db8:1::3/128"] },"#,
    ];
    let rows = open_to(&[
        ("9.255.255.255", &[]),
        ("10.0.0.0", &[80]),
        ("10.0.255.255", &[80]),
        ("10.1.0.0", &[22, 80]),
        ("10.1.2.2", &[22, 80]),
        ("10.1.2.3", &[22, 80, 443]),
        ("10.1.2.4", &[22, 80]),
        ("10.1.255.255", &[22, 80]),
        ("10.2.0.0", &[80]),
        ("11.0.0.0", &[]),
        ("2001:db8::", &[80]),
        ("2001:db8:0:ffff::", &[80]),
        ("2001:db8:1::", &[22, 80]),
        ("2001:db8:1::2", &[22, 80]),
        ("2001:db8:1::3", &[22, 80, 443]),
        ("2001:db8:1::4", &[22, 80]),
        ("2001:db8:1:ffff:ffff:ffff:ffff:ffff", &[22, 80]),
        ("2001:db8:2::", &[80]),
        ("2001:db9::", &[]),
    ]);
    let table = |order: [usize; 3]| {
        let text = order.map(|at| rules[at]).join("\n") + "\n";
        (group("web", &text), rows.clone())
    };
    check_all(&[table([0, 1, 2]), table([2, 1, 0]), table([1, 2, 0])]);
}

#[test]
fn prefix_lists() {
    let rules = r#"
[[prefix_list]]
name = "office"
entries = ["198.51.100.0/25", "198.51.100.200/32", { cidr = "203.0.113.7/24" }]
[[prefix_list]]
name = "office6"
entries = ["2001:db8:1::/48", "2001:db8:2::1/128"]
[[prefix_list]]
name = "empty"
max_entries = 5
entries = []
"#
    .to_owned()
        + &group(
            "web",
            r#"
  { protocol = "tcp", ports = 80, prefix_lists = ["office", "office6"] },
  { protocol = "tcp", ports = 22, prefix_lists = ["empty"] },
"#,
        );
    let rows = open_to(&[
        ("198.51.99.255", &[]),
        ("198.51.100.0", &[80]),
        ("198.51.100.127", &[80]),
        ("198.51.100.128", &[]),
        ("198.51.100.199", &[]),
        ("198.51.100.200", &[80]),
        ("198.51.100.201", &[]),
        ("203.0.112.255", &[]),
        ("203.0.113.0", &[80]),
        ("203.0.113.255", &[80]),
        ("203.0.114.0", &[]),
        ("2001:db8:0:ffff:ffff:ffff:ffff:ffff", &[]),
        ("2001:db8:1::", &[80]),
        ("2001:db8:1:ffff:ffff:ffff:ffff:ffff", &[80]),
        ("2001:db8:2::", &[]),
        ("2001:db8:2::1", &[80]),
        ("2001:db8:2::2", &[]),
    ]);
    check(&rules, &rows);
}
