//! Metrics for Prometheus.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use crate::state::Server;

/// Connections at a time; others wait in the listener's queue.
const MAX_CONNECTIONS: usize = 16;
/// From a connection to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Upper bounds of the answers' duration, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Call {
    pub service: &'static str,
    /// `UNKNOWN` where no such action exists: clients choose names, and each would be a series.
    pub action: &'static str,
    pub code: u16,
}

/// Counts of events, as they happen.
#[derive(Debug)]
pub(super) struct Counters {
    pub calls: Family<Call, Counter>,
    pub seconds: Histogram,
    pub unauthenticated: AtomicU64,
    pub limited: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            seconds: Histogram::new(BUCKETS),
            unauthenticated: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        }
    }
}

/// Serves `GET /metrics` until the process ends.
pub(super) async fn serve(listener: TcpListener, server: Server, counters: Arc<Counters>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (server, counters) = (server.clone(), Arc::clone(&counters));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<_>| {
                let answer = respond(&request, &server, &counters);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(3))
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            let _ = timeout(PATIENCE, connection).await;
            drop(permit);
        });
    }
}

fn respond<B>(request: &Request<B>, server: &Server, counters: &Counters) -> Response<Full<Bytes>> {
    let (status, text) = if request.uri().path() == "/metrics" {
        (StatusCode::OK, write(server, counters))
    } else {
        (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned())
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let content = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(content));
    response
}

fn write(server: &Server, counters: &Counters) -> String {
    let mut registry = Registry::with_prefix("sg_server");
    registry.register(
        "calls",
        "Authenticated calls, by action and HTTP status",
        counters.calls.clone(),
    );
    registry.register(
        "call_seconds",
        "Time from a request to its answer",
        counters.seconds.clone(),
    );
    let count = |value: &AtomicU64| {
        let counter: Counter = Counter::default();
        counter.inc_by(value.load(Ordering::Relaxed));
        counter
    };
    registry.register(
        "unauthenticated",
        "Requests without a valid signature",
        count(&counters.unauthenticated),
    );
    registry.register("limited", "Requests beyond the limits", count(&counters.limited));
    let snapshot = server.replica.read();
    registry.register(
        "revision",
        "Newest revision of the store",
        ConstGauge::new(i64::try_from(snapshot.revision().0).unwrap_or(i64::MAX)),
    );
    registry.register(
        "objects",
        "Objects in the store",
        ConstGauge::new(i64::try_from(snapshot.len()).unwrap_or(i64::MAX)),
    );
    drop(snapshot);
    let hosts = server.hosts.list();
    registry.register(
        "hosts_connected",
        "Hosts that follow the feed",
        ConstGauge::new(i64::try_from(hosts.len()).unwrap_or(i64::MAX)),
    );
    let faulty = hosts.iter().filter(|(_, host)| !host.faults.is_empty()).count();
    registry.register(
        "hosts_with_faults",
        "Connected hosts that report a fault",
        ConstGauge::new(i64::try_from(faulty).unwrap_or(i64::MAX)),
    );
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = encode(&mut text, &registry);
    text
}
