//! The flow log: what there is, and what comes.

use std::{collections::VecDeque, convert::Infallible};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::answer::{Answer, Refusal};
use crate::{
    api::FlowRecord,
    flow_log::{Batch, Log, Off},
    system::clock::unix_now,
};

pub(super) fn routes(log: Log) -> Router {
    Router::new().route("/v1/log", get(recent)).route("/v1/log/follow", get(follow)).with_state(log)
}

#[derive(Debug, Deserialize)]
struct Which {
    interface: Option<String>,
    /// The most flows of each second to send: those with the most bytes, and as many refusals.
    largest: Option<usize>,
}

impl Which {
    fn pick(&self, records: &[FlowRecord]) -> Vec<FlowRecord> {
        let of_interface = |record: &&FlowRecord| {
            self.interface.as_ref().is_none_or(|interface| *interface == record.interface)
        };
        let mut records: Vec<FlowRecord> = records.iter().filter(of_interface).cloned().collect();
        if let Some(largest) = self.largest {
            records.sort_by(|a, b| (&a.action, b.bytes).cmp(&(&b.action, a.bytes)));
            let mut left: [(Option<String>, usize); 3] = ["ACCEPT", "REJECT", ""].map(|action| {
                (Some(action.to_owned()).filter(|action| !action.is_empty()), largest)
            });
            records.retain(|record| {
                let of_action = left.iter_mut().find(|(action, _)| *action == record.action);
                of_action.is_some_and(|(_, left)| {
                    let fits = *left > 0;
                    *left = left.saturating_sub(1);
                    fits
                })
            });
        }
        records
    }
}

impl From<Off> for Refusal {
    fn from(off: Off) -> Self {
        Self(StatusCode::CONFLICT, off.to_string())
    }
}

async fn recent(State(log): State<Log>, Query(which): Query<Which>) -> Answer<Vec<FlowRecord>> {
    Ok(Json(which.pick(&log.recent().await?)))
}

struct Follower {
    which: Which,
    waiting: VecDeque<FlowRecord>,
    batches: Receiver<Batch>,
}

async fn follow(State(log): State<Log>, Query(which): Query<Which>) -> Result<Response, Refusal> {
    let (recent, batches) = log.follow().await?;
    let waiting = which.pick(&recent).into();
    let follower = Follower { which, waiting, batches };
    let lines = stream::unfold(follower, |mut follower| async {
        let records = follower.next().await?;
        Some((Ok::<_, Infallible>(lines(&records)), follower))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

impl Follower {
    /// `None`: the log has come to its end.
    async fn next(&mut self) -> Option<Vec<FlowRecord>> {
        if !self.waiting.is_empty() {
            return Some(self.waiting.drain(..).collect());
        }
        loop {
            match self.batches.recv().await {
                Ok(batch) => {
                    let records = self.which.pick(&batch);
                    if !records.is_empty() {
                        return Some(records);
                    }
                }
                // One who reads too slowly is told that it lacks something.
                Err(RecvError::Lagged(_)) => {
                    let now = unix_now();
                    return Some(vec![FlowRecord::of("-", now, now, "SKIPDATA")]);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn lines(records: &[FlowRecord]) -> Bytes {
    let mut lines = Vec::new();
    for record in records {
        // Strings and numbers always have a JSON form.
        if serde_json::to_writer(&mut lines, record).is_ok() {
            lines.push(b'\n');
        }
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(interface: &str, action: &str, bytes: u64) -> FlowRecord {
        let action = Some(action.to_owned()).filter(|action| !action.is_empty());
        FlowRecord { action, bytes: Some(bytes), ..FlowRecord::of(interface, 1, 2, "OK") }
    }

    fn bytes(records: &[FlowRecord]) -> Vec<u64> {
        records.iter().filter_map(|record| record.bytes).collect()
    }

    #[test]
    fn the_largest_of_each_kind_are_picked() {
        let records = [
            record("a", "ACCEPT", 1),
            record("a", "REJECT", 9),
            record("a", "ACCEPT", 3),
            record("b", "ACCEPT", 2),
            record("a", "", 5),
        ];
        let all = Which { interface: None, largest: None };
        assert_eq!(bytes(&all.pick(&records)), [1, 9, 3, 2, 5]);
        let two = Which { interface: None, largest: Some(2) };
        assert_eq!(bytes(&two.pick(&records)), [5, 3, 2, 9]);
        let of_a = Which { interface: Some("a".into()), largest: Some(1) };
        assert_eq!(bytes(&of_a.pick(&records)), [5, 3, 9]);
    }
}
