//! Reasons to put something in force, and how they differ.

/// The reason to put something in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Start,
    /// New rules, or earlier ones again, because somebody said so.
    Apply,
    Confirm,
    /// A change that was not confirmed.
    Expiry,
    /// Interfaces or addresses came and went.
    InterfacesChanged,
    /// The same rules with other times in them.
    Flush,
}

impl Cause {
    /// Whether an interface that cannot be attached is a reason to change nothing at all. Only
    /// somebody who is told can do better.
    pub(super) fn is_strict(self) -> bool {
        self == Self::Apply
    }

    pub(super) fn ends_pickup(self) -> bool {
        matches!(self, Self::Apply | Self::Expiry)
    }
}
