//! What becomes of a packet, as steps hand it on.

use sg_common::{Reason, reason::is_allowed};

use crate::maps;

/// What a packet gets: the reason to pass, or the reason to drop.
pub(crate) type Judgement = Result<Reason, Reason>;

/// The reason with this number; the steps hand reasons on as numbers.
#[inline(always)]
pub(crate) fn reason(number: u32) -> Reason {
    match Reason::from_number(number as u8) {
        Some(reason) => reason,
        None => Reason::Malformed,
    }
}

/// The number of a [`Reason`], which the verifier does not know: what is done with it is one way, not
/// one for each reason.
#[derive(Clone, Copy)]
pub(crate) struct Outcome(pub(crate) u32);

impl Outcome {
    #[inline(always)]
    pub(crate) fn of(reason: u32) -> Self {
        Self(reason.wrapping_add(maps::zero()))
    }

    #[inline(always)]
    pub(crate) fn passes(self) -> bool {
        is_allowed(self.0)
    }
}
