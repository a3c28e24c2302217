//! Serving: from settings to answers, and the end of it.

pub mod answer;
mod call;
pub mod incoming;
mod listener;
mod metrics;
mod origin;
mod pipeline;
mod reload;
pub mod tls;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, bail};
use sd_notify::NotifyState;
use sg_api::{admin, feed};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{RwLock, watch},
};

use self::{metrics::Counters, pipeline::Pipeline, tls::Tls};
use crate::{
    accounts,
    audit::Audit,
    backend::{self, Opened},
    hosts::Hosts,
    local::{self, peer},
    owner,
    replica::Replica,
    seal::SealingKey,
    secrets,
    settings::Settings,
    state::{Server, Shared},
};

/// Serves until a signal ends it.
///
/// # Errors
/// Something that the server cannot do without. Hosts go on enforcing their last state.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    owner::refuse_root()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let tls = match &settings.tls {
        Some((certificate, key)) => Some(Arc::new(Tls::load(certificate, key)?)),
        None => None,
    };
    let key = SealingKey::read(&settings.sealing_key)?;
    let store = match backend::open(&settings)? {
        Opened::Store(store) => store,
        Opened::InUse => {
            bail!("another sg-server has the store in {} open", settings.state_dir.display())
        }
    };
    let (replica, follower) = Replica::start(&*store).await?;
    secrets::check(&replica.read(), &key)?;
    let (audit, writer) = Audit::open(&settings.state_dir)?;
    let metrics_listener = match settings.metrics {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot serve metrics on {address}"))?,
        ),
        None => None,
    };
    let sockets =
        [feed::SOCKET, admin::SOCKET].map(|name| peer::bind(&settings.runtime_dir.join(name)));
    let [feed_socket, admin_socket] = sockets;
    let (feed_socket, admin_socket) = (feed_socket?, admin_socket?);
    // Last: a client that gets through finds everything else there.
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let (mut terminate, mut interrupt, hangup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    );
    let server = Server::new(Shared {
        quotas: settings.quotas.resolve(),
        settings,
        store: Arc::clone(&store),
        replica: replica.clone(),
        key,
        hosts: Hosts::default(),
        audit,
        turn: RwLock::default(),
    });
    let following = tokio::spawn(follower.run());
    tokio::spawn(writer.run(store, replica));
    accounts::add_missing_regions(&server).await?;
    let counters = Arc::new(Counters::default());
    let pipeline = Arc::new(Pipeline::new(server.clone(), Arc::clone(&counters)));
    tokio::spawn(local::feed::serve(feed_socket, server.clone()));
    tokio::spawn(local::admin::serve(admin_socket, server.clone()));
    tokio::spawn(reload::on(hangup, tls.clone()));
    if let Some(listener) = metrics_listener {
        tokio::spawn(metrics::serve(listener, server.clone(), counters));
    }
    let (end, ending) = watch::channel(false);
    let serving = tokio::spawn(listener::serve(listener, tls, pipeline, ending));
    notify(&[NotifyState::Ready]);
    let Settings { listen, state_dir, .. } = &server.settings;
    tracing::info!(%listen, state = %state_dir.display(), "serving");
    let done = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        error = following => Err(error.unwrap_or_else(Into::into)),
    };
    notify(&[NotifyState::Stopping]);
    end.send_replace(true);
    let _ = serving.await;
    unbind(&server.settings.runtime_dir);
    done
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}

/// Takes the sockets away, so that clients say at once that no server runs.
fn unbind(runtime_dir: &Path) {
    for name in [feed::SOCKET, admin::SOCKET] {
        let _ = std::fs::remove_file(runtime_dir.join(name));
    }
}
