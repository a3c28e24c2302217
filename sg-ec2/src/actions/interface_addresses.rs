//! Addresses that come to a network interface and go from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sg_store::{
    Expected, Index, Key, Txn, Versioned,
    objects::{IndexEntry, NetworkInterface, Subnet},
};

use super::{
    Outcome,
    addresses::{More, parsed},
    ids, usage,
};
use crate::{
    call::{Context, Gate},
    error::Error,
    generated::ec2::{
        AssignIpv6AddressesRequest, AssignIpv6AddressesResult, AssignPrivateIpAddressesRequest,
        AssignPrivateIpAddressesResult, AssignedPrivateIpAddress, UnassignIpv6AddressesRequest,
        UnassignIpv6AddressesResult, UnassignPrivateIpAddressesRequest,
    },
};

pub(super) fn assign(
    request: &AssignPrivateIpAddressesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    let more =
        More::ipv4(&request.private_ip_addresses, request.secondary_private_ip_address_count)?;
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let mut txn = Txn::new();
    let taken = match request.allow_reassignment {
        Some(true) => take(context, &mut txn, &interface, &more)?,
        _ => Vec::new(),
    };
    let added = add(context, &mut txn, &interface, &more, &taken)?;
    let assigned = |address: &IpAddr| AssignedPrivateIpAddress {
        private_ip_address: Some(address.to_string()),
    };
    let answer = AssignPrivateIpAddressesResult {
        assigned_private_ip_addresses: added.iter().map(assigned).collect(),
        network_interface_id: Some(interface.id.to_string()),
    };
    Ok(Outcome::change(answer, txn, &interface.id))
}

pub(super) fn assign_ipv6(
    request: &AssignIpv6AddressesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    let more = More::ipv6(&request.ipv6_addresses, request.ipv6_address_count)?;
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let mut txn = Txn::new();
    let added = add(context, &mut txn, &interface, &more, &[])?;
    let answer = AssignIpv6AddressesResult {
        assigned_ipv6_addresses: added.iter().map(ToString::to_string).collect(),
        network_interface_id: Some(interface.id.to_string()),
    };
    Ok(Outcome::change(answer, txn, &interface.id))
}

/// Writes the interface with more addresses. The transaction itself has freed `taken`.
fn add(
    context: &Context<'_>,
    txn: &mut Txn,
    interface: &Versioned<'_, NetworkInterface>,
    more: &More,
    taken: &[IpAddr],
) -> Result<Vec<IpAddr>, Error> {
    let subnet = subnet_of(context, interface)?;
    let added = more.assign(context, &subnet, interface.addresses.len(), taken)?;
    // A transaction that takes a block from the subnet, or the subnet itself, notices it.
    usage::use_vpc(txn, interface.vpc);
    let key = Key::Subnet(subnet.account, subnet.region.clone(), subnet.id);
    txn.expect(&key, Expected::At(subnet.mod_revision));
    for address in &added {
        let entry = IndexEntry::held(Index::Address(interface.vpc, *address), &interface.id);
        match taken.contains(address) {
            true => txn.put(&entry),
            false => txn.create(&entry),
        };
    }
    let mut changed = interface.object.clone();
    changed.addresses.extend(&added);
    write(txn, interface, changed);
    Ok(added)
}

/// Takes addresses that are asked for by name away from other own interfaces, whose secondary ones they are.
fn take(
    context: &Context<'_>,
    txn: &mut Txn,
    interface: &NetworkInterface,
    more: &More,
) -> Result<Vec<IpAddr>, Error> {
    let mut taken = Vec::new();
    let mut losers: Vec<(NetworkInterface, Versioned<'_, NetworkInterface>)> = Vec::new();
    for address in more.named() {
        let index = Key::Index(Index::Address(interface.vpc, *address));
        let Some(entry) = context.snapshot.get::<IndexEntry>(&index) else { continue };
        let Ok(holder) = context.own_interface(&entry.holder) else { continue };
        if holder.id == interface.id || primary(&holder) == Some(*address) {
            continue;
        }
        txn.expect(&index, Expected::At(entry.mod_revision));
        let place = losers.iter().position(|(_, other)| other.id == holder.id);
        let place = place.unwrap_or_else(|| {
            losers.push((holder.object.clone(), holder));
            losers.len() - 1
        });
        losers[place].0.addresses.retain(|other| other != address);
        taken.push(*address);
    }
    for (changed, holder) in losers {
        write(txn, &holder, changed);
    }
    Ok(taken)
}

fn write(
    txn: &mut Txn,
    interface: &Versioned<'_, NetworkInterface>,
    mut changed: NetworkInterface,
) {
    changed.rebind(changed.bind.clone(), interface.mod_revision);
    txn.replace(&changed, interface.mod_revision);
}

fn subnet_of<'a>(
    context: &Context<'a>,
    interface: &NetworkInterface,
) -> Result<Versioned<'a, Subnet>, Error> {
    context.own_subnet(&interface.subnet.to_string())
}

fn primary(interface: &NetworkInterface) -> Option<IpAddr> {
    interface.addresses.iter().copied().find(IpAddr::is_ipv4)
}

pub(super) fn unassign(
    request: &UnassignPrivateIpAddressesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    if request.private_ip_addresses.is_empty() {
        return Err(Error::missing("privateIpAddress"));
    }
    let mut addresses = Vec::new();
    for text in &request.private_ip_addresses {
        addresses.push(IpAddr::V4(parsed::<Ipv4Addr>(text)?));
    }
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    if let Some(primary) = primary(&interface).filter(|primary| addresses.contains(primary)) {
        let id = interface.id;
        return Err(Error::invalid(format!(
            "The primary address {primary} of interface '{id}' cannot be unassigned"
        )));
    }
    let txn = remove(&interface, &addresses)?;
    Ok(Outcome::change((), txn, &interface.id))
}

pub(super) fn unassign_ipv6(
    request: &UnassignIpv6AddressesRequest,
    gate: &Gate<'_>,
) -> Result<Outcome, Error> {
    ids::INTERFACE.check(&request.network_interface_id)?;
    if request.ipv6_addresses.is_empty() {
        return Err(Error::missing("ipv6Addresses"));
    }
    let mut addresses = Vec::new();
    for text in &request.ipv6_addresses {
        addresses.push(IpAddr::V6(parsed::<Ipv6Addr>(text)?));
    }
    let context = gate.open()?;
    let interface = context.own_interface(&request.network_interface_id)?;
    let txn = remove(&interface, &addresses)?;
    let answer = UnassignIpv6AddressesResult {
        network_interface_id: Some(interface.id.to_string()),
        unassigned_ipv6_addresses: addresses.iter().map(ToString::to_string).collect(),
    };
    Ok(Outcome::change(answer, txn, &interface.id))
}

fn remove(interface: &Versioned<'_, NetworkInterface>, addresses: &[IpAddr]) -> Result<Txn, Error> {
    let mut changed = interface.object.clone();
    let mut txn = Txn::new();
    for address in addresses {
        let place = changed.addresses.iter().position(|other| other == address);
        let absent = || {
            let id = interface.id;
            Error::invalid(format!("The address {address} is not assigned to interface '{id}'"))
        };
        changed.addresses.remove(place.ok_or_else(absent)?);
        txn.delete(&Key::Index(Index::Address(interface.vpc, *address)));
    }
    write(&mut txn, interface, changed);
    Ok(txn)
}
