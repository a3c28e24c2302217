//! Status, show, explain.

use axum::{Extension, Json, extract::State};

use super::answer::{Answer, Input};
use crate::{
    api::{ExplainRequest, Explanation, Shown, Status},
    owner::mailbox::{Mailbox, Request},
    sources::control::Control,
};

pub(super) async fn status(
    State(agent): State<Mailbox>,
    control: Option<Extension<Control>>,
) -> Answer<Status> {
    let mut status = agent.ask(Request::Status).await?;
    if let Some(Extension(control)) = control {
        control.condition.annotate(&mut status);
    }
    Ok(Json(status))
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
