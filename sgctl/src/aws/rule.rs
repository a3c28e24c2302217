//! One rule of AWS's, from either form, and what it is in ours.

use std::mem::take;

use ipnet::IpNet;
use serde_json::Value;
use sg_common::Family;
use sg_policy::model::{IcmpMatch, PortRange, Services};

use super::document::{GroupRule, Pair, Permission, Unknown};

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum AwsPeer {
    Cidr(String),
    /// By id.
    List(String),
    Group {
        id: String,
        name: String,
        owner: String,
        vpc: String,
    },
    Nobody,
}

/// A rule as AWS has it. Equal ones are one rule that two files have.
#[derive(Clone, Debug)]
pub(super) struct AwsRule {
    pub(super) group: String,
    pub(super) egress: bool,
    protocol: String,
    from: Option<i64>,
    to: Option<i64>,
    pub(super) peer: AwsPeer,
    pub(super) description: String,
    /// `sgr-…`, where the file says it.
    id: String,
    pub(super) unknown: Vec<String>,
    pub(super) has_tags: bool,
}

/// The identity of a rule, however the two commands spell it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    group: String,
    egress: bool,
    traffic: Traffic,
    peer: AwsPeer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Traffic {
    Services(Services),
    /// There is no such rule here.
    AsWritten(String, Option<i64>, Option<i64>),
}

impl AwsRule {
    pub(super) fn of_permission(group: &str, egress: bool, permission: Permission) -> Vec<Self> {
        let ranges = permission.ip_ranges.into_iter().chain(permission.ipv6_ranges);
        let lists = permission.prefix_list_ids.into_iter();
        let pairs = permission.user_id_group_pairs.into_iter();
        let mut peers: Vec<(AwsPeer, String, Unknown)> = ranges
            .map(|range| (AwsPeer::Cidr(range.cidr_ip), range.description, range.unknown))
            .chain(
                lists.map(|list| {
                    (AwsPeer::List(list.prefix_list_id), list.description, list.unknown)
                }),
            )
            .chain(pairs.map(|mut pair| {
                let (description, unknown) = (take(&mut pair.description), take(&mut pair.unknown));
                (AwsPeer::of(pair), description, unknown)
            }))
            .collect();
        if peers.is_empty() {
            peers.push((AwsPeer::Nobody, String::new(), Unknown::new()));
        }
        let rule = |(peer, description, unknown): (AwsPeer, String, Unknown)| Self {
            group: group.to_owned(),
            egress,
            protocol: permission.ip_protocol.clone(),
            from: number(permission.from_port),
            to: number(permission.to_port),
            peer,
            description,
            id: String::new(),
            has_tags: false,
            unknown: keys(&permission.unknown, &[]).chain(keys(&unknown, &PAIR)).collect(),
        };
        peers.into_iter().map(rule).collect()
    }

