//! AttachNetworkInterface and DetachNetworkInterface: which host may bind a network interface by its alias.

use sg_store::{
    HostName, InstanceId, Key, Txn, Versioned,
    objects::{Host, NetworkInterface},
};

use super::{Outcome, ids, interface_tags::set_interface_tags, interface_view::Bound, tags};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        AttachNetworkInterfaceRequest, AttachNetworkInterfaceResult, DetachNetworkInterfaceRequest,
    },
};

const HOST: &str = "sg:host";
const BIND: &str = "sg:bind";

/// The host that a network interface is attached to, or is to be bound on.
fn host_of<'a>(interface: &'a NetworkInterface, bound: &'a Bound) -> Option<&'a HostName> {
    let named = interface.bind.as_ref().map(|bind| &bind.host).or(interface.host.as_ref());
    named.or_else(|| bound.host_of(interface.id))
}

/// The host of an instance, where it admits the caller.
pub(super) fn find_host<'a>(
    context: &Context<'a>,
    instance: &str,
) -> Result<Versioned<'a, Host>, Error> {
    ids::INSTANCE
        .find::<InstanceId, _>(instance, |id| hosts(context).find(|host| host.instance == id))
}

/// The hosts that admit the caller.
pub(super) fn hosts<'a>(context: &Context<'a>) -> impl Iterator<Item = Versioned<'a, Host>> {
    let account = context.caller.account;
    context.snapshot.all::<Host>().filter(move |host| host.accounts.admit(account))
}

pub(super) fn attach(
    request: &AttachNetworkInterfaceRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    ids::INSTANCE.check(&request.instance_id)?;
    let index = u32::try_from(request.device_index).map_err(|_| {
        let index = request.device_index.to_string();
        Error::invalid_value("DeviceIndex", &index, "Expecting a value of 0 or more")
    })?;
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let host = find_host(context, &request.instance_id)?;
    let bound = Bound::read(context);
    if host_of(&interface, &bound).is_some() {
        let message = format!("Interface: [{}] in use.", interface.id);
        return Err(Error::new("InvalidNetworkInterface.InUse", message));
    }
    let mut others = context.own::<NetworkInterface>();
    let is_taken = |other: &NetworkInterface| {
        host_of(other, &bound) == Some(&host.name) && other.device_index == index
    };
    if others.any(|other| is_taken(other.object)) {
        return Err(Error::invalid(format!(
            "Instance '{}' already has an interface attached at device index '{index}'.",
            request.instance_id
        )));
    }
    let mut changed = interface.object.clone();
    let mut with_host = changed.tags.clone();
    with_host.insert(HOST.to_owned(), host.name.to_string());
    tags::check_count(&with_host, context.quotas)?;
    set_interface_tags(&mut changed, with_host, false, Some(interface.mod_revision))?;
    changed.device_index = index;
    let mut txn = Txn::new();
    txn.replace(&changed, interface.mod_revision);
    // A host that is gone meanwhile attaches nothing.
    txn.expect(&Key::Host(host.name.clone()), sg_store::Expected::Present);
    let answer = AttachNetworkInterfaceResult { attachment_id: Some(attachment_id(&interface)) };
    Ok(Outcome::change(answer, txn, &interface.id))
}

pub(super) fn attachment_id(interface: &NetworkInterface) -> String {
    interface.id.to_string().replacen("eni-", "eni-attach-", 1)
}

/// Ends the claim by tag and the one by alias. The device is isolated, or keeps its last rules in role host.
pub(super) fn detach(
    request: &DetachNetworkInterfaceRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    let text = &*request.attachment_id;
    ids::ATTACHMENT.check(text)?;
    let context = gate.open()?;
    let interface = context.own_interface(&text.replacen("eni-attach-", "eni-", 1));
    let interface = interface.map_err(|_| ids::ATTACHMENT.absent(text))?;
    let bound = Bound::read(context);
    if host_of(&interface, &bound).is_none() {
        return Err(ids::ATTACHMENT.absent(text));
    }
    let mut changed = interface.object.clone();
    let mut tags = changed.tags.clone();
    tags.retain(|key, _| key != HOST && key != BIND);
    // Its role stays as it is, so that nothing about a bound one is broken.
    set_interface_tags(&mut changed, tags, true, Some(interface.mod_revision))?;
    changed.device_index = 0;
    let mut txn = Txn::new();
    if changed != *interface.object {
        txn.replace(&changed, interface.mod_revision);
    }
    Ok(Outcome::change((), txn, &interface.id))
}
