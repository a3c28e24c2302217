//! UDP: an echo server and exchanges with it.

use std::{
    io,
    net::{IpAddr, Shutdown, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::Duration,
};

use socket2::SockRef;

use super::{Outcome, PATIENCE, SILENCE, outcome_of};
use crate::NetNs;

/// An echo server.
#[derive(Debug)]
pub struct Server(UdpSocket);

/// Serves in the namespace from now on.
#[track_caller]
pub fn serve(namespace: &NetNs, at: SocketAddr) -> Server {
    let socket = namespace.run(|| UdpSocket::bind(at)).expect("a socket");
    let serving = socket.try_clone().expect("a descriptor");
    thread::spawn(move || {
        let mut datagram = vec![0; 65536];
        // Shutting down makes recv return 0 bytes from nobody, which is an error here.
        while let Ok((length, peer)) = serving.recv_from(&mut datagram) {
            if length == 0 || serving.send_to(&datagram[..length], peer).is_err() {
                break;
            }
        }
    });
    Server(socket)
}

impl Drop for Server {
    fn drop(&mut self) {
        // ENOTCONN, but the receiver wakes all the same.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

/// A socket that talks to one server.
#[derive(Debug)]
pub struct Exchange(UdpSocket);

/// A socket from `from` (any port) to `to`; nothing is sent yet.
#[track_caller]
pub fn open(namespace: &NetNs, from: IpAddr, to: SocketAddr) -> Exchange {
    let connected = || -> io::Result<UdpSocket> {
        let socket = namespace.run(|| UdpSocket::bind(SocketAddr::new(from, 0)))?;
        socket.connect(to)?;
        Ok(socket)
    };
    Exchange(connected().expect("a socket"))
}

/// One datagram and its echo.
#[track_caller]
pub fn passes(namespace: &NetNs, from: IpAddr, to: SocketAddr) {
    open(namespace, from, to).passes();
}

/// One datagram that nothing answers.
#[track_caller]
pub fn is_dropped(namespace: &NetNs, from: IpAddr, to: SocketAddr) {
    open(namespace, from, to).is_dropped();
}

impl Exchange {
    #[track_caller]
    pub fn passes(&self) {
        let outcome = self.echo(4, PATIENCE);
        assert_eq!(outcome, Outcome::Passed, "udp to {:?}", self.0.peer_addr());
    }

    #[track_caller]
    pub fn is_dropped(&self) {
        let outcome = self.echo(4, SILENCE);
        assert_eq!(outcome, Outcome::Silent, "udp to {:?}", self.0.peer_addr());
    }

    /// Sends a datagram of `length` bytes, and waits for its echo for `limit`.
    pub fn echo(&self, length: usize, limit: Duration) -> Outcome {
        let mut answer = vec![0; length + 1];
        let done = self
            .0
            .set_read_timeout(Some(limit))
            .and_then(|()| self.0.send(&vec![7; length]))
            .and_then(|_| self.0.recv(&mut answer));
        match done {
            Ok(received) if received == length => Outcome::Passed,
            Ok(received) => panic!("sent {length} bytes, {received} came back"),
            Err(error) => outcome_of(&error),
        }
    }

    /// Sends `count` datagrams of `length` bytes in one packet (UDP_SEGMENT), and counts the echoes.
    ///
    /// # Errors
    /// The kernel does not take it, or not all come back within `limit`.
    pub fn echo_segments(&self, count: usize, length: u16, limit: Duration) -> io::Result<()> {
        let size = libc::c_int::from(length);
        // SAFETY: an int, as udp(7) wants one.
        let set = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_UDP,
                libc::UDP_SEGMENT,
                (&raw const size).cast(),
                size_of_val(&size) as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        self.0.set_read_timeout(Some(limit))?;
        self.0.send(&vec![7; count * usize::from(length)])?;
        let mut answer = vec![0; usize::from(length) + 1];
        for _ in 0..count {
            let received = self.0.recv(&mut answer)?;
            assert_eq!(received, usize::from(length), "a datagram of another length");
        }
        Ok(())
    }

    pub fn local(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }
}
