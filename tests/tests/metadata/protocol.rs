//! Segments that contradict the headers, and a word to the kernel that does.

use sg_tests::{
    Datapath, Role, World,
    probe::{
        Link,
        craft::{BROADCAST, TCP, UDP, ethernet},
        vnet::{Header, TCP4, TCP6, UFO},
    },
    topology::mac,
};

use crate::{
    frames::{OUT, OUT6, TRANSPORT4, TRANSPORT6, cut, framed},
    site::{GROUP, GUEST, Site, datapaths},
};

/// TCP's segments of a datagram, and the other way round; and a frame that the kernel takes for IPv4 that is none.
#[test]
fn segments_of_another_protocol() {
    for datapath in datapaths() {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let own = mac(GUEST);
        let udp = framed(own, mac("port0"), &OUT.packet(UDP, &OUT.udp(3000, 53, &[1; 600])));
        let mut segment = OUT.syn(3001, 80);
        segment.extend([1; 600]);
        let syn = framed(own, mac("port0"), &OUT.packet(TCP, &segment));
        for (header, frame) in [
            (Header { unfinished: Some((TRANSPORT4, 6)), ..cut(TCP4, 54, 200) }, &udp),
            (Header { unfinished: Some((TRANSPORT4, 16)), ..cut(UFO, 42, 200) }, &syn),
            (Header { unfinished: Some((TRANSPORT4, 16)), ..cut(TCP6, 54, 200) }, &syn),
        ] {
            // Newer kernels refuse some by themselves.
            if let Ok(counts) = site.of_guest(|tap| tap.send(header, frame)) {
                assert_eq!(counts.get("egress malformed"), 1, "{header:?}: {counts}");
            }
        }
    }
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const MPLS: u16 = 0x8847;
/// Protocol of frames with a length in the place of the type (IEEE 802.3),
/// include/uapi/linux/if_ether.h.
const ETH_P_802_2: u16 = 0x0004;

/// Segments of TCP, and the packet that is cut into them.
fn segments(from: u16) -> [(Header, Vec<u8>); 2] {
    let long = |mut segment: Vec<u8>| {
        segment.extend([1; 600]);
        segment
    };
    [
        (
            Header { unfinished: Some((TRANSPORT4, 16)), ..cut(TCP4, 54, 200) },
            OUT.packet(TCP, &long(OUT.syn(from, 80))),
        ),
        (
            Header { unfinished: Some((TRANSPORT6, 16)), ..cut(TCP6, 74, 200) },
            OUT6.packet(TCP, &long(OUT6.syn(from, 80))),
        ),
    ]
}

/// The kernel cuts a frame by what its sender calls it, not by what the frame says.
#[test]
fn no_frame_is_cut_as_another_protocol() {
    let world = World::new(Role::Host, Datapath::Tc);
    world.apply(&["some"], GROUP);
    let link = Link::open_with_headers(&world.instance, "nic0");
    let counted = |protocol, header, frame: &[u8]| {
        let before = world.counters();
        match link.send_as(protocol, header, frame) {
            // Passed, but nobody knows how to cut it.
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {}
            sent => sent.expect("the kernel takes it"),
        }
        world.counters().all_since(&before).of_direction("egress")
    };
    for (port, (protocol, version, gets)) in (4000..).zip([
        (IPV4, 0, "rule"),
        (IPV6, 1, "rule"),
        (IPV6, 0, "malformed"),
        (IPV4, 1, "malformed"),
        (MPLS, 0, "malformed"),
        (ETH_P_802_2, 1, "malformed"),
    ]) {
        let (header, packet) = &segments(port)[version];
        let frame = framed(mac("nic0"), BROADCAST, packet);
        let counts = counted(protocol, *header, &frame);
        assert_eq!(counts.get(&format!("egress {gets}")), 1, "{protocol:#x} {gets}: {counts}");
        // The machine's own neighbour discovery may come between.
        assert_eq!(counts.total() - counts.get("egress exempt"), 1, "{counts}");
    }
    // Nothing is cut: the word is of no consequence.
    let [(_, packet), _] = segments(4100);
    let counts = counted(IPV6, Header::default(), &framed(mac("nic0"), BROADCAST, &packet));
    assert_eq!(counts.get("egress rule"), 1, "{counts}");
    // No packet, but one inside that the word would bring out.
    let [(header, packet), _] = segments(4101);
    let frame = ethernet(mac("nic0"), BROADCAST, 38, &packet);
    for (protocol, gets) in [(ETH_P_802_2, "egress exempt"), (IPV4, "egress malformed")] {
        let counts = counted(protocol, header, &frame);
        assert_eq!(counts.get(gets), 1, "{protocol:#x}: {counts}");
    }
}

/// Packets of a tun have no type of their own, only their sender's word.
#[test]
fn no_packet_of_a_tun_is_cut_as_another_protocol() {
    const ETHERNET: u16 = 14;
    let site = Site::on_a_tun();
    site.apply(GROUP);
    for (port, (protocol, version, gets)) in (4000..).zip([
        (IPV4, 0, "rule"),
        (IPV6, 1, "rule"),
        (IPV6, 0, "malformed"),
        (IPV4, 1, "malformed"),
        (MPLS, 0, "malformed"),
    ]) {
        let (header, packet) = &segments(port)[version];
        let (start, offset) = header.unfinished.expect("a checksum");
        let (kind, headers, size) = header.segments.expect("segments");
        let header = Header {
            unfinished: Some((start - ETHERNET, offset)),
            segments: Some((kind, headers - ETHERNET, size)),
        };
        let counts = site.of_guest(|tap| tap.send_as(protocol, header, packet));
        let counts = counts.expect("a header that the kernel takes");
        assert_eq!(counts.get(&format!("egress {gets}")), 1, "{protocol:#x} {gets}: {counts}");
    }
}
