//! Where each object lies: every key has one text, below [`ROOT`], and a text at most one key.
//!
//! ```text
//! /sg/1/epoch                                      the store's identity
//! /sg/1/v/<vpc>/s                                  VPC with its settings
//! /sg/1/v/<vpc>/g/<sg>                             group with its rules
//! /sg/1/v/<vpc>/p/<sg>                             group of another VPC that is used here
//! /sg/1/v/<vpc>/m/<sg>/<eni>                       member of such a group, in another VPC
//! /sg/1/v/<vpc>/l/<pl>                             prefix list that a rule here refers to
//! /sg/1/v/<vpc>/i/<eni>                            network interface
//! /sg/1/v/<vpc>/a/<host>/<eni>                     addresses that a host observes
//! /sg/1/v/<vpc>/h/<host>                           what a host may claim here
//! /sg/1/v/<vpc>/w/<waiter>                         somebody waits for acks
//! /sg/1/b/<vpc>/<sha256>/<n>                       part of a blob
//! /sg/1/h/<host>                                   host
//! /sg/1/s/<host>                                   what a host enforces
//! /sg/1/acct/<account>/s                           account
//! /sg/1/acct/<account>/r/<region>/s                what an account has in a region
//! /sg/1/acct/<account>/r/<region>/n/<subnet>       subnet
//! /sg/1/acct/<account>/r/<region>/l/<pl>/s         prefix list, as its owner sees it
//! /sg/1/acct/<account>/r/<region>/l/<pl>/<version> entries of a version
//! /sg/1/acct/<account>/audit/<server>/<event>      audit record that is not in the log yet
//! /sg/1/x/...                                      indexes and guards, see Index
//! ```
//!
//! A host's role reaches `v/<vpc>/` and `b/<vpc>/` of its VPCs only. Everything that hosts need from
//! elsewhere is copied there by the transaction that changes it.

mod index;

use std::{fmt, str::FromStr};

pub use index::{Counted, Index};
use sg_policy::id::{AccountId, GroupId, PrefixListId, VpcId};

use crate::id::{Digest, EventId, HostName, InterfaceId, RegionName, ServerName, SubnetId};

/// Above every key. The number is the layout's: another layout has another root.
pub const ROOT: &str = "/sg/1/";

/// The key of an object. The order is by kind, then by the ids as they stand here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    Epoch,
    Vpc(VpcId),
    Group(VpcId, GroupId),
    /// A group of another VPC that is used in this one.
    SharedGroup(VpcId, GroupId),
    /// A member of a group that is used in this VPC; the interface belongs to another one.
    ForeignMember(VpcId, GroupId, InterfaceId),
    /// The hosts' copy of a prefix list.
    PrefixList(VpcId, PrefixListId),
    Interface(VpcId, InterfaceId),
    Observed(VpcId, HostName, InterfaceId),
    Grant(VpcId, HostName),
    Waiter(VpcId, EventId),
    Blob(VpcId, Digest, u32),
    Host(HostName),
    Status(HostName),
    Account(AccountId),
    Region(AccountId, RegionName),
    Subnet(AccountId, RegionName, SubnetId),
    OwnedList(AccountId, RegionName, PrefixListId),
    ListVersion(AccountId, RegionName, PrefixListId, u32),
    Audit(AccountId, ServerName, EventId),
    Index(Index),
}

impl Key {
    /// Above everything that hosts of a VPC read of it.
    pub fn vpc_prefix(vpc: VpcId) -> String {
        format!("{ROOT}v/{vpc}/")
    }

