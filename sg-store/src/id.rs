//! Ids and names that the store's keys are made of. `sg-policy` has the ids of groups, prefix
//! lists, rules, VPCs and accounts.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sg_policy::{hex_id, id::InvalidId, serde_as_text};

hex_id!(
    /// `eni-` and 17 hex digits.
    InterfaceId,
    "eni-"
);
hex_id!(
    /// `subnet-` and 17 hex digits.
    SubnetId,
    "subnet-"
);
hex_id!(
    /// `i-` and 17 hex digits: a host, as EC2's clients see it.
    InstanceId,
    "i-"
);

/// A state of the store. Every transaction that changes something makes the next one. An empty store
/// is at 1, as etcd's is. Comparable within one epoch only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision of a store that nobody has written to.
    pub const FIRST: Self = Self(1);

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which store this is: drawn when a store is made and when a backup is put back. Shown as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochId(pub u128);

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        f.write_str(&parts.join("-"))
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EpochId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let number = u128::from_str_radix(&text.replace('-', ""), 16).ok().map(Self);
        // Only the one spelling, because keys and acks are compared as text.
        let same = number.filter(|id| id.to_string() == text);
        same.ok_or_else(|| InvalidId { text: text.to_owned(), expected: "a UUID in lower case" })
    }
}

serde_as_text!(EpochId);

/// SHA-256 of a blob, 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fault = || InvalidId { text: text.to_owned(), expected: "64 hex digits" };
        let bytes = from_hex(text).ok_or_else(fault)?;
        bytes.try_into().map(Self).map_err(|_| fault())
    }
}

serde_as_text!(Digest);

/// Reads bytes from lower-case hex digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

/// A text that is one part of a key.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Before every name, for ranges of keys. It is no name.
            pub(crate) fn lowest() -> Self {
                Self("".into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let is_valid: fn(&str) -> bool = $is_valid;
                let fault = || InvalidId { text: text.to_owned(), expected: $expected };
                is_valid(text).then(|| Self(text.into())).ok_or_else(fault)
            }
        }

        serde_as_text!($name);
    };
}

name!(
    /// A host: DNS labels with dots between them. No user of etcd's own has such a name.
    HostName,
    "DNS labels with dots between them, other than `root`",
    |text| text.len() <= 253 && text != "root" && text.split('.').all(is_label)
);
name!(
    /// A region, for example `us-east-1`.
    RegionName,
    "a region of lower-case letters, digits and hyphens",
    |text| is_label(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
);
name!(
    /// One of the servers that write to a store; the embedded store's is `local`.
    ServerName,
    "a DNS label",
    |text| is_label(text)
);
name!(
    /// One event of the audit log, or one waiter: drawn by the one who writes it.
    EventId,
    "letters, digits and hyphens",
    |text| is_label(text)
);

/// A DNS label: up to 63 letters, digits and hyphens, no hyphen at either end (RFC 1123 2.1).
fn is_label(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    matches!(text.len(), 1..=63)
        && text.bytes().all(is_letter)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_part_of_a_key_are_refused() {
        for text in ["", ".", "a/b", "a..b", "-a", "a-", "a.", "root", "a b", "a\0", "ä"] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
        for text in ["h1", "Rack-7.example.org", "0"] {
            assert_eq!(text.parse::<HostName>().expect(text).as_str(), text);
        }
        assert!("US-EAST-1".parse::<RegionName>().is_err());
        assert!("a".repeat(64).parse::<ServerName>().is_err());
    }

    #[test]
    fn an_epoch_has_one_spelling() {
        let epoch = EpochId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(epoch.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        assert!("0123456789abcdef0123456789abcdef".parse::<EpochId>().is_err());
        assert!("01234567-89AB-cdef-0123-456789abcdef".parse::<EpochId>().is_err());
    }

    #[test]
    fn a_digest_is_64_digits() {
        let digest = Digest([0xa5; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["a5".repeat(31), "A5".repeat(32), "a5".repeat(31) + "a"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
