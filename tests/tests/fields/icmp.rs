//! ICMP and ICMPv6: type, code, and the number of the other family's.

use sg_common::{
    Direction::Egress as E,
    Reason::{Malformed, NoRule, Rule, SourceCheck},
};

use crate::{
    row::{Opens, Outcome, Row},
    table::{check, check_all},
    way::{V4, V6, WAYS, Way, rules},
};

/// Requests of queries, which are tracked.
fn is_query(way: Way, kind: u8, code: u8) -> bool {
    let requests: &[u8] = if way.is_v4() { &[8, 13, 15, 17, 42] } else { &[128, 139, 160] };
    requests.contains(&kind) && code < 16
}

/// Where a rule allows it.
fn allowed(way: Way, kind: u8, code: u8) -> Outcome {
    if is_query(way, kind, code) { Opens } else { Rule.into() }
}

#[test]
fn any_type() {
    let mut rows = vec![];
    for way in V4 {
        for kind in 0..=255 {
            for code in [0, 1, 255] {
                rows.push(way.row(way.icmp(kind, code), allowed(way, kind, code)));
            }
        }
    }
    for way in V6 {
        for kind in 0..=255 {
            // Hop limit 64: no neighbour discovery.
            let row = |expected| way.row(way.icmp(kind, 0), expected);
            match kind {
                // An instance is no router, and an advertisement has a target.
                134 | 136 if way.direction == E => {
                    rows.push(row(Rule.into()).host());
                    let of_port = if kind == 134 { SourceCheck } else { Malformed };
                    rows.push(row(of_port.into()).port());
                }
                _ => rows.push(row(allowed(way, kind, 0))),
            }
        }
    }
    check(&rules(&[r#"protocol = "icmp""#, r#"protocol = "icmpv6""#]), &rows);
}

/// Rows for one type and code of both families: exact, and one off.
fn near(kind: u8, codes: &[(u8, bool)]) -> Vec<Row> {
    let mut rows = vec![];
    for way in WAYS {
        for (code, open) in codes {
            let expected = if *open { allowed(way, kind, *code) } else { NoRule.into() };
            rows.push(way.row(way.icmp(kind, *code), expected));
            for other in [kind.wrapping_sub(1), kind.wrapping_add(1), kind ^ 0x40] {
                rows.push(way.row(way.icmp(other, *code), NoRule));
            }
        }
    }
    rows
}

fn both(matching: &str) -> String {
    rules(&[
        &format!(r#"protocol = "icmp", {matching}"#),
        &format!(r#"protocol = "icmpv6", {matching}"#),
    ])
}

#[test]
fn type_and_any_code() {
    let codes = [(0, true), (1, true), (15, true), (16, true), (254, true), (255, true)];
    let mut tables = vec![];
    for kind in [1, 3, 8, 13, 42, 128, 160, 201, 255] {
        tables.push((both(&format!("type = {kind}")), near(kind, &codes)));
        tables.push((both(&format!("type = {kind}, code = -1")), near(kind, &codes)));
    }
    check_all(&tables);
}

#[test]
fn type_and_code() {
    let mut tables = vec![];
    for kind in [0, 3, 8, 128, 255] {
        for code in [0, 4, 255_u8] {
            let codes = [code.wrapping_sub(1), code, code.wrapping_add(1)];
            let codes = codes.map(|other| (other, other == code));
            tables.push((both(&format!("type = {kind}, code = {code}")), near(kind, &codes)));
        }
    }
    check_all(&tables);
}

/// 58 in IPv4 and 1 in IPv6 are protocols like any other.
#[test]
fn the_other_familys_number() {
    let mut some = vec![];
    let mut all = vec![];
    for way in WAYS {
        let number = if way.is_v4() { 58 } else { 1 };
        for kind in [0, 1, 3, 8, 128, 129, 135, 255] {
            for length in [0, 7, 8, 24] {
                let mut message = vec![kind, 0, 0, 0, 0, 7, 0, 1];
                message.resize(length, 0);
                some.push(way.row(way.ip(number, &message), NoRule));
                all.push(way.row(way.ip(number, &message), Opens));
            }
        }
    }
    let own = rules(&[r#"protocol = "icmp""#, r#"protocol = "icmpv6""#]);
    check_all(&[(own, some), (rules(&[r#"protocol = "all""#]), all)]);
}

#[test]
fn length() {
    let mut rows = vec![];
    for way in WAYS {
        for kind in [0, 8, 77, 128, 135, 255] {
            let full = way.icmp(kind, 0);
            for length in 0..8 {
                rows.push(way.row(full.clone().slice(0, length), Malformed));
            }
            rows.push(way.row(full, allowed(way, kind, 0)));
        }
    }
    check(&rules(&[r#"protocol = "icmp""#, r#"protocol = "icmpv6""#]), &rows);
}