    /// The VPC whose hosts read the object.
    pub fn vpc(&self) -> Option<VpcId> {
        match self {
            Self::Vpc(vpc)
            | Self::Group(vpc, _)
            | Self::SharedGroup(vpc, _)
            | Self::ForeignMember(vpc, ..)
            | Self::PrefixList(vpc, _)
            | Self::Interface(vpc, _)
            | Self::Observed(vpc, ..)
            | Self::Grant(vpc, _)
            | Self::Waiter(vpc, _)
            | Self::Blob(vpc, ..) => Some(*vpc),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ROOT)?;
        match self {
            Self::Epoch => f.write_str("epoch"),
            Self::Vpc(vpc) => write!(f, "v/{vpc}/s"),
            Self::Group(vpc, group) => write!(f, "v/{vpc}/g/{group}"),
            Self::SharedGroup(vpc, group) => write!(f, "v/{vpc}/p/{group}"),
            Self::ForeignMember(vpc, group, interface) => {
                write!(f, "v/{vpc}/m/{group}/{interface}")
            }
            Self::PrefixList(vpc, list) => write!(f, "v/{vpc}/l/{list}"),
            Self::Interface(vpc, interface) => write!(f, "v/{vpc}/i/{interface}"),
            Self::Observed(vpc, host, interface) => write!(f, "v/{vpc}/a/{host}/{interface}"),
            Self::Grant(vpc, host) => write!(f, "v/{vpc}/h/{host}"),
            Self::Waiter(vpc, waiter) => write!(f, "v/{vpc}/w/{waiter}"),
            Self::Blob(vpc, digest, part) => write!(f, "b/{vpc}/{digest}/{part}"),
            Self::Host(host) => write!(f, "h/{host}"),
            Self::Status(host) => write!(f, "s/{host}"),
            Self::Account(account) => write!(f, "acct/{account}/s"),
            Self::Region(account, region) => write!(f, "acct/{account}/r/{region}/s"),
            Self::Subnet(account, region, subnet) => {
                write!(f, "acct/{account}/r/{region}/n/{subnet}")
            }
            Self::OwnedList(account, region, list) => {
                write!(f, "acct/{account}/r/{region}/l/{list}/s")
            }
            Self::ListVersion(account, region, list, version) => {
                write!(f, "acct/{account}/r/{region}/l/{list}/{version}")
            }
            Self::Audit(account, server, event) => {
                write!(f, "acct/{account}/audit/{server}/{event}")
            }
            Self::Index(index) => write!(f, "x/{index}"),
        }
    }
}

/// A key of no kind that this version knows. A later version may have written it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is a key of no known kind")]
pub struct UnknownKey(pub String);

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let key = text.strip_prefix(ROOT).and_then(parse);
        // Only the text that Display writes, or two texts would be one object.
        let same = key.filter(|key| key.to_string() == text);
        same.ok_or_else(|| UnknownKey(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Key> {
    if let Some(index) = text.strip_prefix("x/") {
        return Index::parse(index).map(Key::Index);
    }
    // Longer than any key, so that a key with more parts matches nothing.
    let mut parts = [""; 8];
    let mut count = 0;
    for part in text.split('/') {
        *parts.get_mut(count)? = part;
        count += 1;
    }
    let key = match parts[..count] {
        ["epoch"] => Key::Epoch,
        ["v", vpc, "s"] => Key::Vpc(vpc.parse().ok()?),
        ["v", vpc, "g", group] => Key::Group(vpc.parse().ok()?, group.parse().ok()?),
        ["v", vpc, "p", group] => Key::SharedGroup(vpc.parse().ok()?, group.parse().ok()?),
        ["v", vpc, "m", group, interface] => {
            Key::ForeignMember(vpc.parse().ok()?, group.parse().ok()?, interface.parse().ok()?)
        }
        ["v", vpc, "l", list] => Key::PrefixList(vpc.parse().ok()?, list.parse().ok()?),
        ["v", vpc, "i", interface] => Key::Interface(vpc.parse().ok()?, interface.parse().ok()?),
        ["v", vpc, "a", host, interface] => {
            Key::Observed(vpc.parse().ok()?, host.parse().ok()?, interface.parse().ok()?)
        }
        ["v", vpc, "h", host] => Key::Grant(vpc.parse().ok()?, host.parse().ok()?),
        ["v", vpc, "w", waiter] => Key::Waiter(vpc.parse().ok()?, waiter.parse().ok()?),
        ["b", vpc, digest, part] => {
            Key::Blob(vpc.parse().ok()?, digest.parse().ok()?, part.parse().ok()?)
        }
        ["h", host] => Key::Host(host.parse().ok()?),
        ["s", host] => Key::Status(host.parse().ok()?),
        ["acct", account, "s"] => Key::Account(account.parse().ok()?),
        ["acct", account, "r", region, "s"] => {
            Key::Region(account.parse().ok()?, region.parse().ok()?)
        }
        ["acct", account, "r", region, "n", subnet] => {
            Key::Subnet(account.parse().ok()?, region.parse().ok()?, subnet.parse().ok()?)
        }
        ["acct", account, "r", region, "l", list, "s"] => {
            Key::OwnedList(account.parse().ok()?, region.parse().ok()?, list.parse().ok()?)
        }
        ["acct", account, "r", region, "l", list, version] => Key::ListVersion(
            account.parse().ok()?,
            region.parse().ok()?,
            list.parse().ok()?,
            version.parse().ok()?,
        ),
        ["acct", account, "audit", server, event] => {
            Key::Audit(account.parse().ok()?, server.parse().ok()?, event.parse().ok()?)
        }
        _ => return None,
    };
    Some(key)
}

#[cfg(test)]
mod tests;
