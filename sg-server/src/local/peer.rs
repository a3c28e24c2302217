//! The local sockets: both take root only, by the credentials that the kernel vouches for.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{fs::PermissionsExt as _, net::UnixListener as StdListener},
    path::Path,
};

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};

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

/// Whether root connected.
pub fn is_root(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0)
}
