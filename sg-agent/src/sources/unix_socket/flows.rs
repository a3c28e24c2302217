//! The flow table: list and flush.

use axum::{
    Json,
    extract::{Query, State},
};
use serde::Deserialize;

use super::answer::{Answer, Input};
use crate::{
    api::{Flow, FlushRequest, Flushed},
    observe::ssh_sessions,
    owner::mailbox::{Mailbox, Request},
};

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    interface: Option<String>,
}

pub(super) async fn list(
    State(agent): State<Mailbox>,
    Query(which): Query<Which>,
) -> Answer<Vec<Flow>> {
    Ok(Json(agent.ask(|reply| Request::Flows(which.interface, reply)).await??))
}

pub(super) async fn flush(
    State(agent): State<Mailbox>,
    Input(request): Input<FlushRequest>,
) -> Answer<Flushed> {
    let sessions = ssh_sessions::locate(request.sessions.clone()).await;
    Ok(Json(agent.ask(|reply| Request::Flush(request, sessions, reply)).await??))
}
