//! The one owner of the desired state. Everything that changes what is in force is a call that
//! runs here, one after the other: [`mailbox::Mailbox`] brings them from other tasks.
//!
//! Every change, whatever its source, goes the same way ([`enforce`]): which interfaces are to be
//! filtered -> compile -> write to the journal -> publish -> wait for the disk -> attach new ones ->
//! detach old ones. What has no record
//! in the image in force passes, so detaching after the flip changes nothing for any packet: the
//! flip alone does. New rules attach new interfaces before they are stored, so that one that cannot
//! be had leaves everything as it was, and the flip starts to filter all of them at one instant.

mod attach_limiter;
pub mod change;
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
pub mod row;
mod seed;
mod slots;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, collections::BTreeMap, path::PathBuf, sync::Arc};

use sg_common::flow::Tick;
use sg_policy::{
    DesiredState,
    compile::{CompileError, Compiler, Image, Parameters},
    model::{DatapathChoice, LiveInterface},
    rules::source::Source,
};

use self::{
    attach_limiter::AttachLimiter,
    figures::{ImageFigures, Publishing},
    slots::Used,
};
use crate::{
    datapath::{self, Attachment},
    flow_log::names::Names,
    kernel::Kernel,
    observe::interfaces::View,
    store::{self, Change, Store},
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

/// A revision of the rules.
#[derive(Clone, Debug)]
pub struct Ruleset {
    /// 0 = nothing was ever applied.
    pub revision: u64,
    pub rules: Arc<DesiredState>,
    /// The file that says so; the next one is read by what has changed.
    pub source: Arc<Source>,
}

impl Ruleset {
    pub fn new(revision: u64, source: Arc<Source>) -> Self {
        Self { revision, rules: Arc::clone(source.state()), source }
    }
}

/// What waits for a confirmation.
#[derive(Clone, Debug)]
struct PendingConfirmation {
    /// In force from the deadline on.
    previous: Ruleset,
    deadline: Tick,
    /// The deadline for people, Unix time in seconds.
    until: u64,
}

/// What is to be in force.
#[derive(Clone, Debug)]
struct Target {
    active: Ruleset,
    pending: Option<PendingConfirmation>,
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
    dataplane: D,
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
    image: ImageFigures,
    publishing: Publishing,
}

/// The rules that the state directory holds, read and parsed before the kernel is touched.
#[derive(Debug)]
pub struct Stored {
    current: Ruleset,
    previous: Option<Ruleset>,
}

impl Stored {
    /// # Errors
    /// A file cannot be read, is not what was written, or is not taken by this version.
    pub fn load(store: &Store) -> anyhow::Result<Self> {
        let ledger = store.ledger();
        let previous = ledger.pending.as_ref().map(|pending| load(store, pending.previous));
        Ok(Self { current: load(store, ledger.current)?, previous: previous.transpose()? })
    }

    pub fn rules(&self) -> &DesiredState {
        &self.current.rules
    }
}

fn load(store: &Store, revision: u64) -> anyhow::Result<Ruleset> {
    if revision == 0 {
        return Ok(Ruleset::new(0, Arc::default()));
    }
    let text = store.text(revision)?;
    let source = Source::read(&format!("revision {revision}"), text)
        .map_err(|faults| anyhow::anyhow!("the stored rules are not valid:\n{faults}"))?;
    Ok(Ruleset::new(revision, Arc::new(source)))
}

impl<D: Kernel> Owner<D> {
    /// Puts what is stored in force, taking over what an earlier agent left: same slots, so same
    /// flows and counters, and no moment without rules.
    ///
    /// # Errors
    /// The rules cannot be compiled or published; what was in force before stays so.
    pub fn start(
        dataplane: D,
        mut store: Store,
        stored: Stored,
        view: View,
        options: Options,
    ) -> Result<Self, Error> {
        if let Some(inherited) = dataplane.inherited() {
            store.rise_above(inherited.revision);
        }
        let ticks = ticks(&dataplane);
        let target = resume(&mut store, stored, ticks, &options);
        let mut owner = Self {
            dataplane,
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
            image: ImageFigures::default(),
            publishing: Publishing::default(),
        };
        owner.take_over();
        owner.enforce(target, enforce::Cause::Start, None)?;
        Ok(owner)
    }

    fn ticks(&self) -> Ticks {
        ticks(&self.dataplane)
    }

    fn rules(&self) -> &DesiredState {
        &self.target.active.rules
    }

    /// Removes the filter altogether; the agent ends after this.
    pub fn detach(&mut self) -> Result<(), Error> {
        self.dataplane.remove(&self.options.bpffs)?;
        tracing::warn!("detached: nothing is filtered any more");
        self.stopping = true;
        Ok(())
    }
}

fn ticks(dataplane: &impl Kernel) -> Ticks {
    Ticks { now: dataplane.now(), per_1000s: dataplane.ticks_per_1000s() }
}

/// A full or read-only disk is no reason to filter nothing: the next start reads the same and does the
/// same.
fn note(recorded: Result<(), store::Error>) {
    if let Err(error) = recorded {
        tracing::error!(%error, "what became of the unconfirmed change is not recorded");
    }
}

/// An unconfirmed change goes on waiting until its deadline. That counts in the ticks of the boot that
/// it was made in; in another boot the wall clock says what is left.
fn resume(store: &mut Store, stored: Stored, ticks: Ticks, options: &Options) -> Target {
    let Stored { current, previous } = stored;
    let (Some(previous), Some(pending)) = (previous, store.ledger().pending.clone()) else {
        return Target { active: current, pending: None };
    };
    let deadline = if pending.boot_id == options.boot_id {
        (!ticks.has_passed(pending.deadline)).then_some(pending.deadline)
    } else {
        store.ledger().seconds_left(options.started_at).map(|left| ticks.after(left))
    };
    let Some(deadline) = deadline else {
        tracing::warn!(
            revision = current.revision,
            back_to = previous.revision,
            "the change was not confirmed in time and is rolled back"
        );
        note(store.record(Change::RollBack));
        return Target { active: previous, pending: None };
    };
    if pending.boot_id != options.boot_id {
        let boot_id = options.boot_id.clone();
        note(store.record(Change::Rearm { deadline, boot_id }));
    }
    let pending = PendingConfirmation { previous, deadline, until: pending.until };
    Target { active: current, pending: Some(pending) }
}
