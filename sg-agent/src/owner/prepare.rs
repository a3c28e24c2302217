//! Compiles a target for this host: the plan for its interfaces, and its images.

use std::time::Instant;

use sg_common::flow::Tick;
use sg_policy::{
    compile::{Image, Parameters},
    describe,
    model::LiveInterface,
};

use super::{
    cause::Cause,
    error::Error,
    interface_plan::InterfacePlan,
    revision::{PendingConfirmation, Revision, Target},
    state::Owner,
};
use crate::kernel::Kernel;

/// A target with its images. Nothing of it is in force yet.
pub(super) struct Prepared {
    pub(super) target: Target,
    pub(super) plan: InterfacePlan,
    /// `None`: the image in force is right for the target.
    pub(super) images: Option<Images>,
    pub(super) cause: Cause,
    pub(super) live: Vec<LiveInterface>,
    pub(super) live_fallback: Vec<LiveInterface>,
    pub(super) began: Instant,
}

pub(super) struct Images {
    pub(super) active: Image,
    pub(super) fallback: Option<(Image, Tick)>,
}

impl<D: Kernel> Owner<D> {
    /// Compiles `target` for the interfaces that are there. Nothing is changed yet.
    ///
    /// # Errors
    /// It does not fit, or, with a strict cause, an interface that it filters gets no slot.
    pub(super) fn prepare(&mut self, target: Target, cause: Cause) -> Result<Prepared, Error> {
        let prepared = self.compile_for(target, cause);
        if prepared.is_err() {
            self.publishing.failures.inc();
        }
        prepared
    }

    fn compile_for(&mut self, target: Target, cause: Cause) -> Result<Prepared, Error> {
        let began = Instant::now();
        self.release_in_time();
        let plan = self.plan_interfaces(&target, cause);
        if cause.is_strict() && !plan.left_out.is_empty() {
            return Err(Error::Refused(self.no_slot()));
        }
        let live = plan.live(&self.view);
        let live_fallback = plan.live_fallback(&self.view);
        let publishes = cause != Cause::InterfacesChanged
            || self.is_other_in_force
            || live != self.live
            || live_fallback != self.live_fallback;
        let images =
            if publishes { Some(self.compile(&target, &live, &live_fallback)?) } else { None };
        Ok(Prepared { target, cause, plan, live, live_fallback, images, began })
    }

    pub(super) fn compile(
        &self,
        target: &Target,
        live: &[LiveInterface],
        live_fallback: &[LiveInterface],
    ) -> Result<Images, Error> {
        let active = self.image(&target.active, live, self.kernel.now())?;
        let fallback = match &target.pending {
            // The fallback's rules count from the moment at which they are in force again.
            Some(PendingConfirmation { previous, deadline, .. }) => {
                Some((self.image(previous, live_fallback, *deadline)?, *deadline))
            }
            None => None,
        };
        Ok(Images { active, fallback })
    }

    /// Compiles a revision. If its rules cut, they judge every flow that was last seen up to
    /// `since`.
    pub(super) fn image(
        &self,
        revision: &Revision,
        live: &[LiveInterface],
        since: Tick,
    ) -> Result<Image, Error> {
        let parameters = Parameters {
            ticks_per_1000s: self.kernel.ticks_per_1000s(),
            revision: revision.number,
            cut_since: since,
        };
        let compiler = &mut self.compiler.borrow_mut();
        (self.options.compile)(compiler, &revision.state, live, &parameters)
            .map_err(|error| Error::Refused(error.to_string()))
    }

    pub(super) fn no_slot(&self) -> String {
        let interfaces = usize::from(self.options.max_interfaces);
        let interfaces = describe::count(interfaces, "interface", "interfaces");
        format!("no more than {interfaces} can be filtered at once (max-interfaces)")
    }
}
