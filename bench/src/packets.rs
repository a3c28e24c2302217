//! The frames that copies are made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use sg_common::Family;
use sg_tests::topology::mac;

/// The sending and the filtered interface, as in [`sg_tests::topology`].
pub const NEAR: &str = "nic0";
pub const FAR: &str = "up0";

pub fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// The filtered machine's address.
pub fn instance(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 1, 0, 2).into(),
        Family::V6 => Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 2).into(),
    }
}

/// All addresses that [`sg_datapath::testing::varying`] sends from.
pub fn senders(family: Family) -> &'static str {
    match family {
        Family::V4 => "64.0.0.0/3",
        Family::V6 => "2001:db8::/32",
    }
}

/// All addresses there are.
pub fn everyone(family: Family) -> &'static str {
    match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    }
}

/// In [`senders`].
const FROM: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Syn,
    Datagram,
}

/// The shortest frame (60 bytes without checksum; 74 where IPv6 and TCP need that) to a port of the
/// filtered machine, its source left open.
pub fn frame(family: Family, kind: Kind, port: u16) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(mac(FAR), mac(NEAR));
    let ip = match instance(family) {
        IpAddr::V4(to) => ethernet.ipv4([0; 4], to.octets(), 64),
        IpAddr::V6(to) => ethernet.ipv6(FROM.octets(), to.octets(), 64),
    };
    let mut frame = Vec::new();
    let written = match kind {
        Kind::Syn => ip.tcp(0, port, 1, 1000).syn().write(&mut frame, &[]),
        Kind::Datagram => ip.udp(0, port).write(&mut frame, &[0; 8]),
    };
    written.expect("memory");
    frame.resize(frame.len().max(60), 0);
    frame
}
