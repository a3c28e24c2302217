//! One authenticated call: decoded, decided over the newest state, committed with its record.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sg_ec2::{Context, Decision, Error, Parameters, Request, Response};
use sg_iam::Service;
use sg_policy::id::AccountId;
use sg_store::{RegionName, Revision, TxnError};
use tokio::time::timeout;

use super::incoming::{Incoming, Origin};
use crate::{
    audit::{Call, Identity, Outcome},
    clock,
    ids::{new_id, with_draws},
    state::Server,
};

/// Another writer may change the same objects meanwhile.
const ATTEMPTS: usize = 20;
/// Attempts beside those of other requests. Then a request decides and commits alone.
const SHARED_ATTEMPTS: usize = 3;
/// For the replica to take another one's transaction in.
const CATCH_UP: Duration = Duration::from_millis(200);
/// Bytes of a client's name that are recorded.
const LONGEST_AGENT: usize = 256;

/// Who calls, proven by a signature.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub account: AccountId,
    pub access_key_id: String,
    pub service: Service,
    pub region: String,
    pub origin: Origin,
}

/// An answer on its way out.
#[derive(Debug)]
pub(super) struct Answered {
    /// For metrics: `UNKNOWN` where there is no such action.
    pub action: &'static str,
    pub response: Response,
    /// The store's revision that holds a change.
    pub change: Option<Revision>,
}

/// A call that came to something.
struct Done {
    response: Response,
    change: Option<Revision>,
    resources: Vec<String>,
}

/// Answers a call, and records it.
pub(super) async fn answer_call(
    server: &Server,
    caller: &Caller,
    incoming: &Incoming,
    request_id: &str,
) -> Answered {
    let parameters = Parameters::decode(incoming.query().as_bytes(), form_of(incoming));
    let request = match &parameters {
        Ok(parameters) => Request::read(caller.service, parameters),
        Err(error) => Err(error.clone()),
    };
    let mut record = Call {
        time: clock::now(),
        service: caller.service,
        action: parameters.as_ref().ok().and_then(|it| it.action().ok()).unwrap_or("").to_owned(),
        region: caller.region.clone(),
        source: caller.origin.address.to_string(),
        user_agent: shortened(incoming.header("user-agent"), LONGEST_AGENT),
        identity: Identity { account: caller.account, access_key_id: caller.access_key_id.clone() },
        parameters: parameters.as_ref().map_or(Value::Null, recorded),
        outcome: Outcome::Done { response: Value::Null },
        request: request_id.to_owned(),
        event: new_id(),
        is_read_only: request.as_ref().is_ok_and(Request::is_read_only),
        resources: Vec::new(),
    };
    let action = request.as_ref().map_or("UNKNOWN", Request::action);
    let done = match request {
        Ok(request) => decide(server, caller, &request, request_id, &record).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(Done { response, change, resources }) => {
            // The record of a change is in its transaction.
            if change.is_none() {
                record.resources = resources;
                server.audit.other(caller.account, &record).await;
            }
            // A change that changes nothing has the present revision.
            let present = (!record.is_read_only).then(|| server.replica.read().revision());
            Answered { action, response, change: change.or(present) }
        }
        Err(error) => {
            let (code, message) = (error.code.to_owned(), error.message.clone());
            record.outcome = Outcome::Failed { code, message };
            server.audit.other(caller.account, &record).await;
            Answered { action, response: error.respond(caller.service, request_id), change: None }
        }
    }
}

