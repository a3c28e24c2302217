//! The API of [`crate::api`] on a unix socket. Handlers only translate; the owner does the work.

mod answer;
mod control;
mod flow_log;
mod flows;
mod lifecycle;
mod peer;
mod queries;
mod rules;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
};

use anyhow::Context as _;
use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};

use crate::{
    api::{MAX_FILE, SOCKET},
    flow_log::Log,
    owner::mailbox::Mailbox,
    sources::control::Control,
};

/// A rules file inside JSON takes some more for its escapes.
const MAX_BODY: usize = (MAX_FILE + MAX_FILE / 4) as usize;

/// Opens the socket for root and, where there is one, the group `sg`. Connections wait in its queue
/// until [`serve`] takes them.
///
/// The caller holds the lock of the directory, so a socket that is there is a dead agent's.
pub fn bind(runtime_dir: &Path) -> anyhow::Result<UnixListener> {
    fs::set_permissions(runtime_dir, Permissions::from_mode(0o755))
        .with_context(|| format!("cannot open up {}", runtime_dir.display()))?;
    let path = runtime_dir.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .with_context(|| format!("cannot listen on {}", path.display()))?;
    if let Some(group) = peer::group() {
        nix::unistd::chown(&path, None, Some(group))
            .with_context(|| format!("cannot give {} to the group sg", path.display()))?;
    }
    fs::set_permissions(&path, Permissions::from_mode(0o660))
        .with_context(|| format!("cannot restrict {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Takes the socket away, so that clients say at once that no agent runs.
pub fn unbind(runtime_dir: &Path) {
    let path = runtime_dir.join(SOCKET);
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(%error, "cannot remove {}", path.display());
    }
}

/// Serves until `shutdown` is done and the answers under way are out.
pub async fn serve(
    listener: UnixListener,
    agent: Mailbox,
    log: Log,
    control: Option<Control>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let service = router(agent, log, control).into_make_service_with_connect_info::<peer::Peer>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown).await?;
    Ok(())
}

fn router(agent: Mailbox, log: Log, control: Option<Control>) -> Router {
    let router = routes(agent)
        .route("/v1/control/accept", post(control::accept_store))
        .merge(flow_log::routes(log));
    let router = match control {
        Some(control) => router
            .layer(from_fn_with_state(control.clone(), control::refuse_local))
            .layer(Extension(control)),
        None => router,
    };
    router.layer(from_fn(peer::admit))
}

/// All requests, of any caller.
pub fn routes(agent: Mailbox) -> Router {
    Router::new()
        .route("/v1/status", get(queries::status))
        .route("/v1/show", get(queries::show))
        .route("/v1/explain", post(queries::explain))
        .route("/v1/plan", post(rules::plan))
        .route("/v1/apply", post(rules::apply))
        .route("/v1/confirm", post(rules::confirm))
        .route("/v1/rollback", post(rules::rollback))
        .route("/v1/history", get(rules::history))
        .route("/v1/export", get(rules::export))
        .route("/v1/flows", get(flows::list))
        .route("/v1/flows/flush", post(flows::flush))
        .route("/v1/detach", post(lifecycle::detach))
        .fallback(answer::no_such_request)
        .method_not_allowed_fallback(answer::no_such_request)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(agent)
}
