//! Entries of prefix lists: read from requests, added, removed.

use ipnet::IpNet;
use sg_common::Family;
use sg_store::objects::ListEntry;

use super::text;
use crate::{
    error::Error,
    generated::ec2::{AddPrefixListEntry, RemovePrefixListEntry},
};

/// EC2's limit of entries in one call.
const MAX_A_CALL: usize = 100;

pub(super) fn family(text: &str) -> Result<Family, Error> {
    match text {
        "IPv4" => Ok(Family::V4),
        "IPv6" => Ok(Family::V6),
        other => Err(Error::invalid_value("AddressFamily", other, "It must be one of IPv4 IPv6")),
    }
}

pub(super) fn family_shown(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

pub(super) fn read_added(entries: &[AddPrefixListEntry]) -> Result<Vec<ListEntry>, Error> {
    check_count(entries.len())?;
    let mut read: Vec<ListEntry> = Vec::new();
    for AddPrefixListEntry { cidr, description } in entries {
        let description = description.clone().unwrap_or_default();
        text::check(&description, "prefix list entry description")?;
        let entry = ListEntry { cidr: net(cidr)?, description };
        if read.iter().any(|other| other.cidr == entry.cidr) {
            return Err(repeated(entry.cidr));
        }
        read.push(entry);
    }
    Ok(read)
}

pub(super) fn read_removed(entries: &[RemovePrefixListEntry]) -> Result<Vec<IpNet>, Error> {
    check_count(entries.len())?;
    let mut read: Vec<IpNet> = Vec::new();
    for RemovePrefixListEntry { cidr } in entries {
        let cidr = net(cidr)?;
        if read.contains(&cidr) {
            return Err(repeated(cidr));
        }
        read.push(cidr);
    }
    Ok(read)
}

fn check_count(count: usize) -> Result<(), Error> {
    if count <= MAX_A_CALL {
        return Ok(());
    }
    Err(Error::invalid(format!("A request has at most {MAX_A_CALL} entries of a prefix list")))
}

/// Host bits are zeroed, as in rules.
fn net(text: &str) -> Result<IpNet, Error> {
    let net: Option<IpNet> = text.parse().ok();
    let malformed = || Error::invalid(format!("CIDR block {text} is malformed"));
    net.map(|net| net.trunc()).ok_or_else(malformed)
}

fn repeated(cidr: IpNet) -> Error {
    Error::invalid(format!("The CIDR block {cidr} is specified more than once"))
}

fn unfit(message: String) -> Error {
    Error::new("InvalidPrefixListModification", message)
}

/// Refuses entries of the other family.
pub(super) fn check_family(entries: &[ListEntry], family: Family) -> Result<(), Error> {
    let is_ipv4 = family == Family::V4;
    match entries.iter().find(|entry| matches!(entry.cidr, IpNet::V4(_)) != is_ipv4) {
        Some(ListEntry { cidr, .. }) => {
            let family = family_shown(family);
            Err(Error::invalid(format!("The CIDR block {cidr} is not of the family {family}")))
        }
        None => Ok(()),
    }
}

/// Refuses more entries than the list may have.
pub(super) fn check_size(entries: usize, max_entries: u32) -> Result<(), Error> {
    if entries <= max_entries as usize {
        return Ok(());
    }
    let message = format!("The prefix list has at most {max_entries} entries");
    Err(Error::new("PrefixListMaxEntriesExceeded", message))
}

/// The entries of the next version.
pub(super) fn changed(
    entries: &[ListEntry],
    added: Vec<ListEntry>,
    removed: &[IpNet],
) -> Result<Vec<ListEntry>, Error> {
    for cidr in removed {
        if !entries.iter().any(|entry| entry.cidr == *cidr) {
            return Err(unfit(format!("The prefix list has no entry {cidr}")));
        }
        if added.iter().any(|entry| entry.cidr == *cidr) {
            return Err(unfit(format!("The entry {cidr} is added and removed in one request")));
        }
    }
    if let Some(there) = added.iter().find(|new| entries.iter().any(|old| old.cidr == new.cidr)) {
        return Err(unfit(format!("The prefix list has the entry {} already", there.cidr)));
    }
    let kept = entries.iter().filter(|entry| !removed.contains(&entry.cidr)).cloned();
    Ok(kept.chain(added).collect())
}
