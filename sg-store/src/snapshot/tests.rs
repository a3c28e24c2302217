use super::*;
use crate::{objects::Tags, store::Put};

fn group(vpc: u128, id: u128, name: &str) -> SecurityGroup {
    SecurityGroup {
        id: GroupId(id),
        account: AccountId(1),
        region: "us-east-1".parse().expect("a region"),
        vpc: VpcId(vpc),
        name: name.to_owned(),
        description: "d".to_owned(),
        ingress: Vec::new(),
        egress: Vec::new(),
        tags: Tags::new(),
    }
}

fn put(object: &impl Stored, revision: u64) -> Event {
    let value = object.encode();
    put_raw(&object.key(), value, revision)
}

fn put_raw(key: &Key, value: Vec<u8>, revision: u64) -> Event {
    let revision = Revision(revision);
    Event { key: key.to_string(), revision, put: Some(Put { value, create_revision: revision }) }
}

fn delete(key: &Key, revision: u64) -> Event {
    Event { key: key.to_string(), revision: Revision(revision), put: None }
}

fn names(snapshot: &Snapshot, vpc: u128) -> Vec<String> {
    snapshot.groups_of(VpcId(vpc)).map(|group| group.name.clone()).collect()
}

#[test]
fn a_vpc_has_its_own_groups_only() {
    let mut snapshot = Snapshot::default();
    for event in [
        put(&group(1, 8, "a"), 2),
        put(&group(2, 7, "b"), 3),
        put(&group(1, u128::MAX >> 60, "c"), 4),
    ] {
        snapshot.apply(&event);
    }
    assert_eq!(names(&snapshot, 1), ["a", "c"]);
    assert_eq!(names(&snapshot, 2), ["b"]);
    assert_eq!(names(&snapshot, 3), [""; 0]);
    assert_eq!(snapshot.all::<SecurityGroup>().count(), 3);
    assert_eq!(snapshot.all::<NetworkInterface>().count(), 0);
    assert_eq!(snapshot.revision(), Revision(4));
    let found = snapshot.group(GroupId(7)).expect("it is there");
    assert_eq!((found.name.as_str(), found.vpc, found.mod_revision), ("b", VpcId(2), Revision(3)));
}

#[test]
fn each_kind_is_found_among_all_kinds() {
    let mut snapshot = Snapshot::default();
    let all = crate::objects::tests::one_of_each();
    for (revision, object) in all.iter().enumerate() {
        snapshot.apply(&put_raw(&object.key(), object.encode(), revision as u64 + 2));
    }
    assert_eq!(snapshot.len(), all.len());
    let mut found = 0;
    macro_rules! count {
        ($($kind:ident)+) => {
            $(
                let count = snapshot.all::<crate::objects::$kind>().count();
                assert_eq!(count, 1, stringify!($kind));
                found += count;
            )+
        };
    }
    count!(EpochRecord Vpc SecurityGroup SharedGroup ForeignMember PrefixList NetworkInterface
        ObservedAddresses Grant Waiter BlobPart Host HostStatus Account AccountRegion Subnet
        OwnedPrefixList ListVersion AuditRecord IndexEntry);
    assert_eq!(found, all.len());
    for object in &all {
        let (_, entry) =
            snapshot.iter().find(|(key, _)| **key == object.key()).expect("it is there");
        assert_eq!(entry.object, object);
    }
    assert!(snapshot.interface(InterfaceId(3)).is_some() && snapshot.subnet(SubnetId(5)).is_some());
    for object in &all {
        snapshot.delete(&object.key().to_string());
    }
    let nothing = Snapshot { revision: snapshot.revision, ..Snapshot::default() };
    assert_eq!(snapshot, nothing, "nothing is left of what was deleted");
}

#[test]
fn a_document_that_cannot_be_used_leaves_what_was_there() {
    let good = group(1, 8, "a");
    let key = good.key();
    let mut snapshot = Snapshot::default();
    snapshot.apply(&put_raw(&key, b"{".to_vec(), 2));
    assert!(snapshot.group(GroupId(8)).is_none());
    let text = snapshot.unusable().next().expect("it says so").to_string();
    assert!(text.contains("sg-00000000000000008") && text.contains("no earlier state"), "{text}");

    snapshot.apply(&put(&good, 3));
    assert_eq!(snapshot.unusable().count(), 0, "it is good again");

    let newer = br#"{"format":9,"name":"b"}"#.to_vec();
    snapshot.apply(&put_raw(&key, newer, 4));
    assert_eq!(names(&snapshot, 1), ["a"]);
    assert_eq!(snapshot.mod_revision(&key), Some(Revision(3)));
    let unusable = snapshot.unusable().next().expect("it says so");
    assert_eq!((unusable.mod_revision, unusable.has_older), (Revision(4), true));
    let text = unusable.to_string();
    assert!(text.contains("format 9 is newer") && text.contains("last good state"), "{text}");

    snapshot.apply(&delete(&key, 5));
    assert_eq!((names(&snapshot, 1).len(), snapshot.unusable().count()), (0, 0));
}

#[tokio::test]
async fn a_store_is_loaded_page_by_page() {
    let store = crate::memory::Memory::default();
    let mut expected = Snapshot::default();
    for id in 0..2_500_u128 {
        let mut txn = crate::Txn::new();
        txn.create(&group(1, id, "a"));
        let revision = crate::Store::commit(&store, txn).await.expect("it is made");
        expected.apply(&put(&group(1, id, "a"), revision.0));
    }
    assert_eq!(Snapshot::load(&store, crate::key::ROOT, None).await.expect("read"), expected);
    let early = Snapshot::load(&store, crate::key::ROOT, Some(Revision(7))).await.expect("read");
    assert_eq!((early.len(), early.revision()), (6, Revision(7)));
}

#[test]
fn keys_of_later_versions_are_left_out() {
    let mut snapshot = Snapshot::default();
    let revision = Revision(2);
    let value = Some(Put { value: b"?".to_vec(), create_revision: revision });
    let key = "/sg/1/v/vpc-00000000000000001/q/1".to_owned();
    snapshot.apply(&Event { key: key.clone(), revision, put: value });
    snapshot.apply(&Event { key, revision: Revision(3), put: None });
    assert!(snapshot.is_empty() && snapshot.unusable().next().is_none());
    assert_eq!(snapshot.revision(), Revision(3));
}
