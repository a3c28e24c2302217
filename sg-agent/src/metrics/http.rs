//! The HTTP server of the metrics. It answers one question, and its clients can make it do no more
//! than that. It has a few connections at a time, each of one small request and short. It reads
//! figures once a second at most.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{families, text::Format};
use crate::owner::mailbox::{self, Mailbox};

/// Connections at a time; others wait in the listener's queue.
const MAX_CONNECTIONS: usize = 16;
/// From a connection to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time that a client has to send its headers.
const HEADERS: Duration = Duration::from_secs(3);
/// hyper's least. A scrape's headers take some hundred bytes.
const MAX_HEADERS: usize = 8192;
/// Figures are this fresh: a scrape reads the whole flow table.
const FRESH: Duration = Duration::from_secs(1);
/// After what `accept` refuses for lack of descriptors, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves metrics in a task of its own, if there is an address to do so on.
///
/// # Errors
/// The address cannot be had.
pub async fn start(
    address: Option<SocketAddr>,
    agent: Mailbox,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot serve metrics on {address}"))?;
    Ok(Some(tokio::spawn(serve(listener, agent))))
}

/// Serves `GET /metrics` until the process ends.
pub async fn serve(listener: TcpListener, agent: Mailbox) {
    let scraper = Arc::new(Scraper { agent, last: Mutex::new(None) });
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a scrape could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let scraper = Arc::clone(&scraper);
        tokio::spawn(async move {
            // A client that breaks off or is too slow gets no answer; that harms nobody else.
            let _ = timeout(PATIENCE, answer(stream, scraper)).await;
            drop(permit);
        });
    }
}

async fn answer(stream: TcpStream, scraper: Arc<Scraper>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let scraper = Arc::clone(&scraper);
        async move { Ok::<_, Infallible>(scraper.respond(&request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

struct Scraper {
    agent: Mailbox,
    /// The last figures, as OpenMetrics. Held while they are read, so that they are read once.
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Scraper {
    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != "/metrics" {
            return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics\n");
        }
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "metrics are to be read by GET\n");
        }
        let Some(figures) = self.figures().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n");
        };
        let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let format = Format::accepted(accepted.unwrap_or_default());
        typed(StatusCode::OK, format.content_type(), format.write(&figures))
    }

    async fn figures(&self) -> Option<Arc<str>> {
        let mut last = self.last.lock().await;
        if let Some((read, figures)) = &*last
            && read.elapsed() < FRESH
        {
            return Some(Arc::clone(figures));
        }
        let figures = self.agent.ask(mailbox::Request::Figures).await.ok()?;
        let text: Arc<str> = families::text(&figures).into();
        *last = Some((Instant::now(), Arc::clone(&text)));
        Some(text)
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}
