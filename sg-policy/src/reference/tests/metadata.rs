//! Packets whose sender asked the kernel for changes that must not pass the filter.

use super::{frames::*, *};
use crate::reference::metadata::{Kind, Metadata, Segments};
use Reason::{Exempt, FragmentUnknown, Malformed, NoRule};

const ETH: u32 = 14;
const KINDS: [Kind; 4] = [Kind::Tcp4, Kind::Tcp6, Kind::Udp, Kind::UdpFragments];

/// Nothing is allowed, so what is in order gets `no_rule`.
fn judge(frame: &[u8], gso: bool, beside: Metadata) -> Reason {
    let packet = Packet { ifindex: IFINDEX, direction: I, frame, vlan_offloaded: false, gso };
    let mut host = Host::new(state(&[], &[]));
    host.evaluator.judge_beside(&packet, &beside, 0).expect("a filtered interface")
}

/// At each place in the frame, and beyond it. `may` is told the place, and the last one in the frame.
#[track_caller]
fn check_checksum(frame: &[u8], fine: Reason, may: impl Fn(u32, u32) -> bool) {
    let length = u32::try_from(frame.len()).unwrap();
    for at in 0..length + 3 {
        let beside = Metadata { unfinished: Some(at), segments: None };
        let expected = if may(at, length - 2) { fine } else { Malformed };
        assert_eq!(judge(frame, false, beside), expected, "at {at}");
    }
    for at in [1 << 16, 1 << 31, u32::MAX - 13, u32::MAX] {
        let beside = Metadata { unfinished: Some(at), segments: None };
        assert_eq!(judge(frame, false, beside), Malformed, "at {at}");
    }
}

/// A packet with 12 bytes of payload behind its headers.
fn long(mut ip: Ip) -> Vec<u8> {
    ip.payload.extend([0; 12]);
    ip.frame()
}

#[test]
fn a_checksum_lands_on_its_own_place_or_behind_all_headers() {
    // The last two bytes are the last place for it.
    let udp4 = ETH + 20;
    check_checksum(&long(udp("192.0.2.1:9", "10.0.0.5:53")), NoRule, |at, last| {
        at == udp4 + 6 || (udp4 + 8..=last).contains(&at)
    });
    let tcp6 = ETH + 40;
    check_checksum(&long(tcp("[2001:db8::1]:9", "[fd00::5]:80", "S")), NoRule, |at, last| {
        at == tcp6 + 16 || (tcp6 + 20..=last).contains(&at)
    });
    // Behind an extension header.
    let mut header = vec![0; 16];
    header[1] = 1;
    let options = long(udp("[2001:db8::1]:9", "[fd00::5]:53").extension(60, header));
    check_checksum(&options, NoRule, |at, last| {
        at == tcp6 + 16 + 6 || (tcp6 + 24..=last).contains(&at)
    });
    // The verdict reads no byte of SCTP, GRE and others.
    check_checksum(&ip("192.0.2.1", "10.0.0.5", 132, &[0; 12]).frame(), NoRule, |at, last| {
        (udp4..=last).contains(&at)
    });
}

#[test]
fn icmp_that_is_read_further_is_kept_whole() {
    let icmp4 = ETH + 20;
    check_checksum(&long(icmp("192.0.2.1", "10.0.0.5", 8, 0, 7)), NoRule, |at, last| {
        at == icmp4 + 2 || (icmp4 + 8..=last).contains(&at)
    });
    for kind in [3, 11, 12] {
        let error = long(icmp("192.0.2.1", "10.0.0.5", kind, 0, 7));
        check_checksum(&error, NoRule, |at, _| at == icmp4 + 2);
    }
    for (kind, fine) in
        [(1, NoRule), (2, NoRule), (3, NoRule), (4, NoRule), (135, Exempt), (136, Exempt)]
    {
        let message = long(icmp("fe80::1", "fe80::2", kind, 0, 7).hop_limit(255));
        check_checksum(&message, fine, |at, _| at == ETH + 40 + 2);
    }
}

