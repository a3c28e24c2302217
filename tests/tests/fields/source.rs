//! Port role: an instance speaks for its own addresses only. Everything may go out by the rules.

use sg_common::{
    Direction::{Egress as E, Ingress as I},
    Reason::{Exempt, FragmentUnknown, Malformed, NoRule, SourceCheck},
};
use sg_policy::reference::frames::{Ip, OWN_MAC, arp, icmp, neighbour, tcp, udp};

use crate::{
    row::{Frame, Opens, Row, row},
    table::{Setup, check, check_setups},
    way::at,
};

const OPEN: &str = "[[security_group]]\nname = \"web\"\n";
const MAC: &str = r#"mac = "02:00:00:00:00:05""#;
/// The link-local address of [`OWN_MAC`].
const EUI64: &str = "fe80::ff:fe00:5";

fn syn(src: &str) -> Ip {
    tcp(&at(src, 9), &at(if src.contains(':') { "2001:db8::1" } else { "192.0.2.1" }, 80), "S")
}

/// Whether a port's instance may send from these.
fn from(sources: &[(&str, bool)]) -> Vec<Row> {
    let rows = sources.iter().flat_map(|(src, own)| {
        let port = if *own { row(E, syn(src), Opens) } else { row(E, syn(src), SourceCheck) };
        // A host is nobody's instance.
        [port.port(), row(E, syn(src), Opens).host()]
    });
    rows.collect()
}

#[test]
fn ipv4_source() {
    let mut rows = from(&[
        ("10.0.0.5", true),
        ("10.0.0.4", false),
        ("10.0.0.6", false),
        ("10.0.1.5", false),
        ("11.0.0.5", false),
        ("5.0.0.10", false),
        ("0.0.0.0", false),
        ("127.0.0.1", false),
        ("169.254.0.5", false),
        ("255.255.255.255", false),
    ]);
    // Unspecified only to ask for an address.
    for (from, to, expected) in [(68, 67, Exempt), (68, 68, SourceCheck), (67, 67, SourceCheck)] {
        rows.push(row(E, udp(&at("0.0.0.0", from), &at("255.255.255.255", to)), expected).port());
    }
    // A DHCP client looks at the destination port alone.
    for from in [0, 66, 67, 68, 1067, 65535] {
        for source in ["10.0.0.5", "0.0.0.0"] {
            let reply = udp(&at(source, from), "192.0.2.1:68");
            rows.push(row(E, reply.fragment(1, 0, true), SourceCheck).port());
            rows.push(row(E, udp(&at(source, from), "255.255.255.255:68"), SourceCheck).port());
        }
    }
    rows.push(row(E, udp("10.0.0.5:68", "192.0.2.1:69"), Opens).port());
    rows.push(row(E, tcp("10.0.0.5:67", "192.0.2.1:68", "S"), Opens).port());
    rows.push(row(E, tcp("0.0.0.0:68", "192.0.2.1:67", "S"), SourceCheck).port());
    rows.push(row(E, udp("10.0.0.66:68", "192.0.2.1:67"), SourceCheck).port());
    // A later fragment shows no ports.
    let discover = || udp("0.0.0.0:68", "255.255.255.255:67");
    rows.push(row(E, discover().fragment(1, 0, true), Exempt).port());
    rows.push(row(E, discover().fragment(1, 2, true), SourceCheck).port());
    check(OPEN, &rows);
}

