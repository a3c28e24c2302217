//! Permissions: from requests to the one form that rules are stored in, and back.

use ipnet::IpNet;
use sg_policy::{
    id::GroupId,
    model::{IcmpMatch, Peer, PortRange, Services},
};
use sg_store::objects::GroupRule;

use super::{ids, text};
use crate::{
    call::Context,
    error::Error,
    generated::ec2::{IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair},
};

/// One peer of a permission, as it was asked for: well-formed, and perhaps of nothing that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskedPeer {
    Cidr(IpNet),
    Group { id: Option<String>, name: Option<String>, account: Option<String> },
    PrefixList(String),
}

impl AskedPeer {
    /// A group by its id, which may stand behind its account and a slash.
    pub(super) fn group(text: &str) -> Result<Self, Error> {
        let (account, id) = match text.split_once('/') {
            Some((account, id)) => (Some(account.to_owned()), id),
            None => (None, text),
        };
        group_peer(&UserIdGroupPair {
            group_id: Some(id.to_owned()),
            user_id: account,
            ..UserIdGroupPair::default()
        })
    }
}

/// One rule that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) services: Services,
    pub(super) peer: AskedPeer,
    pub(super) description: String,
}

/// The rules of permissions, one for each peer, none twice.
pub(super) fn read_distinct(permissions: &[IpPermission]) -> Result<Vec<Asked>, Error> {
    let asked = read(permissions)?;
    for (place, one) in asked.iter().enumerate() {
        let is_same = |other: &Asked| other.services == one.services && other.peer == one.peer;
        if asked[..place].iter().any(is_same) {
            return Err(repeated());
        }
    }
    Ok(asked)
}

/// One rule is asked for twice, perhaps in two spellings: a group by its id and by its name.
pub(super) fn repeated() -> Error {
    Error::invalid("The same permission must not appear multiple times")
}

fn read(permissions: &[IpPermission]) -> Result<Vec<Asked>, Error> {
    let mut asked = Vec::new();
    for permission in permissions {
        let IpPermission { ip_protocol, from_port, to_port, .. } = permission;
        let services = services(ip_protocol.as_deref(), *from_port, *to_port)?;
        let before = asked.len();
        let mut add = |peer, description: &Option<String>| {
            let description = description.clone().unwrap_or_default();
            text::check_rule_description(&description)?;
            check_family(services, &peer)?;
            asked.push(Asked { services, peer, description });
            Ok::<_, Error>(())
        };
        for IpRange { cidr_ip, description } in &permission.ip_ranges {
            add(AskedPeer::Cidr(cidr(cidr_ip.as_deref(), "CidrIp", true)?), description)?;
        }
        for Ipv6Range { cidr_ipv6, description } in &permission.ipv6_ranges {
            add(AskedPeer::Cidr(cidr(cidr_ipv6.as_deref(), "CidrIpv6", false)?), description)?;
        }
        for PrefixListId { prefix_list_id, description } in &permission.prefix_list_ids {
            let id = prefix_list_id.as_deref().ok_or_else(|| Error::missing("PrefixListId"))?;
            ids::PREFIX_LIST.check(id)?;
            add(AskedPeer::PrefixList(id.to_owned()), description)?;
        }
        for pair in &permission.user_id_group_pairs {
            add(group_peer(pair)?, &pair.description)?;
        }
        if asked.len() == before {
            return Err(Error::invalid(
                "The permission is missing mandatory parameter: exactly one of remote-security-group, \
                 remote-ip-range, remote-ipv6-range, or prefix-list-id must be present",
            ));
        }
    }
    Ok(asked)
}

fn group_peer(pair: &UserIdGroupPair) -> Result<AskedPeer, Error> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (id, name, account) =
        (given(&pair.group_id), given(&pair.group_name), given(&pair.user_id));
    match &id {
        Some(id) => ids::GROUP.check(id)?,
        None if name.is_none() => return Err(Error::missing("groupName or groupId")),
        None => {}
    }
    let is_account =
        |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(account) = account.as_deref().filter(|account| !is_account(account)) {
        return Err(Error::new(
            "InvalidUserID.Malformed",
            format!("Invalid user id: \"{account}\""),
        ));
    }
    Ok(AskedPeer::Group { id, name, account })
}

