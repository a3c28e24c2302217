//! EtherType, VLAN tags, and frames that are not IP.

use sg_common::{
    Direction::{Egress as E, Ingress as I},
    Reason::{Exempt, Malformed, NoRule, NonIp, SourceCheck, TooManyHeaders},
};
use sg_policy::reference::frames::{OWN_MAC, arp, ethernet};

use crate::{
    row::{Frame, Opens, Outcome, Row, row},
    table::{Setup, check, check_setups},
    way::{TCP80, WAYS, Way, rules},
};

fn syn(way: Way) -> Frame {
    way.tcp(9, 80, "S").into()
}

/// Passes a host, and no port.
fn not_ip(way: Way, frame: &Frame) -> [Row; 2] {
    [way.row(frame.clone(), Exempt).host(), way.row(frame.clone(), NonIp).port()]
}

#[test]
fn ether_type() {
    let mut rows = vec![];
    for way in WAYS {
        let (own, other) = if way.is_v4() { (0x0800, 0x86dd) } else { (0x86dd, 0x0800) };
        let with = |ether_type: u16| syn(way).set(12, ether_type.to_be_bytes());
        rows.push(way.row(with(own), Opens));
        rows.push(way.row(with(other), Malformed).ethernet_only());
        for ether_type in [
            0x0000, 0x0026, 0x05dc, 0x0600, 0x07ff, 0x0801, 0x0008, 0x0805, 0x0807, 0x6558, 0x86dc,
            0x86de, 0x8809, 0x8847, 0x8864, 0x88cc, 0x9100, 0xffff,
        ] {
            rows.extend(not_ip(way, &with(ether_type)));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

#[test]
fn vlan_tags() {
    const TYPES: [u16; 2] = [0x8100, 0x88a8];
    let mut rows = vec![];
    for way in WAYS {
        let dropped = Frame::from(way.tcp(9, 81, "S"));
        for first in TYPES {
            rows.push(way.row(syn(way).tagged(&[first]), Opens));
            rows.push(way.row(dropped.clone().tagged(&[first]), NoRule));
            // Priority and VLAN identifier do not matter.
            rows.push(way.row(syn(way).tagged(&[first]).set(14, [0xff; 2]), Opens));
            rows.push(way.row(syn(way).tagged(&[first]).set(14, [0; 2]), Opens));
            rows.extend(not_ip(way, &syn(way).tagged(&[first]).set(16, [0x88, 0xcc])));
            for second in TYPES {
                rows.push(way.row(syn(way).tagged(&[first, second]), Opens));
                rows.push(way.row(dropped.clone().tagged(&[first, second]), NoRule));
                rows.push(way.row(syn(way).tagged(&[first, second, 0x8100]), TooManyHeaders));
                rows.push(way.row(syn(way).tagged(&[first, second, 0x88a8]), TooManyHeaders));
                // The third is not read.
                let third = syn(way).tagged(&[first, second, second]);
                rows.push(way.row(third.cut(22), TooManyHeaders));
                rows.extend(not_ip(way, &syn(way).tagged(&[first, second, 0x9100])));
            }
            for length in 14..18 {
                rows.push(way.row(syn(way).tagged(&[first]).cut(length), Malformed));
                let second = syn(way).tagged(&[first, first]).cut(length + 4);
                rows.push(way.row(second, Malformed));
            }
            rows.push(way.row(syn(way).tagged(&[first]).cut(18), Malformed));
        }
        for other in [0x9100, 0x9200, 0x8101, 0x88a9, 0x0081] {
            rows.extend(not_ip(way, &syn(way).tagged(&[other])));
            rows.extend(not_ip(way, &syn(way).tagged(&[0x8100, other])));
        }
    }
    check(&rules(&[TCP80]), &rows);
}

const THEIR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 6];

#[test]
fn arp_frames() {
    let own = || Frame::from(arp(OWN_MAC, OWN_MAC, "10.0.0.5"));
    let mut rows = vec![row(I, arp(OWN_MAC, OWN_MAC, "192.0.2.1"), Exempt), row(E, own(), Exempt)];
    // An instance's has to be whole; nobody looks at others.
    for (length, of_port) in [(15, Malformed), (41, Malformed), (42, Exempt)] {
        rows.push(row(E, own().cut(length), Exempt).host());
        rows.push(row(E, own().cut(length), of_port).port());
        rows.push(row(I, own().cut(length), Exempt));
    }
    for tags in [&[0x8100][..], &[0x88a8, 0x8100]] {
        rows.push(row(I, own().tagged(tags), Exempt));
        rows.push(row(E, own().tagged(tags), Exempt));
    }
    rows.push(row(E, own().tagged(&[0x8100; 3]), TooManyHeaders));
    check(&rules(&[TCP80]), &rows);
}

/// `mac` makes the Ethernet source a matter of the source check, whatever is in the frame.
#[test]
fn ethernet_source() {
    let arp = |ethernet, sender| Frame::from(arp(ethernet, sender, "10.0.0.5"));
    let lldp = |source| Frame::from(ethernet(source, 0x88cc, &[0; 46]));
    let mut rows = vec![
        row(E, arp(OWN_MAC, OWN_MAC), Exempt),
        row(E, arp(THEIR_MAC, OWN_MAC), SourceCheck),
        row(E, arp(OWN_MAC, THEIR_MAC), SourceCheck),
        row(E, lldp(OWN_MAC), NonIp),
        row(E, lldp(THEIR_MAC), SourceCheck),
        row(I, lldp(THEIR_MAC), NonIp),
        row(I, arp(THEIR_MAC, THEIR_MAC), Exempt),
    ];
    for way in WAYS {
        for byte in 0..6 {
            let mut mac = OWN_MAC;
            mac[byte] ^= 0x10;
            let expected: Outcome = if way.direction == E { SourceCheck.into() } else { Opens };
            rows.push(way.row(syn(way).set(6, mac), expected).ethernet_only());
            // The destination does not matter.
            rows.push(way.row(syn(way).set(0, mac), Opens));
        }
        rows.push(way.row(syn(way), Opens));
    }
    let rows: Vec<_> = rows.into_iter().map(Row::port).collect();
    let rules = rules(&[TCP80]);
    let setup = Setup { port: r#"mac = "02:00:00:00:00:05""#, ..Setup::new(&rules) };
    check_setups(&[(setup, &rows)]);
}

/// Whether the source is checked or not, a port lets nothing through but IP and ARP.
#[test]
fn non_ip() {
    let mut rows = vec![];
    for direction in [I, E] {
        for payload in [&[][..], &[0; 2], &[0x45; 60], &[0x60; 60], &[0xff; 1486]] {
            for ether_type in [0x0026, 0x8809, 0x88cc] {
                let frame = ethernet([2, 0, 0, 0, 0, 0x77], ether_type, payload);
                rows.push(row(direction, frame.clone(), Exempt).host());
                rows.push(row(direction, frame, NonIp).port());
            }
        }
    }
    let rules = rules(&[TCP80]);
    let setups = ["source_check = true", "source_check = false"]
        .map(|port| (Setup { port, ..Setup::new(&rules) }, &rows[..]));
    check_setups(&setups);
}
