//! Ports of TCP and UDP: the destination's decides, ranges are inclusive.

use sg_common::Reason::NoRule;
use sg_policy::reference::frames::Ip;

use crate::{
    row::{Opens, Outcome},
    table::{Table, check_all},
    way::{WAYS, Way, rules},
};

type Make = fn(Way, u16, u16) -> Ip;

/// A protocol's name, its packets, and those of the other one.
const PROTOCOLS: [(&str, Make, Make); 2] = [("tcp", tcp, udp), ("udp", udp, tcp)];

fn tcp(way: Way, from: u16, to: u16) -> Ip {
    way.tcp(from, to, "S")
}

fn udp(way: Way, from: u16, to: u16) -> Ip {
    way.udp(from, to)
}

fn allowed(open: bool) -> Outcome {
    if open { Opens } else { NoRule.into() }
}

/// Rules for ports, and some ports with whether they are open. Source ports change nothing; the
/// other protocol's packets and SCTP's, whose ports lie at the same place, are dropped.
fn ports(ports: &str, cases: &[(u16, bool)]) -> [Table; 2] {
    let (closed, _) = cases.iter().find(|(_, open)| !open).expect("a closed port");
    PROTOCOLS.map(|(name, make, other)| {
        let mut rows = vec![];
        for way in WAYS {
            for (port, open) in cases {
                for from in [0, 9, 80, 1024, 65535] {
                    rows.push(way.row(make(way, from, *port), allowed(*open)));
                }
                // No source port opens anything.
                rows.push(way.row(make(way, *port, *closed), NoRule));
                rows.push(way.row(other(way, 9, *port), NoRule));
                let [high, low] = port.to_be_bytes();
                rows.push(way.row(way.ip(132, &[0, 9, high, low, 0, 0, 0, 0, 0, 0, 0, 0]), NoRule));
            }
        }
        (rules(&[&format!(r#"protocol = "{name}", ports = {ports}"#)]), rows)
    })
}

#[test]
fn one_port() {
    check_all(&ports(
        "80",
        &[
            (0, false),
            (79, false),
            (80, true),
            (81, false),
            (65535, false),
            // Bytes in the wrong order, and one of them wrong.
            (0x5000, false),
            (0x0150, false),
            (0x5050, false),
        ],
    ));
}

#[test]
fn a_range() {
    let decades =
        [(0, false), (79, false), (80, true), (85, true), (90, true), (91, false), (65535, false)];
    // Across the edge of a byte.
    let wide = [(254, false), (255, true), (256, true), (8191, true), (8192, true), (8193, false)];
    check_all(&[ports(r#""80-90""#, &decades), ports(r#""255-8192""#, &wide)].concat());
}

#[test]
fn edges() {
    let inner = [(0, false), (1, true), (32768, true), (65534, true), (65535, false)];
    let tables = [
        ports("0", &[(0, true), (1, false), (65535, false)]),
        ports("65535", &[(0, false), (65534, false), (65535, true)]),
        ports(r#""0-1""#, &[(0, true), (1, true), (2, false)]),
        ports(r#""65534-65535""#, &[(65533, false), (65534, true), (65535, true), (0, false)]),
        ports(r#""1-65534""#, &inner),
    ];
    check_all(&tables.concat());
}

#[test]
fn several() {
    let cases = [
        (21, false),
        (22, true),
        (23, false),
        (79, false),
        (80, true),
        (81, true),
        (90, true),
        (91, false),
        (442, false),
        (443, true),
        (444, false),
    ];
    check_all(&ports(r#"[22, "80-81", "81-90", 443]"#, &cases));
}

#[test]
fn every_port() {
    let mut tables: Vec<Table> = vec![];
    for (name, make, other) in PROTOCOLS {
        for ports in [r#""all""#, r#""0-65535""#] {
            let mut rows = vec![];
            for way in WAYS {
                for port in (0..=65535).step_by(4369) {
                    rows.push(way.row(make(way, 9, port), Opens));
                    rows.push(way.row(other(way, 9, port), NoRule));
                }
            }
            tables.push((rules(&[&format!(r#"protocol = "{name}", ports = {ports}"#)]), rows));
        }
    }
    check_all(&tables);
}
