//! Secrets, and the keys that are derived from them.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{ALGORITHM, TERMINATOR};

/// The secret of an access key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: to be sealed, or shown once to its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Day, region and service that a signature is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `20150830`.
    pub date: String,
    pub region: String,
    pub service: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

/// The text that is signed. `timestamp` is in ISO 8601's basic form.
pub(super) fn string_to_sign(timestamp: &str, scope: &Scope, canonical_request: &str) -> String {
    let digest = hex(&Sha256::digest(canonical_request));
    format!("{ALGORITHM}\n{timestamp}\n{scope}\n{digest}")
}

/// An HMAC under the scope's signing key, with the text already in it.
pub(super) fn mac(secret: &SecretKey, scope: &Scope, text: &str) -> Hmac<Sha256> {
    let secret = format!("AWS4{}", secret.0);
    let chain = [&*scope.date, &*scope.region, &*scope.service, TERMINATOR];
    let key = chain.iter().fold(secret.into_bytes(), |key, step| {
        keyed(&key).chain_update(step).finalize().into_bytes().to_vec()
    });
    keyed(&key).chain_update(text)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}
