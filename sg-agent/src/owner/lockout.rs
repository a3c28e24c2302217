//! A change that would cut the SSH session of whoever makes it, or leave no way back in, is refused
//! unless it goes back by itself or is forced.

use std::{net::SocketAddr, sync::Arc};

use sg_common::{Direction, flow::TCP};
use sg_policy::{compile::Image, model::Role, plan, rules::source::Source};

use super::{Error, Owner, Ruleset, Target, enforce::Cause, situation::Wanted};
use crate::{
    api::Session,
    datapath::{FlowEntry, Opening, Opens},
    dataplane::Dataplane,
    session::Located,
};

impl<D: Dataplane> Owner<D> {
    /// # Errors
    /// What `rules` would do to a session; nothing is changed.
    pub fn refuse_lock_out(&self, rules: &Arc<Source>, sessions: &[Located]) -> Result<(), Error> {
        if sessions.is_empty() || plan::diff(self.rules(), rules.state()).is_empty() {
            return Ok(());
        }
        let revision = self.store.next_revision();
        let target =
            Target { active: Ruleset::new(revision, Arc::clone(rules)), outstanding: None };
        let situation = self.situation(&target, Cause::Apply);
        let live = situation.live(&self.view);
        let image = self.image(&target.active, &live, self.dataplane.now())?;
        for Located { session, interfaces } in sessions {
            for ifindex in interfaces {
                if let Some(wanted) = situation.wanted.get(ifindex)
                    && let Some(what) = self.harm(&target, &image, *ifindex, wanted, session)
                {
                    return Err(Error::Conflict(format!(
                        "{what}; nothing was changed. `--confirm SECONDS` goes back by itself, \
                         `--force` does it all the same"
                    )));
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
        ifindex: u32,
        wanted: &Wanted,
        session: &Session,
    ) -> Option<String> {
        let entry = &target.active.rules.interfaces[wanted.entry?];
        let link = self.view.get(&ifindex)?;
        let opening = opening(wanted.slot, entry.role, session);
        let spoofed = entry.role == Role::Port
            && entry.source_check
            && !entry.addresses.contains(&session.client.ip());
        let opens = if spoofed { Opens::Denied } else { self.dataplane.judge(image, &opening) };
        let has_flow = || self.has_flow(wanted.slot, |flow| is_flow_of(flow, session));
        let is_new = self.kept(ifindex, link.generation).is_none();
        let cuts = target.active.is_cut();
        let Session { client, server } = session;
        let (client_ip, port, name) = (client.ip(), server.port(), &link.name);
        match opens {
            Opens::Untracked => None,
            // It has its flow, or gets one as the connections do that are older than the filter.
            Opens::Tracked if is_new || has_flow() => None,
            Opens::Tracked => Some(format!(
                "the new rules would cut this SSH session ({client}): TCP port {port} on {name} was \
                 open to all, so its connections have no flows, and it is to be open to some"
            )),
            Opens::Denied if !is_new && !cuts && !spoofed && has_flow() => Some(format!(
                "this SSH session would go on, but the new rules let {client_ip} open no other one: \
                 none allows it TCP port {port} on {name}"
            )),
            Opens::Denied => Some(format!(
                "the new rules would cut this SSH session ({client}): none allows {client_ip} TCP \
                 port {port} on {name}"
            )),
        }
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
