//! The store's identity, accounts, and audit records on their way to the log.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sg_policy::id::{AccountId, VpcId};

use super::fields::{Tags, is_default};
use crate::{
    id::{EpochId, EventId, RegionName, ServerName, from_hex},
    key::Key,
};

/// Which store this is. A store without it is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    pub epoch: EpochId,
    /// The epoch that a backup was made in, where this store was put back from one. Hosts that know it
    /// move on to this one; a store that follows nothing is foreign to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<EpochId>,
    /// Epochs that `follows` followed, the newest first: for hosts that were away meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EpochId>,
}

impl EpochRecord {
    /// The record of a store that follows no other.
    pub fn new(epoch: EpochId) -> Self {
        Self { epoch, follows: None, earlier: Vec::new() }
    }

    /// The record of a store that takes the place of another.
    pub fn following(epoch: EpochId, other: &Self) -> Self {
        let earlier = other.follows.iter().chain(&other.earlier).copied().collect();
        Self { epoch, follows: Some(other.epoch), earlier }
    }

    /// Whether a host of that epoch may move on to this one.
    pub fn comes_after(&self, epoch: EpochId) -> bool {
        self.follows == Some(epoch) || self.earlier.contains(&epoch)
    }

    pub(super) fn own_key(&self) -> Key {
        Key::Epoch
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    /// Prefixes that the account's VPCs lie in. `None`: anywhere, as the first account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<IpNet>>,
    /// The first account, which hosts belong to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_first: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_key: Option<RootKey>,
    /// Sessions that were issued at this Unix time, in seconds, or before are void.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sessions_revoked_at: u64,
    /// Unix time in seconds.
    #[serde(default)]
    pub created_at: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: Tags,
}

impl Account {
    pub(super) fn own_key(&self) -> Key {
        Key::Account(self.id)
    }
}

/// The access key of an account's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootKey {
    pub access_key_id: String,
    /// The secret, sealed by the server's key. The store cannot open it.
    pub sealed: Sealed,
    /// Unix time in seconds.
    #[serde(default)]
    pub created_at: u64,
}

/// Sealed bytes, written as hex digits. Debug shows their length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let bytes = from_hex(&digits);
        // The digits are no secret, but they are nobody's business either.
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("sealed bytes are hex digits"))
    }
}

/// An account's own things in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRegion {
    pub account: AccountId,
    pub region: RegionName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_vpc: Option<VpcId>,
}

impl AccountRegion {
    pub(super) fn own_key(&self) -> Key {
        Key::Region(self.account, self.region.clone())
    }
}

/// The audit record of a change. It is committed with the change, then appended to the account's log,
/// then deleted here. A crash between the two appends it again: `event` says that it is one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    pub account: AccountId,
    /// The server whose log it goes into.
    pub server: ServerName,
    pub event: EventId,
    /// The record, one line of JSON.
    pub line: String,
}

impl AuditRecord {
    pub(super) fn own_key(&self) -> Key {
        Key::Audit(self.account, self.server.clone(), self.event.clone())
    }
}
