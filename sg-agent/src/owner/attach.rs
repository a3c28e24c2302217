//! Programs on interfaces: attached, taken back, and moved to a better hook when there is time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sg_policy::model::DatapathChoice;
use tracing::{error, info, warn};

use super::{
    cause::Cause,
    error::Error,
    interface_plan::{InterfacePlan, PlannedInterface},
    state::{InterfaceState, Owner},
};
use crate::{
    datapath::{self, AttachMode, Attachment},
    kernel::Kernel,
};

/// How interfaces are attached after the attempt, and how to take it back.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) attachments: BTreeMap<u32, Result<Attachment, String>>,
    /// Interfaces with the choice that they were attached by before.
    undo: Vec<(u32, Option<DatapathChoice>)>,
}

impl<D: Kernel> Owner<D> {
    /// Attaches interfaces that are not attached as they should be. If the image in force has no
    /// record of an interface, that changes nothing for its packets.
    ///
    /// # Errors
    /// With a strict cause, the interface that cannot be attached; nothing is attached then.
    pub(super) fn attach(&mut self, plan: &InterfacePlan, cause: Cause) -> Result<Attempt, Error> {
        let mut attempt = Attempt::default();
        for (&ifindex, planned) in &plan.interfaces {
            let Some(interface) = self.view.get(&ifindex) else { continue };
            let name = interface.device.name.to_string();
            let held = self.kept(ifindex, interface.generation).cloned();
            let before = held.as_ref().filter(|held| held.attachment.is_ok());
            if let Some(before) = before.filter(|before| before.choice == planned.choice) {
                attempt.attachments.insert(ifindex, before.attachment.clone());
                continue;
            }
            let was_a_problem = held.is_some() && before.is_none();
            let result = match self.attach_one(ifindex, &name, planned, held.is_some()) {
                Ok(attachment) => {
                    info!(interface = %name, hook = ?attachment.hook, "filtered: {}", attachment.reason);
                    attempt.undo.push((ifindex, before.map(|before| before.choice)));
                    Ok(attachment)
                }
                Err(error) if !self.kernel.exists(ifindex) => {
                    warn!(interface = %name, "gone before it could be filtered");
                    Err(error.to_string())
                }
                // One that was a problem before the change must not stand in its way, nor one that a pattern
                // cannot leave out.
                Err(error) if cause.is_strict() && !was_a_problem && !planned.is_inevitable() => {
                    attempt.undo.push((ifindex, before.map(|before| before.choice)));
                    self.undo(&attempt);
                    return Err(Error::Refused(format!("cannot filter {name}: {error}")));
                }
                Err(error) => {
                    let reason = error.to_string();
                    if held.and_then(|held| held.attachment.err()).as_ref() != Some(&reason) {
                        error!(interface = %name, "is NOT filtered: {reason}");
                    }
                    Err(reason)
                }
            };
            attempt.attachments.insert(ifindex, result);
        }
        Ok(attempt)
    }

    fn attach_one(
        &mut self,
        ifindex: u32,
        name: &str,
        planned: &PlannedInterface,
        is_kept: bool,
    ) -> Result<Attachment, datapath::Error> {
        if let Some(reason) = planned.unseen {
            return Err(datapath::Error::Other(reason.to_owned()));
        }
        if !is_kept && self.filtered.contains_key(&ifindex) {
            // Links of an earlier interface of this number would pass for this one's.
            self.kernel.detach(ifindex)?;
        }
        let mode = self.attach_limiter.take(Instant::now());
        self.kernel.attach(ifindex, name, planned.choice, mode)
    }

    pub(super) fn undo(&mut self, attempt: &Attempt) {
        for &(ifindex, choice) in attempt.undo.iter().rev() {
            let interface = self.view.get(&ifindex);
            let name = interface.map(|it| it.device.name.to_string()).unwrap_or_default();
            let undone = match choice {
                Some(choice) => {
                    self.kernel.attach(ifindex, &name, choice, AttachMode::Preferred).map(drop)
                }
                None => self.kernel.detach(ifindex),
            };
            if let Err(error) = undone {
                error!(interface = %name, %error, "cannot be put back as it was attached");
            }
        }
    }

    /// When there is time for the next of [`Self::upgrade_hook`].
    pub(super) fn next_upgrade_in(&self) -> Option<Duration> {
        self.attached_for_now().map(|_| self.attach_limiter.until_full(Instant::now()))
    }

    fn attached_for_now(&self) -> Option<u32> {
        let is_for_now = |(ifindex, held): (&u32, &InterfaceState)| {
            held.attachment
                .as_ref()
                .is_ok_and(|attachment| attachment.is_provisional)
                .then_some(*ifindex)
        };
        self.filtered.iter().find_map(is_for_now)
    }

    /// Gives one interface that was attached in haste the hook that it should have.
    pub(super) fn upgrade_hook(&mut self) {
        let now = Instant::now();
        let Some(ifindex) =
            self.attached_for_now().filter(|_| self.attach_limiter.until_full(now).is_zero())
        else {
            return;
        };
        let mode = self.attach_limiter.take(now);
        let Some(held) = self.filtered.get_mut(&ifindex) else { return };
        let name = held.name.to_string();
        match self.kernel.attach(ifindex, &name, held.choice, mode) {
            Ok(attachment) => held.attachment = Ok(attachment),
            Err(error) => {
                warn!(interface = name, %error, "keeps the hook that it has");
                let kept = self.kernel.attach(ifindex, &name, held.choice, AttachMode::Fast);
                let kept = kept.map_err(|error| error.to_string());
                self.unsettled |= kept.is_err();
                held.attachment =
                    kept.map(|attachment| Attachment { is_provisional: false, ..attachment });
            }
        }
    }
}
