//! Runs the owner: takes messages from its mailbox, and lets time pass.

use std::{ops::ControlFlow, sync::mpsc::RecvTimeoutError};

use super::{
    mailbox::{Inbox, Message, Request},
    state::Owner,
};
use crate::kernel::Kernel;

impl Inbox {
    /// Runs the owner until it is stopped, has detached, or nobody can ask any more. It has a thread
    /// of its own, so that compiling a large ruleset keeps nobody else waiting.
    ///
    /// # Errors
    /// The error that it was stopped for.
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
                    owner.wake_in_time();
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
            Request::Flows(interface, from, reply) => {
                reply.send(self.flows(interface.as_deref(), from));
            }
            Request::Flush(request, sessions, reply) => {
                reply.send(self.flush(&request, &sessions));
            }
            Request::Confirm(since, reply) => reply.send(self.confirm(since)),
            Request::RollBack(revision, guard, since, reply) => {
                reply.send(self.roll_back(revision, &guard, since));
            }
            Request::Detach(reply) => reply.send(self.detach()),
        }
    }
}
