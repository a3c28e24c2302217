//! ModifyNetworkInterfaceAttribute: one attribute a call, as EC2 wants it.

use sg_store::Txn;

use super::{
    Outcome, ids,
    interfaces::{groups_of, timeouts},
    text, usage,
};
use crate::{
    call::Gate,
    error::Error,
    generated::ec2::{
        ModifyNetworkInterfaceAttributeRequest, ResetNetworkInterfaceAttributeRequest,
    },
};

pub(super) fn modify(
    request: &ModifyNetworkInterfaceAttributeRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    ids::INTERFACE_GROUP.check_all(&request.groups)?;
    let description = request.description.as_ref();
    let description = description.map(|text| text.value.clone().unwrap_or_default());
    if let Some(description) = &description {
        text::check(description, "network interface description")?;
    }
    let check = match &request.source_dest_check {
        Some(check) => Some(check.value.ok_or_else(|| Error::missing("SourceDestCheck.Value"))?),
        None => None,
    };
    let asked_timeouts = timeouts(request.connection_tracking_specification.as_ref())?;
    let has_timeouts = request.connection_tracking_specification.is_some();
    let given = [description.is_some(), check.is_some(), has_timeouts, !request.groups.is_empty()];
    match given.into_iter().filter(|given| *given).count() {
        0 => return Err(Error::combination("No attributes specified.")),
        1 => {}
        _ => return Err(Error::combination("Fields for multiple attribute types specified.")),
    }

    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let mut changed = interface.object.clone();
    let mut txn = Txn::new();
    if let Some(description) = description {
        changed.description = description;
    }
    if let Some(check) = check {
        changed.source_dest_check = check;
    }
    if has_timeouts {
        changed.timeouts = asked_timeouts;
    }
    if !request.groups.is_empty() {
        let place = format!("interface {}", interface.id);
        changed.groups = groups_of(context, &request.groups, interface.vpc, &place)?;
        for group in changed.groups.iter().filter(|group| !interface.groups.contains(group)) {
            usage::refer_to_group(&mut txn, interface.vpc, *group);
        }
    }
    if changed != *interface.object {
        changed.rebind(changed.bind.clone(), interface.mod_revision);
        txn.replace(&changed, interface.mod_revision);
    }
    Ok(Outcome::change((), txn, &interface.id))
}

/// ResetNetworkInterfaceAttribute: the source/destination check is on again, whatever text the request has.
pub(super) fn reset(
    request: &ResetNetworkInterfaceAttributeRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    if request.source_dest_check.is_none() {
        return Err(Error::combination("No attributes specified."));
    }
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let mut txn = Txn::new();
    if !interface.source_dest_check {
        let mut changed = interface.object.clone();
        changed.source_dest_check = true;
        changed.rebind(changed.bind.clone(), interface.mod_revision);
        txn.replace(&changed, interface.mod_revision);
    }
    Ok(Outcome::change((), txn, &interface.id))
}
