//! Frames, and what stands beside them.

use std::net::IpAddr;

use sg_tests::{
    V4, V6,
    probe::{
        craft::{self, Mac, Path, UDP},
        vnet::Header,
    },
};

pub const OUT: Path = Path { source: V4.instance, destination: V4.remote };
pub const OUT6: Path = Path { source: V6.instance, destination: V6.remote };
/// Offsets of the transport header.
pub const TRANSPORT4: u16 = 34;
pub const TRANSPORT6: u16 = 54;

pub fn framed(from: Mac, to: Mac, packet: &[u8]) -> Vec<u8> {
    craft::frame(from, to, packet)
}

/// RFC 1071, not inverted.
pub fn sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Bytes whose last two make the checksum of all of them `wanted`.
pub fn summing_up_to(mut bytes: Vec<u8>, wanted: u16) -> Vec<u8> {
    let end = bytes.len() - 2;
    bytes[end..].fill(0);
    let missing = (u32::from(!wanted) + 0xffff - u32::from(sum(&bytes))) % 0xffff;
    bytes[end..].copy_from_slice(&(missing as u16).to_be_bytes());
    assert_eq!(!sum(&bytes), wanted);
    bytes
}

/// A datagram in whose checksum field the sum over the pseudo header is, as its sender leaves it.
pub fn unfinished_udp(ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut datagram = plain_udp(ports, data);
    let pseudo = match (V4.instance, V4.remote) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        _ => unreachable!("IPv4"),
    };
    let length = u16::try_from(datagram.len()).expect("it fits");
    let pseudo = [&pseudo[..], &[0, UDP], &length.to_be_bytes()].concat();
    datagram[6..8].copy_from_slice(&sum(&pseudo).to_be_bytes());
    datagram
}

/// A datagram without a checksum.
pub fn plain_udp((from, to): (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut datagram = OUT.udp(from, to, data);
    datagram[6..8].fill(0);
    datagram
}

pub const DHCP: (u16, u16) = (68, 67);

/// An unfinished checksum: where it starts to sum, and where from there it is to be written.
pub fn checksum(start: u16, offset: u16) -> Header {
    Header { unfinished: Some((start, offset)), ..Header::default() }
}

/// Segments: their kind, bytes of headers, bytes of payload.
pub fn cut(kind: u8, headers: u16, size: u16) -> Header {
    Header { unfinished: None, segments: Some((kind, headers, size)) }
}

pub fn v6_octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(_) => panic!("an IPv6 address"),
    }
}
