//! The end of the filter.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::answer::Answer;
use crate::{
    kernel::Kernel,
    owner::{Owner, mailbox::Mailbox},
};

/// The agent ends once this is answered.
pub(super) async fn detach<D: Kernel>(State(agent): State<Mailbox<D>>) -> Answer<Value> {
    agent.ask(Owner::detach).await??;
    Ok(Json(json!({})))
}
