//! TCP: an echo server and connections to it.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use super::{Outcome, PATIENCE, SILENCE, outcome_of};
use crate::NetNs;

/// An echo server; connections that it took outlive it.
#[derive(Debug)]
pub struct Server(TcpListener);

/// Serves in the namespace from now on.
#[track_caller]
pub fn serve(namespace: &NetNs, at: SocketAddr) -> Server {
    let listener = namespace.run(|| TcpListener::bind(at)).expect("a listener");
    let accepting = listener.try_clone().expect("a descriptor");
    thread::spawn(move || {
        for stream in accepting.incoming() {
            let Ok(stream) = stream else { break };
            thread::spawn(move || {
                // The peer going away is how a connection ends.
                let _ = io::copy(&mut &stream, &mut &stream);
            });
        }
    });
    Server(listener)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes accept(2) with an error.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}

/// An open connection to an echo server.
#[derive(Debug)]
pub struct Connection(TcpStream);

/// Opens a connection; panics unless it comes about and echoes.
#[track_caller]
pub fn open(namespace: &NetNs, from: IpAddr, to: SocketAddr) -> Connection {
    let stream = connect(namespace, from, to, PATIENCE)
        .unwrap_or_else(|error| panic!("no connection from {from} to {to}: {error}"));
    let mut connection = Connection(stream);
    connection.passes();
    connection
}

/// Opens a connection that lasts, if one comes about within `limit`.
///
/// # Errors
/// Nothing answers, or something refuses.
pub fn try_open(
    namespace: &NetNs,
    from: IpAddr,
    to: SocketAddr,
    limit: Duration,
) -> io::Result<Connection> {
    connect(namespace, from, to, limit).map(Connection)
}

/// Connects, and closes again by a reset, which leaves no TIME_WAIT. For what should pass.
#[track_caller]
pub fn passes(namespace: &NetNs, from: IpAddr, to: SocketAddr) {
    match connect(namespace, from, to, PATIENCE) {
        Ok(stream) => {
            Connection(stream).passes();
        }
        Err(error) => panic!("no connection from {from} to {to}: {error}"),
    }
}

/// One SYN that nothing answers, not even a reset.
#[track_caller]
pub fn is_dropped(namespace: &NetNs, from: IpAddr, to: SocketAddr) {
    let outcome = attempt(namespace, from, to, SILENCE);
    assert_eq!(outcome, Outcome::Silent, "tcp from {from} to {to}");
}

/// Sends a SYN, and waits for `limit`.
#[track_caller]
pub fn attempt(namespace: &NetNs, from: IpAddr, to: SocketAddr, limit: Duration) -> Outcome {
    match connect(namespace, from, to, limit) {
        Ok(_) => Outcome::Passed,
        Err(error) => outcome_of(&error),
    }
}

pub(super) fn connect(
    namespace: &NetNs,
    from: IpAddr,
    to: SocketAddr,
    limit: Duration,
) -> io::Result<TcpStream> {
    let socket = namespace.run(|| Socket::new(Domain::for_address(to), Type::STREAM, None))?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect_timeout(&to.into(), limit)?;
    Ok(socket.into())
}

impl Connection {
    /// Sends and waits for the echo.
    #[track_caller]
    pub fn passes(&mut self) {
        let outcome = self.echo(PATIENCE);
        assert_eq!(outcome, Outcome::Passed, "an open connection");
    }

    /// Sends; nothing may come back.
    #[track_caller]
    pub fn is_dropped(&mut self) {
        let outcome = self.echo(SILENCE);
        assert_eq!(outcome, Outcome::Silent, "an open connection");
    }

    /// Sends a few bytes, and waits for their echo for `limit`.
    pub fn echo(&mut self, limit: Duration) -> Outcome {
        let mut answer = [0; 4];
        let done = self
            .0
            .set_read_timeout(Some(limit))
            .and_then(|()| self.0.write_all(b"ping"))
            .and_then(|()| self.0.read_exact(&mut answer));
        match done {
            Ok(()) => Outcome::Passed,
            Err(error) => outcome_of(&error),
        }
    }

    pub fn local(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }
}
