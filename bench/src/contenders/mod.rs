//! The filters that take part: ours, and others.

mod bare;
mod conntrack;
mod ipset;
pub mod nft;
mod sg;
mod xdp_filter;

use anyhow::{Result, ensure};
use sg_common::Family;
use sg_tests::Datapath;

pub use self::{conntrack::Conntrack, sg::Sg};
use crate::{rules::Rules, testbed::Testbed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// No filter.
    Nothing,
    /// No filter; an XDP program that passes everything.
    XdpPass,
    /// The bounds of what a filter can do.
    XdpDrop,
    TcDrop,
    Sg(Datapath),
    Nft(nft::Form),
    Ipset,
    XdpFilter,
}

/// The task of every contender.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub rules: Rules,
    pub family: Family,
    /// Room for flows, where it can be set.
    pub max_flows: u32,
}

impl Task {
    pub fn new(rules: Rules, family: Family) -> Self {
        Self { rules, family, max_flows: 262_144 }
    }
}

/// A contender's own counts of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    pub dropped: u64,
    /// Passed because they belong to a tracked flow.
    pub established: u64,
    /// Passed because a rule allows them; they open a flow where flows are tracked.
    pub allowed: u64,
    /// Passed because the service is open to all.
    pub untracked: u64,
}

impl Did {
    pub fn since(self, before: Self) -> Self {
        Self {
            dropped: self.dropped - before.dropped,
            established: self.established - before.established,
            allowed: self.allowed - before.allowed,
            untracked: self.untracked - before.untracked,
        }
    }

    /// An error unless the counts are these, give or take a part in 250. Some packets are lost on
    /// the way. With a million flows in a table for two million, one flow in 500 finds both of its
    /// buckets full and takes another's lane.
    pub fn is(self, expected: Self) -> Result<()> {
        let fields = |did: Self| [did.dropped, did.established, did.allowed, did.untracked];
        let all: u64 = fields(expected).iter().sum();
        // Not only a few of ours less: the machines' own, who look for neighbours, may be among them.
        let like = |did: u64, expected: u64| did.abs_diff(expected) * 250 <= all;
        let as_expected = fields(self).iter().zip(fields(expected)).all(|(a, b)| like(*a, b));
        ensure!(as_expected, "expected {expected:?}, did {self:?}");
        Ok(())
    }
}

/// A contender at work.
pub trait Filter {
    fn did(&self, testbed: &Testbed) -> Result<Did>;

    /// Entries in its flow table, where it has one.
    fn flows(&self, testbed: &Testbed) -> Result<u64>;
}

impl Contender {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no filter",
            Self::XdpPass => "bare XDP pass",
            Self::XdpDrop => "bare XDP drop",
            Self::TcDrop => "bare TC drop",
            Self::Sg(Datapath::Xdp) => "sg, XDP",
            Self::Sg(Datapath::Tc) => "sg, TC",
            Self::Nft(form) => form.name(),
            Self::Ipset => "iptables, ipset",
            Self::XdpFilter => "xdp-filter",
        }
    }

    /// Whether it is a filter, and not a bound of one.
    pub fn filters(self) -> bool {
        matches!(self, Self::Sg(_) | Self::Nft(_) | Self::Ipset | Self::XdpFilter)
    }

    /// Puts the rules in force for what a testbed's instance receives.
    pub fn install(self, testbed: &Testbed, task: &Task) -> Result<Box<dyn Filter>> {
        Ok(match self {
            Self::Nothing => Box::new(bare::Bare::none()),
            Self::XdpPass => Box::new(bare::Bare::passing(testbed)?),
            Self::XdpDrop => Box::new(bare::Bare::dropping_at_xdp(testbed)?),
            Self::TcDrop => Box::new(bare::Bare::dropping_at_tc(testbed)?),
            Self::Sg(datapath) => Box::new(Sg::start(testbed, datapath, task)?),
            Self::Nft(form) => Box::new(nft::Nft::start(testbed, form, task)?),
            Self::Ipset => Box::new(ipset::Ipset::start(testbed, task)?),
            Self::XdpFilter => Box::new(xdp_filter::XdpFilter::start(testbed, task)?),
        })
    }
}