/// Host bits are zeroed, as EC2 does it.
pub(super) fn cidr(text: Option<&str>, parameter: &str, is_ipv4: bool) -> Result<IpNet, Error> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| Error::missing(parameter))?;
    let net: Option<IpNet> = text.parse().ok();
    let net = net.filter(|net| matches!(net, IpNet::V4(_)) == is_ipv4);
    net.map(|net| net.trunc())
        .ok_or_else(|| Error::invalid(format!("CIDR block {text} is malformed")))
}

pub(super) fn check_family(services: Services, peer: &AskedPeer) -> Result<(), Error> {
    let (protocol, family) = match (services, peer) {
        (Services::Icmp(_), AskedPeer::Cidr(IpNet::V6(_))) => ("icmp", "IPv4"),
        (Services::Icmpv6(_), AskedPeer::Cidr(IpNet::V4(_))) => ("icmpv6", "IPv6"),
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("The protocol {protocol} needs a peer of {family}")))
}

/// The canonical form of protocol and ports. Protocols without ports ignore the ports that are given.
pub(super) fn services(
    protocol: Option<&str>,
    from: Option<i32>,
    to: Option<i32>,
) -> Result<Services, Error> {
    let Some(protocol) = protocol.filter(|protocol| !protocol.is_empty()) else {
        return Err(Error::invalid(
            "Invalid value 'null' for protocol. VPC security group rules must specify protocols explicitly.",
        ));
    };
    Ok(match &*protocol.to_ascii_lowercase() {
        "-1" => Services::All,
        "tcp" | "6" => Services::Tcp(ports(from, to)?),
        "udp" | "17" => Services::Udp(ports(from, to)?),
        "icmp" | "1" => {
            if from.is_none() || to.is_none() {
                return Err(Error::invalid(
                    "Invalid value for portRange. Must specify both from and to ports with ICMP.",
                ));
            }
            Services::Icmp(icmp(from, to)?)
        }
        "icmpv6" | "58" => Services::Icmpv6(icmp(from, to)?),
        number => {
            let is_plain = number == "0" || !number.starts_with(['0', '+']);
            let number = number.parse().ok().filter(|_| is_plain);
            Services::Protocol(number.ok_or_else(|| {
                Error::invalid(format!(
                    "Invalid value '{protocol}' for IP protocol. Unknown protocol."
                ))
            })?)
        }
    })
}

fn ports(from: Option<i32>, to: Option<i32>) -> Result<PortRange, Error> {
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Error::invalid(
            "Invalid value for portRange. Must specify both from and to ports with TCP/UDP.",
        ));
    };
    let port = |port: i32| {
        u16::try_from(port)
            .map_err(|_| Error::invalid(format!("TCP/UDP port ({port}) out of range")))
    };
    let range = PortRange { from: port(from)?, to: port(to)? };
    if range.from > range.to {
        return Err(Error::invalid(format!("Invalid TCP/UDP port range ({from}:{to})")));
    }
    Ok(range)
}

/// Type and code; -1 or absent is any. Any type is any code, too.
fn icmp(kind: Option<i32>, code: Option<i32>) -> Result<IcmpMatch, Error> {
    let byte = |number: Option<i32>, what| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u8::try_from(number)
            .map(Some)
            .map_err(|_| Error::invalid(format!("ICMP {what} ({number}) out of range"))),
    };
    let (kind, code) = (byte(kind, "type")?, byte(code, "code")?);
    Ok(IcmpMatch { kind, code: code.filter(|_| kind.is_some()) })
}

