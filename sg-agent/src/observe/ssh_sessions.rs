//! SSH sessions that a change must not cut: whether they are there, and through which interfaces
//! their packets come.

use std::time::Duration;

use sg_common::{Direction, flow::TCP};
use sg_datapath::netlink::Deadline;
use tracing::warn;

use crate::{
    api::Session,
    observe::{
        rtnetlink,
        sockets::{Socket, sockets},
    },
};

/// A request may name this many; `sgctl` names one.
const MAX: usize = 16;
const READING: Duration = Duration::from_secs(2);

/// A session that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub session: Session,
    /// By ifindex; its packets come through one of them.
    pub interfaces: Vec<u32>,
}

/// Finds the sessions among this host's connections. One that ended (a terminal multiplexer keeps the
/// environment it was started in) stands for those that its client has to the same server now.
pub async fn locate(mut sessions: Vec<Session>) -> Vec<Located> {
    sessions.truncate(MAX);
    if sessions.is_empty() {
        return Vec::new();
    }
    let read = tokio::task::spawn_blocking(|| sockets(Deadline::after(READING))).await;
    let found: Vec<(Session, u32)> = match read {
        Ok(Ok(sockets)) => {
            let open: Vec<&Socket> = sockets
                .connected
                .iter()
                .filter(|it| it.protocol == TCP && sockets.opener(it) == Direction::Ingress)
                .collect();
            sessions.iter().flat_map(|session| present(session, &open)).collect()
        }
        _ => {
            warn!("sockets cannot be read: sessions are taken to be there");
            sessions.into_iter().map(|session| (session, 0)).collect()
        }
    };
    let mut located = Vec::new();
    for (session, bound) in found {
        let interfaces = match bound {
            0 => rtnetlink::ways(session.client.ip(), session.server.ip()).await,
            bound => Ok(vec![bound]),
        };
        match interfaces {
            Ok(interfaces) => located.push(Located { session, interfaces }),
            Err(error) => warn!(client = %session.client, "no way to the session: {error:#}"),
        }
    }
    located
}

/// Sessions with the interface that their sockets are bound to, as those of link-local addresses are.
fn present(session: &Session, open: &[&Socket]) -> Vec<(Session, u32)> {
    let is = |socket: &&&Socket| (socket.remote, socket.local) == (session.client, session.server);
    let is_like = |socket: &&&Socket| {
        socket.remote.ip() == session.client.ip() && socket.local == session.server
    };
    let exact: Vec<_> = open.iter().filter(is).collect();
    let found = if exact.is_empty() { open.iter().filter(is_like).collect() } else { exact };
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
        let open: Vec<&Socket> = open.iter().collect();
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
