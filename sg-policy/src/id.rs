//! Ids. A file's rules, groups and prefix lists get theirs from names, the same on every host and
//! in every run. A control plane's objects bring their ids.

use std::{fmt, marker::PhantomData, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use sg_common::Direction;
use sha2::{Digest, Sha256};

use crate::model::{IcmpMatch, PortRange, Services};

/// Bits of an id: 17 hex digits.
const BITS: u32 = 68;

/// Keeps serde's path in [`hex_id`] the same in every crate.
#[doc(hidden)]
pub use serde;

/// Text that is no id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no id: expected {expected}")]
pub struct InvalidId {
    pub text: String,
    pub expected: &'static str,
}

/// Reads 17 lower-case hex digits behind a prefix.
#[doc(hidden)]
pub fn parse_hex(text: &str, prefix: &str) -> Option<u128> {
    let digits = text.strip_prefix(prefix)?;
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let is_whole = digits.len() as u32 * 4 == BITS && digits.bytes().all(is_digit);
    is_whole.then(|| u128::from_str_radix(digits, 16).ok()).flatten()
}

#[doc(hidden)]
pub const MASK: u128 = (1 << BITS) - 1;

/// Reads a value from its text, for serde.
pub fn deserialize_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// Serde by the type's text: what `Display` writes, `FromStr` reads.
#[macro_export]
macro_rules! serde_as_text {
    ($name:ty) => {
        impl $crate::id::serde::Serialize for $name {
            fn serialize<S: $crate::id::serde::Serializer>(
                &self,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> $crate::id::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::id::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                $crate::id::deserialize_text(deserializer)
            }
        }
    };
}

/// A number that is shown as its prefix and 17 hex digits.
#[macro_export]
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u128);

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, "{}{:017x}", $prefix, self.0 & $crate::id::MASK)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::id::InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let expected = concat!("`", $prefix, "` and 17 hex digits");
                $crate::id::parse_hex(text, $prefix)
                    .map(Self)
                    .ok_or_else(|| $crate::id::InvalidId { text: text.to_owned(), expected })
            }
        }

        $crate::serde_as_text!($name);
    };
}

hex_id!(
    /// `sgr-` and 17 hex digits. A file's are derived from the group's name and the rule's identity.
    RuleId,
    "sgr-"
);
hex_id!(
    /// `sg-` and 17 hex digits. A file's are derived from the group's name.
    GroupId,
    "sg-"
);
hex_id!(
    /// `pl-` and 17 hex digits. A file's are derived from the list's name.
    PrefixListId,
    "pl-"
);
hex_id!(
    /// `vpc-` and 17 hex digits.
    VpcId,
    "vpc-"
);

/// Twelve digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AccountId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let is_whole = text.len() == 12 && text.bytes().all(|digit| digit.is_ascii_digit());
        let number = is_whole.then(|| text.parse().ok()).flatten();
        let fault = || InvalidId { text: text.to_owned(), expected: "12 digits" };
        number.map(Self).ok_or_else(fault)
    }
}

serde_as_text!(AccountId);

/// Whose a group or prefix list is, and where it belongs: names are unique within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    pub account: AccountId,
    pub vpc: VpcId,
}

impl Scope {
    /// The place of everything that rules.toml defines: it knows neither accounts nor VPCs.
    pub const FILE: Self = Self { account: AccountId(0), vpc: VpcId(0) };
}

impl Default for Scope {
    fn default() -> Self {
        Self::FILE
    }
}

impl GroupId {
    /// The id of a file's group, whose name is spelt as its definition spells it.
    pub fn of_name(name: &str) -> Self {
        Self(of_name(b"sg group 1\0", name))
    }
}

impl PrefixListId {
    /// The id of a file's prefix list, whose name is spelt as its definition spells it.
    pub fn of_name(name: &str) -> Self {
        Self(of_name(b"sg prefix list 1\0", name))
    }
}

fn of_name(kind: &[u8], name: &str) -> u128 {
    let mut hash = Sha256::new();
    hash.update(kind);
    text(&mut hash, name);
    number(hash)
}

/// The first bits of a digest.
fn number(hash: Sha256) -> u128 {
    let digest = hash.finalize();
    let high = digest[..16].iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
    high >> (128 - BITS)
}

/// A peer with the name that a file calls it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedPeer<'n> {
    Cidr(IpNet),
    Group(&'n str),
    PrefixList(&'n str),
}

/// A CIDR, or the name of a group or a prefix list.
impl fmt::Display for NamedPeer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cidr(net) => net.fmt(f),
            Self::Group(name) | Self::PrefixList(name) => f.write_str(name),
        }
    }
}

/// Gives the ids of one group's rules of one direction.
#[derive(Clone, Debug)]
pub struct RuleIds(Sha256);

