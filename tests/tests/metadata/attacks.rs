//! Attacks that worked before the data path looked beside the bytes.

use std::net::{IpAddr, Ipv4Addr};

use sg_tests::{
    V4, V6,
    probe::{
        SILENCE,
        craft::{self, ICMPV6, Path, UDP, arp, ethernet},
        vnet::{Header, UFO},
    },
    topology::mac,
};

use crate::{
    frames::{
        DHCP, OUT, TRANSPORT4, TRANSPORT6, checksum, framed, plain_udp, summing_up_to, v6_octets,
    },
    site::{GROUP, GUEST, NOTHING, Site, datapaths, received},
};

/// A checksum over the destination port: the verdict was on another one.
fn no_port_is_written(datapath: &'static str) {
    let site = Site::new(datapath);
    let denied = site.listens(7777);
    for (group, ports) in [(NOTHING, DHCP), (GROUP, (1000, 53))] {
        site.apply(group);
        let datagram = summing_up_to(plain_udp(ports, b"smuggled.."), 7777);
        let frame = framed(mac(GUEST), mac("port0"), &OUT.packet(UDP, &datagram));
        let header = Header { unfinished: Some((TRANSPORT4, 2)), ..Header::default() };
        let counts = site.counted(header, &frame);
        assert_eq!(counts.get("egress malformed"), 1, "{counts}");
        assert_eq!(received(&denied, SILENCE), None, "a port that no rule opens");
    }
}

#[test]
fn no_port_is_written_by_a_guest() {
    datapaths().for_each(no_port_is_written);
}

/// A checksum over the source address: the source check was on another one.
#[test]
fn no_address_is_written_by_a_guest() {
    for datapath in datapaths() {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let open = site.listens(53);
        // The second half of 10.1.0.2 becomes that of 10.1.9.9.
        let datagram = plain_udp((1000, 53), b"someone else..");
        let packet = OUT.packet(UDP, &datagram);
        let tail = summing_up_to(packet[14..].to_vec(), 0x0909);
        let frame = framed(mac(GUEST), mac("port0"), &[&packet[..14], &tail].concat());
        let header = Header { unfinished: Some((28, 0)), ..Header::default() };
        let counts = site.counted(header, &frame);
        assert_eq!(counts.get("egress malformed"), 1, "{counts}");
        assert_eq!(received(&open, SILENCE), None);
    }
}

/// Segmentation counts fragments from 0 again: a later one became a datagram of its own.
#[test]
fn no_fragment_becomes_a_datagram() {
    for datapath in datapaths() {
        let site = Site::new(datapath);
        let denied = site.listens(7777);
        for (group, ports) in [(NOTHING, DHCP), (GROUP, (1000, 53))] {
            site.apply(group);
            let first = plain_udp(ports, &[0; 2000])[..32].to_vec();
            let mut first = OUT.fragment(UDP, 99, 0, true, &first);
            // Nobody else takes it: its header's checksum is wrong.
            first[10] ^= 0x55;
            site.counted(Header::default(), &framed(mac(GUEST), mac("port0"), &first));
            let hidden = plain_udp((1000, 7777), &[0; 2000]);
            let later = OUT.fragment(UDP, 99, 32, false, &hidden);
            let header = Header { segments: Some((UFO, 34, 1472)), ..Header::default() };
            let counts = site.counted(header, &framed(mac(GUEST), mac("port0"), &later));
            let key = if datapath.contains("xdp") && group == NOTHING {
                // XDP drops it before: nothing is remembered of what is always let through.
                "egress fragment_unknown"
            } else {
                "egress malformed"
            };
            assert_eq!(counts.get(key), 1, "{counts}");
            assert_eq!(received(&denied, SILENCE), None, "a port that no rule opens");
        }
    }
}

/// Neither a claim in ARP nor one in neighbour discovery changes after the source check.
#[test]
fn no_claim_is_written_by_a_guest() {
    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));
    for datapath in datapaths() {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let own = mac(GUEST);
        let message = arp(2, (own, V4.instance), (mac("port0"), GATEWAY));
        let claim = ethernet(own, mac("port0"), 0x0806, &[&message[..], &[0; 18]].concat());
        // The sender's address is at 28 of the frame.
        for (start, offset, key) in [
            (28, 0, "egress malformed"),
            (20, 2, "egress malformed"),
            (26, 6, "egress malformed"),
            // Behind the message, in padding.
            (30, 12, "egress exempt"),
        ] {
            let counts = site.counted(checksum(start, offset), &claim);
            assert_eq!(counts.get(key), 1, "{start} {offset}: {counts}");
        }
        let counts = site.counted(Header::default(), &claim);
        assert_eq!(counts.get("egress exempt"), 1, "{counts}");
        let source = IpAddr::V6(craft::link_local(own));
        let target = [&[0x60, 0, 0, 0][..], &v6_octets(V6.instance), &[2, 1], &own].concat();
        let path = Path { source, destination: V6.remote };
        let advertisement = path.packet(ICMPV6, &path.icmp(136, &target));
        let frame = framed(own, mac("port0"), &advertisement);
        for (offset, key) in [
            (2, "egress exempt"),
            (22, "egress malformed"),
            (8, "egress malformed"),
            (28, "egress malformed"),
        ] {
            let counts = site.counted(checksum(TRANSPORT6, offset), &frame);
            assert_eq!(counts.get(key), 1, "{offset}: {counts}");
        }
    }
}
