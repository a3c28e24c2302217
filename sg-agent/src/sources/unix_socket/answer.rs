//! How requests are read and how failures are told.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;

use crate::{
    api::Failure,
    owner::{error::Error, mailbox::Ending},
    sources::rules_file,
};

/// The reason why something did not work, with its status.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(Failure { error: self.1 })).into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Request(_) => StatusCode::BAD_REQUEST,
            Error::Conflict(_) | Error::Refused(_) => StatusCode::CONFLICT,
            Error::Store(_) | Error::Datapath(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl From<rules_file::Error> for Refusal {
    fn from(error: rules_file::Error) -> Self {
        use rules_file::Error;
        let status = match error {
            Error::Owner(error) => return error.into(),
            Error::Ending(ending) => return ending.into(),
            Error::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Faults(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl From<Ending> for Refusal {
    fn from(ending: Ending) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, ending.to_string())
    }
}

pub(super) type Answer<T> = Result<Json<T>, Refusal>;

/// A JSON body, whatever its content type says; no body is an empty object.
pub(super) struct Input<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Refusal(rejection.status(), rejection.body_text()))?;
        let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
        serde_json::from_slice(body).map(Self).map_err(|error| {
            Refusal(StatusCode::BAD_REQUEST, format!("the request makes no sense: {error}"))
        })
    }
}

pub(super) async fn no_such_request(method: Method, uri: Uri) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, format!("there is no {method} {}", uri.path()))
}
