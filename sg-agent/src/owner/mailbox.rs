//! Brings commands and requests from other tasks to the owner, and runs the owner.
//!
//! All that crosses it is a value: it can be looked at, compared and told.

use std::{
    fmt,
    ops::ControlFlow,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    Error, Owner, batch::Submission, command::Command, figures::Figures, revision::Revision,
};
use crate::{
    api::{self, Applied, ExplainRequest, Explanation, Flow, FlushRequest, Flushed, Shown, Status},
    kernel::Kernel,
    observe::interfaces::View,
    observe::ssh_sessions::Located,
};

/// Where an answer goes.
pub struct Reply<T>(pub(super) oneshot::Sender<T>);

impl<T> Reply<T> {
    pub(super) fn send(self, answer: T) {
        // Whoever asked may have gone.
        let _ = self.0.send(answer);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// What other tasks want besides other rules.
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
    /// Of one interface, or of all.
    Flows(Option<String>, Reply<Result<Vec<Flow>, Error>>),
    Flush(FlushRequest, Vec<Located>, Reply<Result<Flushed, Error>>),
    Confirm(Instant, Reply<Result<Applied, Error>>),
    /// To a revision, or to the one before.
    RollBack(Option<u64>, Vec<Located>, Instant, Reply<Result<Applied, Error>>),
    Detach(Reply<Result<(), Error>>),
}

#[derive(Debug)]
enum Message {
    Command(Submission),
    Request(Request),
    InterfacesChanged(View),
    Stop(anyhow::Result<()>),
}

/// Where other tasks leave what they want of the owner.
#[derive(Clone, Debug)]
pub struct Mailbox(Sender<Message>);

/// The owner's end.
#[derive(Debug)]
pub struct Inbox(Receiver<Message>);

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

impl Inbox {
    /// Runs the owner until it is stopped, has detached, or nobody can ask any more. It has a thread
    /// of its own, so that compiling a large ruleset keeps nobody else waiting.
    ///
    /// # Errors
    /// What it was stopped for.
    pub fn run<D: Kernel>(&self, owner: &mut Owner<D>) -> anyhow::Result<()> {
        while !owner.stopping {
            let first = match owner.sleep() {
                Some(time) => self.0.recv_timeout(time),
                None => self.0.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(message) => {
                    if let ControlFlow::Break(why) = self.handle(message, owner) {
                        return why;
                    }
                    owner.expire();
                }
                Err(RecvTimeoutError::Timeout) => owner.wake(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Takes in all that is there by now. Nobody of those who asked has an answer yet, so any order among
    /// them is right: first the newest view, then all commands together.
    fn handle<D: Kernel>(
        &self,
        first: Message,
        owner: &mut Owner<D>,
    ) -> ControlFlow<anyhow::Result<()>> {
        let (mut newest, mut commands, mut rest) = (None, Vec::new(), Vec::new());
        for message in std::iter::once(first).chain(self.0.try_iter()) {
            match message {
                Message::InterfacesChanged(view) => newest = Some(view),
                Message::Command(submission) => commands.push(submission),
                other => rest.push(other),
            }
        }
        if let Some(view) = newest {
            owner.follow(view);
        }
        owner.execute_all(commands);
        for message in rest {
            match message {
                Message::Request(request) if !owner.stopping => owner.answer(request),
                Message::Stop(why) => return ControlFlow::Break(why),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

impl<D: Kernel> Owner<D> {
    fn answer(&mut self, request: Request) {
        match request {
            Request::Ping(reply) => reply.send(()),
            Request::Status(reply) => reply.send(self.status()),
            Request::Figures(reply) => reply.send(self.figures()),
            Request::Show(reply) => reply.send(self.show()),
            Request::History(reply) => reply.send(self.history()),
            Request::Present(reply) => reply.send(self.present().clone()),
            Request::Explain(request, reply) => reply.send(self.explain(&request)),
            Request::Flows(interface, reply) => reply.send(self.flows(interface.as_deref())),
            Request::Flush(request, sessions, reply) => {
                reply.send(self.flush(&request, &sessions));
            }
            Request::Confirm(since, reply) => reply.send(self.confirm(since)),
            Request::RollBack(revision, sessions, since, reply) => {
                reply.send(self.roll_back(revision, &sessions, since));
            }
            Request::Detach(reply) => reply.send(self.detach()),
        }
    }
}
