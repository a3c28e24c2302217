//! The compiler: desired state and live interfaces in, an image of the data path out.

use crate::model::{DesiredState, LiveInterface};

/// What the compiler has to know besides the rules.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// [Ticks](sg_common::flow::Tick) in 1000 seconds.
    pub ticks_per_1000s: u32,
    /// Revision of the rules, for whoever takes the image over.
    pub revision: u64,
    /// Hold flows not seen since this tick against the rules once more (`on_revoke = "cut"`,
    /// `flows flush --denied`).
    pub recheck_since: Option<u32>,
}

/// Compiled rules, ready to be published. Words are host-endian; see [`sg_common::image`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub words: Vec<u32>,
}

/// A state that does not fit into an image.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("the compiled rules need {needed} bytes, more than the {limit} that an image can have")]
    TooLarge { needed: usize, limit: usize },
}

/// Compiles `state` for the interfaces that are there. `live` has one entry per slot, any order.
pub fn compile(
    state: &DesiredState,
    live: &[LiveInterface],
    parameters: &Parameters,
) -> Result<Image, CompileError> {
    let _ = (state, live, parameters);
    panic!("being written")
}