/// Protocol and ports as EC2 shows them. `is_rule`: as DescribeSecurityGroupRules does, where no port is -1.
pub(super) fn shown_services(
    services: Services,
    is_rule: bool,
) -> (String, Option<i32>, Option<i32>) {
    let any = is_rule.then_some(-1);
    let ports = |range: PortRange| (Some(i32::from(range.from)), Some(i32::from(range.to)));
    let icmp = |matched: IcmpMatch| {
        let number = |byte: Option<u8>| Some(byte.map_or(-1, i32::from));
        (number(matched.kind), number(matched.code))
    };
    let (protocol, (from, to)) = match services {
        Services::All => ("-1".to_owned(), (any, any)),
        Services::Tcp(range) => ("tcp".to_owned(), ports(range)),
        Services::Udp(range) => ("udp".to_owned(), ports(range)),
        Services::Icmp(matched) => ("icmp".to_owned(), icmp(matched)),
        Services::Icmpv6(matched) => ("icmpv6".to_owned(), icmp(matched)),
        Services::Protocol(number) => (number.to_string(), (any, any)),
    };
    (protocol, from, to)
}

/// Rules as permissions: those of one protocol and ports together, in the order that the first of each came.
pub(super) fn grouped(context: &Context<'_>, rules: &[GroupRule]) -> Vec<IpPermission> {
    let mut permissions: Vec<(Services, IpPermission)> = Vec::new();
    for rule in rules {
        let place = permissions.iter().position(|(services, _)| *services == rule.services);
        let place = place.unwrap_or_else(|| {
            let (protocol, from_port, to_port) = shown_services(rule.services, false);
            let permission = IpPermission {
                ip_protocol: Some(protocol),
                from_port,
                to_port,
                ..IpPermission::default()
            };
            permissions.push((rule.services, permission));
            permissions.len() - 1
        });
        add_peer(context, &mut permissions[place].1, rule);
    }
    permissions.into_iter().map(|(_, permission)| permission).collect()
}

fn add_peer(context: &Context<'_>, permission: &mut IpPermission, rule: &GroupRule) {
    let description = Some(rule.description.clone()).filter(|description| !description.is_empty());
    match rule.peer {
        Peer::Cidr(net @ IpNet::V4(_)) => {
            permission.ip_ranges.push(IpRange { cidr_ip: Some(net.to_string()), description });
        }
        Peer::Cidr(net @ IpNet::V6(_)) => {
            permission
                .ipv6_ranges
                .push(Ipv6Range { cidr_ipv6: Some(net.to_string()), description });
        }
        Peer::PrefixList(list) => permission
            .prefix_list_ids
            .push(PrefixListId { prefix_list_id: Some(list.to_string()), description }),
        Peer::Group(group) => permission.user_id_group_pairs.push(UserIdGroupPair {
            description,
            group_id: Some(group.to_string()),
            user_id: owner_of(context, group),
            ..UserIdGroupPair::default()
        }),
    }
}

/// The account of a peer group; `None` where the group is gone.
pub(super) fn owner_of(context: &Context<'_>, group: GroupId) -> Option<String> {
    context.snapshot.group(group).map(|group| group.account.to_string())
}

/// The value of a rule for a filter of DescribeSecurityGroups, less its `ip-permission.`.
pub(super) fn filtered(context: &Context<'_>, rule: &GroupRule, field: &str) -> Option<String> {
    let (protocol, from, to) = shown_services(rule.services, true);
    match (field, rule.peer) {
        ("protocol", _) => Some(protocol),
        ("from-port", _) => from.map(|port| port.to_string()),
        ("to-port", _) => to.map(|port| port.to_string()),
        ("cidr", Peer::Cidr(net @ IpNet::V4(_)))
        | ("ipv6-cidr", Peer::Cidr(net @ IpNet::V6(_))) => Some(net.to_string()),
        ("prefix-list-id", Peer::PrefixList(list)) => Some(list.to_string()),
        ("group-id", Peer::Group(group)) => Some(group.to_string()),
        ("group-name", Peer::Group(group)) => {
            context.snapshot.group(group).map(|group| group.name.clone())
        }
        ("user-id", Peer::Group(group)) => owner_of(context, group),
        _ => None,
    }
}
