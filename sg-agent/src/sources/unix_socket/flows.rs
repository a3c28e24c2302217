//! The flow table: list and flush.

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Deserialize;

use super::answer::{Answer, Input, Refusal};
use crate::{
    api::{Flow, FlushRequest, Flushed},
    datapath::FlowCursor,
    observe::ssh_sessions,
    owner::{
        flows_part::FlowsPart,
        mailbox::{Mailbox, Request},
    },
};

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    interface: Option<String>,
}

/// An array that is read from the table as fast as it is taken. Many flows take no more memory than a part
/// of them for each who asks.
struct Listing {
    agent: Mailbox,
    interface: Option<String>,
    /// Where the next part begins.
    next: Option<FlowCursor>,
    /// The text before the next flow.
    before: &'static [u8],
}

impl Listing {
    /// The next part that is not empty, as JSON; `None` after the end.
    async fn part(&mut self) -> Result<Option<Bytes>, Refusal> {
        let mut text = Vec::new();
        while let Some(from) = self.next.filter(|_| text.is_empty()) {
            let interface = self.interface.clone();
            let ask = |reply| Request::Flows(interface, from, reply);
            let FlowsPart { flows, next } = self.agent.ask(ask).await??;
            flows.iter().for_each(|flow| self.write(flow, &mut text));
            self.next = next;
            if next.is_none() {
                text.extend(if self.before == b"[" { &b"[]"[..] } else { b"]" });
            }
        }
        Ok((!text.is_empty()).then(|| text.into()))
    }

    fn write(&mut self, flow: &Flow, text: &mut Vec<u8>) {
        text.extend(self.before);
        // Strings and numbers always have a JSON form.
        if serde_json::to_writer(&mut *text, flow).is_ok() {
            self.before = b",";
        }
    }
}

pub(super) async fn list(
    State(agent): State<Mailbox>,
    Query(which): Query<Which>,
) -> Result<Response, Refusal> {
    let interface = which.interface;
    let mut listing = Listing { agent, interface, next: Some(FlowCursor::START), before: b"[" };
    // The first part now, so that a refusal is one.
    let first = listing.part().await?;
    let parts = stream::unfold((first, listing), |(part, mut listing)| async {
        let part = match part {
            Some(part) => part,
            None => match listing.part().await {
                Ok(part) => part?,
                Err(Refusal(_, text)) => {
                    listing.next = None;
                    return Some((Err(std::io::Error::other(text)), (None, listing)));
                }
            },
        };
        Some((Ok(part), (None, listing)))
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(parts)).into_response())
}

pub(super) async fn flush(
    State(agent): State<Mailbox>,
    Input(request): Input<FlushRequest>,
) -> Answer<Flushed> {
    let sessions = ssh_sessions::locate(request.sessions.clone()).await;
    Ok(Json(agent.ask(|reply| Request::Flush(request, sessions, reply)).await??))
}
