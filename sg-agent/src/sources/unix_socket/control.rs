//! A host whose rules come from a control plane: changes by hand are refused, another store is accepted.

use axum::{
    Extension, Json,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{
    answer::{Answer, Refusal},
    peer::Peer,
};
use crate::{api::AcceptedStore, sources::control::Control};

/// Requests that would give the host other rules.
const LOCAL: [&str; 4] = ["/v1/plan", "/v1/apply", "/v1/confirm", "/v1/rollback"];

/// Refuses changes by hand; the text names the control plane.
pub(super) async fn refuse_local(
    State(control): State<Control>,
    request: Request,
    next: Next,
) -> Response {
    if !LOCAL.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let text = format!(
        "the rules of this host come from the control plane {}; change them there",
        control.condition.source()
    );
    Refusal(StatusCode::CONFLICT, text).into_response()
}

pub(super) async fn accept_store(
    ConnectInfo(peer): ConnectInfo<Peer>,
    control: Option<Extension<Control>>,
) -> Answer<AcceptedStore> {
    if !peer.is_root() {
        let text = "only root may accept another store".to_owned();
        return Err(Refusal(StatusCode::FORBIDDEN, text));
    }
    let conflict = |text: String| Refusal(StatusCode::CONFLICT, text);
    let Some(Extension(control)) = control else {
        return Err(conflict("the rules of this host come from files".to_owned()));
    };
    let epoch = control.accept_store().await.map_err(conflict)?;
    Ok(Json(AcceptedStore { epoch }))
}
