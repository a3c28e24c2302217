//! ICMP and ICMPv6 echo over raw sockets; the kernel answers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Outcome, PATIENCE, SILENCE, outcome_of, raw::receive};
use crate::NetNs;

/// One echo request and its reply.
#[track_caller]
pub fn passes(namespace: &NetNs, from: IpAddr, to: IpAddr) {
    let outcome = ping(namespace, from, to, 1, PATIENCE);
    assert_eq!(outcome, Outcome::Passed, "echo from {from} to {to}");
}

/// One echo request that nothing answers.
#[track_caller]
pub fn is_dropped(namespace: &NetNs, from: IpAddr, to: IpAddr) {
    let outcome = ping(namespace, from, to, 1, SILENCE);
    assert_eq!(outcome, Outcome::Silent, "echo from {from} to {to}");
}

/// Sends an echo request with this identifier, and waits for `limit`.
#[track_caller]
pub fn ping(
    namespace: &NetNs,
    from: IpAddr,
    to: IpAddr,
    identifier: u16,
    limit: Duration,
) -> Outcome {
    large(namespace, from, to, identifier, 8, limit)
}

/// The same with so many bytes of data behind the header: `ping -s`.
#[track_caller]
pub fn large(
    namespace: &NetNs,
    from: IpAddr,
    to: IpAddr,
    identifier: u16,
    data: usize,
    limit: Duration,
) -> Outcome {
    match exchange(namespace, from, to, identifier, data, limit) {
        Ok(()) => Outcome::Passed,
        Err(error) => outcome_of(&error),
    }
}

fn exchange(
    namespace: &NetNs,
    from: IpAddr,
    to: IpAddr,
    identifier: u16,
    data: usize,
    limit: Duration,
) -> io::Result<()> {
    let (protocol, request, reply) = match to {
        IpAddr::V4(_) => (Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Protocol::ICMPV6, 128, 129),
    };
    let domain = Domain::for_address(SocketAddr::new(to, 0));
    let socket = namespace.run(|| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    socket.send(&echo(request, identifier, data))?;
    let deadline = Instant::now() + limit;
    loop {
        // Raw sockets see every message between the two addresses.
        let message = receive(&socket, to, deadline)?;
        let whole = message.len() == 8 + data;
        if whole
            && message.first() == Some(&reply)
            && message.get(4..6) == Some(&identifier.to_be_bytes())
        {
            return Ok(());
        }
    }
}

/// An echo request. The kernel fills in the checksum of ICMPv6, not that of ICMP.
fn echo(request: u8, identifier: u16, data: usize) -> Vec<u8> {
    let mut message = vec![0; 8 + data];
    message[0] = request;
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    let sum: u32 =
        message.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    message
}
