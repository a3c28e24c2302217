//! Brings calls from other tasks to the owner, and runs the owner.

use std::{
    fmt,
    ops::ControlFlow,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
};

use tokio::sync::oneshot;

use super::Owner;
use crate::{dataplane::Dataplane, links::View};

type Call<D> = Box<dyn FnOnce(&mut Owner<D>) + Send>;

enum Message<D> {
    Call(Call<D>),
    Links(View),
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

pub fn mailbox<D: Dataplane>() -> (Mailbox<D>, Inbox<D>) {
    let (sender, receiver) = channel();
    (Mailbox(sender), Inbox(receiver))
}

impl<D: Dataplane> Mailbox<D> {
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

    pub fn links(&self, view: View) -> Result<(), Ending> {
        self.0.send(Message::Links(view)).map_err(|_| Ending)
    }

    /// Ends the agent, with an error where something broke that it cannot do without.
    pub fn stop(&self, why: anyhow::Result<()>) {
        // It is ending already where nobody takes this.
        let _ = self.0.send(Message::Stop(why));
    }
}

impl<D: Dataplane> Inbox<D> {
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

    /// Of several views in a row only the last is looked at.
    fn handle(&self, message: Message<D>, owner: &mut Owner<D>) -> ControlFlow<anyhow::Result<()>> {
        let (mut message, mut latest) = (Some(message), None);
        while let Some(Message::Links(view)) = message {
            latest = Some(view);
            message = self.0.try_recv().ok();
        }
        if let Some(view) = latest {
            owner.follow(view);
        }
        match message {
            Some(Message::Call(call)) => call(owner),
            Some(Message::Stop(why)) => return ControlFlow::Break(why),
            Some(Message::Links(_)) | None => {}
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
