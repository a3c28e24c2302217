//! The end of the filter.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::answer::Answer;
use crate::owner::mailbox::{Mailbox, Request};

/// The agent ends once this is answered.
pub(super) async fn detach(State(agent): State<Mailbox>) -> Answer<Value> {
    agent.ask(Request::Detach).await??;
    Ok(Json(json!({})))
}
