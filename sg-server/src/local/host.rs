//! Records in the store of a host that follows the local feed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use sg_api::feed::{Bound, Status};
use sg_policy::id::VpcId;
use sg_store::{
    HostName, InstanceId, InterfaceId, Key, Snapshot, Txn, TxnError,
    objects::{
        Account, AdmittedAccounts, Binding, BoundInterface, Claims, Host, HostStatus,
        ObservedAddresses,
    },
    store::epoch,
};
use sha2::{Digest as _, Sha256};

use crate::state::Server;

/// Another writer may change the same objects meanwhile.
const ATTEMPTS: usize = 10;

/// A host that says hello.
#[derive(Debug)]
pub struct Joining {
    pub name: HostName,
    pub machine_id: String,
    pub agent: String,
}

/// Makes the host's record, or takes a new machine id into it.
pub async fn join(server: &Server, joining: &Joining) -> anyhow::Result<()> {
    let key = Key::Host(joining.name.clone());
    commit(server, "the host's record", |snapshot, txn| {
        let known = snapshot.get::<Host>(&key);
        // Hosts read no accounts, so the record names the first one.
        let first =
            snapshot.all::<Account>().find(|account| account.is_first).map(|account| account.id);
        match known {
            Some(known) if known.machine_id.as_ref() == Some(&joining.machine_id) => {}
            Some(known) => {
                if let Some(other) = &known.machine_id {
                    tracing::warn!(host = %joining.name, %other, "the host has a new machine id");
                }
                let machine_id = Some(joining.machine_id.clone());
                let host = Host {
                    machine_id,
                    instance: instance(&joining.machine_id),
                    ..known.object.clone()
                };
                txn.replace(&host, known.mod_revision);
            }
            None => {
                txn.create(&Host {
                    name: joining.name.clone(),
                    instance: instance(&joining.machine_id),
                    machine_id: Some(joining.machine_id.clone()),
                    // The local feed has all of them.
                    vpcs: Vec::new(),
                    allow: Vec::new(),
                    claims: Claims::Own,
                    accounts: AdmittedAccounts::Only(first.into_iter().collect()),
                    interfaces: None,
                    is_fenced: false,
                    tags: [("Name".to_owned(), joining.name.to_string())].into(),
                });
            }
        }
    })
    .await
}

/// An instance id derived from a machine id: the same machine has the same one in every store.
fn instance(machine_id: &str) -> InstanceId {
    let digest = Sha256::digest(format!("sg instance {machine_id}"));
    let number = digest[..9].iter().fold(0, |number, &byte| number << 8 | u128::from(byte));
    InstanceId(number >> 4)
}

/// Writes what the host says of its bindings, where it is new.
pub async fn report(server: &Server, host: &HostName, status: &Status) -> anyhow::Result<()> {
    let (record, _) = epoch(&*server.store).await?;
    let bound = bound_by(host, &status.bound)?;
    commit(server, "the host's status", |snapshot, txn| {
        let key = Key::Status(host.clone());
        let mut interfaces: Vec<BoundInterface> = bound
            .iter()
            .map(|(interface, (_, bound))| BoundInterface {
                interface: *interface,
                device: Binding { host: host.clone(), interface: bound.device.clone() },
            })
            .collect();
        interfaces.sort_by_key(|bound| bound.interface);
        let known = snapshot.get::<HostStatus>(&key);
        let is_new = known.is_none_or(|known| {
            known.bound != interfaces
                || known.faults != status.faults
                || known.epoch != record.epoch
        });
        if is_new {
            txn.put(&HostStatus {
                host: host.clone(),
                epoch: record.epoch,
                // A host of the local feed says it over the feed, several times a second.
                enforced: BTreeMap::new(),
                durable: BTreeMap::new(),
                boot: String::new(),
                machine_id: String::new(),
                version: String::new(),
                bound: interfaces,
                faults: status.faults.clone(),
            });
        }
        observed(snapshot, host, &bound, txn);
    })
    .await
}

