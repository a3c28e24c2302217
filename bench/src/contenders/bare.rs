//! No filter at all, or a program of two instructions.

use anyhow::Result;
use sg_agent::datapath::generator::{Attached, Least};

use super::{Did, Filter};
use crate::site::Site;

pub struct Bare {
    _program: Option<Attached>,
    /// What the interface had received before, if all is dropped from now on.
    drops_since: Option<u64>,
}

impl Bare {
    pub fn none() -> Self {
        Self { _program: None, drops_since: None }
    }

    pub fn passing(site: &Site) -> Result<Self> {
        Ok(Self { _program: Some(site.attach(Least::XdpPass)?), drops_since: None })
    }

    pub fn dropping_at_xdp(site: &Site) -> Result<Self> {
        Self::dropping(site, Least::XdpDrop)
    }

    pub fn dropping_at_tc(site: &Site) -> Result<Self> {
        Self::dropping(site, Least::TcDrop)
    }

    fn dropping(site: &Site, least: Least) -> Result<Self> {
        let program = site.attach(least)?;
        Ok(Self { _program: Some(program), drops_since: Some(site.received()?) })
    }
}

impl Filter for Bare {
    /// It counts nothing, which would cost something.
    fn did(&self, site: &Site) -> Result<Did> {
        let dropped = match self.drops_since {
            Some(before) => site.received()? - before,
            None => 0,
        };
        Ok(Did { dropped, ..Did::default() })
    }

    fn flows(&self, _site: &Site) -> Result<u64> {
        Ok(0)
    }
}
