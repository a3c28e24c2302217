//! Status, show, explain.

use axum::{Json, extract::State};

use super::answer::{Answer, Input};
use crate::{
    api::{ExplainRequest, Explanation, Shown, Status},
    owner::mailbox::{Mailbox, Request},
};

pub(super) async fn status(State(agent): State<Mailbox>) -> Answer<Status> {
    Ok(Json(agent.ask(Request::Status).await?))
}

pub(super) async fn show(State(agent): State<Mailbox>) -> Answer<Shown> {
    Ok(Json(agent.ask(Request::Show).await?))
}

pub(super) async fn explain(
    State(agent): State<Mailbox>,
    Input(request): Input<ExplainRequest>,
) -> Answer<Explanation> {
    Ok(Json(agent.ask(|reply| Request::Explain(request, reply)).await??))
}
