//! The one owner of the desired state. Everything that gives the host other rules is a
//! [`command::Command`]. The owner executes commands one after the other. [`mailbox::Mailbox`] brings
//! them from other tasks.
//!
//! Every change, whatever its source, goes the same way ([`enforce`]): which interfaces are to be
//! filtered -> compile -> write to the journal -> publish -> wait for the disk -> attach new ones ->
//! detach old ones. What has no record
//! in the image in force passes, so detaching after the flip changes nothing for any packet: the
//! flip alone does. New rules attach new interfaces before they are stored, so that one that cannot
//! be had leaves everything as it was, and the flip starts to filter all of them at one instant.

mod attach_limiter;
pub mod batch;
pub mod command;
mod enforce;
mod explain;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod figures;
mod flows;
mod frame;
mod interface_plan;
pub mod lockout;
pub mod mailbox;
mod queries;
pub mod revision;
mod seed;
mod slots;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{cell::RefCell, collections::BTreeMap, path::PathBuf};

use sg_common::flow::Tick;
use sg_policy::{
    DesiredState,
    compile::{CompileError, Compiler, Image, Parameters},
    model::{DatapathChoice, LiveInterface},
};

pub use self::revision::Stored;
use self::{
    attach_limiter::AttachLimiter,
    figures::Publishing,
    revision::{PendingConfirmation, Revision, Target, load, resume},
    slots::Used,
};
use crate::{
    datapath::{self, Attachment},
    flow_log::names::Names,
    kernel::Kernel,
    observe::interfaces::View,
    store::{self, Store},
    system::clock::Ticks,
};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question or request makes no sense.
    #[error("{0}")]
    Request(String),
    /// The present state does not admit it.
    #[error("{0}")]
    Conflict(String),
    /// The rules are right but do not fit or cannot be had on this host. The old ones are in force.
    #[error("{0}; nothing was changed")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Datapath(#[from] datapath::Error),
}

/// [`Compiler::compile`], or a stand-in.
pub type Compile =
    fn(&mut Compiler, &DesiredState, &[LiveInterface], &Parameters) -> Result<Image, CompileError>;

#[derive(Clone, Debug)]
pub struct Options {
    pub max_interfaces: u16,
    pub bpffs: PathBuf,
    pub boot_id: String,
    /// Unix time at the start, in seconds.
    pub started_at: u64,
    pub compile: Compile,
    /// Told which interfaces are filtered.
    pub names: Names,
}

/// An interface that is attached, or should be.
#[derive(Clone, Debug)]
struct InterfaceState {
    name: String,
    generation: u64,
    slot: u16,
    pickup_until: Tick,
    choice: DatapathChoice,
    /// Index of the active rules' entry. `None`: only the rules to fall back to filter it.
    entry: Option<usize>,
    ethernet: bool,
    /// Or why it could not be attached.
    attachment: Result<Attachment, String>,
}

#[derive(Debug)]
pub struct Owner<D> {
    kernel: D,
    store: Store,
    options: Options,
    /// What it remembers makes it faster, and changes no meaning of an image.
    compiler: RefCell<Compiler>,
    view: View,
    target: Target,
    filtered: BTreeMap<u32, InterfaceState>,
    /// Interfaces that match an entry and got no slot, with the reason.
    left_out: BTreeMap<u32, String>,
    /// What the image in force was compiled for, and the one to fall back to.
    live: Vec<LiveInterface>,
    live_fallback: Vec<LiveInterface>,
    /// Something is not as it should be and is tried again.
    unsettled: bool,
    /// Rules are in force that were refused, because the ones before could not be put back.
    is_other_in_force: bool,
    attach_limiter: AttachLimiter,
    used: Used,
    stopping: bool,
    image_in_force: Image,
    publishing: Publishing,
}

impl<D: Kernel> Owner<D> {
    /// Puts what is stored in force, taking over what an earlier agent left: same slots, so same
    /// flows and counters, and no moment without rules.
    ///
    /// # Errors
    /// The rules cannot be compiled or published; what was in force before stays so.
    pub fn start(
        kernel: D,
        mut store: Store,
        stored: Stored,
        view: View,
        options: Options,
    ) -> Result<Self, Error> {
        if let Some(inherited) = kernel.inherited() {
            store.rise_above(inherited.revision);
        }
        let ticks = ticks(&kernel);
        let target = resume(&mut store, stored, ticks, &options);
        let mut owner = Self {
            kernel,
            store,
            options,
            compiler: RefCell::default(),
            view,
            target: target.clone(),
            filtered: BTreeMap::new(),
            left_out: BTreeMap::new(),
            live: Vec::new(),
            live_fallback: Vec::new(),
            unsettled: false,
            is_other_in_force: false,
            attach_limiter: AttachLimiter::new(),
            used: Used::default(),
            stopping: false,
            image_in_force: Image { words: Vec::new() },
            publishing: Publishing::default(),
        };
        owner.take_over();
        let prepared = owner.prepare(target, enforce::Cause::Start)?;
        owner.enforce(prepared, None)?;
        Ok(owner)
    }

    fn ticks(&self) -> Ticks {
        ticks(&self.kernel)
    }

    fn rules(&self) -> &DesiredState {
        &self.target.active.state
    }

    /// Removes the filter altogether; the agent ends after this.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.kernel.remove(&self.options.bpffs)?;
        tracing::warn!("detached: nothing is filtered any more");
        self.stopping = true;
        Ok(())
    }
}

fn ticks(kernel: &impl Kernel) -> Ticks {
    Ticks { now: kernel.now(), per_1000s: kernel.ticks_per_1000s() }
}
