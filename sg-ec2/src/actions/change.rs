//! Requests to authorize and to revoke, in one form for both directions.

use sg_common::Direction;

use super::{
    groups::Named,
    permission::{self, Asked},
};
use crate::{
    error::Error,
    generated::ec2::{
        AuthorizeSecurityGroupEgressRequest, AuthorizeSecurityGroupIngressRequest, IpPermission,
        IpRange, RevokeSecurityGroupEgressRequest, RevokeSecurityGroupIngressRequest,
        TagSpecification, UserIdGroupPair,
    },
};

/// A change of rules in either direction.
pub(super) struct Change {
    pub(super) direction: Direction,
    group_id: Option<String>,
    group_name: Option<String>,
    permissions: Vec<IpPermission>,
    pub(super) rule_ids: Vec<String>,
    pub(super) tag_specifications: Vec<TagSpecification>,
}

/// Parameters of ingress that say one rule without a list.
struct Flat {
    cidr_ip: Option<String>,
    from_port: Option<i32>,
    ip_protocol: Option<String>,
    source_name: Option<String>,
    source_account: Option<String>,
    to_port: Option<i32>,
}

impl Flat {
    fn is_absent(&self) -> bool {
        let Self { cidr_ip, from_port, ip_protocol, source_name, source_account, to_port } = self;
        cidr_ip.is_none()
            && from_port.is_none()
            && ip_protocol.is_none()
            && source_name.is_none()
            && source_account.is_none()
            && to_port.is_none()
    }

    /// A source group alone is all of TCP, UDP and ICMP, as in the API's first version.
    fn permissions(self, listed: Vec<IpPermission>) -> Result<Vec<IpPermission>, Error> {
        if self.is_absent() {
            return Ok(listed);
        }
        let is_address = self.cidr_ip.is_some() || self.ip_protocol.is_some();
        if !listed.is_empty() || is_address && self.source_name.is_some() {
            let message =
                "IpPermissions, an address range and a source group cannot be used together";
            return Err(Error::combination(message));
        }
        let Some(name) = self.source_name else {
            return Ok(vec![IpPermission {
                from_port: self.from_port,
                ip_protocol: self.ip_protocol,
                ip_ranges: vec![IpRange { cidr_ip: self.cidr_ip, description: None }],
                to_port: self.to_port,
                ..IpPermission::default()
            }]);
        };
        let pair = UserIdGroupPair {
            group_name: Some(name),
            user_id: self.source_account,
            ..UserIdGroupPair::default()
        };
        let all = [("tcp", 0, 65_535), ("udp", 0, 65_535), ("icmp", -1, -1)];
        let permission = |(protocol, from, to): (&str, i32, i32)| IpPermission {
            from_port: Some(from),
            ip_protocol: Some(protocol.to_owned()),
            to_port: Some(to),
            user_id_group_pairs: vec![pair.clone()],
            ..IpPermission::default()
        };
        Ok(all.map(permission).to_vec())
    }
}

/// The four requests have the same members under the same names.
macro_rules! change_from {
    ($request:ident, $direction:ident, $group:expr, $ids:expr, $tags:expr) => {
        impl TryFrom<$request> for Change {
            type Error = Error;

            fn try_from(request: $request) -> Result<Self, Error> {
                let flat = Flat {
                    cidr_ip: request.cidr_ip.clone(),
                    from_port: request.from_port,
                    ip_protocol: request.ip_protocol.clone(),
                    source_name: request.source_security_group_name.clone(),
                    source_account: request.source_security_group_owner_id.clone(),
                    to_port: request.to_port,
                };
                let direction = Direction::$direction;
                if direction == Direction::Egress && !flat.is_absent() {
                    let message = "Egress rules are given by IpPermissions only";
                    return Err(Error::combination(message));
                }
                let (group_id, group_name) = $group(&request);
                Ok(Self {
                    direction,
                    group_id,
                    group_name,
                    rule_ids: $ids(&request),
                    tag_specifications: $tags(&request),
                    permissions: flat.permissions(request.ip_permissions)?,
                })
            }
        }
    };
}

change_from!(
    AuthorizeSecurityGroupIngressRequest,
    Ingress,
    |request: &AuthorizeSecurityGroupIngressRequest| (
        request.group_id.clone(),
        request.group_name.clone()
    ),
    |_: &AuthorizeSecurityGroupIngressRequest| Vec::new(),
    |request: &AuthorizeSecurityGroupIngressRequest| request.tag_specifications.clone()
);
change_from!(
    AuthorizeSecurityGroupEgressRequest,
    Egress,
    |request: &AuthorizeSecurityGroupEgressRequest| (Some(request.group_id.clone()), None),
    |_: &AuthorizeSecurityGroupEgressRequest| Vec::new(),
    |request: &AuthorizeSecurityGroupEgressRequest| request.tag_specifications.clone()
);
change_from!(
    RevokeSecurityGroupIngressRequest,
    Ingress,
    |request: &RevokeSecurityGroupIngressRequest| (
        request.group_id.clone(),
        request.group_name.clone()
    ),
    |request: &RevokeSecurityGroupIngressRequest| request.security_group_rule_ids.clone(),
    |_: &RevokeSecurityGroupIngressRequest| Vec::new()
);
change_from!(
    RevokeSecurityGroupEgressRequest,
    Egress,
    |request: &RevokeSecurityGroupEgressRequest| (Some(request.group_id.clone()), None),
    |request: &RevokeSecurityGroupEgressRequest| request.security_group_rule_ids.clone(),
    |_: &RevokeSecurityGroupEgressRequest| Vec::new()
);

impl Change {
    pub(super) fn group(&self) -> Result<Named<'_>, Error> {
        Named::read(self.group_id.as_deref(), self.group_name.as_deref())
    }

    /// The rules that are asked for, each once.
    pub(super) fn asked(&self) -> Result<Vec<Asked>, Error> {
        permission::read_distinct(&self.permissions)
    }
}