#[test]
fn ipv6_source() {
    let rows = from(&[
        ("fd00::5", true),
        ("fd00::4", false),
        ("fd00::6", false),
        ("fd00:0:0:1::5", false),
        ("fd01::5", false),
        ("::", false),
        ("::1", false),
        ("ff02::1", false),
        ("::ffff:10.0.0.5", false),
        // Any link-local address without `mac`: fe80::/10.
        ("fe80::", true),
        ("fe80::1", true),
        (EUI64, true),
        ("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false),
        ("fec0::", false),
    ]);
    let with_mac = from(&[
        ("fd00::5", true),
        ("fd00::6", false),
        (EUI64, true),
        ("fe80::1", false),
        ("fe80::ff:fe00:4", false),
        ("fe80::200:ff:fe00:5", false),
        ("fe80::1:0:ff:fe00:5", false),
        ("fe80:0:0:1::ff:fe00:5", false),
        ("febf::ff:fe00:5", false),
    ]);
    let setup = Setup::new(OPEN);
    check_setups(&[(setup, &rows), (Setup { port: MAC, ..setup }, &with_mac)]);
}

/// The unspecified address passes where one has none yet: router solicitation, DAD, MLD.
#[test]
fn unspecified_ipv6_source() {
    let mut rows = vec![];
    for kind in 0..=255 {
        let message = neighbour("::", "ff02::1", kind, "fd00::5");
        let passes = matches!(kind, 131..=133 | 135 | 143);
        rows.push(row(E, message, if passes { Exempt } else { SourceCheck }).port());
    }
    rows.push(row(E, udp("[::]:546", "[ff02::1:2]:547"), SourceCheck).port());
    for from in [0, 545, 546, 547, 1547, 65535] {
        for (source, to) in [("fd00::5", "2001:db8::1"), ("fe80::5", "ff02::1")] {
            rows.push(row(E, udp(&at(source, from), &at(to, 546)), SourceCheck).port());
        }
    }
    rows.push(row(E, udp("[fd00::5]:547", "[2001:db8::1]:545"), Opens).port());
    rows.push(row(E, tcp("[fd00::5]:547", "[2001:db8::1]:546", "S"), Opens).port());
    rows.push(
        row(E, neighbour("::", "ff02::1", 135, "fd00::5").fragment6(1, 0, true), Exempt).port(),
    );
    rows.push(
        row(E, neighbour("::", "ff02::1", 135, "fd00::5").fragment6(1, 2, true), SourceCheck)
            .port(),
    );
    check(OPEN, &rows);
}

/// DAD and advertisements claim their target; a solicitation from an address of one's own does not.
#[test]
fn claims() {
    let solicits = |target: &str| neighbour("fd00::5", "ff02::1:ff00:1", 135, target);
    let probes = |target: &str| neighbour("::", "ff02::1:ff00:1", 135, target);
    let advertises = |target: &str| neighbour("fd00::5", "ff02::1", 136, target);
    let claims = |targets: &[(&str, bool)]| {
        let mut rows = vec![];
        for (target, own) in targets {
            let expected = if *own { Exempt } else { SourceCheck };
            rows.push(row(E, probes(target), expected).port());
            rows.push(row(E, advertises(target), expected).port());
            rows.push(row(E, solicits(target), Exempt));
            rows.push(row(E, advertises(target), Exempt).host());
            rows.push(row(I, neighbour("fe80::99", "fd00::5", 136, target), Exempt));
        }
        rows
    };
    let mut rows = claims(&[
        ("fd00::5", true),
        ("fe80::5", true),
        ("febf::1", true),
        ("fd00::4", false),
        ("fd00::6", false),
        ("2001:db8::1", false),
        ("fec0::5", false),
        ("::", false),
    ]);
    for length in 8..24 {
        rows.push(row(E, probes("fd00::5").slice(0, length), Malformed).port());
        rows.push(row(E, advertises("fd00::5").slice(0, length), Malformed).port());
        rows.push(row(E, solicits("fd00::5").slice(0, length), Exempt));
    }
    // The source check comes before the hop limit.
    rows.push(row(E, advertises("fd00::6").hop_limit(64), SourceCheck).port());
    let with_mac =
        claims(&[("fd00::5", true), (EUI64, true), ("fe80::5", false), ("fe80::ff:fe00:6", false)]);
    let setup = Setup::new(OPEN);
    check_setups(&[(setup, &rows), (Setup { port: MAC, ..setup }, &with_mac)]);
}

#[test]
fn router_advertisements() {
    let mut rows = vec![];
    for hop_limit in [1, 64, 255] {
        for src in ["fd00::5", "fe80::5"] {
            let message = icmp(src, "ff02::1", 134, 0, 0).hop_limit(hop_limit);
            rows.push(row(E, message, SourceCheck).port());
        }
    }
    let received = icmp("fe80::99", "ff02::1", 134, 0, 0);
    rows.push(row(I, received.clone().hop_limit(255), Exempt));
    rows.push(row(I, received.hop_limit(254), NoRule));
    check(OPEN, &rows);
}

#[test]
fn arp_sender() {
    let claim = |sender| arp(OWN_MAC, OWN_MAC, sender);
    let mut rows = vec![];
    for (sender, own) in [
        ("10.0.0.5", true),
        // A probe (RFC 5227).
        ("0.0.0.0", true),
        ("10.0.0.4", false),
        ("10.0.0.6", false),
        ("10.0.1.5", false),
        ("255.255.255.255", false),
    ] {
        rows.push(row(E, claim(sender), if own { Exempt } else { SourceCheck }).port());
        rows.push(row(E, claim(sender), Exempt).host());
        rows.push(row(I, claim(sender), Exempt));
        let tagged = Frame::from(claim(sender)).tagged(&[0x8100]);
        rows.push(row(E, tagged, if own { Exempt } else { SourceCheck }).port());
    }
    let setup = Setup::new(OPEN);
    check_setups(&[(setup, &rows), (Setup { port: MAC, ..setup }, &rows)]);
}

/// Later fragments are held to the addresses, too.
#[test]
fn fragments() {
    let mut rows = vec![];
    for (src, own) in [("10.0.0.5", true), ("10.0.0.6", false)] {
        for offset in [2, 185] {
            let part = syn(src).fragment(9, offset, true);
            // Out everything: their rules let it pass.
            let expected = if own { sg_common::Reason::Fragment } else { SourceCheck };
            rows.push(row(E, part, expected).port());
        }
    }
    for (src, own) in [("fd00::5", true), ("fe80::1", true), ("fd00::6", false)] {
        let part = syn(src).fragment6(9, 2, true);
        let expected = if own { sg_common::Reason::Fragment } else { SourceCheck };
        rows.push(row(E, part, expected).port());
    }
    rows.push(row(I, syn("10.0.0.6").fragment(9, 2, true), FragmentUnknown));
    check(OPEN, &rows);
}