/// Decides, commits, and decides again where somebody else was faster.
async fn decide(
    server: &Server,
    caller: &Caller,
    request: &Request,
    request_id: &str,
    record: &Call,
) -> Result<Done, Error> {
    let who = sg_ec2::Caller {
        account: caller.account,
        arn: format!("arn:aws:iam::{}:root", caller.account),
        user_id: caller.account.to_string(),
    };
    // The signature was checked against the regions that there are.
    let region: RegionName =
        caller.region.parse().map_err(|_| unavailable("there is no such region"))?;
    if request.is_read_only() {
        let decision = decide_once(server, &who, &region, request, request_id)?;
        let Decision { response, resources, .. } = decision;
        return Ok(Done { response, change: None, resources });
    }
    for attempt in 0..ATTEMPTS {
        let _turn = match attempt {
            ..SHARED_ATTEMPTS => (Some(server.turn.read().await), None),
            _ => (None, Some(server.turn.write().await)),
        };
        let mut revisions = server.replica.revisions();
        let seen = *revisions.borrow_and_update();
        let decision = decide_once(server, &who, &region, request, request_id)?;
        let Decision { response, txn, resources } = decision;
        let Some(mut txn) = txn else {
            return Ok(Done { response, change: None, resources });
        };
        if !server.audit.has_room() {
            return Err(unavailable("the volume of the audit log is full"));
        }
        let change = Call { resources: resources.clone(), ..record.clone() };
        let line = server.audit.of_change(caller.account, &change);
        txn.create(&line.map_err(|error| unavailable(&error.to_string()))?);
        match server.store.commit(txn).await {
            Ok(revision) => {
                server.replica.reach(revision).await;
                return Ok(Done { response, change: Some(revision), resources });
            }
            Err(TxnError::Conflict { .. }) => {
                let newer = revisions.wait_for(|revision| *revision > seen);
                let _ = timeout(CATCH_UP, newer).await;
            }
            Err(error) => return Err(refused(&error)),
        }
    }
    Err(unavailable("others changed the same objects at the same time; try again"))
}

/// Decides over the newest state.
fn decide_once(
    server: &Server,
    caller: &sg_ec2::Caller,
    region: &RegionName,
    request: &Request,
    request_id: &str,
) -> Result<Decision, Error> {
    let decided = with_draws(|draw| {
        request.clone().decide(&Context {
            caller,
            region,
            request_id,
            now: clock::now(),
            snapshot: &server.replica.read(),
            quotas: &server.quotas,
            draw,
        })
    });
    decided.map_err(|error| unavailable(&error.to_string()))?
}

/// The answer to a client where the store did not take a transaction.
fn refused(error: &TxnError) -> Error {
    match error {
        TxnError::TooLarge { .. } => Error::new("RequestTooLarge", error.to_string()),
        TxnError::Unknown { .. } => {
            tracing::error!(%error, "the outcome of a change is unknown");
            Error {
                status: 500,
                code: "InternalError",
                message: "It is unknown whether the change was made. Look before you repeat it."
                    .to_owned(),
            }
        }
        TxnError::Refused(_) | TxnError::Conflict { .. } => {
            tracing::error!(%error, "the store cannot be written");
            unavailable("the store cannot be written")
        }
    }
}

fn unavailable(reason: &str) -> Error {
    Error {
        status: 503,
        code: "ServiceUnavailable",
        message: format!("The request has failed, nothing was changed: {reason}."),
    }
}

/// Only a form's body has parameters.
fn form_of(incoming: &Incoming) -> &[u8] {
    if incoming.method == hyper::Method::POST { &incoming.body } else { &[] }
}

/// The parameters as CloudTrail has them, less nesting: `groupId`, `ipPermissions.1.fromPort`. EC2's requests
/// hold no secrets.
fn recorded(parameters: &Parameters) -> Value {
    let camel = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map(|first| first.to_lowercase().chain(letters).collect())
            .unwrap_or_default()
    };
    let named = |(name, value): (String, &str)| {
        let parts: Vec<String> = name.split('.').map(camel).collect();
        (parts.join("."), json!(value))
    };
    Value::Object(parameters.pairs().into_iter().map(named).collect::<Map<_, _>>())
}

fn shortened(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes.min(text.len()))].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_recorded_in_camel_case() {
        let query = b"Action=X&Version=1&GroupId=sg-1&IpPermissions.1.FromPort=22";
        let parameters = Parameters::decode(query, b"").unwrap();
        let expected = json!({"groupId": "sg-1", "ipPermissions.1.fromPort": "22"});
        assert_eq!(recorded(&parameters), expected);
    }

    #[test]
    fn a_long_user_agent_is_cut_between_letters() {
        assert_eq!(shortened("aé", 2), "a");
        assert_eq!(shortened("aé", 9), "aé");
    }

    #[test]
    fn an_unknown_outcome_is_no_refusal() {
        let unknown = TxnError::Unknown { place: "p".to_owned(), reason: "r".to_owned() };
        let error = refused(&unknown);
        assert_eq!((error.status, error.code), (500, "InternalError"));
        assert!(!error.message.contains("nothing was changed"));
        let large = TxnError::TooLarge { what: "bytes", found: 2, limit: 1 };
        assert_eq!(refused(&large).status, 400);
    }
}