impl RuleIds {
    /// `group` as its definition spells it.
    pub fn new(group: &str, direction: Direction) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"sg rule 1\0");
        text(&mut hash, group);
        hash.update([direction as u8]);
        Self(hash)
    }

    /// Every field is of fixed length or preceded by its length, so different rules never hash the
    /// same bytes. The encoding is for ever: ids are in people's scripts and logs.
    pub fn id(&self, services: Services, peer: NamedPeer<'_>) -> RuleId {
        let mut hash = self.0.clone();
        hash.update(encode(services));
        match peer {
            NamedPeer::Cidr(IpNet::V4(net)) => {
                hash.update([4, net.prefix_len()]);
                hash.update(net.network().octets());
            }
            NamedPeer::Cidr(IpNet::V6(net)) => {
                hash.update([6, net.prefix_len()]);
                hash.update(net.network().octets());
            }
            NamedPeer::Group(name) => {
                hash.update(b"g");
                text(&mut hash, name);
            }
            NamedPeer::PrefixList(name) => {
                hash.update(b"l");
                text(&mut hash, name);
            }
        }
        RuleId(number(hash))
    }
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
}

fn encode(services: Services) -> [u8; 5] {
    let ports = |kind, PortRange { from, to }: PortRange| {
        let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
        [kind, a, b, c, d]
    };
    let icmp = |kind, IcmpMatch { kind: icmp_type, code }: IcmpMatch| {
        let flags = u8::from(icmp_type.is_some()) | u8::from(code.is_some()) << 1;
        [kind, flags, icmp_type.unwrap_or(0), code.unwrap_or(0), 0]
    };
    match services {
        Services::All => [0; 5],
        Services::Tcp(range) => ports(1, range),
        Services::Udp(range) => ports(2, range),
        Services::Icmp(matched) => icmp(3, matched),
        Services::Icmpv6(matched) => icmp(4, matched),
        Services::Protocol(number) => [5, number, 0, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> NamedPeer<'static> {
        NamedPeer::Cidr(text.parse().expect("a CIDR"))
    }

    #[test]
    fn ids_are_for_ever() {
        let https = Services::Tcp(PortRange { from: 443, to: 443 });
        let ping = Services::Icmp(IcmpMatch { kind: Some(8), code: None });
        let table = [
            ("web", Direction::Ingress, https, cidr("0.0.0.0/0"), "sgr-34758cb46a6733be5"),
            ("web", Direction::Egress, https, cidr("0.0.0.0/0"), "sgr-7e29aecb7f0aed943"),
            ("Web", Direction::Ingress, https, cidr("0.0.0.0/0"), "sgr-25dc7a9269d9fccaf"),
            ("web", Direction::Ingress, https, cidr("::/0"), "sgr-41ae1b03b62776536"),
            ("web", Direction::Ingress, ping, NamedPeer::Group("db"), "sgr-051fd54b568de62be"),
            ("web", Direction::Ingress, ping, NamedPeer::PrefixList("db"), "sgr-c14942c6b23e867ab"),
            (
                "web",
                Direction::Ingress,
                Services::Protocol(47),
                cidr("10.0.0.0/8"),
                "sgr-03d41388d6ec99bcd",
            ),
            ("web", Direction::Ingress, Services::All, cidr("10.0.0.0/8"), "sgr-157d1ef5708a95f1d"),
        ];
        for (group, direction, services, peer, expected) in table {
            let id = RuleIds::new(group, direction).id(services, peer);
            assert_eq!(id.to_string(), expected, "{group} {direction:?} {services:?} {peer:?}");
        }
    }

    #[test]
    fn ids_are_read_from_the_text_that_shows_them() {
        let group = GroupId(0x123_4567_89ab_cdef);
        assert_eq!(group.to_string().parse(), Ok(group));
        assert_eq!("000000000042".parse(), Ok(AccountId(42)));
        for text in
            ["", "sg-", "sg-0123456789abcdef", "sg-0123456789abcdef01", "sg-0123456789ABCDEF0"]
        {
            assert!(text.parse::<GroupId>().is_err(), "{text}");
        }
        assert!("vpc-0123456789abcdef0".parse::<GroupId>().is_err());
        assert!("sg-+123456789abcdef0".parse::<GroupId>().is_err());
        for text in ["42", "+00000000042", "0000000000042", "00000000004a"] {
            assert!(text.parse::<AccountId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_of_names_are_for_ever() {
        let table = [
            ("web", "sg-77e5dd816acb6a900", "pl-572c267859d2e1288"),
            ("Web", "sg-40e1b23b7528d2e11", "pl-8a247db6139b2ba0e"),
            ("", "sg-94e6c74ecda345c43", "pl-59f90af8266695d01"),
        ];
        for (name, group, list) in table {
            assert_eq!(GroupId::of_name(name).to_string(), group, "{name}");
            assert_eq!(PrefixListId::of_name(name).to_string(), list, "{name}");
        }
        assert_eq!(Scope::FILE.account.to_string(), "000000000000");
        assert_eq!(Scope::FILE.vpc.to_string(), "vpc-00000000000000000");
    }
}
