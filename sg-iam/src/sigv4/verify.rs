//! The decision: is this request signed by that key, here and now?

use hmac::Mac as _;

use super::{
    canonical::{self, PathRule},
    error::Error,
    key::{Scope, SecretKey, mac, string_to_sign},
    presented::{Form, Presented},
    request::Request,
};
use crate::{Service, Timestamp};

/// Clocks of client and server may differ by so much.
const SKEW_SECONDS: i64 = 15 * 60;

/// The scopes that are served, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub now: Timestamp,
    pub regions: &'a [String],
    pub services: &'a [Service],
}

/// A request that is signed by the key that it names. Only [`Presented::verify`] makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verified {
    pub access_key_id: String,
    pub session_token: Option<String>,
    pub service: Service,
    pub region: String,
    pub form: Form,
}

impl Presented {
    /// The service that the scope names, proven or not: errors are written in its words.
    pub fn service(&self) -> Option<Service> {
        Service::from_name(&self.scope.service)
    }

    /// Checks scope, then time, then the signature. `secret` is that of [`Presented::access_key_id`], `None` where
    /// there is no such key: then the same work is done, so that time does not tell which keys exist.
    pub fn verify(
        self,
        request: &Request<'_>,
        secret: Option<&SecretKey>,
        expected: &Expected<'_>,
    ) -> Result<Verified, Error> {
        let service = self.check_scope(expected)?;
        self.check_time(expected.now)?;
        let is_right = self.is_signed_by(
            request,
            secret.unwrap_or(&SecretKey::new("no such key")),
            PathRule::Normalize,
        );
        match (secret, is_right) {
            (None, _) => Err(Error::UnknownKey),
            (Some(_), false) => Err(Error::Mismatch),
            (Some(_), true) => Ok(Verified {
                access_key_id: self.access_key_id,
                session_token: self.session_token,
                service,
                region: self.scope.region,
                form: self.form,
            }),
        }
    }

    fn check_scope(&self, expected: &Expected<'_>) -> Result<Service, Error> {
        let Scope { date, region, service } = &self.scope;
        let service = Service::from_name(service)
            .filter(|service| expected.services.contains(service))
            .ok_or_else(|| Error::Service { services: expected.services.to_vec() })?;
        if !expected.regions.contains(region) {
            return Err(Error::Region { regions: expected.regions.to_vec() });
        }
        if *date != self.signed_at.date() {
            return Err(Error::Date { scope: date.clone(), signed: self.signed_at });
        }
        Ok(service)
    }

    /// A presigned request is good for its lifetime, and its maker's clock may be ahead.
    fn check_time(&self, now: Timestamp) -> Result<(), Error> {
        let signed = self.signed_at;
        let lifetime_seconds = match self.form {
            Form::Header => SKEW_SECONDS,
            Form::Presigned { expires_seconds } => expires_seconds,
        };
        let earliest = Timestamp(now.0 - lifetime_seconds);
        if signed < earliest {
            return Err(Error::Expired {
                signed,
                earliest,
                now,
                allowed_seconds: lifetime_seconds,
            });
        }
        let latest = Timestamp(now.0 + SKEW_SECONDS);
        if signed > latest {
            return Err(Error::NotYetCurrent {
                signed,
                latest,
                now,
                allowed_seconds: SKEW_SECONDS,
            });
        }
        Ok(())
    }

    /// Compares in constant time (`Mac::verify_slice`).
    pub(super) fn is_signed_by(
        &self,
        request: &Request<'_>,
        secret: &SecretKey,
        path_rule: PathRule,
    ) -> bool {
        if !body_is_as_declared(request) {
            return false;
        }
        let names: Vec<_> = self.signed_headers.iter().map(String::as_str).collect();
        let unsigned: &[&str] = match self.form {
            Form::Header => &[],
            Form::Presigned { .. } => &["X-Amz-Signature"],
        };
        let canonical = canonical::request(request, &names, unsigned, path_rule);
        let text = string_to_sign(&self.signed_at.to_string(), &self.scope, &canonical);
        mac(secret, &self.scope, &text).verify_slice(&self.signature).is_ok()
    }
}

/// `X-Amz-Content-SHA256`, where a client sends it, must be the body's digest. `UNSIGNED-PAYLOAD` is S3's alone.
fn body_is_as_declared(request: &Request<'_>) -> bool {
    use sha2::Digest as _;
    let mut declared = request.values("x-amz-content-sha256").peekable();
    if declared.peek().is_none() {
        return true;
    }
    let digest = super::key::hex(&sha2::Sha256::digest(request.body));
    declared.all(|declared| declared.trim_ascii() == digest.as_bytes())
}
