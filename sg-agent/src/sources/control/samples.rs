//! Objects for tests.

use sg_policy::id::{AccountId, VpcId};
use sg_store::{
    InterfaceId, KeyValue, Revision, Snapshot, SubnetId,
    objects::{
        AdmittedAccounts, Claims, Host, IdleTimeouts, InterfaceRole, MacAddress, NetworkInterface,
        Object,
    },
};

pub(super) const ENI_A: &str = "eni-0000000000000000a";
pub(super) const ENI_B: &str = "eni-0000000000000000b";
pub(super) const ACCOUNT: AccountId = AccountId(1);
pub(super) const VPC: VpcId = VpcId(1);

/// All objects, at revision 10.
pub(super) fn snapshot(objects: impl IntoIterator<Item = Object>) -> Snapshot {
    let entries = objects.into_iter().map(|object| KeyValue {
        key: object.key().to_string(),
        value: object.encode(),
        create_revision: Revision(10),
        mod_revision: Revision(10),
    });
    let snapshot = Snapshot::of(entries, Revision(10));
    assert_eq!(snapshot.unusable().count(), 0, "samples are valid");
    snapshot
}

/// A host of the first account.
pub(super) fn host(name: &str) -> Host {
    Host {
        name: name.parse().expect("a name"),
        instance: sg_store::InstanceId(1),
        machine_id: None,
        vpcs: Vec::new(),
        allow: Vec::new(),
        claims: Claims::Own,
        accounts: AdmittedAccounts::Only(vec![ACCOUNT]),
        interfaces: None,
        is_fenced: false,
        tags: Default::default(),
    }
}

/// A network interface in port role, without groups, with the address 10.0.0.5.
pub(super) fn interface(id: &str) -> NetworkInterface {
    NetworkInterface {
        id: id.parse::<InterfaceId>().expect("an id"),
        account: ACCOUNT,
        region: "us-east-1".parse().expect("a region"),
        vpc: VPC,
        subnet: SubnetId(1),
        description: String::new(),
        addresses: vec!["10.0.0.5".parse().expect("an address")],
        groups: Vec::new(),
        source_dest_check: true,
        timeouts: IdleTimeouts::default(),
        role: InterfaceRole::Port,
        mac: None,
        shown_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        max_flows: None,
        bind: None,
        host: None,
        device_index: 0,
        bound_revision: None,
        created_at: 0,
        tags: Default::default(),
    }
}