    pub(super) fn of_group_rule(rule: GroupRule) -> Self {
        let mut unknown: Vec<String> =
            keys(&rule.unknown, &["GroupOwnerId", "SecurityGroupRuleArn"]).collect();
        let peer = if !rule.cidr_ipv4.is_empty() {
            AwsPeer::Cidr(rule.cidr_ipv4)
        } else if !rule.cidr_ipv6.is_empty() {
            AwsPeer::Cidr(rule.cidr_ipv6)
        } else if !rule.prefix_list_id.is_empty() {
            AwsPeer::List(rule.prefix_list_id)
        } else if let Some(pair) = rule.referenced_group_info {
            unknown.extend(keys(&pair.unknown, &PAIR));
            AwsPeer::of(pair)
        } else {
            AwsPeer::Nobody
        };
        Self {
            group: rule.group_id,
            egress: rule.is_egress,
            protocol: rule.ip_protocol,
            from: number(rule.from_port),
            to: number(rule.to_port),
            peer,
            description: rule.description,
            id: rule.security_group_rule_id,
            unknown,
            has_tags: has_tags(&rule.unknown),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        let traffic = match self.services() {
            Ok(services) => Traffic::Services(services),
            Err(_) => Traffic::AsWritten(self.protocol.to_ascii_lowercase(), self.from, self.to),
        };
        let peer = match &self.peer {
            AwsPeer::Cidr(cidr) => AwsPeer::Cidr(
                cidr.parse::<IpNet>().map_or_else(|_| cidr.clone(), |net| net.trunc().to_string()),
            ),
            AwsPeer::Group { id, .. } if !id.is_empty() => {
                let (name, owner, vpc) = (String::new(), String::new(), String::new());
                AwsPeer::Group { id: id.clone(), name, owner, vpc }
            }
            other => other.clone(),
        };
        Identity { group: self.group.clone(), egress: self.egress, traffic, peer }
    }

    /// For people: what is left out has to be found again.
    pub(super) fn text(&self) -> String {
        let direction = if self.egress { "egress" } else { "ingress" };
        let detail = match (self.from, self.to) {
            (None, None) => String::new(),
            (from, to) => {
                let number = |at: Option<i64>| at.map_or("-".to_owned(), |at| at.to_string());
                format!(" {}..{}", number(from), number(to))
            }
        };
        let peer = match &self.peer {
            AwsPeer::Cidr(name) | AwsPeer::List(name) => name.clone(),
            AwsPeer::Group { id, name, .. } if id.is_empty() => format!("group {name}"),
            AwsPeer::Group { id, .. } => id.clone(),
            AwsPeer::Nobody => "nobody".to_owned(),
        };
        let Self { group, protocol, id, .. } = self;
        let id = if id.is_empty() { String::new() } else { format!(" ({id})") };
        format!("{direction} rule{id} of {group}: protocol {protocol}{detail}, {peer}")
    }

    /// Which traffic the rule is about, or why there is no such rule here.
    pub(super) fn services(&self) -> Result<Services, String> {
        Ok(match self.protocol.to_ascii_lowercase().as_str() {
            "-1" | "all" => Services::All,
            "tcp" | "6" => Services::Tcp(self.ports()?),
            "udp" | "17" => Services::Udp(self.ports()?),
            "icmp" | "1" => Services::Icmp(self.icmp()?),
            "icmpv6" | "58" => Services::Icmpv6(self.icmp()?),
            other => {
                let number = other.parse().map_err(|_| "the protocol is not known".to_owned())?;
                match (self.from, self.to) {
                    (None, None) | (Some(0), Some(65535)) => {}
                    _ => return Err(format!("rules for protocol {number} have no ports here")),
                }
                Services::Protocol(number)
            }
        })
    }

    fn ports(&self) -> Result<PortRange, String> {
        match (self.from, self.to) {
            (None, None) => Ok(PortRange::ALL),
            (Some(from), Some(to)) => match (u16::try_from(from), u16::try_from(to)) {
                (Ok(from), Ok(to)) if from <= to => Ok(PortRange { from, to }),
                _ => Err("there are no such ports".to_owned()),
            },
            _ => Err("one end of the port range is missing".to_owned()),
        }
    }

    /// The type is in the place of the first port, the code in that of the last.
    fn icmp(&self) -> Result<IcmpMatch, String> {
        let number = |value: Option<i64>| match value {
            None => Ok(None),
            Some(value) => u8::try_from(value)
                .map(Some)
                .map_err(|_| "there is no such ICMP type or code".to_owned()),
        };
        match (number(self.from)?, number(self.to)?) {
            (None, Some(_)) => Err("an ICMP code without a type".to_owned()),
            (kind, code) => Ok(IcmpMatch { kind, code }),
        }
    }
}

impl AwsPeer {
    fn of(pair: Pair) -> Self {
        let Pair { group_id: id, group_name: name, user_id: owner, vpc_id: vpc, .. } = pair;
        Self::Group { id, name, owner, vpc }
    }
}

/// Keys of a group as a peer that tell the way to it, not whom it lets in.
const PAIR: [&str; 2] = ["PeeringStatus", "VpcPeeringConnectionId"];

/// -1 and an absent number are the same: describe-security-groups prints none for "all traffic", and
/// describe-security-group-rules -1.
fn number(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != -1)
}

const TAGS: &str = "Tags";

pub(super) fn has_tags(unknown: &Unknown) -> bool {
    unknown.get(TAGS).is_some_and(|tags| !is_empty(tags))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Keys with something in them, other than tags and those that identify only.
pub(super) fn keys(unknown: &Unknown, known: &[&str]) -> impl Iterator<Item = String> {
    unknown
        .iter()
        .filter(move |(key, _)| *key != TAGS && !known.contains(&key.as_str()))
        .filter(|(_, value)| !is_empty(value))
        .map(|(key, _)| key.clone())
}

/// The only family that a rule for these services can match, if it is one.
pub(super) fn family_of(services: Services) -> Option<Family> {
    match services {
        Services::Icmp(_) => Some(Family::V4),
        Services::Icmpv6(_) => Some(Family::V6),
        _ => None,
    }
}