/// Addresses that the host sees: puts those that are new, deletes those of bindings that are gone.
fn observed(
    snapshot: &Snapshot,
    host: &HostName,
    bound: &BTreeMap<InterfaceId, (VpcId, &Bound)>,
    txn: &mut Txn,
) {
    let mut seen = BTreeSet::new();
    for (interface, (vpc, bound)) in bound {
        if bound.observed.is_empty() {
            continue;
        }
        let key = Key::Observed(*vpc, host.clone(), *interface);
        let mut addresses = bound.observed.clone();
        addresses.sort_unstable();
        addresses.dedup();
        let object = ObservedAddresses {
            vpc: *vpc,
            host: host.clone(),
            interface: *interface,
            ifname: bound.device.clone(),
            addresses,
        };
        if snapshot.get::<ObservedAddresses>(&key).is_none_or(|known| *known.object != object) {
            txn.put(&object);
        }
        seen.insert(key);
    }
    for known in snapshot.all::<ObservedAddresses>() {
        let key = Key::Observed(known.vpc, known.host.clone(), known.interface);
        if known.host == *host && !seen.contains(&key) {
            txn.delete(&key);
        }
    }
}

fn bound_by<'b>(
    host: &HostName,
    bound: &'b [Bound],
) -> anyhow::Result<BTreeMap<InterfaceId, (VpcId, &'b Bound)>> {
    let one = |bound: &'b Bound| {
        let interface: InterfaceId = bound.interface.parse()?;
        let vpc: VpcId = bound.vpc.parse()?;
        // The text of a binding is checked as the tag `sg:bind` is.
        let _: Binding = format!("{host}/{}", bound.device).parse()?;
        Ok((interface, (vpc, bound)))
    };
    bound.iter().map(one).collect::<Result<_, sg_policy::id::InvalidId>>().context("a binding")
}

/// Decides over the newest state and commits, again where somebody else was faster.
async fn commit(
    server: &Server,
    what: &str,
    decide: impl Fn(&Snapshot, &mut Txn),
) -> anyhow::Result<()> {
    for _ in 0..ATTEMPTS {
        let mut txn = Txn::new();
        decide(&server.replica.read(), &mut txn);
        if txn.is_empty() {
            return Ok(());
        }
        match server.store.commit(txn).await {
            Ok(revision) => {
                server.replica.reach(revision).await;
                return Ok(());
            }
            Err(TxnError::Conflict { .. }) => {
                // Another transaction is in the store, and soon in the replica.
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            Err(error) => return Err(error).context(what.to_owned()),
        }
    }
    anyhow::bail!("{what} was changed by others {ATTEMPTS} times in a row")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_is_the_machine_s() {
        let id = instance("4c4c4544004d3010804cb4c04f4a4d32").to_string();
        assert_eq!(id.len(), "i-".len() + 17, "{id}");
        assert_eq!(id, instance("4c4c4544004d3010804cb4c04f4a4d32").to_string());
        assert_ne!(id, instance("other").to_string());
    }

    #[test]
    fn a_binding_of_names_that_are_none_is_refused() {
        let host: HostName = "h1".parse().unwrap();
        let bound = |interface: &str, vpc: &str, device: &str| Bound {
            interface: interface.to_owned(),
            vpc: vpc.to_owned(),
            device: device.to_owned(),
            observed: Vec::new(),
        };
        let (eni, vpc) = ("eni-0123456789abcdef0", "vpc-0123456789abcdef0");
        assert!(bound_by(&host, &[bound(eni, vpc, "tap0")]).is_ok());
        for wrong in [bound("eni-1", vpc, "tap0"), bound(eni, "v", "tap0"), bound(eni, vpc, "a/b")]
        {
            assert!(bound_by(&host, &[wrong]).is_err());
        }
    }
}
