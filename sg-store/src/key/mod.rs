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
mod text;

pub use index::{Counted, Index};
use sg_policy::id::{AccountId, GroupId, PrefixListId, VpcId};
pub use text::UnknownKey;

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

#[cfg(test)]
mod tests;
