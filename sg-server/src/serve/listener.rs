//! Connections: how many there may be, how long each may take, TLS in front of HTTP.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    incoming::{MAX_HEAD, PATIENCE},
    pipeline::Pipeline,
    tls::Tls,
};

/// Connections at a time. Others wait in the listener's queue.
const MAX_CONNECTIONS: usize = 4096;
/// From a connection to the end of its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Answers under way have this long to get out at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// After `accept` fails, for lack of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `ending` changes to true, then lets answers under way get out.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    pipeline: Arc<Pipeline>,
    mut ending: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = end(&mut ending) => break,
        };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let connection =
            serve_one(stream, peer, tls.clone(), Arc::clone(&pipeline), ending.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<Tls>>,
    pipeline: Arc<Pipeline>,
    ending: watch::Receiver<bool>,
) {
    // Answers are small, and a client waits for each.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else {
        return serve_http(stream, peer, false, pipeline, ending).await;
    };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    match timeout(HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => serve_http(stream, peer, true, pipeline, ending).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    is_tls: bool,
    pipeline: Arc<Pipeline>,
    mut ending: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let pipeline = Arc::clone(&pipeline);
        async move {
            let answer = pipeline.answer(request, peer.ip(), is_tls).await;
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = end(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "the connection ended");
    }
}

/// Waits for the end; it is there, too, when the sender is gone.
async fn end(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}
