//! Fragments on their own, with no first one seen (RFC 791, 8200, 1858, 3128, 6946). The sequences
//! of the differential tests have first fragments and those that follow.

use sg_common::{
    Direction::{Egress as E, Ingress as I},
    Reason::{Exempt, Fragment, FragmentTiny, FragmentUnknown, Malformed, NoRule, NotSyn, Rule},
};
use sg_policy::reference::frames::{Ip, ip};

use crate::{
    row::{Frame, Opens, Outcome, Row, row},
    table::{check, check_all},
    way::{ETH, TCP80, UDP53, V4, V6, WAYS, Way, rules},
};

/// A part of a packet. The offset is in units of 8 bytes; the payload stays as it is.
fn part(way: Way, ip: Ip, offset: u16, more: bool) -> Ip {
    if way.is_v4() { ip.fragment(77, offset, more) } else { ip.fragment6(77, offset, more) }
}

fn first(way: Way, ip: Ip) -> Ip {
    part(way, ip, 0, true)
}

fn icmp_number(way: Way) -> u8 {
    if way.is_v4() { 1 } else { 58 }
}

/// A type that is no query's.
fn message(way: Way) -> Ip {
    way.icmp(77, 0)
}

const ICMP_ANY: &str = r#"protocol = "icmp""#;
const ICMPV6_ANY: &str = r#"protocol = "icmpv6""#;

#[test]
fn first_fragments() {
    let mut rows = vec![];
    for way in WAYS {
        rows.push(way.row(first(way, way.tcp(9, 80, "S")), Opens));
        rows.push(way.row(first(way, way.tcp(9, 81, "S")), NoRule));
        rows.push(way.row(first(way, way.tcp(9, 80, "A")), NotSyn));
        rows.push(way.row(first(way, way.udp(9, 53)), Opens));
        rows.push(way.row(first(way, way.udp(9, 54)), NoRule));
        rows.push(way.row(first(way, message(way)), Rule));
        // Without the whole fixed header.
        for length in 0..20 {
            rows.push(way.row(first(way, way.tcp(9, 80, "S").slice(0, length)), FragmentTiny));
        }
        for length in 0..8 {
            rows.push(way.row(first(way, way.udp(9, 53).slice(0, length)), FragmentTiny));
            rows.push(way.row(first(way, message(way).slice(0, length)), FragmentTiny));
        }
        rows.push(way.row(first(way, way.udp(9, 53).slice(0, 8)), Opens));
        // A protocol that has no header we know has a whole one.
        rows.push(way.row(first(way, way.ip(47, &[])), Opens));
        rows.push(way.row(first(way, way.ip(48, &[])), NoRule));
    }
    check(&rules(&[TCP80, UDP53, ICMP_ANY, ICMPV6_ANY, "protocol = 47"]), &rows);
}

/// The rest of the packet is not there to be measured, but a header's own length is.
#[test]
fn lengths_in_first_fragments() {
    let mut rows = vec![];
    for way in WAYS {
        let good = |ok: bool| if ok { Opens } else { Malformed.into() };
        let header = if way.is_v4() { 0 } else { 8 };
        for words in 0..16_u8 {
            let frame = Frame::from(first(way, way.tcp(9, 80, "S")));
            let frame = frame.set(way.payload() + header + 12, [words << 4]);
            rows.push(way.row(frame, good(words >= 5)));
        }
        for (length, ok) in [(0_u16, false), (7, false), (8, true), (16, true), (65535, true)] {
            let frame = Frame::from(first(way, way.udp(9, 53)));
            let frame = frame.set(way.payload() + header + 4, length.to_be_bytes());
            rows.push(way.row(frame, good(ok)));
        }
    }
    check(&rules(&[TCP80, UDP53]), &rows);
}

/// Later fragments pass only where the rules let all of the protocol through.
fn later(expected: impl Into<Outcome>) -> Vec<Row> {
    let expected = expected.into();
    let mut rows = vec![];
    for way in WAYS {
        for more in [false, true] {
            for offset in [2, 185] {
                for length in [0, 20] {
                    for protocol in [6, 17, icmp_number(way), 47] {
                        let payload = vec![0; length];
                        let fragment = part(way, way.ip(protocol, &payload), offset, more);
                        rows.push(way.row(fragment, expected));
                    }
                }
            }
            // It would overwrite TCP's flags; others have nothing there.
            rows.push(way.row(part(way, way.ip(6, &[0; 8]), 1, more), FragmentTiny));
            rows.push(way.row(part(way, way.ip(17, &[0; 8]), 1, more), expected));
            // Not beyond the largest datagram.
            for (length, fits) in [(0, true), (7, true), (8, false), (1000, false)] {
                let last = part(way, way.ip(17, &vec![0; length]), 8191, more);
                rows.push(way.row(last, if fits { expected } else { Malformed.into() }));
            }
        }
    }
    rows
}

#[test]
fn later_fragments_of_open_ports() {
    let some = [
        TCP80,
        r#"protocol = "tcp", ports = "0-65534""#,
        UDP53,
        r#"protocol = "udp", ports = "1-65535""#,
        r#"protocol = "icmp", type = 8"#,
        r#"protocol = "icmpv6", type = 128"#,
        "protocol = 48",
    ];
    check(&rules(&some), &later(FragmentUnknown));
}

