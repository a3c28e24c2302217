//! Rules in and out: plan, apply, confirm, rollback, history, export.

use std::time::Instant;

use axum::{Json, extract::State};

use super::answer::{Answer, Input, Refusal};
use crate::{
    api::{Applied, ApplyRequest, Change, Plan, Revision, RollbackRequest, RulesFile},
    observe::ssh_sessions,
    owner::{
        mailbox::{Mailbox, Request},
        unfiltered::Guard,
    },
    sources::rules_file::{self, Planned},
    system::allocator,
};

pub(super) async fn plan(
    State(agent): State<Mailbox>,
    Input(file): Input<RulesFile>,
) -> Answer<Plan> {
    let Planned { changes, interfaces, warnings } = rules_file::plan(&agent, file).await?;
    let changes = changes.into_iter().map(|change| Change {
        op: change.op.sign().to_owned(),
        kind: change.kind.name().to_owned(),
        id: change.id,
        text: change.text,
    });
    Ok(Json(Plan { changes: changes.collect(), interfaces, warnings }))
}

pub(super) async fn apply(
    State(agent): State<Mailbox>,
    Input(request): Input<ApplyRequest>,
) -> Answer<Applied> {
    Ok(Json(rules_file::apply(&agent, request).await?))
}

pub(super) async fn confirm(State(agent): State<Mailbox>) -> Answer<Applied> {
    let since = Instant::now();
    Ok(Json(agent.ask(|reply| Request::Confirm(since, reply)).await??))
}

pub(super) async fn rollback(
    State(agent): State<Mailbox>,
    Input(request): Input<RollbackRequest>,
) -> Answer<Applied> {
    let since = Instant::now();
    let RollbackRequest { revision, force, sessions } = request;
    let sessions = ssh_sessions::locate(sessions).await;
    let guard = Guard { sessions, keeps_filtering: !force };
    let request = |reply| Request::RollBack(revision, guard, since, reply);
    let applied = agent.ask(request).await??;
    allocator::give_back_soon();
    Ok(Json(applied))
}

pub(super) async fn history(State(agent): State<Mailbox>) -> Answer<Vec<Revision>> {
    Ok(Json(agent.ask(Request::History).await?))
}

pub(super) async fn export(State(agent): State<Mailbox>) -> Result<String, Refusal> {
    let present = agent.ask(Request::Present).await?;
    let text = tokio::task::spawn_blocking(move || sg_policy::export::to_toml(&present.state));
    Ok(text.await.map_err(rules_file::Error::from)?)
}
