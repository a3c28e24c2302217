//! Hosts: what operators say of them, what they may claim, and what they say themselves.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sg_policy::id::{AccountId, VpcId};

use super::{
    fields::{Tags, is_default},
    interface::Binding,
};
use crate::{
    id::{EpochId, EventId, HostName, InstanceId, InterfaceId, Revision},
    key::Key,
};

/// A host, as operators set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub name: HostName,
    /// Derived from the machine id: the host is EC2's instance.
    pub instance: InstanceId,
    /// `None` until the host has joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    pub vpcs: Vec<VpcId>,
    /// Prefixes that the host may claim addresses in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<IpNet>,
    #[serde(default)]
    pub claims: Claims,
    /// Accounts, beside the first one, whose network interfaces the host admits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub accounts: AdmittedAccounts,
    /// Globs of device names that may be bound. `None`: all but the device of the default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    /// Nobody waits for a fenced host, and its claims yield.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_fenced: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: Tags,
}

impl Host {
    pub(super) fn own_key(&self) -> Key {
        Key::Host(self.name.clone())
    }

    /// The host's grant in one of its VPCs. A transaction that changes the host writes the grant, too.
    pub fn grant(&self, vpc: VpcId) -> Grant {
        Grant {
            host: self.name.clone(),
            vpc,
            prefixes: self.allow.clone(),
            claims: self.claims,
            accounts: self.accounts.clone(),
            interfaces: self.interfaces.clone(),
            is_fenced: self.is_fenced,
        }
    }
}

/// Which network interfaces a host may bind by alias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claims {
    /// Network interfaces whose tag `sg:host` names the host.
    #[default]
    Own,
    Any,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdmittedAccounts {
    /// These, and always the first account.
    Only(Vec<AccountId>),
    All,
}

impl Default for AdmittedAccounts {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl AdmittedAccounts {
    /// Whether the host admits an account other than the first one.
    pub fn admit(&self, account: AccountId) -> bool {
        match self {
            Self::Only(accounts) => accounts.contains(&account),
            Self::All => true,
        }
    }
}

/// The claims that a host may make in a VPC. It lies where every reader of the VPC sees it, so nobody needs to
/// trust the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub host: HostName,
    pub vpc: VpcId,
    pub prefixes: Vec<IpNet>,
    #[serde(default)]
    pub claims: Claims,
    #[serde(default, skip_serializing_if = "is_default")]
    pub accounts: AdmittedAccounts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_fenced: bool,
}

impl Grant {
    pub(super) fn own_key(&self) -> Key {
        Key::Grant(self.vpc, self.host.clone())
    }

    /// Whether an observed address of the host counts.
    pub fn covers(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

/// Addresses that a host sees on an interface of its own that it claims by alias or by tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedAddresses {
    pub vpc: VpcId,
    pub host: HostName,
    pub interface: InterfaceId,
    pub ifname: String,
    pub addresses: Vec<IpAddr>,
}

impl ObservedAddresses {
    pub(super) fn own_key(&self) -> Key {
        Key::Observed(self.vpc, self.host.clone(), self.interface)
    }
}

/// A host's report about itself. Operators read it, other hosts do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    pub host: HostName,
    pub epoch: EpochId,
    /// The revision that is enforced, for each VPC.
    pub enforced: BTreeMap<VpcId, Revision>,
    /// The revision that is on the host's disk, for each VPC.
    #[serde(default)]
    pub durable: BTreeMap<VpcId, Revision>,
    /// The kernel's boot id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound: Vec<BoundInterface>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

impl HostStatus {
    pub(super) fn own_key(&self) -> Key {
        Key::Status(self.host.clone())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundInterface {
    pub interface: InterfaceId,
    pub device: Binding,
}

/// Somebody waits for acks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    pub vpc: VpcId,
    pub id: EventId,
    /// `None`: every host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostName>>,
}

impl Waiter {
    pub(super) fn own_key(&self) -> Key {
        Key::Waiter(self.vpc, self.id.clone())
    }
}
