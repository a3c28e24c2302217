//! Results of steps: a register has room for one number, so each is a transparent newtype.

use sg_common::{Reason, reason::is_allowed};

use crate::maps;

/// The verdict on a packet: the reason to pass, or the reason to drop.
pub(crate) type Judgement = Result<Reason, Reason>;

/// Whether a packet is to be dropped, and why: 0, or the number of a [`Reason`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Refusal(u32);

impl Refusal {
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) fn of(checked: Result<(), Reason>) -> Self {
        match checked {
            Ok(()) => Self::NONE,
            Err(reason) => Self(reason as u32),
        }
    }

    /// The refusal with a reason's number, or none if the reason lets pass.
    #[inline(always)]
    pub(crate) fn unless_allowed(number: u32) -> Self {
        if is_allowed(number) { Self::NONE } else { Self(number) }
    }

    /// As a global function returned it.
    #[inline(always)]
    pub(crate) fn from_number(number: u32) -> Self {
        Self(number)
    }

    #[inline(always)]
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// The next check's, if this one refuses nothing.
    #[inline(always)]
    pub(crate) fn or_else(self, next: impl FnOnce() -> Self) -> Self {
        if self.is_none() { next() } else { self }
    }

    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Yes or no, as a global function returns it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Answer(pub(crate) u64);

impl Answer {
    #[inline(always)]
    pub(crate) fn of(yes: bool) -> Self {
        Self(yes as u64)
    }

    #[inline(always)]
    pub(crate) fn is_yes(self) -> bool {
        self.0 != 0
    }
}

/// The reason with this number; the steps hand reasons on as numbers.
#[inline(always)]
pub(crate) fn reason(number: u32) -> Reason {
    match Reason::from_number(number as u8) {
        Some(reason) => reason,
        None => Reason::Malformed,
    }
}

/// The number of a [`Reason`], unknown to the verifier. It therefore walks the code behind it once,
/// not once for each reason.
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
