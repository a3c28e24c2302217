//! Parts that several objects share.

use std::collections::BTreeMap;

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// For fields that are left out where they are what a reader assumes.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn is_yes(value: &bool) -> bool {
    *value
}
