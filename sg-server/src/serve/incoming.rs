//! A request from the wire, read whole and within limits.

use std::{net::IpAddr, time::Duration};

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{HeaderMap, Method, Request, Uri, body::Incoming as Body};
use sg_iam::sigv4;

/// Largest body in bytes.
pub const MAX_BODY: usize = 1 << 20;
/// Largest head of a request in bytes.
pub const MAX_HEAD: usize = 64 << 10;
/// From the first byte of a request to its last.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A request with its body.
#[derive(Debug)]
pub struct Incoming {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub origin: Origin,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
    pub is_tls: bool,
}

/// A request that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("The request's head is larger than {MAX_HEAD} bytes.")]
    HeadTooLarge,
    #[error("The request body is larger than {MAX_BODY} bytes.")]
    TooLarge,
    #[error("The request was not complete after {} seconds.", PATIENCE.as_secs())]
    TooSlow,
    #[error("The request body could not be read.")]
    Broken,
}

impl Unreadable {
    /// HTTP status: never one that clients try again.
    pub fn status(self) -> u16 {
        match self {
            Self::HeadTooLarge => 431,
            Self::TooLarge => 413,
            Self::TooSlow => 408,
            Self::Broken => 400,
        }
    }
}

impl Incoming {
    /// Reads the body.
    pub async fn read(request: Request<Body>, origin: Origin) -> Result<Self, Unreadable> {
        let (head, body) = request.into_parts();
        // hyper's own limit is one of its buffer, which a single read may exceed.
        let headers =
            head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        if head.uri.to_string().len() + headers.sum::<usize>() > MAX_HEAD {
            return Err(Unreadable::HeadTooLarge);
        }
        let declared = head.headers.get(hyper::header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|bytes| bytes > MAX_BODY as u64) {
            return Err(Unreadable::TooLarge);
        }
        let body = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect());
        let body = body.await.map_err(|_| Unreadable::TooSlow)?.map_err(|error| {
            if error.is::<LengthLimitError>() { Unreadable::TooLarge } else { Unreadable::Broken }
        })?;
        Ok(Self {
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body: body.to_bytes().into(),
            origin,
        })
    }

    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Lends the request to `read` in the form that signatures are checked over.
    pub fn signed<T>(&self, read: impl FnOnce(&sigv4::Request<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        read(&sigv4::Request {
            method: self.method.as_str(),
            path: self.uri.path(),
            query: self.query(),
            headers: &headers,
            body: &self.body,
        })
    }

    /// A header as text; empty where there is none, or it is no text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
