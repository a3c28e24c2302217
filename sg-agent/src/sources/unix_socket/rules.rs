//! Rules in and out: plan, apply, confirm, rollback, history, export.

use std::{sync::Arc, time::Instant};

use axum::{Json, extract::State, http::StatusCode};
use sg_policy::{plan, rules::source::Source};

use super::answer::{Answer, Input, Refusal};
use crate::{
    api::{Applied, ApplyRequest, Change, MAX_FILE, Plan, Revision, RollbackRequest, RulesFile},
    kernel::Kernel,
    observe::ssh_sessions,
    owner::{Owner, change::Proposal, mailbox::Mailbox, row::Request},
    system::allocator,
};

pub(super) async fn plan<D: Kernel>(
    State(agent): State<Mailbox<D>>,
    Input(file): Input<RulesFile>,
) -> Answer<Plan> {
    let present = agent.ask(|owner| owner.source()).await?;
    let planned = blocking(move || {
        let (name, text) = open(file)?;
        let new = parse(&present, &name, &text)?;
        let changes = plan::diff(present.state(), new.state());
        let interfaces = plan::reached(present.state(), new.state(), &changes);
        let changes = changes.into_iter().map(|change| Change {
            op: change.op.sign().to_owned(),
            kind: change.kind.name().to_owned(),
            id: change.id,
            text: change.text,
        });
        Ok(Plan { changes: changes.collect(), interfaces })
    });
    Ok(Json(planned.await?))
}

pub(super) async fn apply<D: Kernel>(
    State(agent): State<Mailbox<D>>,
    Input(request): Input<ApplyRequest>,
) -> Answer<Applied> {
    let since = Instant::now();
    let ApplyRequest { rules, confirm, sessions } = request;
    let present = agent.ask(|owner| owner.source()).await?;
    let proposal = blocking(move || propose(&present, rules)).await?;
    let sessions = ssh_sessions::locate(sessions).await;
    let applied = agent.apply(Request { proposal, confirm, sessions, since }).await??;
    allocator::give_back_soon();
    Ok(Json(applied))
}

pub(super) async fn confirm<D: Kernel>(State(agent): State<Mailbox<D>>) -> Answer<Applied> {
    let since = Instant::now();
    Ok(Json(agent.ask(move |owner| owner.confirm(since)).await??))
}

pub(super) async fn rollback<D: Kernel>(
    State(agent): State<Mailbox<D>>,
    Input(request): Input<RollbackRequest>,
) -> Answer<Applied> {
    let since = Instant::now();
    let RollbackRequest { revision, sessions } = request;
    let sessions = ssh_sessions::locate(sessions).await;
    let rollback = move |owner: &mut Owner<D>| owner.rollback(revision, &sessions, since);
    let applied = agent.ask(rollback).await??;
    allocator::give_back_soon();
    Ok(Json(applied))
}

pub(super) async fn history<D: Kernel>(State(agent): State<Mailbox<D>>) -> Answer<Vec<Revision>> {
    Ok(Json(agent.ask(|owner| owner.history()).await?))
}

pub(super) async fn export<D: Kernel>(State(agent): State<Mailbox<D>>) -> Result<String, Refusal> {
    let present = agent.ask(|owner| owner.present()).await?;
    blocking(move || Ok(sg_policy::export::to_toml(&present))).await
}

fn propose(present: &Source, file: RulesFile) -> Result<Proposal, Refusal> {
    let (name, text) = open(file)?;
    let source = Arc::new(parse(present, &name, &text)?);
    Ok(Proposal::new(source, name))
}

/// Name and text.
fn open(file: RulesFile) -> Result<(String, Arc<str>), Refusal> {
    let RulesFile { file, text } = file;
    if text.len() as u64 > MAX_FILE {
        let text = format!("{file} is longer than the {} MiB that are taken", MAX_FILE >> 20);
        return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Ok((file, text.into()))
}

/// Reads a rules file that most likely is much like the present one.
fn parse(present: &Source, name: &str, text: &Arc<str>) -> Result<Source, Refusal> {
    present
        .read_next(name, Arc::clone(text))
        .map_err(|faults| Refusal(StatusCode::UNPROCESSABLE_ENTITY, faults.render(false)))
}

/// Runs what may take long where it keeps no other request waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("the request failed: {error}")))
    })
}
