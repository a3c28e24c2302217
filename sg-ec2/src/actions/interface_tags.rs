//! Tags that carry meaning: of network interfaces, where they are and how they are filtered, and of VPCs, their settings.

use std::str::FromStr;

use sg_store::{
    Revision,
    objects::{Binding, InterfaceRole, NetworkInterface, RevokeMode, Tags, Vpc, VpcSettings},
};

use super::tags::{check_ours, invalid};
use crate::error::Error;

const ON_INTERFACES: &[&str] = &["sg:bind", "sg:host", "sg:role", "sg:mac", "sg:max-flows"];
const ON_VPCS: &[&str] = &["sg:on-revoke", "sg:related-icmp", "sg:exempt-services", "sg:pickup"];
/// `max_flows` of an interface entry in rules.toml.
const MAX_FLOWS: std::ops::RangeInclusive<u32> = 1..=16_777_216;
const MAX_PICKUP_SECONDS: u32 = 86_400;

/// A network interface's `sg:` tags.
#[derive(Debug, Default)]
pub(super) struct Meaning {
    bind: Option<Binding>,
    host: Option<sg_store::HostName>,
    role: InterfaceRole,
    mac: Option<sg_store::objects::MacAddress>,
    max_flows: Option<u32>,
}

fn parsed<T: FromStr>(tags: &Tags, key: &str, expected: &str) -> Result<Option<T>, Error> {
    let Some(value) = tags.get(key) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| invalid(key, value, expected))
}

impl Meaning {
    pub(super) fn read(tags: &Tags) -> Result<Self, Error> {
        check_ours(tags, ON_INTERFACES)?;
        let role = match tags.get("sg:role").map(String::as_str) {
            None | Some("port") => InterfaceRole::Port,
            Some("host") => InterfaceRole::Host,
            Some(other) => return Err(invalid("sg:role", other, "port or host")),
        };
        let flows = "a number from 1 to 16777216";
        let max_flows: Option<u32> = parsed(tags, "sg:max-flows", flows)?;
        if let Some(number) = max_flows.filter(|number| !MAX_FLOWS.contains(number)) {
            return Err(invalid("sg:max-flows", &number.to_string(), flows));
        }
        Ok(Self {
            bind: parsed(tags, "sg:bind", "HOST/IFNAME")?,
            host: parsed(tags, "sg:host", "a host's name")?,
            role,
            mac: parsed(tags, "sg:mac", "a MAC address, 02:00:00:00:00:01")?,
            max_flows,
        })
    }
}

/// Gives a network interface its tags. `is_bound`: its role is fixed. `read_at`: the record's revision, `None` for one that is
/// made.
pub(super) fn set_interface_tags(
    interface: &mut NetworkInterface,
    tags: Tags,
    is_bound: bool,
    read_at: Option<Revision>,
) -> Result<(), Error> {
    let Meaning { bind, host, role, mac, max_flows } = Meaning::read(&tags)?;
    if is_bound && role != interface.role {
        let id = interface.id;
        return Err(Error::invalid(format!("The role of '{id}' is fixed while it is bound")));
    }
    match read_at {
        Some(revision) => interface.rebind(bind, revision),
        None => interface.bind = bind,
    }
    (interface.host, interface.role) = (host, role);
    (interface.mac, interface.max_flows) = (mac, max_flows);
    interface.tags = tags;
    Ok(())
}

/// Gives a VPC its tags.
pub(super) fn set_vpc_tags(vpc: &mut Vpc, tags: Tags) -> Result<(), Error> {
    vpc.settings = vpc_settings(&tags)?;
    vpc.tags = tags;
    Ok(())
}

/// The settings that a VPC's tags say.
pub(super) fn vpc_settings(tags: &Tags) -> Result<VpcSettings, Error> {
    check_ours(tags, ON_VPCS)?;
    let mut settings = VpcSettings::default();
    match tags.get("sg:on-revoke").map(String::as_str) {
        None | Some("keep") => settings.on_revoke = RevokeMode::Keep,
        Some("cut") => settings.on_revoke = RevokeMode::Cut,
        Some(other) => return Err(invalid("sg:on-revoke", other, "keep or cut")),
    }
    let switch = "true or false";
    if let Some(value) = parsed(tags, "sg:related-icmp", switch)? {
        settings.related_icmp = value;
    }
    if let Some(value) = parsed(tags, "sg:exempt-services", switch)? {
        settings.exempt_services = value;
    }
    let pickup = "a number of seconds from 0 to 86400";
    if let Some(value) = parsed::<u32>(tags, "sg:pickup", pickup)? {
        if value > MAX_PICKUP_SECONDS {
            return Err(invalid("sg:pickup", &value.to_string(), pickup));
        }
        settings.pickup = value;
    }
    Ok(settings)
}

/// Groups, rules and subnets have none of our tags but `sg:managed-by`.
pub(super) fn check_plain(tags: &Tags) -> Result<(), Error> {
    check_ours(tags, &[])
}