#[test]
fn other_frames_keep_what_is_read_of_them() {
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 40]].concat();
    check_checksum(&arp, Exempt, |at, last| (ETH + 28..=last).contains(&at));
    let lldp = [&[0xff; 12][..], &[0x88, 0xcc], &[0; 40]].concat();
    check_checksum(&lldp, Exempt, |at, last| (ETH..=last).contains(&at));
    let tagged = [&[0xff; 12][..], &[0x81, 0, 0, 7, 8, 6], &[0; 40]].concat();
    check_checksum(&tagged, Exempt, |at, last| (ETH + 32..=last).contains(&at));
}

#[test]
fn a_later_fragment_has_no_checksum_of_its_own() {
    let later = ip("192.0.2.1", "10.0.0.5", 17, &[0; 24]).fragment(5, 3, true).frame();
    check_checksum(&later, FragmentUnknown, |at, last| (ETH + 20..=last).contains(&at));
}

#[test]
fn a_packet_of_segments_is_no_fragment() {
    for offset in [0, 3] {
        let part = ip("192.0.2.1", "10.0.0.5", 17, &[0, 9, 0, 53, 1, 0, 0, 0]);
        let part6 = ip("2001:db8::1", "fd00::5", 17, &[0, 9, 0, 53, 1, 0, 0, 0]);
        for frame in
            [part.fragment(5, offset, true).frame(), part6.fragment6(5, offset, true).frame()]
        {
            assert_eq!(judge(&frame, true, Metadata::default()), Malformed);
            assert_ne!(judge(&frame, false, Metadata::default()), Malformed);
        }
    }
    // An atomic fragment is none.
    let whole = udp("[2001:db8::1]:9", "[fd00::5]:53").fragment6(5, 0, false).frame();
    assert_eq!(judge(&whole, true, Metadata::default()), NoRule);
}

#[test]
fn segments_are_of_the_packets_own_protocol() {
    let (tcp4, tcp6) =
        (tcp("192.0.2.1:9", "10.0.0.5:80", "S"), tcp("[2001:db8::1]:9", "[fd00::5]:80", "S"));
    let (udp4, udp6) = (udp("192.0.2.1:9", "10.0.0.5:53"), udp("[2001:db8::1]:9", "[fd00::5]:53"));
    let gre = ip("192.0.2.1", "10.0.0.5", 47, &[0; 8]);
    let udp_kinds: &[Kind] = &[Kind::Udp, Kind::UdpFragments];
    for (ip, own) in [
        (tcp4, &[Kind::Tcp4][..]),
        (tcp6, &[Kind::Tcp6]),
        (udp4, udp_kinds),
        (udp6, udp_kinds),
        (gre, &[]),
    ] {
        for kind in KINDS {
            let segments = Some(Segments { kind, size: 1000 });
            let expected = if own.contains(&kind) { NoRule } else { Malformed };
            let beside = Metadata { unfinished: None, segments };
            assert_eq!(judge(&ip.frame(), true, beside), expected, "{kind:?} {ip:?}");
        }
    }
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    assert_eq!(judge(&arp, true, Metadata::default()), Malformed);
}

/// In smaller ones, the ports would not be in the first fragment.
#[test]
fn segments_of_datagrams_have_at_least_eight_bytes() {
    let frame = udp("192.0.2.1:9", "10.0.0.5:53").frame();
    for kind in [Kind::Udp, Kind::UdpFragments] {
        for (size, expected) in [(1, Malformed), (7, Malformed), (8, NoRule), (65535, NoRule)] {
            let beside = Metadata { unfinished: None, segments: Some(Segments { kind, size }) };
            assert_eq!(judge(&frame, true, beside), expected, "{kind:?} {size}");
        }
    }
}

#[test]
fn a_first_fragment_that_always_passes_leaves_no_verdict() {
    let mut host = Host::new(state(&[], &[]));
    let first = udp("0.0.0.0:68", "255.255.255.255:67").fragment(5, 0, true);
    let later = ip("0.0.0.0", "255.255.255.255", 17, &[0; 24]).fragment(5, 1, false);
    host.check_all(&[(E, first, Exempt), (E, later, FragmentUnknown)]);
}
