//! Much TCP, both ways at once, compared byte by byte.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use socket2::{Domain, Protocol, Socket, Type};

use super::tcp::connect;
use crate::NetNs;

/// A connection over which each side sends `bytes` of its own; an error if nothing moves for
/// `limit`. Panics if other bytes arrive than were sent.
pub fn exchange(
    client: (&NetNs, IpAddr),
    server: (&NetNs, SocketAddr),
    bytes: usize,
    limit: Duration,
) -> io::Result<()> {
    let listener = server.0.run(|| TcpListener::bind(server.1))?;
    let near = connect(client.0, client.1, server.1, limit)?;
    let (far, _) = listener.accept()?;
    exchange_over(&near, &far, bytes, limit)
}

/// The same over SCTP (RFC 9260), one stream.
///
/// # Errors
/// Nothing moves for `limit`, or the kernel has no SCTP.
pub fn exchange_by_sctp(
    client: (&NetNs, IpAddr),
    server: (&NetNs, SocketAddr),
    bytes: usize,
    limit: Duration,
) -> io::Result<()> {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::SCTP));
    let listener = server.0.run(socket)?;
    listener.bind(&server.1.into())?;
    listener.listen(1)?;
    let near = client.0.run(socket)?;
    near.bind(&SocketAddr::new(client.1, 0).into())?;
    near.set_write_timeout(Some(limit))?;
    near.connect(&server.1.into())?;
    let (far, _) = listener.accept()?;
    // Read and written like TCP.
    exchange_over(&TcpStream::from(near), &TcpStream::from(far), bytes, limit)
}

fn exchange_over(
    near: &TcpStream,
    far: &TcpStream,
    bytes: usize,
    limit: Duration,
) -> io::Result<()> {
    let data = [1, 2].map(|seed| random(seed, bytes));
    thread::scope(|scope| {
        let answering = scope.spawn(|| both_ways(far, &data[1], &data[0], limit));
        let asked = both_ways(near, &data[0], &data[1], limit);
        answering.join().expect("no panic").and(asked)
    })
}

fn both_ways(stream: &TcpStream, sends: &[u8], expects: &[u8], limit: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    thread::scope(|scope| {
        // SCTP takes no message that is larger than its buffer.
        let send = || sends.chunks(1 << 16).try_for_each(|piece| (&*stream).write_all(piece));
        let sending = scope.spawn(send);
        let mut received = vec![0; expects.len()];
        let receiving = (&*stream).read_exact(&mut received);
        sending.join().expect("no panic")?;
        receiving?;
        assert!(received == expects, "other bytes than were sent");
        Ok(())
    })
}

fn random(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    SmallRng::seed_from_u64(seed).fill(&mut data[..]);
    data
}
