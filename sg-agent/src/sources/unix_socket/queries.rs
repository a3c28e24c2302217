//! Status, show, explain.

use axum::{Json, extract::State};

use super::answer::{Answer, Input};
use crate::{
    api::{ExplainRequest, Explanation, Shown, Status},
    kernel::Kernel,
    owner::mailbox::Mailbox,
};

pub(super) async fn status<D: Kernel>(State(agent): State<Mailbox<D>>) -> Answer<Status> {
    Ok(Json(agent.ask(|owner| owner.status()).await?))
}

pub(super) async fn show<D: Kernel>(State(agent): State<Mailbox<D>>) -> Answer<Shown> {
    Ok(Json(agent.ask(|owner| owner.show()).await?))
}

pub(super) async fn explain<D: Kernel>(
    State(agent): State<Mailbox<D>>,
    Input(request): Input<ExplainRequest>,
) -> Answer<Explanation> {
    Ok(Json(agent.ask(move |owner| owner.explain(&request)).await??))
}
