//! The local sockets: both take root only, by the credentials that the kernel vouches for.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{fs::PermissionsExt as _, net::UnixListener as StdListener},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};

/// After `accept` fails, for lack of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a socket of mode 0666. Its mode keeps nobody out, [`is_root`] does: the agent is root without
/// CAP_DAC_OVERRIDE, and could not open a socket of mode 0600 of another user.
///
/// The caller holds the lock of the state directory, so a socket that is there is a dead server's.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener =
        StdListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o666))
        .with_context(|| format!("cannot open up {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(UnixListener::from_std(listener)?)
}

/// Waits for a connection of root. Connections of others are closed without an answer.
pub async fn accept_root(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if is_root(&stream) => return stream,
            Ok((stream, _)) => drop(stream),
            Err(error) => {
                tracing::debug!(%error, "a local connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether root connected.
fn is_root(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0)
}
