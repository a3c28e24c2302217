//! Files that are no store, or not this version's, or were changed by somebody else: refused by name and
//! reason.

use std::path::Path;

use sg_store::{
    Fault, Store as _, Txn, TxnError,
    embedded::{Embedded, Options},
    store,
};

use crate::{backend::options, simulated::Disk};

fn open(bytes: Vec<u8>) -> Result<Embedded, Fault> {
    Embedded::open_on(Path::new("/var/lib/store.redb"), Disk::of(bytes).opener(), options())
}

/// The file of a store with some objects.
async fn file() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    let store = Embedded::create(&path, options(), &Txn::new()).expect("it is made");
    for number in 0..20_u8 {
        let mut txn = Txn::new();
        txn.put_raw(format!("key{number}"), vec![number; 700]);
        store.commit(txn).await.expect("it is made");
    }
    drop(store);
    std::fs::read(path).expect("it can be read")
}

fn damage(bytes: Vec<u8>) -> String {
    match open(bytes) {
        Err(Fault::Damaged { file, reason }) => {
            assert_eq!(file, Path::new("/var/lib/store.redb"));
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused() {
    assert!(damage(Vec::new()).contains("empty"));
    assert!(!damage(b"not a database at all".repeat(1000)).is_empty());
    assert!(!damage(vec![0; 65536]).is_empty());
    let whole = file().await;
    for length in [1, 100, 4096, whole.len() / 2, whole.len() - 4096] {
        assert!(!damage(whole[..length].to_vec()).is_empty(), "cut to {length} bytes");
    }
    assert!(open(whole).is_ok());
}

#[tokio::test]
async fn a_byte_that_somebody_changed_is_noticed_or_does_not_matter() {
    let whole = file().await;
    let (expected, _) = {
        let store = open(whole.clone()).expect("it is whole");
        store::list_all(&store, "", None).await.expect("it can be read")
    };
    let mut noticed = 0;
    // Every page's beginning and something within, of the part of the file that is in use.
    for place in (0..whole.len()).step_by(509) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        match open(bytes) {
            Err(Fault::Damaged { .. } | Fault::Newer { .. }) => noticed += 1,
            Err(fault) => panic!("byte {place}: {fault}"),
            Ok(store) => {
                let (found, _) = store::list_all(&store, "", None).await.expect("it can be read");
                assert!(found == expected, "byte {place} was changed, and nobody noticed");
            }
        }
    }
    assert!(noticed > 10, "{noticed} were noticed");
}

#[tokio::test]
async fn a_later_format_is_refused_by_its_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    drop(Embedded::create(&path, options(), &Txn::new()).expect("it is made"));
    {
        let table = redb::TableDefinition::<&str, u64>::new("numbers");
        let database = redb::Database::open(&path).expect("it is a redb file");
        let transaction = database.begin_write().expect("begins");
        transaction.open_table(table).expect("opens").insert("format", 2).expect("is written");
        transaction.commit().expect("is made");
    }
    let fault = Embedded::open(&path, options()).expect_err("it is newer");
    let text = fault.to_string();
    assert!(matches!(fault, Fault::Newer { found: 2, known: 1, .. }), "{fault:?}");
    assert!(text.contains("store.redb") && text.contains("format 2"), "{text}");
}

#[tokio::test]
async fn each_fault_of_opening_has_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    let missing = Embedded::open(&path, options());
    assert!(matches!(missing, Err(Fault::Missing { .. })), "{missing:?}");

    let store = Embedded::create(&path, options(), &Txn::new()).expect("it is made");
    let twice = Embedded::open(&path, options());
    assert!(matches!(twice, Err(Fault::InUse { .. })), "{twice:?}");
    let made = Embedded::create(&path, options(), &Txn::new());
    assert!(matches!(made, Err(TxnError::Refused(Fault::Exists { .. }))), "{made:?}");
    assert_eq!(store.limits(), options().limits);
    drop(store);
    drop(Embedded::open(&path, options()).expect("nobody has it open"));

    let kinds = [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::ReadOnlyFilesystem];
    for kind in kinds {
        let opener = Box::new(move || Err(kind.into()));
        let refused = Embedded::open_on(&path, opener, options());
        assert!(matches!(refused, Err(Fault::ReadOnly { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn an_unfinished_store_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    let left = folder.path().join("store.redb.new");
    std::fs::write(&left, b"half a store").expect("it is written");
    let mut first = Txn::new();
    first.put_raw("a".into(), b"1".to_vec());
    let store = Embedded::create(&path, Options::default(), &first).expect("it is made");
    assert_eq!(store.get("a".into(), None).await.expect("read").0.expect("there").value, b"1");
    assert!(!left.exists());
    let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().expect("it is there"));
    assert_eq!(mode & 0o777, 0o600);

    let other = folder.path().join("other.redb");
    let mut never = Txn::new();
    never.expect_raw("a".into(), sg_store::Expected::Present);
    let made = Embedded::create(&other, Options::default(), &never);
    assert!(matches!(made, Err(TxnError::Conflict { .. })), "{made:?}");
    assert!(!other.exists());
}
