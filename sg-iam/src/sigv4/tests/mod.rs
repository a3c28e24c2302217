//! Tests of reading, verifying and signing.

mod clients;
mod refusals;
mod round_trip;
mod vectors;

use super::*;
use crate::{Service, Timestamp};

/// A request whose parts a test owns and changes.
#[derive(Clone, Debug)]
struct Message {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Message {
    /// Reads a request as it is on the wire; lines end with LF. A line that begins with a space continues the last one.
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().expect("a request line");
        let (method, target) = first.split_once(' ').expect("a method");
        let target = target.rsplit_once(' ').expect("a version").0;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
        for line in lines {
            match line.split_once(':') {
                Some((name, value)) if !line.starts_with(' ') => {
                    headers.push((name.to_owned(), value.as_bytes().to_vec()));
                }
                _ => {
                    let value = &mut headers.last_mut().expect("a header").1;
                    value.push(b' ');
                    value.extend(line.trim().bytes());
                }
            }
        }
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    /// Passes the message as a request.
    fn with<T>(&self, then: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        then(&Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: &self.body,
        })
    }

    fn header(&mut self, name: &str) -> &mut Vec<u8> {
        let mut headers = self.headers.iter_mut();
        &mut headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).expect("the header").1
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }

    /// A form sent by POST, not signed yet.
    fn post(body: &str) -> Self {
        Self::parse(&format!(
            "POST / HTTP/1.1\nHost: 127.0.0.1:8773\nContent-Type: application/x-www-form-urlencoded\n\n{body}"
        ))
    }

    fn signed(mut self, signer: &Signer<'_>, now: Timestamp) -> Self {
        let added = self.with(|request| sign(request, signer, now));
        let added = added.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
        self.headers.extend(added);
        self
    }

    fn presigned(mut self, signer: &Signer<'_>, now: Timestamp, expires_seconds: i64) -> Self {
        self.query = self.with(|request| presign(request, signer, now, expires_seconds));
        self
    }

    /// Reads and verifies, as a server of EC2 and STS in two regions.
    fn judge(&self, secret: Option<&SecretKey>, now: Timestamp) -> Result<Verified, Error> {
        let regions = ["us-east-1".to_owned(), "eu-west-1".to_owned()];
        let services = [Service::Ec2, Service::Sts];
        let expected = Expected { now, regions: &regions, services: &services };
        self.with(|request| Presented::read(request)?.verify(request, secret, &expected))
    }
}

const NOW: Timestamp = Timestamp(1_440_938_160);

fn secret() -> SecretKey {
    SecretKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
}

fn signer(secret: &SecretKey) -> Signer<'_> {
    Signer {
        access_key_id: "AKIDEXAMPLE",
        secret,
        session_token: None,
        region: "us-east-1",
        service: "ec2",
    }
}
