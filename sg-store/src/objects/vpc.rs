//! VPCs and subnets.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sg_policy::id::{AccountId, VpcId};

use super::fields::{Tags, is_default, is_yes, yes};
use crate::{
    id::{EpochId, RegionName, SubnetId},
    key::Key,
};

/// A VPC. Its record always exists: hosts hold their last state where it is deleted or missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    pub id: VpcId,
    /// The store that the record was written in. It tells hosts when another store took its place.
    pub epoch: EpochId,
    pub account: AccountId,
    pub region: RegionName,
    /// The first IPv4 block is the VPC's `CidrBlock`.
    pub cidrs: Vec<CidrBlock>,
    /// Prefixes that addresses observed by hosts count in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<IpNet>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_default: bool,
    #[serde(default)]
    pub settings: VpcSettings,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub dns_support: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns_hostnames: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: Tags,
}

impl Vpc {
    pub(super) fn own_key(&self) -> Key {
        Key::Vpc(self.id)
    }

    /// Whether new groups allow IPv6 out.
    pub fn has_ipv6(&self) -> bool {
        self.cidrs.iter().any(|block| matches!(block.cidr, IpNet::V6(_)))
    }
}

/// A block of a VPC with the id of its association (`vpc-cidr-assoc-…`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CidrBlock {
    pub cidr: IpNet,
    pub association: String,
}

/// The VPC's `sg:` tags, as hosts read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VpcSettings {
    pub on_revoke: RevokeMode,
    pub related_icmp: bool,
    pub exempt_services: bool,
    /// Seconds that TCP is picked up in mid-stream on a newly filtered interface; 0 = never.
    pub pickup: u32,
}

/// As in rules.toml.
impl Default for VpcSettings {
    fn default() -> Self {
        Self {
            on_revoke: RevokeMode::Keep,
            related_icmp: true,
            exempt_services: true,
            pickup: sg_policy::model::Tracking::default().pickup,
        }
    }
}

/// The fate of a tracked flow whose opening packet is no longer allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokeMode {
    #[default]
    Keep,
    Cut,
}

/// A subnet. Hosts need none, so it lies with its account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub id: SubnetId,
    pub account: AccountId,
    pub region: RegionName,
    pub vpc: VpcId,
    pub availability_zone: String,
    pub ipv4: Option<IpNet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<CidrBlock>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_default: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub map_public_ip: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub assign_ipv6: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: Tags,
}

impl Subnet {
    pub(super) fn own_key(&self) -> Key {
        Key::Subnet(self.account, self.region.clone(), self.id)
    }
}
