//! Security groups with their rules: one document a group.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sg_common::Direction;
use sg_policy::{
    id::{AccountId, GroupId, InvalidId, PrefixListId, RuleId, VpcId},
    model::{IcmpMatch, Peer, PortRange, Services},
    serde_as_text,
};

use super::fields::{Tags, is_default};
use crate::{
    id::{InterfaceId, RegionName},
    key::Key,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub id: GroupId,
    pub account: AccountId,
    pub region: RegionName,
    pub vpc: VpcId,
    pub name: String,
    pub description: String,
    pub ingress: Vec<GroupRule>,
    pub egress: Vec<GroupRule>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tags: Tags,
}

impl SecurityGroup {
    pub(super) fn own_key(&self) -> Key {
        Key::Group(self.vpc, self.id)
    }

    pub fn rules(&self, direction: Direction) -> &[GroupRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    pub fn rules_mut(&mut self, direction: Direction) -> &mut Vec<GroupRule> {
        match direction {
            Direction::Ingress => &mut self.ingress,
            Direction::Egress => &mut self.egress,
        }
    }

    /// Every rule with its direction.
    pub fn all_rules(&self) -> impl Iterator<Item = (Direction, &GroupRule)> {
        let ingress = self.ingress.iter().map(|rule| (Direction::Ingress, rule));
        ingress.chain(self.egress.iter().map(|rule| (Direction::Egress, rule)))
    }
}

/// One rule. Its id belongs to the store: a rule that is revoked and authorized again has another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RuleDocument", into = "RuleDocument")]
pub struct GroupRule {
    pub id: RuleId,
    pub services: Services,
    pub peer: Peer,
    /// Not part of a rule's identity.
    pub description: String,
    pub tags: Tags,
}

impl GroupRule {
    /// Whether two rules allow the same, whatever their ids and descriptions.
    pub fn is_same_permission(&self, other: &Self) -> bool {
        self.services == other.services && self.peer == other.peer
    }
}

/// How a rule is written. Port ranges and ICMP types are `from` and `to`, as in EC2; absent: any.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct RuleDocument {
    id: RuleId,
    protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<u16>,
    // One of the three. An enum would be clearer, but serde reads flattened ones several times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cidr: Option<IpNet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<GroupId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix_list: Option<PrefixListId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default, skip_serializing_if = "is_default")]
    tags: Tags,
}

/// A name, or the number of a protocol that has none here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    All,
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Number(u8),
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Tcp => f.write_str("tcp"),
            Self::Udp => f.write_str("udp"),
            Self::Icmp => f.write_str("icmp"),
            Self::Icmpv6 => f.write_str("icmpv6"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl FromStr for Protocol {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Ok(match text {
            "all" => Self::All,
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "icmp" => Self::Icmp,
            "icmpv6" => Self::Icmpv6,
            _ => {
                let number = text.parse().ok().filter(|number| !matches!(number, 1 | 6 | 17 | 58));
                let expected = "a protocol's name, or its number where it has no name";
                let fault = || InvalidId { text: text.to_owned(), expected };
                Self::Number(number.ok_or_else(fault)?)
            }
        })
    }
}

serde_as_text!(Protocol);

impl From<GroupRule> for RuleDocument {
    fn from(rule: GroupRule) -> Self {
        let ports = |PortRange { from, to }| (Some(from), Some(to));
        let icmp = |IcmpMatch { kind, code }| (kind.map(u16::from), code.map(u16::from));
        let (protocol, (from, to)) = match rule.services {
            Services::All => (Protocol::All, (None, None)),
            Services::Tcp(range) => (Protocol::Tcp, ports(range)),
            Services::Udp(range) => (Protocol::Udp, ports(range)),
            Services::Icmp(matched) => (Protocol::Icmp, icmp(matched)),
            Services::Icmpv6(matched) => (Protocol::Icmpv6, icmp(matched)),
            Services::Protocol(number) => (Protocol::Number(number), (None, None)),
        };
        let (cidr, group, prefix_list) = match rule.peer {
            Peer::Cidr(net) => (Some(net), None, None),
            Peer::Group(group) => (None, Some(group), None),
            Peer::PrefixList(list) => (None, None, Some(list)),
        };
        let GroupRule { id, description, tags, .. } = rule;
        Self { id, protocol, from, to, cidr, group, prefix_list, description, tags }
    }
}

