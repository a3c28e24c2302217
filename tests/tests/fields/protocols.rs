//! Protocol numbers, all of them.

use sg_common::Reason::{NoRule, Rule};

use crate::{
    row::{Opens, Outcome, Row},
    table::check_all,
    way::{WAYS, Way, rules},
};
use sg_policy::reference::frames::Ip;

/// Good as the start of TCP (ports 9 and 80, SYN), UDP (the same, 8 bytes), and ICMP (type 0, code
/// 9, a reply).
const PAYLOAD: [u8; 20] = [0, 9, 0, 80, 0, 8, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0];

/// Headers that the walk over IPv6 passes over.
const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];

fn packet(way: Way, number: u8) -> Ip {
    let ip = way.ip(number, &PAYLOAD);
    let flow = if matches!(number, 6 | 17) { (number, 9, 80) } else { (number, 0, 0) };
    Ip { flow, ..ip }
}

fn numbers(expected: impl Fn(Way, u8) -> Outcome) -> Vec<Row> {
    let mut rows = vec![];
    for way in WAYS {
        let numbers = (0..=255).filter(|number| way.is_v4() || !EXTENSIONS.contains(number));
        rows.extend(numbers.map(|number| way.row(packet(way, number), expected(way, number))));
    }
    rows
}

/// Only `open` passes. IGMP is none to one host.
fn only(open: u8) -> Vec<Row> {
    numbers(|_, number| if number == open { Opens } else { NoRule.into() })
}

fn check_numbers(numbers: &[u8]) {
    let table = |open: &u8| (rules(&[&format!("protocol = {open}")]), only(*open));
    check_all(&numbers.iter().map(table).collect::<Vec<_>>());
}

#[test]
fn one_number() {
    check_numbers(&[3, 59, 255]);
}

/// Numbers that are extension headers in IPv6 are protocols in IPv4.
#[test]
fn extension_headers_in_ipv4() {
    check_numbers(&EXTENSIONS);
}

#[test]
fn all() {
    let tables = [r#""all""#, "-1"].map(|name| {
        let rows = numbers(|way, number| match number {
            1 if way.is_v4() => Rule.into(),
            58 if !way.is_v4() => Rule.into(),
            _ => Opens,
        });
        (rules(&[&format!("protocol = {name}")]), rows)
    });
    check_all(&tables);
}

/// Names and numbers are one.
#[test]
fn names() {
    let tables = [
        (r#"protocol = "tcp", ports = 80"#, 6),
        (r#"protocol = 6, ports = 80"#, 6),
        (r#"protocol = "udp", ports = 80"#, 17),
        (r#"protocol = "17", ports = 80"#, 17),
    ];
    check_all(&tables.map(|(rule, open)| (rules(&[rule]), only(open))));
}
