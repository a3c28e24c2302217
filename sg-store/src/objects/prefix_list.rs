//! Prefix lists: the owner's record, its versions, the copies that hosts read, and blobs.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sg_common::Family;
use sg_policy::id::{AccountId, PrefixListId, VpcId};

use super::fields::{Tags, is_default};
use crate::{
    id::{Digest, RegionName},
    key::Key,
};

/// A prefix list, as its owner and the API see it. The entries lie under its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedPrefixList {
    pub id: PrefixListId,
    pub account: AccountId,
    pub region: RegionName,
    pub name: String,
    #[serde(with = "family")]
    pub family: Family,
    /// The list's weight in quotas.
    pub max_entries: u32,
    /// The present version, from 1.
    pub version: u32,
    /// The oldest version that is kept.
    pub oldest_version: u32,
    pub state: ListState,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state_message: String,
    /// VPCs that have a copy, because a rule there refers to the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copied_to: Vec<VpcId>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: Tags,
}

impl OwnedPrefixList {
    pub(super) fn own_key(&self) -> Key {
        Key::OwnedList(self.account, self.region.clone(), self.id)
    }
}

/// States that Describe shows. There is no state on the way to another one: changes are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListState {
    CreateComplete,
    ModifyComplete,
    ModifyFailed,
    RestoreComplete,
    RestoreFailed,
    DeleteFailed,
}

/// The entries of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVersion {
    pub list: PrefixListId,
    pub account: AccountId,
    pub region: RegionName,
    pub version: u32,
    pub entries: Vec<ListEntry>,
}

impl ListVersion {
    pub(super) fn own_key(&self) -> Key {
        Key::ListVersion(self.account, self.region.clone(), self.list, self.version)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEntry {
    pub cidr: IpNet,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A prefix list, as hosts of a VPC read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixList {
    /// Where a rule refers to the list.
    pub used_in: VpcId,
    pub id: PrefixListId,
    pub account: AccountId,
    pub name: String,
    #[serde(with = "family")]
    pub family: Family,
    pub max_entries: u32,
    pub version: u32,
    pub entries: ListEntries,
}

impl PrefixList {
    pub(super) fn own_key(&self) -> Key {
        Key::PrefixList(self.used_in, self.id)
    }
}

/// Entries up to 8 KiB lie in the list's record, others in a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListEntries {
    Inline(Vec<ListEntry>),
    Blob(BlobReference),
}

/// Where bytes lie that are too long for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobReference {
    pub digest: Digest,
    /// How many parts there are, numbered from 0.
    pub parts: u32,
}

/// One part of a blob: up to 512 KiB of text. Nobody changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobPart {
    pub vpc: VpcId,
    /// The digest of the whole blob.
    pub digest: Digest,
    pub part: u32,
    pub text: String,
}

impl BlobPart {
    pub(super) fn own_key(&self) -> Key {
        Key::Blob(self.vpc, self.digest, self.part)
    }
}

/// `ipv4` or `ipv6`.
mod family {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use sg_common::Family;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Name {
        Ipv4,
        Ipv6,
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(super) fn serialize<S: Serializer>(family: &Family, s: S) -> Result<S::Ok, S::Error> {
        match family {
            Family::V4 => Name::Ipv4,
            Family::V6 => Name::Ipv6,
        }
        .serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Family, D::Error> {
        Ok(match Name::deserialize(d)? {
            Name::Ipv4 => Family::V4,
            Name::Ipv6 => Family::V6,
        })
    }
}
