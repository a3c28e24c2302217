//! A change that would cut the SSH session of whoever makes it, or leave no way back in, is refused
//! unless it goes back by itself or is forced; so is a flush that would cut it.

use std::net::SocketAddr;

use sg_common::{Direction, flow::TCP};
use sg_policy::{compile::Image, model::Role};

use super::{
    error::Error,
    flows::FlowFilter,
    interface_plan::PlannedInterface,
    prepare::Prepared,
    revision::Target,
    state::{InterfaceState, Owner},
};
use crate::{
    api::Session,
    datapath::{FlowEntry, Opening, Opens},
    kernel::Kernel,
    observe::ssh_sessions::Located,
};

/// Where rules come from that are to be in force.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    Command,
    /// An earlier revision.
    Revision(u64),
}

impl Origin {
    fn rules(self) -> String {
        match self {
            Self::Command => "the new rules".to_owned(),
            Self::Revision(revision) => format!("the rules of revision {revision}"),
        }
    }

    fn refuse(self, what: &str) -> Error {
        let by_itself = match self {
            Self::Command => "`--confirm SECONDS` goes back by itself, ",
            Self::Revision(_) => "",
        };
        Error::Conflict(format!("{what}; nothing was changed. {by_itself}{FORCE}"))
    }
}

const FORCE: &str = "`--force` does it all the same";

impl<D: Kernel> Owner<D> {
    /// # Errors
    /// What the next rules would do to a session; nothing is changed.
    pub(super) fn refuse_lock_out(
        &self,
        next: &Prepared,
        origin: Origin,
        sessions: &[Located],
    ) -> Result<(), Error> {
        let Some(images) = &next.images else { return Ok(()) };
        for Located { session, interfaces } in sessions {
            for ifindex in interfaces {
                if let Some(planned) = next.plan.interfaces.get(ifindex)
                    && let Some(what) = self.harm(
                        &next.target,
                        &images.active,
                        (*ifindex, planned),
                        origin,
                        session,
                    )
                {
                    return Err(origin.refuse(&what));
                }
            }
        }
        Ok(())
    }

    /// What a session suffers at an interface, if anything.
    fn harm(
        &self,
        target: &Target,
        image: &Image,
        (ifindex, planned): (u32, &PlannedInterface),
        origin: Origin,
        session: &Session,
    ) -> Option<String> {
        let interface = self.view.get(&ifindex)?;
        let entry = &target.active.state.interfaces[planned.entry?];
        let opening = opening(planned.slot, entry.role, session);
        let spoofed = entry.role == Role::Port
            && entry.source_check
            && !entry.addresses.contains(&session.client.ip());
        let opens = if spoofed { Opens::Denied } else { self.kernel.judge(image, &opening) };
        let has_flow = || self.has_flow(planned.slot, |flow| is_flow_of(flow, session));
        let kept = self.kept(ifindex, interface.generation);
        let cuts = entry.cuts();
        let Session { client, server } = session;
        let (client_ip, port, name) = (client.ip(), server.port(), &interface.name);
        let rules = origin.rules();
        match (opens, kept) {
            (Opens::Untracked, _) => None,
            // It gets its flow as the connections do that are older than the filter.
            (Opens::Tracked, None) => None,
            // Without a flow it can only go on where it needs none; else it has been cut already.
            (Opens::Tracked, Some(kept)) => {
                let is_harm = !has_flow() && self.needs_no_flow(kept, &opening);
                is_harm.then(|| {
                    format!(
                        "{rules} would cut this SSH session ({client}): TCP port {port} on {name} \
                         was open to all, so its connections have no flows, and it is to be open to \
                         some"
                    )
                })
            }
            (Opens::Denied, Some(_)) if !cuts && !spoofed && has_flow() => Some(format!(
                "this SSH session would go on, but {rules} let {client_ip} open no other one: none \
                 allows it TCP port {port} on {name}"
            )),
            (Opens::Denied, _) => Some(format!(
                "{rules} would cut this SSH session ({client}): none allows {client_ip} TCP port \
                 {port} on {name}"
            )),
        }
    }

    /// Whether the rules in force let a connection pass that has no flow.
    fn needs_no_flow(&self, held: &InterfaceState, opening: &Opening) -> bool {
        held.entry.is_none() || self.kernel.judge(&self.image_in_force, opening) == Opens::Untracked
    }

    /// # Errors
    /// A session whose flow is among those that a flush would end; nothing is changed.
    pub(super) fn refuse_flush(
        &self,
        filter: &FlowFilter,
        denied: bool,
        sessions: &[Located],
    ) -> Result<(), Error> {
        if sessions.is_empty() {
            return Ok(());
        }
        for Located { session, interfaces } in sessions {
            for held in interfaces.iter().filter_map(|ifindex| self.filtered.get(ifindex)) {
                let ends = |flow: &FlowEntry| {
                    is_flow_of(flow, session)
                        && filter.matches(flow)
                        && match self.kernel.judge(&self.image_in_force, &flow.opening()) {
                            Opens::Denied => true,
                            Opens::Tracked => !denied && !self.picks_up(held, filter),
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

    /// Whether what a flush forgets and the rules allow goes on in mid-stream.
    fn picks_up(&self, held: &InterfaceState, filter: &FlowFilter) -> bool {
        let until = held.pickup_until;
        let is_anew = filter.is_everything()
            && held.entry.is_some_and(|entry| self.rules().interfaces[entry].tracking.pickup > 0);
        is_anew || (until != 0 && !self.ticks().has_passed(until))
    }
}

/// A port's instance that connects to this host opens it on its way out.
fn opening(slot: u16, role: Role, session: &Session) -> Opening {
    let Session { client, server } = *session;
    let (direction, local, remote) = match role {
        Role::Host => (Direction::Ingress, server, client),
        Role::Port => (Direction::Egress, client, server),
    };
    Opening { slot, protocol: TCP, direction, local, remote }
}

fn is_flow_of(flow: &FlowEntry, session: &Session) -> bool {
    let ends = (SocketAddr::new(flow.src, flow.sport), SocketAddr::new(flow.dst, flow.dport));
    let Session { client, server } = *session;
    // Picked up in mid-stream, a session may count as opened by its server.
    flow.protocol == TCP
        && flow.state != "cut"
        && (ends == (client, server) || ends == (server, client))
}
