//! Honest guests, with a network stack and without one.

use std::net::SocketAddr;

use sg_tests::{
    FAMILIES, NetNs,
    probe::{
        PATIENCE, bulk,
        cable::{Cable, Carried},
        craft::UDP,
        udp,
        vnet::{Header, Tap, UFO, USO, offload},
    },
    topology::mac,
};

use crate::{
    frames::{OUT, TRANSPORT4, framed, unfinished_udp},
    site::{GROUP, GUEST, Site, datapaths, received},
};

/// How a datagram is to be cut, its length, and the lengths that arrive.
type Case<'a> = (Option<(u8, u16, u16)>, usize, &'a [usize]);

/// Honest packets arrive, finished by the kernel: one by one, in segments of datagrams, in fragments.
#[test]
fn a_guest_with_offloads_is_served() {
    for datapath in datapaths() {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let open = site.listens(53);
        let own = Some((TRANSPORT4, 6));
        let cases: [Case<'_>; 3] = [
            (None, 100, &[100]),
            (Some((USO, 42, 1000)), 2500, &[1000, 1000, 500]),
            (Some((UFO, 42, 1000)), 2500, &[2500]),
        ];
        for (segments, length, arrives) in cases {
            let datagram = unfinished_udp((1000, 53), &vec![7; length]);
            let frame = framed(mac(GUEST), mac("port0"), &OUT.packet(UDP, &datagram));
            let header = Header { unfinished: own, segments };
            if let Err(error) = site.tap.send(header, &frame) {
                // Linux 6.1 has no USO.
                assert_eq!(segments.map(|(kind, ..)| kind), Some(USO), "{error}");
                continue;
            }
            for length in arrives {
                let data = received(&open, PATIENCE).expect("a datagram");
                assert_eq!((data.len(), data[0]), (*length, 7), "{segments:?}");
            }
        }
    }
}

/// `status` says which hook judges, and why.
#[test]
fn status_says_why() {
    for (datapath, hook, reason) in [
        ("", "tcx", "XDP does not see"),
        ("datapath = \"tc\"", "tcx", "datapath = \"tc\""),
        ("datapath = \"xdp\"", "xdp", "TC for what XDP does not see"),
    ] {
        let site = Site::new(datapath);
        site.apply(GROUP);
        let status = site.agent.ctl().status();
        let shown = &status.interfaces[0];
        // Without TCX, before Linux 6.6.
        let hook = if hook == "tcx" && shown.datapath == "tc" { "tc" } else { hook };
        assert_eq!(shown.datapath, hook);
        assert!(shown.datapath_reason.contains(reason), "{}", shown.datapath_reason);
        assert!(site.router.succeeds("ip", &["link", "show", "port0"]));
    }
}

/// A guest with a network stack, behind a virtio-net driver and vhost-net: TCP both ways, opened by either, and
/// datagrams in segments.
fn a_guest_is_served(datapath: &str, offload: libc::c_ulong) -> [Carried; 2] {
    let site = Site::new(datapath);
    site.apply(GROUP);
    let guest = NetNs::new("guest");
    let far = Tap::open(&guest, "eth0");
    for tap in [&site.tap, &far] {
        // Linux 6.1 has no USO.
        let all = tap.negotiate(offload).or_else(|_| tap.negotiate(offload & offload::TCP));
        all.expect("offloads");
    }
    let address = mac(GUEST).map(|byte| format!("{byte:02x}")).join(":");
    guest.sysctl("ipv6/conf/eth0/accept_dad", "0");
    guest.ip(&format!(
        "link set dev eth0 address {address} up
         address add 10.1.0.2/24 dev eth0
         address add fd01::2/64 dev eth0 nodad
         -4 route add default via 10.1.0.1
         -6 route add default via fd01::1"
    ));
    let cable = Cable::between(site.tap.try_clone().expect("a descriptor"), far);
    let before = site.counters();
    for at in FAMILIES {
        for [client, server] in [[0, 1], [1, 0]] {
            let machines = [(&site.remote, at.remote), (&guest, at.instance)];
            let to = (machines[server].0, SocketAddr::new(machines[server].1, 80));
            bulk::exchange(machines[client], to, 4 << 20, PATIENCE).expect("a transfer");
        }
        let _server = udp::serve(&site.remote, at.remote_port(53));
        let open = udp::open(&guest, at.instance, at.remote_port(53));
        open.echo_segments(20, 1000, PATIENCE).expect("twenty datagrams");
    }
    let counts = site.counters().all_since(&before);
    for way in ["ingress", "egress"] {
        assert_eq!(counts.get(&format!("{way} malformed")), 0, "{counts}");
        assert_ne!(counts.get(&format!("{way} flow")), 0, "{counts}");
    }
    cable.pulled()
}

/// Bytes of a frame that is as large as the link takes.
const WHOLE: usize = 1514;

#[test]
fn a_guest_that_negotiated_offloads() {
    for datapath in datapaths() {
        for way in a_guest_is_served(datapath, offload::TCP | offload::UDP) {
            assert!(way.largest > WHOLE && way.unfinished > 0 && way.refused == 0, "{way:?}");
        }
    }
}

/// The kernel on either side finishes everything before it hands it over.
#[test]
fn a_guest_that_negotiated_none() {
    for datapath in datapaths() {
        for way in a_guest_is_served(datapath, offload::NONE) {
            assert!(way.largest == WHOLE && way.unfinished == 0 && way.refused == 0, "{way:?}");
        }
    }
}
