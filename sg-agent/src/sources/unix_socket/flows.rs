//! The flow table: list and flush.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;

use super::answer::{Answer, Input};
use crate::{
    api::{Flow, FlushRequest, Flushed},
    kernel::Kernel,
    observe::ssh_sessions,
    owner::mailbox::Mailbox,
};

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    interface: Option<String>,
}

pub(super) async fn list<D: Kernel>(
    State(agent): State<Mailbox<D>>,
    Query(which): Query<Which>,
) -> Answer<Vec<Flow>> {
    Ok(Json(agent.ask(move |owner| owner.flows(which.interface.as_deref())).await??))
}

pub(super) async fn flush<D: Kernel>(
    State(agent): State<Mailbox<D>>,
    Input(request): Input<FlushRequest>,
) -> Answer<Flushed> {
    let sessions = ssh_sessions::locate(request.sessions.clone()).await;
    Ok(Json(agent.ask(move |owner| owner.flush(&request, &sessions)).await??))
}
