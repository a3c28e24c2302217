//! The sockets of this network namespace, by sock_diag(7).

use std::{collections::BTreeSet, io, net::SocketAddr};

use nix::sys::socket::SockProtocol;
use sg_common::{
    Direction,
    flow::{TCP, UDP},
};
use sg_datapath::{
    Phase,
    netlink::{self, Deadline},
};

use super::opener::Opener;

/// Transport protocols whose sockets are looked at.
const PROTOCOLS: [u8; 2] = [TCP, UDP];

const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// States, as include/net/tcp_states.h numbers them. A connected UDP socket is "established", one
/// that is not is "closed".
mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
}

/// A connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    pub protocol: u8,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub phase: Phase,
    /// The interface that it is bound to; 0: none.
    pub interface: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Sockets {
    pub connected: Vec<Socket>,
    /// Protocols and addresses that wait for peers.
    listening: BTreeSet<(u8, SocketAddr)>,
}

impl Sockets {
    /// Who opened a connection; the kernel does not keep it. Where somebody listens, the peer did. Else the
    /// ports tell, because a server that has ended leaves its connections to other processes.
    pub fn opener(&self, socket: &Socket) -> Opener {
        if self.is_accepted(socket) {
            return Opener::Known(Direction::Ingress);
        }
        match socket.protocol {
            TCP => Opener::by_ports(socket.local, socket.remote),
            // A connected socket of UDP is a client's.
            _ => Opener::Known(Direction::Egress),
        }
    }

    /// Whether somebody listens where it is.
    pub fn is_accepted(&self, socket: &Socket) -> bool {
        let listens = |address| self.listening.contains(&(socket.protocol, address));
        let port = socket.local.port();
        // A wildcard of IPv6 takes IPv4, too.
        let wildcards =
            ["0.0.0.0", "::"].map(|any| any.parse().map(|ip| SocketAddr::new(ip, port)));
        listens(socket.local) || wildcards.into_iter().flatten().any(listens)
    }

    fn take(&mut self, protocol: u8, message: &[u8]) {
        let Some((state, local, remote, interface)) = parse(message) else { return };
        let phase = match state {
            state::LISTEN | state::CLOSE => {
                self.listening.insert((protocol, local));
                return;
            }
            state::ESTABLISHED => Phase::Established,
            state::SYN_SENT => Phase::New,
            state::SYN_RECV => Phase::Replied,
            _ => Phase::Closing,
        };
        self.connected.push(Socket { protocol, local, remote, phase, interface });
    }

    #[cfg(any(test, feature = "fake"))]
    pub fn of(connected: Vec<Socket>, listening: &[(u8, SocketAddr)]) -> Self {
        Self { connected, listening: listening.iter().copied().collect() }
    }
}

/// All TCP and UDP sockets that have a peer or wait for one.
///
/// # Errors
/// The kernel does not tell (no sock_diag module), or not in time.
pub fn sockets(deadline: Deadline) -> io::Result<Sockets> {
    let mut sockets = Sockets::default();
    for protocol in PROTOCOLS {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let request = request(family as u8, protocol);
            let each = |message: netlink::Message<'_>| sockets.take(protocol, message.body);
            netlink::dump(
                SockProtocol::NetlinkSockDiag,
                SOCK_DIAG_BY_FAMILY,
                &request,
                deadline,
                each,
            )?;
        }
    }
    Ok(sockets)
}

/// Addresses as packets have them: one of IPv4 that an IPv6 socket uses is one of IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// struct inet_diag_req_v2, include/uapi/linux/inet_diag.h.
fn request(family: u8, protocol: u8) -> [u8; 56] {
    use state::*;
    let states: &[u8] = match protocol {
        TCP => &[
            ESTABLISHED,
            SYN_SENT,
            SYN_RECV,
            FIN_WAIT1,
            FIN_WAIT2,
            CLOSE_WAIT,
            LAST_ACK,
            LISTEN,
            CLOSING,
        ],
        UDP => &[ESTABLISHED, CLOSE],
        _ => &[],
    };
    let states = states.iter().fold(0u32, |bits, state| bits | 1 << state);
    let mut request = [0; 56];
    request[0] = family;
    request[1] = protocol;
    request[4..8].copy_from_slice(&states.to_ne_bytes());
    request
}

/// State, local and remote address, interface of a struct inet_diag_msg.
fn parse(message: &[u8]) -> Option<(u8, SocketAddr, SocketAddr, u32)> {
    let is_ipv6 = i32::from(*message.first()?) == libc::AF_INET6;
    let address = |at: usize| netlink::address(message.get(at..)?, is_ipv6);
    let local = SocketAddr::new(address(8)?, netlink::port(message, 4));
    let remote = SocketAddr::new(address(24)?, netlink::port(message, 6));
    Some((message[1], canonical(local), canonical(remote), netlink::word(message, 40)))
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        time::Duration,
    };

    use super::*;

    /// This process's own sockets, as the kernel tells them.
    #[test]
    fn own_sockets_are_told_with_who_opened_them() {
        for local in ["127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            let listener = TcpListener::bind(local).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            let waiting = UdpSocket::bind(local).unwrap();
            let connected = UdpSocket::bind(local).unwrap();
            connected.connect(waiting.local_addr().unwrap()).unwrap();
            let sockets = sockets(Deadline::after(Duration::from_secs(5))).unwrap();
            let find = |protocol, at: io::Result<SocketAddr>, peer: io::Result<SocketAddr>| {
                let (local, remote) = (canonical(at.unwrap()), canonical(peer.unwrap()));
                let is = |socket: &&Socket| {
                    (socket.protocol, socket.local, socket.remote) == (protocol, local, remote)
                };
                let socket = *sockets.connected.iter().find(is).unwrap();
                assert_eq!(socket.phase, Phase::Established);
                (sockets.is_accepted(&socket), sockets.opener(&socket))
            };
            // Both ports are high.
            let [egress, ingress] = [Direction::Egress, Direction::Ingress].map(Opener::Known);
            let client = find(TCP, client.local_addr(), client.peer_addr());
            assert_eq!(client, (false, Opener::Unknown));
            assert_eq!(find(TCP, server.local_addr(), server.peer_addr()), (true, ingress));
            let asks = find(UDP, connected.local_addr(), connected.peer_addr());
            assert_eq!(asks, (false, egress));
        }
    }
}
