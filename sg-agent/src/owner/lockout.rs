//! Refuses a change that would cut the SSH session of its author, or leave no way back in. A change
//! that goes back by itself, or is forced, is not refused. A flush that would cut the session is
//! refused, too.

use sg_common::flow::TCP;
use sg_policy::{model::Role, plan};

use super::{
    carriers::{in_words, is_flow_of, opening},
    error::Error,
    flows::FlowFilter,
    interface_plan::PlannedInterface,
    prepare::{Images, Prepared},
    state::{InterfaceState, Owner},
};
use crate::{
    api::Session,
    datapath::{FlowEntry, Opening, Opens},
    kernel::Kernel,
    observe::ssh_sessions::{Carrier, Located},
};

/// Where rules come from that are to be in force.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    Command,
    /// An earlier revision.
    Revision(u64),
}

impl Origin {
    pub(super) fn rules(self) -> String {
        match self {
            Self::Command => "the new rules".to_owned(),
            Self::Revision(revision) => format!("the rules of revision {revision}"),
        }
    }

    pub(super) fn refuse(self, what: &str) -> Error {
        let by_itself = match self {
            Self::Command => "`--confirm SECONDS` goes back by itself, ",
            Self::Revision(_) => "",
        };
        Error::Conflict(format!("{what}; nothing was changed. {by_itself}{FORCE}"))
    }
}

const FORCE: &str = "`--force` does it all the same";

/// Packets that carry a session, and the rules that they are to get through.
struct Passage<'a> {
    next: &'a Prepared,
    images: &'a Images,
    origin: Origin,
    session: &'a Session,
    carrier: &'a Carrier,
}

impl<D: Kernel> Owner<D> {
    /// # Errors
    /// The next rules would end a session or let no other one in; nothing is changed.
    pub(super) fn refuse_lock_out(
        &self,
        next: &Prepared,
        origin: Origin,
        sessions: &[Located],
    ) -> Result<(), Error> {
        let Some(images) = &next.images else { return Ok(()) };
        for located in sessions {
            for carrier in &located.carriers {
                let session = &located.session;
                self.refuse_harm(&Passage { next, images, origin, session, carrier })?;
            }
            self.refuse_doubt(next, origin, located)?;
        }
        Ok(())
    }

    /// Wherever the packets may pass, and wherever they have a flow already.
    fn refuse_harm(&self, passage: &Passage<'_>) -> Result<(), Error> {
        let Passage { next, origin, carrier, .. } = passage;
        let with_flow = self.slots_with_flow(|flow| is_flow_of(flow, carrier));
        for (ifindex, planned) in &next.plan.interfaces {
            let has_flow = with_flow.contains(&planned.slot);
            if !has_flow && !carrier.interfaces.contains(ifindex) {
                continue;
            }
            if let Some(what) = self.harm(passage, *ifindex, planned, has_flow) {
                return Err(origin.refuse(&what));
            }
        }
        Ok(())
    }

    /// A session that comes in a way nobody can tell, if the change reaches any interface but the one that it
    /// is known to come through.
    fn refuse_doubt(
        &self,
        next: &Prepared,
        origin: Origin,
        located: &Located,
    ) -> Result<(), Error> {
        let Some(unknown) = &located.unknown else { return Ok(()) };
        let state = &next.target.active.state;
        let changes = plan::diff(self.rules(), state);
        let reached = plan::reached(self.rules(), state, &changes);
        let is_reached = |(ifindex, planned): (&u32, &PlannedInterface)| {
            let name = self.view.get(ifindex).map(|interface| &interface.device.name);
            let is_other = name.is_some() && name != unknown.interface.as_ref();
            let is_in = |entry: usize| reached.contains(&state.interfaces[entry].name);
            is_other && planned.entry.is_some_and(is_in)
        };
        if !next.plan.interfaces.iter().any(is_reached) {
            return Ok(());
        }
        let (rules, client, why) = (origin.rules(), located.session.client, &unknown.why);
        Err(origin.refuse(&format!(
            "whether {rules} would cut this SSH session ({client}) cannot be known: {why}"
        )))
    }

