//! SSH sessions that a change must not cut: whether they are there, and which packets carry them.
//!
//! A session names the two ends of its server's socket. The wire may show others: NAT of this host makes a
//! published port another one, and a tunnel puts all into packets of its own. Conntrack and the tunnel's settings
//! tell, as far as they do.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use sg_common::flow::TCP;
use sg_datapath::netlink::Deadline;
use tracing::warn;

use crate::{
    api::Session,
    observe::{
        conntrack::{self, Tracked},
        name::Name,
        routes,
        sockets::{self, Socket, Sockets},
        tunnels::{Device, Encapsulation, Medium, Tunnel, devices},
    },
};

/// A request may name this many; `sgctl` names one.
const MAX: usize = 16;
const READING: Duration = Duration::from_secs(2);
/// Tunnels in tunnels that are followed.
const DEPTH: usize = 4;
/// Stands for any port of the far end: rules do not ask for it.
const ANY_PORT: u16 = 49_152;

/// A session that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub session: Session,
    /// All of them have to get through.
    pub carriers: Vec<Carrier>,
    /// Why there may be more that nobody can tell.
    pub unknown: Option<Unknown>,
}

/// Packets that carry a session, as interfaces see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    pub protocol: u8,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// Whether such packets come from beyond the interfaces; else they go there.
    pub comes: bool,
    /// The tunnel's interface, if these are its outer packets.
    pub tunnel: Option<String>,
    /// By ifindex; the packets take one of them.
    pub interfaces: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub why: String,
    /// The interface that the session comes through, if it is known.
    pub interface: Option<Name>,
}

/// Finds the sessions among this host's connections, forwarded ones included. A session may have
/// ended: a terminal multiplexer keeps the environment that it was started in. Such a session
/// stands for its client's present sessions to the same server.
pub async fn locate(mut sessions: Vec<Session>) -> Vec<Located> {
    sessions.truncate(MAX);
    if sessions.is_empty() {
        return Vec::new();
    }
    let Ok(host) = tokio::task::spawn_blocking(Host::read).await else { return Vec::new() };
    let mut located = Vec::new();
    for session in sessions {
        for found in host.find(&session) {
            located.push(host.follow(found).await);
        }
    }
    located
}

/// Answers of the kernel about its connections and interfaces.
struct Host {
    /// `None`: they could not be read, and sessions are taken to be there.
    sockets: Option<Sockets>,
    tracked: Vec<Tracked>,
    /// Conntrack has too much to be read in time.
    is_tracked_unknown: bool,
    devices: BTreeMap<u32, Device>,
}

/// A session with the packets that carry it, or one half of them.
struct Found {
    session: Session,
    ways: Vec<Way>,
}

/// From the client to the server, or from the server's host on.
struct Way {
    source: SocketAddr,
    destination: SocketAddr,
    comes: bool,
    /// The address of this host that answers, where it does.
    local: Option<IpAddr>,
    /// The interface that the socket is bound to; 0: none.
    bound: u32,
}

impl Host {
    fn read() -> Self {
        let sockets = sockets::sockets(Deadline::after(READING));
        let sockets = sockets.inspect_err(
            |error| warn!(%error, "sockets cannot be read: sessions are taken to be there"),
        );
        let tracked = conntrack::tracked(Deadline::after(READING));
        let is_tracked_unknown =
            tracked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
        let devices = devices(Deadline::after(READING)).unwrap_or_else(|error| {
            warn!(%error, "interfaces cannot be listed: tunnels are not seen");
            BTreeMap::new()
        });
        let tracked = tracked.unwrap_or_default();
        Self { sockets: sockets.ok(), tracked, is_tracked_unknown, devices }
    }

    fn find(&self, session: &Session) -> Vec<Found> {
        let Some(sockets) = &self.sockets else { return vec![self.own(*session, 0)] };
        let present = present(session, &sockets.connected);
        if present.is_empty() {
            return self.forwarded(session).into_iter().collect();
        }
        present.into_iter().map(|(session, bound)| self.own(session, bound)).collect()
    }

    /// A session whose server is this host's, as its wire has it.
    fn own(&self, session: Session, bound: u32) -> Found {
        let Session { client, server } = session;
        let (source, destination) =
            self.translated((server, client)).map_or((client, server), |it| it.original);
        let local = Some(server.ip());
        Found { session, ways: vec![Way { source, destination, comes: true, local, bound }] }
    }

    /// A session that this host passes on to a guest or a container.
    fn forwarded(&self, session: &Session) -> Option<Found> {
        let Session { client, server } = *session;
        let tracked = self.translated((server, client))?;
        let outside = Way {
            source: tracked.original.0,
            destination: tracked.original.1,
            comes: true,
            local: None,
            bound: 0,
        };
        let inside =
            Way { source: client, destination: server, comes: false, local: None, bound: 0 };
        Some(Found { session: *session, ways: vec![outside, inside] })
    }

    /// The connection whose answers go from one end to the other before any NAT of theirs.
    fn translated(&self, reply: (SocketAddr, SocketAddr)) -> Option<&Tracked> {
        self.tracked.iter().find(|tracked| tracked.protocol == TCP && tracked.reply == reply)
    }

