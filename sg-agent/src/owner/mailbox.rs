//! Brings commands and requests from other tasks to the owner.
//!
//! All that crosses it is a value: it can be looked at, compared and told.

use std::{
    fmt,
    sync::mpsc::{Receiver, Sender, channel},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    command::Command, error::Error, figures::Figures, flows_part::FlowsPart, revision::Revision,
    unfiltered::Guard,
};
use crate::{
    api::{self, Applied, ExplainRequest, Explanation, FlushRequest, Flushed, Shown, Status},
    datapath::FlowCursor,
    observe::interfaces::View,
    observe::ssh_sessions::Located,
};

/// Where an answer goes.
pub struct Reply<T>(pub(super) oneshot::Sender<T>);

impl<T> Reply<T> {
    pub(super) fn send(self, answer: T) {
        // The caller may have gone.
        let _ = self.0.send(answer);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// A command, and who waits for what comes of it.
#[derive(Debug)]
pub struct Submission {
    pub command: Command,
    /// When it was given.
    pub since: Instant,
    pub answer: Reply<Result<Applied, Error>>,
}

/// A question of another task, or a request that brings no rules.
#[derive(Debug)]
pub enum Request {
    /// Whether the owner takes its turn.
    Ping(Reply<()>),
    Status(Reply<Status>),
    Figures(Reply<Figures>),
    Show(Reply<Shown>),
    History(Reply<Vec<api::Revision>>),
    /// The revision in force.
    Present(Reply<Revision>),
    Explain(ExplainRequest, Reply<Result<Explanation, Error>>),
    /// Some of one interface, or of all, and where the next ones begin.
    Flows(Option<String>, FlowCursor, Reply<Result<FlowsPart, Error>>),
    Flush(FlushRequest, Vec<Located>, Reply<Result<Flushed, Error>>),
    Confirm(Instant, Reply<Result<Applied, Error>>),
    /// To a revision, or to the one before.
    RollBack(Option<u64>, Guard, Instant, Reply<Result<Applied, Error>>),
    Detach(Reply<Result<(), Error>>),
}

#[derive(Debug)]
pub(super) enum Message {
    Command(Submission),
    Request(Request),
    InterfacesChanged(View),
    Stop(anyhow::Result<()>),
}

/// The sending end, by which other tasks give the owner commands and requests.
#[derive(Clone, Debug)]
pub struct Mailbox(Sender<Message>);

/// The owner's end.
#[derive(Debug)]
pub struct Inbox(pub(super) Receiver<Message>);

/// The agent is ending.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the agent is ending")]
pub struct Ending;

pub fn mailbox() -> (Mailbox, Inbox) {
    let (sender, receiver) = channel();
    (Mailbox(sender), Inbox(receiver))
}

impl Mailbox {
    /// Leaves the request that is made with a place for its answer, and waits for that.
    pub async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Ending> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Request(request(Reply(answer))))?;
        answered.await.map_err(|_| Ending)
    }

    /// Has a command executed. `since` is when it was given.
    pub async fn command(
        &self,
        command: Command,
        since: Instant,
    ) -> Result<Result<Applied, Error>, Ending> {
        let (answer, answered) = oneshot::channel();
        let answer = Reply(answer);
        self.send(Message::Command(Submission { command, since, answer }))?;
        answered.await.map_err(|_| Ending)
    }

    pub fn interfaces_changed(&self, view: View) -> Result<(), Ending> {
        self.send(Message::InterfacesChanged(view))
    }

    /// Ends the agent, with an error where something broke that it cannot do without.
    pub fn stop(&self, why: anyhow::Result<()>) {
        // It is ending already where nobody takes this.
        let _ = self.send(Message::Stop(why));
    }

    fn send(&self, message: Message) -> Result<(), Ending> {
        self.0.send(message).map_err(|_| Ending)
    }
}
