//! From a request to its answer. The order of checks is that of control.md: limits of the address,
//! authentication, limits of the key, known action, well-formed parameters, and then the service's own.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hyper::{Method, Request, body::Incoming as Body};
use sg_ec2::{Error, Response};
use sg_iam::{Service, sigv4};
use sg_policy::id::AccountId;

use super::{
    answer::{Answer, service_by_version},
    call::{Answered, Caller, answer_call},
    incoming::{Incoming, Origin},
    metrics::{Call, Counters},
    origin::client_address,
};
use crate::{
    clock,
    ids::new_id,
    limits::{Buckets, charged_unit},
    secrets,
    settings::AnswerAfter,
    state::Server,
};

/// A change is answered after this time, whether hosts enforce it or not.
const ENFORCE: Duration = Duration::from_secs(1);
/// Services that there are.
const SERVICES: [Service; 2] = [Service::Ec2, Service::Sts];

/// Answers requests.
#[derive(Debug)]
pub struct Pipeline {
    server: Server,
    counters: Arc<Counters>,
    addresses: Buckets<IpAddr>,
    keys: Buckets<String>,
    regions: Vec<String>,
}

impl Pipeline {
    pub(super) fn new(server: Server, counters: Arc<Counters>) -> Self {
        let limits = server.settings.limits;
        let regions = server.settings.regions.iter().map(ToString::to_string).collect();
        Self {
            server,
            counters,
            addresses: Buckets::new(limits),
            keys: Buckets::new(limits),
            regions,
        }
    }

    /// Answers one request. `peer`: the other end of the connection.
    pub async fn answer(&self, request: Request<Body>, peer: IpAddr, is_tls: bool) -> Answer {
        if is_health(request.method(), request.uri()) {
            return Answer::health();
        }
        let begun = Instant::now();
        let request_id = new_id();
        let trusted = &self.server.settings.trusted_proxies;
        let address = client_address(peer, request.headers(), trusted);
        if !self.addresses.admit(charged_unit(address)) {
            self.counters.limited.fetch_add(1, Ordering::Relaxed);
            let by_query = service_by_version(request.uri().query().unwrap_or_default().as_bytes());
            let answer = limited().respond(by_query, &request_id);
            return Answer { closes: true, ..Answer::of(answer, request_id) };
        }
        let origin = Origin { address, is_tls };
        let incoming = match Incoming::read(request, origin).await {
            Ok(incoming) => incoming,
            Err(unreadable) => {
                let error = Error {
                    status: unreadable.status(),
                    code: "RequestNotRead",
                    message: unreadable.to_string(),
                };
                let answer = error.respond(Service::Ec2, &request_id);
                return Answer { closes: true, ..Answer::of(answer, request_id) };
            }
        };
        let answer = self.authenticated(&incoming, &request_id).await;
        self.counters.seconds.observe(begun.elapsed().as_secs_f64());
        answer
    }

    async fn authenticated(&self, incoming: &Incoming, request_id: &str) -> Answer {
        let caller = match self.authenticate(incoming) {
            Ok(caller) => caller,
            Err((service, error)) => {
                self.counters.unauthenticated.fetch_add(1, Ordering::Relaxed);
                let answer = Error::from(error.answer(service)).respond(service, request_id);
                return Answer::of(answer, request_id.to_owned());
            }
        };
        let service = caller.service;
        if !self.keys.admit(caller.access_key_id.clone()) {
            self.counters.limited.fetch_add(1, Ordering::Relaxed);
            let answer = limited().respond(service, request_id);
            return Answer::of(answer, request_id.to_owned());
        }
        let Answered { action, response, change } =
            answer_call(&self.server, &caller, incoming, request_id).await;
        self.count(service, action, &response);
        let enforced = match change {
            Some(revision) if self.server.settings.answer_after == AnswerAfter::Enforced => {
                Some(self.server.hosts.enforce(revision, ENFORCE).await)
            }
            _ => None,
        };
        Answer { revision: change, enforced, ..Answer::of(response, request_id.to_owned()) }
    }

    /// Checks the signature. The error goes with the service in whose words it is answered.
    fn authenticate(&self, incoming: &Incoming) -> Result<Caller, (Service, sigv4::Error)> {
        incoming.signed(|request| {
            let parameters = match incoming.method {
                Method::POST => request.body,
                _ => request.query.as_bytes(),
            };
            let by_version = service_by_version(parameters);
            let presented = sigv4::Presented::read(request).map_err(|error| (by_version, error))?;
            let form = presented.service().unwrap_or(by_version);
            let (account, secret) = {
                let snapshot = self.server.replica.read();
                match secrets::find(&snapshot, &presented.access_key_id) {
                    Some((account, key)) => (account, secrets::open(&self.server.key, key)),
                    None => (AccountId(0), None),
                }
            };
            let expected =
                sigv4::Expected { now: clock::now(), regions: &self.regions, services: &SERVICES };
            // There are no sessions yet, so a session token is nobody's.
            let secret = secret.filter(|_| presented.session_token.is_none());
            let verified = presented
                .verify(request, secret.as_ref(), &expected)
                .map_err(|error| (form, error))?;
            Ok(Caller {
                account,
                access_key_id: verified.access_key_id,
                service: verified.service,
                region: verified.region,
                origin: incoming.origin,
            })
        })
    }

    fn count(&self, service: Service, action: &'static str, response: &Response) {
        let call = Call { service: service.name(), action, code: response.status };
        self.counters.calls.get_or_create(&call).inc();
    }
}

/// `GET /` without a query, `HEAD /` and `GET /healthz` ask whether anybody is there.
fn is_health(method: &Method, uri: &hyper::Uri) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let is_root = uri.path() == "/" && uri.query().is_none();
    reads && (is_root || uri.path() == "/healthz")
}

fn limited() -> Error {
    Error {
        status: 503,
        code: "RequestLimitExceeded",
        message: "Request limit exceeded.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_asked_by_plain_reads_of_two_paths() {
        let asks = |method: &Method, uri: &str| is_health(method, &uri.parse().unwrap());
        assert!(
            asks(&Method::GET, "/") && asks(&Method::HEAD, "/") && asks(&Method::GET, "/healthz")
        );
        assert!(!asks(&Method::GET, "/?Action=X") && !asks(&Method::POST, "/"));
        assert!(!asks(&Method::GET, "/health"));
    }
}