/// A rule that no writer of ours has written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    #[error("rule {0}: `from` and `to` are no range of ports")]
    Ports(RuleId),
    #[error("rule {0}: `from` and `to` are no ICMP type and code")]
    Icmp(RuleId),
    #[error("rule {0}: its protocol has no ports, but `from` or `to` is there")]
    NoPorts(RuleId),
    #[error("rule {0}: needs one of `cidr`, `group` and `prefix_list`")]
    Peers(RuleId),
    #[error("rule {0}: the peer has host bits that are not zero")]
    HostBits(RuleId),
    #[error("rule {0}: the peer is of the other address family")]
    Family(RuleId),
}

impl TryFrom<RuleDocument> for GroupRule {
    type Error = InvalidRule;

    fn try_from(document: RuleDocument) -> Result<Self, InvalidRule> {
        let RuleDocument { id, protocol, from, to, cidr, group, prefix_list, description, tags } =
            document;
        let ports = || match (from, to) {
            (Some(from), Some(to)) if from <= to => Ok(PortRange { from, to }),
            _ => Err(InvalidRule::Ports(id)),
        };
        let icmp = || {
            let byte = |number: Option<u16>| number.map(u8::try_from).transpose();
            match (byte(from), byte(to)) {
                (Ok(None), Ok(Some(_))) | (Err(_), _) | (_, Err(_)) => Err(InvalidRule::Icmp(id)),
                (Ok(kind), Ok(code)) => Ok(IcmpMatch { kind, code }),
            }
        };
        let portless = |services| match (from, to) {
            (None, None) => Ok(services),
            _ => Err(InvalidRule::NoPorts(id)),
        };
        let services = match protocol {
            Protocol::All => portless(Services::All)?,
            Protocol::Tcp => Services::Tcp(ports()?),
            Protocol::Udp => Services::Udp(ports()?),
            Protocol::Icmp => Services::Icmp(icmp()?),
            Protocol::Icmpv6 => Services::Icmpv6(icmp()?),
            Protocol::Number(number) => portless(Services::Protocol(number))?,
        };
        let peer = match (cidr, group, prefix_list) {
            (Some(net), None, None) if net != net.trunc() => return Err(InvalidRule::HostBits(id)),
            (Some(net), None, None) => Peer::Cidr(net),
            (None, Some(group), None) => Peer::Group(group),
            (None, None, Some(list)) => Peer::PrefixList(list),
            _ => return Err(InvalidRule::Peers(id)),
        };
        match (services, peer) {
            (Services::Icmp(_), Peer::Cidr(IpNet::V6(_)))
            | (Services::Icmpv6(_), Peer::Cidr(IpNet::V4(_))) => Err(InvalidRule::Family(id)),
            _ => Ok(Self { id, services, peer, description, tags }),
        }
    }
}

/// A group of another VPC that is used in this one: a copy, written by whatever changes the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedGroup {
    /// Where the group is used.
    pub used_in: VpcId,
    pub group: SecurityGroup,
}

impl SharedGroup {
    pub(super) fn own_key(&self) -> Key {
        Key::SharedGroup(self.used_in, self.group.id)
    }
}

/// A member, in another VPC, of a group that is used in this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignMember {
    pub used_in: VpcId,
    pub group: GroupId,
    pub interface: InterfaceId,
    pub addresses: Vec<IpAddr>,
}

impl ForeignMember {
    pub(super) fn own_key(&self) -> Key {
        Key::ForeignMember(self.used_in, self.group, self.interface)
    }
}
