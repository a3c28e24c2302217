//! Indexes and guards: what several writers agree by. A transaction compares and writes them beside the
//! objects that it changes, so no two transactions can both hold a name, an address or the last place of
//! a quota. Nobody watches them.

use std::{fmt, net::IpAddr};

use sg_policy::id::{AccountId, GroupId, PrefixListId, VpcId};

use crate::id::RegionName;

/// A key under `x/`. An index names the holder of a thing that exists once. A guard is written by
/// every transaction that adds to a set. A transaction that relies on the set therefore compares
/// one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Index {
    /// The group that has a name in a VPC. Build it with [`Index::group_name`].
    GroupName(VpcId, String),
    /// The network interface that has an address in a VPC.
    Address(VpcId, IpAddr),
    /// The account that has a name.
    AccountName(String),
    /// The account that an access key belongs to.
    AccessKey(String),
    /// The outcome of a request that a client may repeat.
    ClientToken(AccountId, RegionName, String),
    /// How much of a quota is used.
    Count(AccountId, RegionName, Counted),
    /// Guard: written by whoever refers to a group, compared by whoever deletes it.
    GroupUsers(GroupId),
    /// Guard: written by whoever refers to a prefix list, compared by whoever deletes it.
    ListUsers(PrefixListId),
    /// Guard: written by whoever puts something into a VPC, compared by whoever deletes it, and by
    /// whoever makes a subnet there.
    VpcUsers(VpcId),
}

/// Kinds of resources that quotas count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    Groups,
    Interfaces,
    PrefixLists,
    Vpcs,
}

impl Counted {
    pub const ALL: [Self; 4] = [Self::Groups, Self::Interfaces, Self::PrefixLists, Self::Vpcs];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Interfaces => "network_interfaces",
            Self::PrefixLists => "prefix_lists",
            Self::Vpcs => "vpcs",
        }
    }
}

impl Index {
    /// Names of groups are unique ignoring case.
    pub fn group_name(vpc: VpcId, name: &str) -> Self {
        Self::GroupName(vpc, name.to_lowercase())
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroupName(vpc, name) => write!(f, "group/{vpc}/{name}"),
            Self::Address(vpc, address) => write!(f, "address/{vpc}/{address}"),
            Self::AccountName(name) => write!(f, "account/{name}"),
            Self::AccessKey(id) => write!(f, "key/{id}"),
            Self::ClientToken(account, region, token) => {
                write!(f, "token/{account}/{region}/{token}")
            }
            Self::Count(account, region, counted) => {
                write!(f, "count/{account}/{region}/{}", counted.as_str())
            }
            Self::GroupUsers(group) => write!(f, "users/{group}"),
            Self::ListUsers(list) => write!(f, "users/{list}"),
            Self::VpcUsers(vpc) => write!(f, "users/{vpc}"),
        }
    }
}

impl Index {
    /// Reads the text behind `x/`. A name, the last part, may hold slashes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        let two = || rest.split_once('/');
        let three = || {
            let (account, rest) = rest.split_once('/')?;
            let (region, rest) = rest.split_once('/')?;
            Some((account.parse().ok()?, region.parse().ok()?, rest))
        };
        let index = match kind {
            "group" => {
                let (vpc, name) = two()?;
                Self::GroupName(vpc.parse().ok()?, name.to_owned())
            }
            "address" => {
                let (vpc, address) = two()?;
                Self::Address(vpc.parse().ok()?, address.parse().ok()?)
            }
            "account" => Self::AccountName(rest.to_owned()),
            "key" => Self::AccessKey(rest.to_owned()),
            "token" => {
                let (account, region, token) = three()?;
                Self::ClientToken(account, region, token.to_owned())
            }
            "count" => {
                let (account, region, name) = three()?;
                let counted = Counted::ALL.into_iter().find(|counted| counted.as_str() == name)?;
                Self::Count(account, region, counted)
            }
            "users" => rest
                .parse()
                .map(Self::GroupUsers)
                .or_else(|_| rest.parse().map(Self::ListUsers))
                .or_else(|_| rest.parse().map(Self::VpcUsers))
                .ok()?,
            _ => return None,
        };
        Some(index)
    }
}
