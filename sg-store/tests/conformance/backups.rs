//! Backups: whole, of one revision, and put back as a new epoch.

use std::path::{Path, PathBuf};

use sg_policy::id::{AccountId, VpcId};
use sg_store::{
    EpochId, Fault, Key, KeyValue, Object, Revision, Snapshot, Store as _, Txn, TxnError,
    WatchError,
    backup::{self, Backup, BackupError},
    embedded::{Embedded, Options},
    memory::Memory,
    objects::{EpochRecord, Tags, Vpc, VpcSettings, Waiter},
    store,
};

fn vpc(id: u128, epoch: u128) -> Vpc {
    Vpc {
        id: VpcId(id),
        epoch: EpochId(epoch),
        account: AccountId(1),
        region: "us-east-1".parse().expect("a region"),
        cidrs: Vec::new(),
        allowed: Vec::new(),
        is_default: true,
        settings: VpcSettings::default(),
        dns_support: true,
        dns_hostnames: false,
        tags: Tags::new(),
    }
}

/// A store with a few objects, one of them changed since it was made.
async fn store() -> Memory {
    let store = Memory::default();
    let mut first = Txn::new();
    first.create(&EpochRecord::following(EpochId(7), &EpochRecord::new(EpochId(6))));
    first.create(&vpc(1, 7)).create(&vpc(2, 7));
    store.commit(first).await.expect("it is made");
    let mut waiter = Txn::new();
    let id = "w".parse().expect("an id");
    waiter.create(&Waiter { vpc: VpcId(1), id, hosts: None });
    waiter.put(&Vpc { is_default: false, ..vpc(2, 7) });
    store.commit(waiter).await.expect("it is made");
    store
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("backup")
}

async fn all(store: &dyn sg_store::Store) -> (Vec<KeyValue>, Revision) {
    store::list_all(store, "", None).await.expect("it can be read")
}

#[tokio::test]
async fn a_backup_is_put_back_as_a_new_epoch() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = store().await;
    assert_eq!(backup::write(&from, &file(&folder)).await.expect("written"), Revision(3));
    let mode = std::os::unix::fs::MetadataExt::mode(&file(&folder).metadata().expect("there"));
    assert_eq!(mode & 0o777, 0o600);
    let backup = backup::read(&file(&folder)).expect("it is whole");
    assert_eq!((backup.store.epoch, backup.revision), (EpochId(7), Revision(3)));
    assert_eq!(backup.entries, all(&from).await.0);

    let path = folder.path().join("store.redb");
    let restored =
        Embedded::restore(&path, Options::default(), &backup, EpochId(8)).expect("it is made");
    let (record, revision) = store::epoch(&restored).await.expect("it has one");
    assert_eq!((record.epoch, revision), (EpochId(8), Revision(4)));
    assert!(record.comes_after(EpochId(7)) && record.comes_after(EpochId(6)));
    let snapshot = Snapshot::load(&restored, "", None).await.expect("it can be read");
    let vpcs: Vec<_> = snapshot.all::<Vpc>().collect();
    assert_eq!(*vpcs[0].object, vpc(1, 8));
    assert_eq!(*vpcs[1].object, Vpc { is_default: false, ..vpc(2, 8) });
    assert!(vpcs.iter().all(|vpc| vpc.create_revision == Revision(2)), "as old as they were");
    assert_eq!(snapshot.all::<Waiter>().count(), 0, "nobody waits any more");

    // Its history begins with the backup.
    let mut watch = restored.watch(String::new(), Revision(4)).await.expect("it is there");
    assert_eq!(watch.next().await.expect("it is there").events.len(), 4);
    let before = restored.watch(String::new(), Revision(3)).await;
    assert!(matches!(before, Err(WatchError::Compacted { compacted: Revision(3), .. })));
    let (at_backup, _) = store::list_all(&restored, "", Some(Revision(3))).await.expect("kept");
    assert_eq!(at_backup, backup.entries);
    restored.compact(Revision(4)).await.expect("it is there");
    drop((restored, watch));

    let again = Embedded::restore(&path, Options::default(), &backup, EpochId(9));
    assert!(matches!(again, Err(TxnError::Refused(Fault::Exists { .. }))), "{again:?}");
    let kept = Embedded::open(&path, Options::default()).expect("it opens");
    assert_eq!(all(&kept).await.0.len(), 3, "the epoch and two VPCs");
}