    async fn follow(&self, found: Found) -> Located {
        let Found { session, ways } = found;
        let mut located = Located { session, carriers: Vec::new(), unknown: None };
        if self.is_tracked_unknown {
            let why = "the kernel's conntrack has too much to be read in time".to_owned();
            located.unknown = Some(Unknown { why, interface: None });
        }
        for Way { source, destination, comes, local, bound } in ways {
            let far = if comes { source } else { destination };
            let interfaces = match bound {
                0 => ways_to(far.ip(), local).await,
                bound => vec![bound],
            };
            let carrier =
                Carrier { protocol: TCP, source, destination, comes, tunnel: None, interfaces };
            self.follow_tunnels(carrier, &mut located).await;
        }
        located
    }

    /// Adds packets, and the outer ones of the tunnels that they take.
    async fn follow_tunnels(&self, carrier: Carrier, located: &mut Located) {
        let mut next = VecDeque::from([(carrier, 0)]);
        while let Some((carrier, depth)) = next.pop_front() {
            let inner = carrier.source.ip();
            let devices = carrier.interfaces.iter().filter_map(|at| self.devices.get(at));
            for Device { name, medium } in devices {
                match medium {
                    Medium::Wire => {}
                    Medium::Tunnel(tunnel) if depth < DEPTH => {
                        let interfaces = ways_to(tunnel.remote, specified(tunnel.local)).await;
                        let outer = outer(tunnel, name, inner, &interfaces);
                        next.extend(outer.into_iter().map(|outer| (outer, depth + 1)));
                    }
                    Medium::Loopback => located.doubt(name, "it comes from this host itself"),
                    Medium::Hidden | Medium::Tunnel(_) => {
                        located.doubt(name, &format!("it comes through {name}"));
                    }
                }
            }
            located.carriers.push(carrier);
        }
    }
}

impl Located {
    fn doubt(&mut self, interface: &Name, why: &str) {
        let why = format!("{why}, and which packets of which connection carry it is not known");
        self.unknown = Some(Unknown { why, interface: Some(interface.clone()) });
    }
}

fn specified(address: IpAddr) -> Option<IpAddr> {
    (!address.is_unspecified()).then_some(address)
}

/// Packets that have to come in for the tunnel to work, and packets that have to go out if answers
/// are a flow of their own.
fn outer(tunnel: &Tunnel, name: &Name, inner: IpAddr, interfaces: &[u32]) -> Vec<Carrier> {
    let (protocol, port) = tunnel.service(inner);
    let from = if port == 0 { 0 } else { ANY_PORT };
    let carrier = |source, destination, comes| Carrier {
        protocol,
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, port),
        comes,
        tunnel: Some(name.to_string()),
        interfaces: interfaces.to_vec(),
    };
    let mut carriers = vec![carrier(tunnel.remote, tunnel.local, true)];
    if matches!(tunnel.encapsulation, Encapsulation::Udp { .. }) {
        carriers.push(carrier(tunnel.local, tunnel.remote, false));
    }
    carriers
}

/// None where there is no route.
async fn ways_to(peer: IpAddr, local: Option<IpAddr>) -> Vec<u32> {
    let unspecified: IpAddr = if peer.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    routes::ways(peer, local.unwrap_or(unspecified)).await.unwrap_or_else(|error| {
        warn!(%peer, "no way to the session: {error:#}");
        Vec::new()
    })
}

/// Sessions with the interface that their sockets are bound to, as sockets of link-local addresses
/// are. A listening socket is not needed: the caller that names the session says that the server
/// has it.
fn present(session: &Session, open: &[Socket]) -> Vec<(Session, u32)> {
    let open = || open.iter().filter(|socket| socket.protocol == TCP);
    let is = |socket: &&Socket| (socket.remote, socket.local) == (session.client, session.server);
    let is_like = |socket: &&Socket| {
        socket.remote.ip() == session.client.ip() && socket.local == session.server
    };
    let exact: Vec<_> = open().filter(is).collect();
    let found = if exact.is_empty() { open().filter(is_like).collect() } else { exact };
    let located = found
        .into_iter()
        .map(|socket| (Session { client: socket.remote, server: socket.local }, socket.interface));
    located.take(MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::Phase;

    #[test]
    fn a_session_that_has_ended_stands_for_the_client_s_others() {
        let socket = |remote: &str, interface| Socket {
            protocol: TCP,
            local: "10.0.0.2:22".parse().unwrap(),
            remote: remote.parse().unwrap(),
            phase: Phase::Established,
            interface,
        };
        let open = [socket("10.0.0.1:1", 0), socket("10.0.0.1:2", 7), socket("10.0.0.3:1", 0)];
        let clients = |client: &str| {
            let session =
                Session { client: client.parse().unwrap(), server: "10.0.0.2:22".parse().unwrap() };
            let present = present(&session, &open).into_iter();
            present.map(|(session, bound)| (session.client.port(), bound)).collect::<Vec<_>>()
        };
        assert_eq!(clients("10.0.0.1:2"), [(2, 7)]);
        assert_eq!(clients("10.0.0.1:9"), [(1, 0), (2, 7)]);
        assert_eq!(clients("10.0.0.4:1"), []);
    }
}
