//! Where real sockets talk: a remote machine, a router, and an instance behind the router's port, which
//! is filtered or not.
//!
//! ```text
//! remote [up0] == [up1] router [port0] == [nic0] instance
//! ```

use anyhow::{Context as _, Result, ensure};
use sg_tests::{Agent, Counts, NetNs, Role, Topology, V4};

use crate::contenders::nft;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterUnderTest {
    Nothing,
    /// The data path is the agent's choice.
    Sg,
    /// With connection tracking.
    Nft,
}

pub const FILTERS_UNDER_TEST: [FilterUnderTest; 3] =
    [FilterUnderTest::Nothing, FilterUnderTest::Sg, FilterUnderTest::Nft];

impl FilterUnderTest {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no filter",
            Self::Sg => "sg, auto",
            Self::Nft => "nft, ct",
        }
    }
}

#[derive(Debug)]
pub struct RoutedPath {
    pub filter: FilterUnderTest,
    // Goes before the namespaces do.
    agent: Option<Agent>,
    pub topology: Topology,
}

const RULES: &str = r#"
[[security_group]]
name = "bench"
ingress = [
  { protocol = "tcp", ports = "all", cidrs = ["10.9.0.0/24"] },
  { protocol = "udp", ports = "all", cidrs = ["10.9.0.0/24"] },
]
[[interface]]
name = "port0"
role = "port"
groups = ["bench"]
addresses = ["10.1.0.2", "fd01::2"]
"#;

const NFT: &str = "table inet bench {
    counter established { }
    counter allowed { }
    counter dropped { }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ct state established counter name established accept
        iifname port0 counter name allowed accept
        ip saddr 10.9.0.0/24 meta l4proto { tcp, udp } counter name allowed accept
        counter name dropped drop
    }
}
";

/// Packets that a filter let through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    pub opening: u64,
    pub established: u64,
}

impl RoutedPath {
    pub fn new(filter: FilterUnderTest) -> Result<Self> {
        let topology = Topology::new(Role::Port);
        let router = topology.router.as_ref().context("a router")?;
        let agent = match filter {
            FilterUnderTest::Nothing => None,
            FilterUnderTest::Sg => {
                let agent = Agent::start(router, &[]);
                agent.ctl().apply(RULES, &[]);
                Some(agent)
            }
            FilterUnderTest::Nft => {
                nft::load(router, NFT)?;
                None
            }
        };
        Ok(Self { filter, agent, topology })
    }

    pub fn all() -> Result<Vec<Self>> {
        FILTERS_UNDER_TEST.into_iter().map(Self::new).collect()
    }

    fn router(&self) -> &NetNs {
        self.topology.router.as_ref().expect("made with one")
    }

    pub fn set_mtu(&self, mtu: u32) {
        let Topology { remote, instance, .. } = &self.topology;
        for (namespace, ends) in
            [(remote, &["up0"][..]), (self.router(), &["up1", "port0"]), (instance, &["nic0"])]
        {
            for end in ends {
                namespace.ip(&format!("link set dev {end} mtu {mtu}"));
            }
        }
    }

    /// Packets that have passed until now; an error if any was dropped.
    pub fn passed(&self) -> Result<Passed> {
        let (opening, established, dropped) = match self.filter {
            FilterUnderTest::Nothing => return Ok(Passed::default()),
            FilterUnderTest::Sg => {
                let agent = self.agent.as_ref().context("an agent")?;
                let counts = Counts::of(&agent.ctl().status(), "port0");
                let both = |reason: &str| {
                    counts.get(&format!("ingress {reason}"))
                        + counts.get(&format!("egress {reason}"))
                };
                let dropped = ["no_rule", "not_syn", "conntrack_allowance_exceeded", "malformed"];
                (both("rule"), both("flow"), dropped.into_iter().map(both).sum())
            }
            FilterUnderTest::Nft => {
                let count = |name| nft::counter(self.router(), "bench", name);
                (count("allowed")?, count("established")?, count("dropped")?)
            }
        };
        ensure!(dropped == 0, "{}: {dropped} packets were dropped", self.filter.name());
        Ok(Passed { opening, established })
    }
}

/// Where servers listen.
pub fn instance() -> std::net::IpAddr {
    V4.instance
}