#[tokio::test]
async fn a_backup_is_of_one_revision_whoever_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store().await;
    let big = (0..3000).map(|number| format!("/sg/1/x/key/{number:04}"));
    for chunk in big.collect::<Vec<_>>().chunks(100) {
        let mut txn = Txn::new();
        for key in chunk {
            txn.put_raw(key.clone(), b"{}".to_vec());
        }
        store.commit(txn).await.expect("it is made");
    }
    let writer = store.clone();
    let before = all(&store).await;
    let writing = tokio::spawn(async move {
        for number in 0..200 {
            let mut txn = Txn::new();
            txn.delete_raw(format!("/sg/1/x/key/{number:04}"));
            txn.delete_raw(format!("/sg/1/x/key/{:04}", 2999 - number));
            writer.commit(txn).await.expect("it is made");
            tokio::task::yield_now().await;
        }
    });
    let revision = backup::write(&store, &file(&folder)).await.expect("written");
    writing.await.expect("it ends");
    let backup = backup::read(&file(&folder)).expect("it is whole");
    let gone = 2 * (revision.0 - before.1.0) as usize;
    assert_eq!(backup.entries.len() + gone, before.0.len());
    let (expected, _) = store::list_all(&store, "", Some(revision)).await.expect("kept");
    assert!(backup.entries == expected);
}

fn read(path: &Path, text: &str) -> Result<Backup, BackupError> {
    std::fs::write(path, text).expect("it is written");
    backup::read(path)
}

#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder);
    backup::write(&store().await, &path).await.expect("written");
    let whole = std::fs::read_to_string(&path).expect("it can be read");
    assert!(read(&path, &whole).is_ok());
    for cut in (0..whole.len()).step_by(7) {
        let error = read(&path, &whole[..cut]).expect_err("it was cut").to_string();
        assert!(error.contains("backup: line "), "{error}");
    }
    let lines: Vec<_> = whole.lines().collect();
    for left_out in 1..lines.len() - 1 {
        let mut lines = lines.clone();
        lines.remove(left_out);
        let error = read(&path, &(lines.join("\n") + "\n")).expect_err("a line is missing");
        assert!(error.to_string().contains("not the ones that were written"), "{error}");
    }
    let changed = whole.replace("us-east-1", "us-east-2");
    assert!(read(&path, &changed).is_err());
    let newer = whole.replacen("\"format\":1", "\"format\":2", 1);
    let error = read(&path, &newer).expect_err("it is newer").to_string();
    assert!(error.contains("format 2"), "{error}");
    assert!(read(&path, "rubbish\n").expect_err("no").to_string().contains("it is no backup"));

    let no_store = Memory::default();
    let error = backup::write(&no_store, &folder.path().join("other")).await;
    assert!(matches!(error, Err(BackupError::Epoch(_))), "{error:?}");
}

#[test]
fn a_record_that_cannot_be_read_stays_as_it_is() {
    let value = br#"{"format":9}"#.to_vec();
    let (create_revision, mod_revision) = (Revision(2), Revision(2));
    let key = Key::Vpc(VpcId(1)).to_string();
    let entry = KeyValue { key: key.clone(), value, create_revision, mod_revision };
    let record = EpochRecord::new(EpochId(7));
    let backup = Backup { store: record, revision: Revision(2), entries: vec![entry] };
    let txn = backup.new_epoch(EpochId(8));
    let keys: Vec<_> = txn.ops().iter().map(sg_store::Op::key).collect();
    assert_eq!(keys, [Key::Epoch.to_string()]);
    assert!(Object::decode(&Key::Vpc(VpcId(1)), &backup.entries[0].value).is_err());
}
