//! A control plane as the source of this host's rules.
//!
//! ```text
//! feed.sock ─> link ─> follow ─> replica (sg-store) ─> disk: the host's copy of the store
//!                        │
//! rtnetlink ─> devices ──┴─> host:  claims: which network interface is which device
//!                                   past: devices that were bound before
//!                                   desired: the state of this host ─> the owner
//! ```
//!
//! `claims`, `past` and `desired` are pure. [`condition`] is what `status` shows of it all.

pub mod claims;
pub mod condition;
pub mod desired;
mod disk;
mod follow;
mod host;
mod link;
pub mod past;
#[cfg(test)]
mod samples;
mod translate;

use std::path::Path;

use tokio::sync::{mpsc, oneshot};

use self::{
    condition::Condition,
    follow::{Accept, Follower},
};
use crate::{config::control::Control as Settings, owner::mailbox::Mailbox};

/// The control plane, as the local socket sees it.
#[derive(Clone, Debug)]
pub struct Control {
    pub condition: Condition,
    accepts: mpsc::Sender<Accept>,
}

impl Control {
    /// Follows a control plane from now on. Within a runtime.
    ///
    /// # Errors
    /// The state directory or rtnetlink cannot be read.
    pub fn start(settings: &Settings, state_dir: &Path, agent: &Mailbox) -> anyhow::Result<Self> {
        let condition = Condition::new(settings.source.to_string());
        let (accepts, asked) = mpsc::channel(1);
        let follower =
            Follower::open(settings, state_dir, agent.clone(), condition.clone(), asked)?;
        tokio::spawn(follower.run(agent.clone()));
        Ok(Self { condition, accepts })
    }

    /// Takes the store that the host holds against. Returns its epoch.
    ///
    /// # Errors
    /// There is none, or the agent is ending.
    pub async fn accept_store(&self) -> Result<String, String> {
        let (answer, answered) = oneshot::channel();
        let ending = || "the agent is ending".to_owned();
        self.accepts.send(answer).await.map_err(|_| ending())?;
        answered.await.map_err(|_| ending())?
    }
}
