//! A topology with a running agent in it, and what a test does with the two.

use sg_api::Applied;

use crate::{
    Agent, Counts, Ctl, NetNs, Role, Topology, V4, V6,
    probe::{Link, craft::Mac},
    topology::mac,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datapath {
    Xdp,
    Tc,
}

impl Datapath {
    /// As rules.toml calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
        }
    }
}

/// The machines of a [`Topology`], and a running agent that filters nothing yet: on the router, or in
/// host role on the instance itself.
#[derive(Debug)]
pub struct World {
    pub role: Role,
    pub datapath: Datapath,
    /// Before the namespaces: the agent goes first when a test ends.
    pub agent: Agent,
    pub remote: NetNs,
    pub instance: NetNs,
    router: Option<NetNs>,
}

impl World {
    pub fn new(role: Role, datapath: Datapath) -> Self {
        Self::with_flags(role, datapath, &[])
    }

    /// The agent gets these flags beside the usual ones.
    pub fn with_flags(role: Role, datapath: Datapath, flags: &[&str]) -> Self {
        let Topology { remote, instance, router } = Topology::new(role);
        let agent = Agent::start(router.as_ref().unwrap_or(&instance), flags);
        Self { role, datapath, agent, remote, instance, router }
    }

    /// The same with a router between remote machine and instance in host role, too.
    pub fn routed(role: Role, datapath: Datapath) -> Self {
        let Topology { remote, instance, router } = Topology::new(Role::Port);
        let host = if role == Role::Port { router.as_ref() } else { None };
        let agent = Agent::start(host.unwrap_or(&instance), &[]);
        Self { role, datapath, agent, remote, instance, router }
    }

    /// The namespace that the agent works in.
    pub fn host(&self) -> &NetNs {
        match self.role {
            Role::Host => &self.instance,
            Role::Port => self.router(),
        }
    }

    /// The machine between remote and instance.
    #[track_caller]
    pub fn router(&self) -> &NetNs {
        self.router.as_ref().expect("a world with a router")
    }

    /// Sends frames to the instance, of any making.
    pub fn toward(&self) -> Link {
        let (namespace, interface) = self.before_instance();
        Link::open(namespace, interface)
    }

    /// Sends frames as the instance would.
    pub fn from_instance(&self) -> Link {
        Link::open(&self.instance, "nic0")
    }

    /// MAC address of what the instance is connected to.
    pub fn gateway_mac(&self) -> Mac {
        mac(self.before_instance().1)
    }

    /// The other end of `nic0`.
    fn before_instance(&self) -> (&NetNs, &'static str) {
        match &self.router {
            Some(router) => (router, "port0"),
            None => (&self.remote, "up0"),
        }
    }

    /// The interface that is filtered.
    pub fn interface(&self) -> &'static str {
        match self.role {
            Role::Host => "nic0",
            Role::Port => "port0",
        }
    }

    pub fn ctl(&self) -> Ctl {
        self.agent.ctl()
    }

    /// `text` and an entry for the interface with these groups.
    pub fn rules(&self, groups: &[&str], text: &str) -> String {
        let interface = self.interface();
        let (role, addresses) = match self.role {
            Role::Host => ("host", String::new()),
            Role::Port => {
                ("port", format!("addresses = [\"{}\", \"{}\"]\n", V4.instance, V6.instance))
            }
        };
        let datapath = self.datapath.name();
        format!(
            "{text}\n[[interface]]\nname = \"{interface}\"\nrole = \"{role}\"\n\
             groups = {groups:?}\n{addresses}datapath = \"{datapath}\"\n"
        )
    }

    /// Applies `text` with an entry for the interface; panics unless it is done.
    #[track_caller]
    pub fn apply(&self, groups: &[&str], text: &str) -> Applied {
        self.ctl().apply(&self.rules(groups, text), &[])
    }

    /// The interface's counters now.
    #[track_caller]
    pub fn counters(&self) -> Counts {
        Counts::of(&self.ctl().status(), self.interface())
    }

    /// Runs `action`: its result, and the packets counted meanwhile.
    #[track_caller]
    pub fn counted<T>(&self, action: impl FnOnce() -> T) -> (T, Counts) {
        let before = self.counters();
        let result = action();
        (result, self.counters().since(&before))
    }
}