    /// The harm that a session takes at an interface, if any.
    fn harm(
        &self,
        passage: &Passage<'_>,
        ifindex: u32,
        planned: &PlannedInterface,
        has_flow: bool,
    ) -> Option<String> {
        let Passage { next, images, origin, session, carrier } = passage;
        let interface = self.view.get(&ifindex)?;
        let entry = &next.target.active.state.interfaces[planned.entry?];
        let opening = opening(planned.slot, entry.role, carrier);
        let spoofed =
            entry.source_check && entry.role == Role::Port && !carrier.is_from(&entry.addresses);
        let opens =
            if spoofed { Opens::Denied } else { self.kernel.judge(&images.active, &opening) };
        let kept = self.kept(ifindex, interface.generation);
        let (rules, client, name) = (origin.rules(), session.client, &interface.device.name);
        if let Some(tunnel) = &carrier.tunnel {
            let is_harm = opens == Opens::Denied && !self.denies(kept, &opening);
            let packets = in_words(carrier);
            return is_harm.then(|| {
                format!(
                    "{rules} would cut this SSH session ({client}), which comes through {tunnel}: \
                     none allows {packets} on {name}"
                )
            });
        }
        let cuts = entry.cuts();
        let (client_ip, port) = (carrier.source.ip(), carrier.destination.port());
        match (opens, kept) {
            (Opens::Untracked, _) => None,
            // It gets its flow as the connections do that are older than the filter.
            (Opens::Tracked, None) => None,
            // Without a flow it can only go on where it needs none; else it has been cut already.
            (Opens::Tracked, Some(kept)) => {
                let is_harm = !has_flow && self.needs_no_flow(kept, &opening);
                is_harm.then(|| {
                    format!(
                        "{rules} would cut this SSH session ({client}): TCP port {port} on {name} \
                         was open to all, so its connections have no flows, and it is to be open to \
                         some"
                    )
                })
            }
            (Opens::Denied, Some(_)) if !cuts && !spoofed && has_flow => Some(format!(
                "this SSH session would go on, but {rules} let {client_ip} open no other one: none \
                 allows it TCP port {port} on {name}"
            )),
            (Opens::Denied, _) => Some(format!(
                "{rules} would cut this SSH session ({client}): none allows {client_ip} TCP port \
                 {port} on {name}"
            )),
        }
    }

    /// Whether the rules in force deny it already.
    fn denies(&self, kept: Option<&InterfaceState>, opening: &Opening) -> bool {
        kept.is_some_and(|kept| kept.entry.is_some())
            && self.kernel.judge(&self.image_in_force, opening) == Opens::Denied
    }

    /// Whether the rules in force let a connection pass that has no flow.
    fn needs_no_flow(&self, held: &InterfaceState, opening: &Opening) -> bool {
        held.entry.is_none() || self.kernel.judge(&self.image_in_force, opening) == Opens::Untracked
    }

    /// # Errors
    /// The flush would end the flow of a session; nothing is changed.
    pub(super) fn refuse_flush(
        &self,
        filter: &FlowFilter,
        denied: bool,
        sessions: &[Located],
    ) -> Result<(), Error> {
        for Located { session, carriers, .. } in sessions {
            for (carrier, held) in carriers
                .iter()
                .flat_map(|carrier| self.filtered.values().map(move |it| (carrier, it)))
            {
                // Only TCP needs pickup; other packets open a flow anew.
                let goes_on = || carrier.protocol != TCP || denied || self.picks_up(held, filter);
                let ends = |flow: &FlowEntry| {
                    is_flow_of(flow, carrier)
                        && filter.matches(flow)
                        && match self.kernel.judge(&self.image_in_force, &flow.opening()) {
                            Opens::Denied => true,
                            Opens::Tracked => !goes_on(),
                            Opens::Untracked => false,
                        }
                };
                if self.has_flow(held.slot, ends) {
                    let (client, name) = (session.client, &held.name);
                    return Err(Error::Conflict(format!(
                        "this would cut this SSH session ({client}), whose flow on {name} is among \
                         those to end; nothing was changed. {FORCE}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether a forgotten flow that the rules allow goes on in mid-stream.
    fn picks_up(&self, held: &InterfaceState, filter: &FlowFilter) -> bool {
        let until = held.pickup_until;
        let is_anew = filter.is_everything()
            && held.entry.is_some_and(|entry| self.rules().interfaces[entry].tracking.pickup > 0);
        is_anew || (until != 0 && !self.ticks().has_passed(until))
    }
}
