//! Who gets in: root and the group `sg`, by the credentials that the kernel vouches for.

use std::ffi::CString;

use axum::{
    extract::{ConnectInfo, Request, connect_info::Connected},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::IncomingStream,
};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::UnixListener;

use super::answer::Refusal;

const GROUP: &str = "sg";

/// Credentials of the connecting process, at the time of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(Option<(Uid, Gid)>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self(credentials.map(|peer| (Uid::from_raw(peer.uid()), Gid::from_raw(peer.gid()))))
    }
}

impl Peer {
    pub(super) fn is_root(self) -> bool {
        self.0.is_some_and(|(uid, _)| uid.is_root())
    }
}

/// The group whose members may use the socket, if the host has it.
pub(super) fn group() -> Option<Gid> {
    Group::from_name(GROUP).ok().flatten().map(|group| group.gid)
}

pub(super) async fn admit(
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    // Group databases may be slow (LDAP).
    let admitted = match peer.0 {
        Some((uid, _)) if uid.is_root() => true,
        Some((uid, gid)) => {
            tokio::task::spawn_blocking(move || is_member(uid, gid, group())).await.unwrap_or(false)
        }
        None => false,
    };
    if admitted {
        return next.run(request).await;
    }
    let text = format!("only root and members of the group {GROUP} may talk to the agent");
    Refusal(StatusCode::FORBIDDEN, text).into_response()
}

/// Whether the group is the peer's own, or one of its user's further groups.
fn is_member(uid: Uid, gid: Gid, group: Option<Gid>) -> bool {
    let Some(group) = group else { return false };
    if gid == group {
        return true;
    }
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_by_own_or_further_group() {
        let (nobody, other) = (Uid::from_raw(65534), Gid::from_raw(65534));
        assert!(!is_member(nobody, other, None));
        assert!(is_member(nobody, Gid::from_raw(4242), Some(Gid::from_raw(4242))));
        assert!(!is_member(nobody, other, Some(Gid::from_raw(4242))));
        // The user database says that root's group is 0, whatever the process's group is.
        assert!(is_member(Uid::from_raw(0), other, Some(Gid::from_raw(0))));
        assert!(!is_member(Uid::from_raw(4_000_000), other, Some(Gid::from_raw(0))));
    }
}
