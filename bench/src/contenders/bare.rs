//! No filter at all, or a program of two instructions.

use anyhow::Result;
use sg_datapath::testing::generator::{Attached, BaselineProgram};

use super::{Did, Filter};
use crate::testbed::Testbed;

pub struct Bare {
    _program: Option<Attached>,
    /// Packets that the interface had received before, if everything is dropped from now on.
    drops_since: Option<u64>,
}

impl Bare {
    pub fn none() -> Self {
        Self { _program: None, drops_since: None }
    }

    pub fn passing(testbed: &Testbed) -> Result<Self> {
        Ok(Self { _program: Some(testbed.attach(BaselineProgram::XdpPass)?), drops_since: None })
    }

    pub fn dropping_at_xdp(testbed: &Testbed) -> Result<Self> {
        Self::dropping(testbed, BaselineProgram::XdpDrop)
    }

    pub fn dropping_at_tc(testbed: &Testbed) -> Result<Self> {
        Self::dropping(testbed, BaselineProgram::TcDrop)
    }

    fn dropping(testbed: &Testbed, program: BaselineProgram) -> Result<Self> {
        let program = testbed.attach(program)?;
        Ok(Self { _program: Some(program), drops_since: Some(testbed.received()?) })
    }
}

impl Filter for Bare {
    /// It counts nothing, which would cost something.
    fn did(&self, testbed: &Testbed) -> Result<Did> {
        let dropped = match self.drops_since {
            Some(before) => testbed.received()? - before,
            None => 0,
        };
        Ok(Did { dropped, ..Did::default() })
    }

    fn flows(&self, _testbed: &Testbed) -> Result<u64> {
        Ok(0)
    }
}