#[test]
fn later_fragments_of_open_protocols() {
    let all = [
        // Together they are all ports.
        r#"protocol = "tcp", ports = "0-1023""#,
        r#"protocol = "tcp", ports = "1024-65535""#,
        r#"protocol = "udp", ports = "all""#,
        ICMP_ANY,
        ICMPV6_ANY,
        "protocol = 47",
    ];
    let everything = [r#"protocol = "all""#];
    check_all(&[(rules(&all), later(Fragment)), (rules(&everything), later(Fragment))]);
}

#[test]
fn later_fragments_of_others() {
    let rules = rules(&[r#"protocol = "all""#]);
    let away = |src: &str, dst| ip(src, dst, 17, &[0; 8]);
    let rows = [
        row(I, away("198.51.100.1", "10.0.0.5").fragment(77, 2, false), FragmentUnknown),
        row(I, away("2001:db9::1", "fd00::5").fragment6(77, 2, false), FragmentUnknown),
        // IGMP is known by its number alone.
        row(I, ip("198.51.100.1", "224.0.0.1", 2, &[0; 8]).fragment(77, 2, false), Exempt),
        // Calls of cloud services are known by their address. An answer follows its first fragment.
        row(E, away("10.0.0.5", "169.254.169.254").fragment(77, 2, false), Exempt),
        row(E, away("fd00::5", "fd00:ec2::254").fragment6(77, 2, false), Exempt),
        row(I, away("169.254.169.254", "10.0.0.5").fragment(77, 2, false), FragmentUnknown),
        row(I, away("fd00:ec2::254", "fd00::5").fragment6(77, 2, false), FragmentUnknown),
    ];
    check(&rules, &rows);
}

/// IPv6: the walk goes on behind a first fragment, and ends at a later one.
#[test]
fn extension_headers_in_fragments() {
    const DESTINATION: u8 = 60;
    let option = |ip: Ip| ip.extension(DESTINATION, vec![0; 8]);
    let mut rows = vec![];
    for way in V6 {
        let syn = || way.tcp(9, 80, "S");
        // Atomic: a whole packet.
        rows.push(way.row(syn().fragment6(77, 0, false), Opens));
        rows.push(way.row(syn().slice(0, 19).fragment6(77, 0, false), Malformed));
        rows.push(way.row(option(syn()).fragment6(77, 0, true), Opens));
        rows.push(way.row(option(option(syn()).fragment6(77, 0, true)), Opens));
        rows.push(way.row(syn().fragment6(78, 0, false).fragment6(77, 0, true), Opens));
        for length in 0..20 {
            let tiny = option(syn().slice(0, length)).fragment6(77, 0, true);
            rows.push(way.row(tiny, FragmentTiny));
        }
        // An extension header that is not all there.
        for length in 0..8 {
            let tiny = way.ip(DESTINATION, &vec![0; length]).fragment6(77, 0, true);
            rows.push(way.row(tiny, FragmentTiny));
        }
        let long = way.tcp(9, 80, "S").extension(DESTINATION, vec![0, 4, 0, 0, 0, 0, 0, 0]);
        rows.push(way.row(long.fragment6(77, 0, true), FragmentTiny));
        // The fragment header's next header is the protocol of a later one.
        let hidden = option(syn()).fragment6(77, 1, true);
        rows.push(way.row(hidden, FragmentUnknown));
        rows.push(way.row(option(syn().fragment6(77, 1, true)), FragmentTiny));
        rows.push(way.row(syn().fragment6(78, 0, true).fragment6(77, 2, true), FragmentUnknown));
        // Reserved bits.
        let atomic = Frame::from(syn().fragment6(77, 0, false));
        rows.push(way.row(atomic.set(way.payload() + 1, [0xff, 0, 0b110]), Opens));
    }
    check(&rules(&[TCP80]), &rows);
}

/// "Don't fragment" and the reserved bit of IPv4 make no fragment, nor less of one.
#[test]
fn flags() {
    let mut rows = vec![];
    for way in V4 {
        for bits in [0x0000_u16, 0x4000, 0x8000, 0xc000] {
            let with =
                |ip: Ip, field: u16| Frame::from(ip).set(ETH + 6, (field | bits).to_be_bytes());
            rows.push(way.row(with(way.tcp(9, 80, "S"), 0), Opens));
            rows.push(way.row(with(way.tcp(9, 80, "S").slice(0, 19), 0), Malformed));
            rows.push(way.row(with(way.tcp(9, 80, "S").slice(0, 19), 0x2000), FragmentTiny));
            rows.push(way.row(with(way.tcp(9, 80, "S"), 0x0001), FragmentTiny));
            rows.push(way.row(with(way.tcp(9, 80, "S"), 0x2001), FragmentTiny));
            rows.push(way.row(with(way.tcp(9, 80, "S"), 0x0002), FragmentUnknown));
            rows.push(way.row(with(way.tcp(9, 80, "S"), 0x1000), FragmentUnknown));
        }
    }
    check(&rules(&[TCP80]), &rows);
}
