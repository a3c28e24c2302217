//! What packets are filtered by: ours, and what else there is.

mod bare;
mod ipset;
mod nft;
mod sg;

use anyhow::{Result, ensure};
use sg_common::Family;
use sg_tests::Datapath;

pub use self::sg::Sg;
use crate::{rules::Rules, site::Site};

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
    /// A set of address and port, intervals.
    NftSet,
    /// A rule after the other.
    NftLinear,
    /// As [`Contender::NftSet`], but stateless: flows are not tracked.
    NftStateless,
    Ipset,
}

/// What a contender did with packets, as itself says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Did {
    pub dropped: u64,
    /// Because they belong to a tracked flow.
    pub established: u64,
    /// Because a rule allows them, and they open a flow where flows are tracked.
    pub allowed: u64,
    /// Because the service is open to all.
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

    /// An error unless it did this, with a thousandth of the packets at most lost on the way.
    pub fn is(self, expected: Self) -> Result<()> {
        let like = |did: u64, expected: u64| did <= expected && did * 1000 >= expected * 999;
        let fields = |did: Self| [did.dropped, did.established, did.allowed, did.untracked];
        let as_expected = fields(self).iter().zip(fields(expected)).all(|(a, b)| like(*a, b));
        ensure!(as_expected, "expected {expected:?}, did {self:?}");
        Ok(())
    }
}

/// A contender at work.
pub trait Filter {
    fn did(&self, site: &Site) -> Result<Did>;
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
            Self::NftSet => "nft, set",
            Self::NftLinear => "nft, linear",
            Self::NftStateless => "nft, stateless",
            Self::Ipset => "iptables, ipset",
        }
    }

    /// Puts the rules in force for what a site's instance receives.
    pub fn install(self, site: &Site, rules: Rules, family: Family) -> Result<Box<dyn Filter>> {
        Ok(match self {
            Self::Nothing => Box::new(bare::Bare::none()),
            Self::XdpPass => Box::new(bare::Bare::passing(site)?),
            Self::XdpDrop => Box::new(bare::Bare::dropping_at_xdp(site)?),
            Self::TcDrop => Box::new(bare::Bare::dropping_at_tc(site)?),
            Self::Sg(datapath) => Box::new(Sg::start(site, datapath, rules, family)?),
            Self::NftSet => Box::new(nft::Nft::start(site, nft::Form::Set, rules, family)?),
            Self::NftLinear => Box::new(nft::Nft::start(site, nft::Form::Linear, rules, family)?),
            Self::NftStateless => {
                Box::new(nft::Nft::start(site, nft::Form::Stateless, rules, family)?)
            }
            Self::Ipset => Box::new(ipset::Ipset::start(site, rules, family)?),
        })
    }
}
