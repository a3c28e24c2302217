//! Everything that the owner knows.

use std::{cell::RefCell, collections::BTreeMap, path::PathBuf, time::Instant};

use sg_common::flow::Tick;
use sg_policy::{
    DesiredState,
    compile::{CompileError, Compiler, Image, Parameters},
    model::{DatapathChoice, LiveInterface},
};

use super::{
    attach_limiter::AttachLimiter, figures::Publishing, revision::Target, used_slots::UsedSlots,
    verification::Verification,
};
use crate::{
    datapath::Attachment,
    flow_log::names::InterfaceNames,
    kernel::Kernel,
    observe::{interfaces::View, name::Name},
    store::Store,
    system::clock::Ticks,
};

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
    pub names: InterfaceNames,
}

/// An interface that is attached, or should be.
#[derive(Clone, Debug)]
pub(super) struct InterfaceState {
    pub(super) name: Name,
    pub(super) generation: u64,
    pub(super) slot: u16,
    pub(super) pickup_until: Tick,
    pub(super) choice: DatapathChoice,
    /// Index of the active rules' entry. `None`: only the rules to fall back to filter it.
    pub(super) entry: Option<usize>,
    pub(super) ethernet: bool,
    /// Or why it could not be attached.
    pub(super) attachment: Result<Attachment, String>,
}

#[derive(Debug)]
pub struct Owner<D> {
    pub(super) kernel: D,
    pub(super) store: Store,
    pub(super) options: Options,
    /// Its memory makes it faster, and changes no meaning of an image.
    pub(super) compiler: RefCell<Compiler>,
    pub(super) view: View,
    pub(super) target: Target,
    pub(super) filtered: BTreeMap<u32, InterfaceState>,
    /// Interfaces that match an entry and got no slot, with the reason.
    pub(super) left_out: BTreeMap<u32, String>,
    /// The interfaces that the image in force was compiled for.
    pub(super) live: Vec<LiveInterface>,
    /// The interfaces that the image to fall back to was compiled for.
    pub(super) live_fallback: Vec<LiveInterface>,
    /// Something is not as it should be and is tried again.
    pub(super) unsettled: bool,
    /// When that was tried last.
    pub(super) tried: Instant,
    pub(super) verification: Verification,
    /// Rules are in force that were refused, because the ones before could not be put back.
    pub(super) is_other_in_force: bool,
    pub(super) attach_limiter: AttachLimiter,
    pub(super) used_slots: UsedSlots,
    pub(super) stopping: bool,
    pub(super) image_in_force: Image,
    pub(super) publishing: Publishing,
}

impl<D: Kernel> Owner<D> {
    pub(super) fn ticks(&self) -> Ticks {
        ticks(&self.kernel)
    }

    pub(super) fn rules(&self) -> &DesiredState {
        &self.target.active.state
    }
}

pub(super) fn ticks(kernel: &impl Kernel) -> Ticks {
    Ticks { now: kernel.now(), per_1000s: kernel.ticks_per_1000s() }
}
