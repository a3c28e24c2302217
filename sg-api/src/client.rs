//! HTTP/1.1 over the agent's unix socket, a connection per request.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::{Failure, elements::Elements};

/// An agent that takes longer is stuck; large rule sets take about a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The agent cannot be reached, broke off, or could not do it.
    #[error("{0}")]
    Failed(String),
    /// The request makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The faults of a rules file, rendered with their source lines.
    #[error("{0}")]
    Faults(String),
}

pub type Result<T> = std::result::Result<T, Error>;

/// Asks the agent that listens on a socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// # Errors
    /// There is no answer, or the agent refuses; so for each of these.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.decode(&self.send(Method::GET, path, Bytes::new())?)
    }

    pub fn get_text(&self, path: &str) -> Result<String> {
        let body = self.send(Method::GET, path, Bytes::new())?;
        String::from_utf8(body.into()).map_err(|_| self.failed("sent text that is not UTF-8"))
    }

    pub fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Failed(error.to_string()))?;
        self.decode(&self.send(Method::POST, path, body.into())?)
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|error| {
            self.failed(&format!("sent an answer that this sgctl does not understand: {error}"))
        })
    }

    /// Sends one request and gives the body of a successful answer.
    fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let request = request(method, path, body)?;
        let runtime = runtime()?;
        let exchange = async { tokio::time::timeout(PATIENCE, self.exchange(request)).await };
        runtime
            .block_on(exchange)
            .map_err(|_| self.failed(&format!("did not answer within {} s", PATIENCE.as_secs())))?
    }

    /// Calls `take` with each element of an array, as it comes.
    ///
    /// # Errors
    /// There is no answer, or not all of it; the agent refuses; or `take` has one.
    pub fn each<T: DeserializeOwned, E: From<Error>>(
        &self,
        path: &str,
        mut take: impl FnMut(T) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let request = request(Method::GET, path, Bytes::new())?;
        let late = |_| self.failed(&format!("did not answer within {} s", PATIENCE.as_secs()));
        runtime()?.block_on(async {
            let answer =
                tokio::time::timeout(PATIENCE, self.ask(request)).await.map_err(late)??;
            let (status, mut body) = (answer.status(), answer.into_body());
            if !status.is_success() {
                let text = body.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
                return Err(refused(status, &text).into());
            }
            let mut elements = Elements::default();
            while let Some(frame) =
                tokio::time::timeout(PATIENCE, body.frame()).await.map_err(late)?
            {
                let frame = frame.map_err(|error| self.broken(&error))?;
                let bytes = frame.into_data().unwrap_or_default();
                elements.take(&bytes, |element| take(self.decode(element)?))?;
            }
            if !elements.has_ended() {
                return Err(self.failed("broke off in its answer").into());
            }
            Ok(())
        })
    }

    /// Calls `take` with what comes, a batch of JSON lines each time, until the agent ends, which is
    /// an error, or `take` has one.
    ///
    /// # Errors
    /// Always one in the end.
    pub fn follow<T: DeserializeOwned, E: From<Error>>(
        &self,
        path: &str,
        mut take: impl FnMut(Vec<T>) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let request = request(Method::GET, path, Bytes::new())?;
        runtime()?.block_on(async {
            let answer = self.ask(request).await?;
            let (status, mut body) = (answer.status(), answer.into_body());
            if !status.is_success() {
                let text = body.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
                return Err(refused(status, &text).into());
            }
            let mut waiting = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| self.broken(&error))?;
                waiting.extend_from_slice(&frame.into_data().unwrap_or_default());
                let Some(end) = waiting.iter().rposition(|&byte| byte == b'\n') else { continue };
                let rest = waiting.split_off(end + 1);
                let lines = std::mem::replace(&mut waiting, rest);
                let lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
                take(lines.map(|line| self.decode(line)).collect::<Result<_>>()?)?;
            }
            Err(self.failed("has ended").into())
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        let answer = self.ask(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| self.broken(&error))?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }

    /// Sends a request; the answer's body is yet to come.
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| unreachable(&self.socket, &error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(&error))?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &hyper::Error) -> Error {
        self.failed(&format!("broke off: {error}"))
    }

    fn failed(&self, what: &str) -> Error {
        Error::Failed(format!("the agent at {} {what}", self.socket.display()))
    }
}

fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "sg-agent")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| Error::Usage(error.to_string()))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Failed(format!("cannot start: {error}")))
}

fn unreachable(socket: &Path, error: &io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "no such socket; is sg-agent running?".to_owned(),
        io::ErrorKind::ConnectionRefused => "nobody listens; is sg-agent running?".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; run as root or join group sg".to_owned()
        }
        _ => error.to_string(),
    };
    Error::Failed(format!("cannot reach the agent at {}: {hint}", socket.display()))
}

/// Turns the agent's refusal into an error; the head of [the crate](crate) lists the status codes.
fn refused(status: StatusCode, body: &[u8]) -> Error {
    let text = serde_json::from_slice::<Failure>(body).map_or_else(
        |_| format!("the agent answered {status}: {}", String::from_utf8_lossy(body).trim()),
        |failure| failure.error,
    );
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => Error::Faults(text),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Error::Usage(text),
        _ => Error::Failed(text),
    }
}

/// Escapes a value for a query string.
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_query_value_is_escaped_by_bytes() {
        assert_eq!(escape("eth0.100"), "eth0.100");
        assert_eq!(escape("a&b=c é"), "a%26b%3Dc%20%C3%A9");
    }
}
