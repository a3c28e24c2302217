//! Segments in a UDP tunnel, whose inner headers are where the sender says (Linux 6.17 and later).

use std::net::{IpAddr, Ipv4Addr};

use sg_tests::{
    probe::{
        PATIENCE,
        craft::{Path, TCP, UDP},
        vnet::{Header, TCP4},
    },
    topology::mac,
};

use crate::{
    frames::{OUT, TRANSPORT4, cut, framed, plain_udp, sum},
    site::{GROUP, GUEST, Site, datapaths, received},
};

const INNER: Path = Path {
    source: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 1)),
    destination: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 2)),
};
/// Bytes of UDP's header, of the tunnel's own, of the inner IPv4 header.
const HEADERS: [u16; 3] = [8, 8, 20];
const SEGMENT: u16 = 400;

/// A TCP segment of three times [`SEGMENT`] in a tunnel to port 53.
fn tunnelled() -> Vec<u8> {
    let segment = [INNER.syn(5000, 5001), vec![7; 3 * usize::from(SEGMENT)]].concat();
    let inside = [vec![0; usize::from(HEADERS[1])], INNER.packet(TCP, &segment)].concat();
    OUT.packet(UDP, &plain_udp((1000, 53), &inside))
}

/// The same with four bytes of options in the outer header.
fn with_options(mut packet: Vec<u8>) -> Vec<u8> {
    packet.splice(20..20, [1, 1, 1, 0]);
    packet[0] = 0x46;
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[10..12].fill(0);
    let checksum = !sum(&packet[..24]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// Says that the inner IP header is at `inner`.
fn header(outer: u16, inner: u16) -> Vec<u8> {
    let transport = inner + HEADERS[2];
    let segments = cut(TCP4, transport + 20, SEGMENT);
    Header { unfinished: Some((transport, 16)), ..segments }.in_tunnel(outer, inner).to_vec()
}

#[test]
fn inner_headers_lie_behind_the_outer_ones() {
    for datapath in datapaths() {
        let site = Site::new(datapath);
        if let Err(error) = site.tap.negotiate_tunnels() {
            eprintln!("left out, this kernel knows no tunnels here: {error}");
            return;
        }
        site.apply(GROUP);
        let open = site.listens(53);
        let (outer, behind) = (TRANSPORT4, TRANSPORT4 + HEADERS[0] + HEADERS[1]);
        let send = |header: Vec<u8>, packet: &[u8]| {
            let frame = framed(mac(GUEST), mac("port0"), packet);
            let counts = site.of_guest(|tap| tap.write(&[header, frame].concat()));
            counts.expect("a header that the kernel takes")
        };
        // Honest: the kernel cuts it, and each segment arrives in the tunnel.
        let counts = send(header(outer, behind), &tunnelled());
        assert_eq!(counts.get("egress rule"), 1, "{counts}");
        let inside = usize::from(HEADERS[1] + HEADERS[2] + 20 + SEGMENT);
        for _ in 0..3 {
            assert_eq!(received(&open, PATIENCE).expect("a datagram").len(), inside);
        }
        // The kernel takes the sender's word for where the outer UDP header is: the inner one would be
        // written over the real one's length and checksum.
        let options = with_options(tunnelled());
        for (inner, gets) in [
            (outer + 8, "egress malformed"),
            (outer + 11, "egress malformed"),
            (behind + 4, "egress flow"),
        ] {
            let counts = send(header(outer, inner), &options);
            assert_eq!(counts.get(gets), 1, "{inner}: {counts}");
        }
    }
}
