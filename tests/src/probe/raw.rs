//! Any other protocol, one way: a raw socket at each end.

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Outcome, PATIENCE, SILENCE, outcome_of};
use crate::NetNs;

/// A machine and its address.
pub type End<'a> = (&'a NetNs, IpAddr);

/// One packet of `protocol` arrives.
#[track_caller]
pub fn passes(protocol: u8, from: End<'_>, to: End<'_>) {
    let outcome = send(protocol, from, to, PATIENCE);
    assert_eq!(outcome, Outcome::Passed, "protocol {protocol} from {} to {}", from.1, to.1);
}

/// One packet of `protocol` does not arrive.
#[track_caller]
pub fn is_dropped(protocol: u8, from: End<'_>, to: End<'_>) {
    let outcome = send(protocol, from, to, SILENCE);
    assert_eq!(outcome, Outcome::Silent, "protocol {protocol} from {} to {}", from.1, to.1);
}

#[track_caller]
fn send(protocol: u8, from: End<'_>, to: End<'_>, limit: Duration) -> Outcome {
    let attempt = || -> io::Result<()> {
        let receiver = open(protocol, to)?;
        let sender = open(protocol, from)?;
        sender.send_to(b"0123456789abcdef", &SocketAddr::new(to.1, 0).into())?;
        receive(&receiver, from.1, Instant::now() + limit).map(drop)
    };
    match attempt() {
        Ok(()) => Outcome::Passed,
        Err(error) => outcome_of(&error),
    }
}

fn open(protocol: u8, at: End<'_>) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(at.1, 0));
    let protocol = Protocol::from(i32::from(protocol));
    let socket = at.0.run(|| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.bind(&SocketAddr::new(at.1, 0).into())?;
    Ok(socket)
}

/// The payload of the next packet; IPv4 raw sockets deliver the header too.
pub(super) fn receive(socket: &Socket, peer: IpAddr, deadline: Instant) -> io::Result<Vec<u8>> {
    let left = deadline.saturating_duration_since(Instant::now());
    // A timeout of zero would mean for ever.
    socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
    let mut packet = vec![0; 65536];
    let length = (&*socket).read(&mut packet)?;
    packet.truncate(length);
    if peer.is_ipv4() {
        let header = usize::from(packet[0] & 15) * 4;
        packet.drain(..header);
    }
    Ok(packet)
}
