//! An agent that answers from a script, and keeps what it was asked.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http, response::IntoResponse};
use serde_json::Value;

/// HTTP status and body.
pub(crate) type Answer = (u16, String);

pub(crate) fn answer(body: &Value) -> Answer {
    (200, body.to_string())
}

pub(crate) fn failure(status: u16, error: &str) -> Answer {
    (status, serde_json::json!({ "error": error }).to_string())
}

#[derive(Debug, Default)]
struct Script {
    /// `METHOD PATH` and what it gets, in this order; the last one for it stays.
    answers: Vec<(&'static str, Answer)>,
    requests: Vec<(String, Value)>,
}

impl Script {
    fn next(&mut self, request: &str) -> Option<Answer> {
        let at = self.answers.iter().position(|(key, _)| *key == request)?;
        let more = self.answers[at + 1..].iter().any(|(key, _)| *key == request);
        Some(if more { self.answers.remove(at).1 } else { self.answers[at].1.clone() })
    }
}

type Shared = Arc<Mutex<Script>>;

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct FakeAgent {
    script: Shared,
    dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl FakeAgent {
    pub(crate) fn start(answers: Vec<(&'static str, Answer)>) -> Self {
        let script = Shared::new(Mutex::new(Script { answers, requests: Vec::new() }));
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let app = Router::new()
            .fallback(respond)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&script));
        let listener = {
            let _guard = runtime.enter();
            tokio::net::UnixListener::bind(socket_in(dir.path())).expect("bound")
        };
        runtime.spawn(async { axum::serve(listener, app).await });
        Self { script, dir, _runtime: runtime }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(self.dir.path())
    }

    /// The bodies that came with a request, in order.
    pub(crate) fn bodies(&self, request: &str) -> Vec<Value> {
        let script = self.script.lock().expect("not poisoned");
        let mine = script.requests.iter().filter(|(key, _)| key == request);
        mine.map(|(_, body)| body.clone()).collect()
    }
}

fn socket_in(dir: &Path) -> PathBuf {
    dir.join("agent.sock")
}

async fn respond(
    State(script): State<Shared>,
    method: http::Method,
    uri: http::Uri,
    body: Bytes,
) -> impl IntoResponse {
    let request = format!("{method} {uri}");
    let mut script = script.lock().expect("not poisoned");
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    script.requests.push((request.clone(), body));
    let (status, text) =
        script.next(&request).unwrap_or_else(|| failure(501, &format!("no script for {request}")));
    (http::StatusCode::from_u16(status).expect("a status"), text)
}
