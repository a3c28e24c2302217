//! Signatures for requests that we send, and for tests.

use hmac::Mac as _;

use super::{
    ALGORITHM,
    canonical::{self, PathRule},
    key::{Scope, SecretKey, hex, mac, string_to_sign},
    request::{Request, encode},
};
use crate::Timestamp;

/// Who signs, for which region and service.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    pub access_key_id: &'a str,
    pub secret: &'a SecretKey,
    pub session_token: Option<&'a str>,
    pub region: &'a str,
    /// As a credential scope names it.
    pub service: &'a str,
}

impl Signer<'_> {
    fn scope(&self, now: Timestamp) -> Scope {
        Scope { date: now.date(), region: self.region.into(), service: self.service.into() }
    }

    fn signature(&self, now: Timestamp, canonical_request: &str) -> String {
        let scope = self.scope(now);
        let text = string_to_sign(&now.to_string(), &scope, canonical_request);
        hex(&mac(self.secret, &scope, &text).finalize().into_bytes())
    }
}

/// Headers to add to `request`: `X-Amz-Date`, `X-Amz-Security-Token` where there is a token, and `Authorization`.
/// All headers that the request has are signed; it needs `Host`.
pub fn sign(
    request: &Request<'_>,
    signer: &Signer<'_>,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut added = vec![("x-amz-date", now.to_string())];
    added.extend(signer.session_token.map(|token| ("x-amz-security-token", token.to_owned())));
    let mut headers = request.headers.to_vec();
    headers.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
    let request = Request { headers: &headers, ..*request };
    let names = names_of(&request);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let canonical = canonical::request(&request, &names, &[], PathRule::Normalize);
    let signature = signer.signature(now, &canonical);
    let (key_id, scope, names) = (signer.access_key_id, signer.scope(now), names.join(";"));
    let authorization = format!(
        "{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    added.push(("authorization", authorization));
    added
}

/// The query of a presigned request that is good for `expires_seconds`. All headers that the request has are signed;
/// it needs `Host`.
pub fn presign(
    request: &Request<'_>,
    signer: &Signer<'_>,
    now: Timestamp,
    expires_seconds: i64,
) -> String {
    let names = names_of(request);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let credential = format!("{}/{}", signer.access_key_id, signer.scope(now));
    let (date, expires) = (now.to_string(), expires_seconds.to_string());
    let signed_headers = names.join(";");
    let mut query = request.query.to_owned();
    let token = signer.session_token.map(|token| ("X-Amz-Security-Token", token));
    for (name, value) in [
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", &*credential),
        ("X-Amz-Date", &*date),
        ("X-Amz-Expires", &*expires),
        ("X-Amz-SignedHeaders", &*signed_headers),
    ]
    .into_iter()
    .chain(token)
    {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        encode(value.as_bytes(), b"", &mut query);
    }
    let request = Request { query: &query, ..*request };
    let canonical = canonical::request(&request, &names, &[], PathRule::Normalize);
    let signature = signer.signature(now, &canonical);
    format!("{query}&X-Amz-Signature={signature}")
}

/// Names of the request's headers in lower case, sorted, each once.
fn names_of(request: &Request<'_>) -> Vec<String> {
    let names = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.dedup();
    names
}
