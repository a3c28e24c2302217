//! The SSH session that this runs in, if it does. The agent judges what a change does to it.

use std::{ffi::OsStr, net::SocketAddr};

use procfs::{
    net::{TcpNetEntry, TcpState, tcp, tcp6},
    process::{FDTarget, Process},
};
use sg_api::Session;

/// More ancestors than anybody's shell has.
const GENERATIONS: usize = 64;
/// Servers of sessions, as /proc names them; OpenSSH 9.8 gave the session a program of its own.
const SERVERS: [&str; 3] = ["sshd", "sshd-session", "dropbear"];

/// The session that a change must not cut, unless that is `meant`.
pub(crate) fn unless(meant: bool) -> Vec<Session> {
    if meant { Vec::new() } else { current() }
}

/// Reads the environment of this process, or of its ancestors (`sudo` hides it from its children).
/// Failing that, looks for the connection of an SSH server among the ancestors. Unreadable
/// processes are passed over.
fn current() -> Vec<Session> {
    let mut process = Process::myself();
    for _ in 0..GENERATIONS {
        let Ok(this) = process else { break };
        let session = of_environment(&this).or_else(|| of_server(&this));
        if let Some(session) = session {
            return vec![session];
        }
        let Ok(parent) = this.stat().map(|stat| stat.ppid) else { break };
        process = Process::new(parent);
    }
    Vec::new()
}

fn of_environment(process: &Process) -> Option<Session> {
    let environment = process.environ().ok()?;
    parse(environment.get(OsStr::new("SSH_CONNECTION"))?.to_str()?)
}

/// `client-address client-port server-address server-port`, see ssh(1).
fn parse(connection: &str) -> Option<Session> {
    let mut fields = connection.split_ascii_whitespace();
    let mut end = || -> Option<SocketAddr> {
        let address = fields.next()?;
        // fe80::1%eth0
        let address = address.split('%').next()?;
        Some(SocketAddr::new(address.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(Session { client: end()?, server: end()? })
}

/// The connection of an SSH server. It is its first socket: those of forwarded ports come later.
fn of_server(process: &Process) -> Option<Session> {
    if !SERVERS.contains(&process.stat().ok()?.comm.as_str()) {
        return None;
    }
    let mut descriptors: Vec<_> = process.fd().ok()?.flatten().collect();
    descriptors.sort_unstable_by_key(|descriptor| descriptor.fd);
    let mut connections: Vec<TcpNetEntry> = tcp().unwrap_or_default();
    connections.extend(tcp6().unwrap_or_default());
    connections.retain(|connection| connection.state == TcpState::Established);
    descriptors.iter().find_map(|descriptor| {
        let FDTarget::Socket(inode) = descriptor.target else { return None };
        let connection = connections.iter().find(|connection| connection.inode == inode)?;
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        Some(Session {
            client: canonical(connection.remote_address),
            server: canonical(connection.local_address),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_four_fields() {
        let session = parse("10.0.0.1 50000 10.0.0.2 22").unwrap();
        assert_eq!(session.client, "10.0.0.1:50000".parse().unwrap());
        assert_eq!(session.server, "10.0.0.2:22".parse().unwrap());
        let session = parse("fe80::1%eth0 50000 fe80::2%eth0 22").unwrap();
        assert_eq!(session.client, "[fe80::1]:50000".parse().unwrap());
        for wrong in
            ["", "10.0.0.1 50000 22", "10.0.0.1 50000 10.0.0.2 x", "UNKNOWN 65535 UNKNOWN 65535"]
        {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
