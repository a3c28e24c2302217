//! Brings calls from other tasks to the owner, and runs the owner.

use std::{
    fmt,
    ops::ControlFlow,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
};

use tokio::sync::oneshot;

use super::{
    Error, Owner,
    row::{Change, Request},
};
use crate::{api::Applied, kernel::Kernel, observe::interfaces::View};

type Call<D> = Box<dyn FnOnce(&mut Owner<D>) + Send>;

enum Message<D> {
    Call(Call<D>),
    Apply(Change),
    InterfacesChanged(View),
    Stop(anyhow::Result<()>),
}

/// Where other tasks leave what they want of the owner.
pub struct Mailbox<D>(Sender<Message<D>>);

/// The owner's end.
pub struct Inbox<D>(Receiver<Message<D>>);

/// The agent is ending.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the agent is ending")]
pub struct Ending;

pub fn mailbox<D: Kernel>() -> (Mailbox<D>, Inbox<D>) {
    let (sender, receiver) = channel();
    (Mailbox(sender), Inbox(receiver))
}

impl<D: Kernel> Mailbox<D> {
    /// Runs `call` on the owner and waits for what it gives.
    pub async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Owner<D>) -> T + Send + 'static,
    ) -> Result<T, Ending> {
        let (answer, answered) = oneshot::channel();
        let call = move |owner: &mut Owner<D>| {
            // Whoever asked may have gone.
            let _ = answer.send(call(owner));
        };
        self.0.send(Message::Call(Box::new(call))).map_err(|_| Ending)?;
        answered.await.map_err(|_| Ending)
    }

    /// Has new rules put in force.
    pub async fn apply(&self, request: Request) -> Result<Result<Applied, Error>, Ending> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(|result| drop(answer.send(result)));
        self.0.send(Message::Apply(Change { request, answer })).map_err(|_| Ending)?;
        answered.await.map_err(|_| Ending)
    }

    pub fn interfaces_changed(&self, view: View) -> Result<(), Ending> {
        self.0.send(Message::InterfacesChanged(view)).map_err(|_| Ending)
    }

    /// Ends the agent, with an error where something broke that it cannot do without.
    pub fn stop(&self, why: anyhow::Result<()>) {
        // It is ending already where nobody takes this.
        let _ = self.0.send(Message::Stop(why));
    }
}

impl<D: Kernel> Inbox<D> {
    /// Runs the owner until it is stopped, has detached, or nobody can ask any more. It has a thread
    /// of its own, so that compiling a large ruleset keeps nobody else waiting.
    ///
    /// # Errors
    /// What it was stopped for.
    pub fn run(&self, owner: &mut Owner<D>) -> anyhow::Result<()> {
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
    /// them is right: first the newest view, then all new rules together.
    fn handle(&self, first: Message<D>, owner: &mut Owner<D>) -> ControlFlow<anyhow::Result<()>> {
        let (mut newest, mut changes, mut rest) = (None, Vec::new(), Vec::new());
        for message in std::iter::once(first).chain(self.0.try_iter()) {
            match message {
                Message::InterfacesChanged(view) => newest = Some(view),
                Message::Apply(change) => changes.push(change),
                other => rest.push(other),
            }
        }
        if let Some(view) = newest {
            owner.follow(view);
        }
        owner.apply_all(changes);
        for message in rest {
            match message {
                Message::Call(call) if !owner.stopping => call(owner),
                Message::Stop(why) => return ControlFlow::Break(why),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

impl<D> Clone for Mailbox<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D> fmt::Debug for Mailbox<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

impl<D> fmt::Debug for Inbox<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}
