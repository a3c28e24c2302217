//! Power cuts and failing disks at every operation: what was acknowledged is there, what was refused is
//! not, and everything else is whole or absent.

use std::{io::ErrorKind, path::Path};

use sg_store::{
    Expected, Fault, ReadError, Revision, Store as _, Txn, TxnError, WatchError,
    embedded::{Embedded, History, Options},
    store,
};

use crate::{
    backend::options,
    oracle::Oracle,
    simulated::{Disk, Planted},
};

/// Few events are kept, so that commits compact, too.
fn small() -> Options {
    Options { history: History { revisions: 5, bytes: 1 << 20 }, ..options() }
}

fn open(disk: &Disk) -> Result<Embedded, Fault> {
    Embedded::open_on(Path::new("simulated"), disk.opener(), small())
}

/// The `number`th transaction: several keys, growing values, some deletions.
fn transaction(number: u64) -> Txn {
    let mut txn = Txn::new();
    let value = vec![number as u8; 1500];
    txn.put_raw("always".into(), number.to_string().into_bytes());
    txn.put_raw(format!("key{}", number % 7), value);
    txn.delete_raw(format!("key{}", (number + 3) % 7));
    txn
}

/// The oracle with every transaction that the store says it has made.
async fn agrees(store: &Embedded, oracle: &Oracle, why: &str) {
    let (found, at) = store::list_all(store, "", None).await.expect("it can be read");
    assert_eq!(at, oracle.revision(), "{why}");
    let expected: Vec<_> = oracle.state(at).values().cloned().collect();
    assert_eq!(found, expected, "{why}");
}

/// Small random numbers (xorshift64).
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

const TRANSACTIONS: u64 = 12;

#[tokio::test]
async fn a_power_cut_at_any_operation_leaves_whole_transactions() {
    let disk = Disk::with_store();
    let store = open(&disk).expect("it opens");
    let start = disk.operations();
    for number in 0..TRANSACTIONS {
        store.commit(transaction(number)).await.expect("it is made");
    }
    let operations = disk.operations() - start;
    drop(store);
    assert!(operations > 3 * TRANSACTIONS, "{operations} operations");

    let mut was_ahead = 0;
    for cut in 1..=operations {
        for seed in 0..4 {
            let disk = Disk::with_store();
            let store = open(&disk).expect("it opens");
            // From the cut on nothing reaches the disk; the process does not live to see it.
            disk.plant(Planted { at: cut, kind: ErrorKind::Other, is_lasting: true });
            let mut oracle = Oracle::new();
            let mut in_flight = None;
            for number in 0..TRANSACTIONS {
                let txn = transaction(number);
                if store.commit(txn.clone()).await.is_err() {
                    in_flight = Some(txn);
                    break;
                }
                oracle.commit(&txn);
            }
            let mut next = random(cut * 4 + seed);
            let after = disk.after_power_cut(|| match seed {
                0 => true,
                1 => false,
                _ => next().is_multiple_of(2),
            });
            drop(store);
            let why = format!("cut at {cut}, seed {seed}");
            let store = open(&after).unwrap_or_else(|fault| panic!("{why}: {fault}"));
            if store.revision() > oracle.revision() {
                oracle.commit(&in_flight.expect("only one that was on its way"));
                was_ahead += 1;
            }
            agrees(&store, &oracle, &why).await;
            let txn = transaction(99);
            store.commit(txn.clone()).await.expect("it can be written");
            oracle.commit(&txn);
            agrees(&store, &oracle, &why).await;
        }
    }
    assert!(was_ahead > 0, "some cut came after the last write and before its answer");
}

/// The meaning of a transaction's answer.
enum Said {
    Made,
    Refused,
    Unknown,
}

fn said(answer: Result<Revision, TxnError>) -> Said {
    match answer {
        Ok(_) => Said::Made,
        Err(TxnError::Refused(_)) => Said::Refused,
        Err(TxnError::Unknown { .. }) => Said::Unknown,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_fault_at_any_operation_is_answered_truthfully() {
    let disk = Disk::with_store();
    let store = open(&disk).expect("it opens");
    let start = disk.operations();
    for number in 0..TRANSACTIONS {
        store.commit(transaction(number)).await.expect("it is made");
    }
    let operations = disk.operations() - start;
    drop(store);

    let (mut refused, mut unknown) = (0, 0);
    for at in 1..=operations {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let why = format!("{kind} at {at}");
            let disk = Disk::with_store();
            let store = open(&disk).expect("it opens");
            disk.plant(Planted { at, kind, is_lasting: false });
            let mut oracle = Oracle::new();
            let mut in_doubt = None;
            for number in 0..TRANSACTIONS {
                let txn = transaction(number);
                match said(store.commit(txn.clone()).await) {
                    Said::Made => {
                        assert!(in_doubt.is_none(), "{why}: closed since");
                        oracle.commit(&txn);
                    }
                    Said::Refused => refused += 1,
                    Said::Unknown => {
                        unknown += 1;
                        in_doubt = Some(txn);
                    }
                }
                if in_doubt.is_none() {
                    agrees(&store, &oracle, &why).await;
                }
            }
            drop(store);
            // The process starts again, and the power has not gone.
            let store = open(&disk).unwrap_or_else(|fault| panic!("{why}: {fault}"));
            if let Some(txn) = in_doubt
                && store.revision() > oracle.revision()
            {
                oracle.commit(&txn);
            }
            agrees(&store, &oracle, &why).await;
        }
    }
    assert!(refused > 0 && unknown > 0, "{refused} refused, {unknown} unknown");
}

#[tokio::test]
async fn a_full_disk_is_full_until_there_is_room() {
    let disk = Disk::with_store();
    let store = open(&disk).expect("it opens");
    store.commit(transaction(0)).await.expect("there is room");
    disk.plant(Planted { at: 1, kind: ErrorKind::StorageFull, is_lasting: false });
    match store.commit(transaction(1)).await {
        Err(TxnError::Refused(fault @ Fault::Full { .. })) => {
            assert_eq!(fault.to_string(), "simulated: the disk is full");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.revision(), Revision(2));
    assert_eq!(store.commit(transaction(1)).await.expect("there is room again"), Revision(3));
}

#[tokio::test]
async fn a_failed_sync_closes_the_store_and_says_so_to_everyone() {
    let disk = Disk::with_store();
    let store = open(&disk).expect("it opens");
    store.commit(transaction(0)).await.expect("it is made");
    let mut watch = store.watch(String::new(), Revision(3)).await.expect("it starts");
    let waiting = tokio::spawn(async move { watch.next().await });
    tokio::task::yield_now().await;

    // Writes succeed, the sync behind them does not.
    disk.fail_next_sync();
    match store.commit(transaction(1)).await {
        Err(TxnError::Unknown { .. }) => (),
        other => panic!("{other:?}"),
    }
    match store.commit(transaction(2)).await {
        Err(TxnError::Refused(fault @ Fault::Closed { .. })) => {
            assert!(fault.to_string().contains("outcome is unknown"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
    let read = store.get("always".into(), None).await;
    assert!(matches!(read, Err(ReadError::Fault(Fault::Closed { .. }))), "{read:?}");
    let watched = waiting.await.expect("it ends");
    assert!(matches!(watched, Err(WatchError::Fault(Fault::Closed { .. }))), "{watched:?}");
}

#[tokio::test]
async fn a_change_costs_one_sync_and_those_that_wait_share_it() {
    let disk = Disk::with_store();
    let store = open(&disk).expect("it opens");
    // One of the first changes costs two: redb settles the size of a small file.
    for number in 0..5 {
        store.commit(transaction(number)).await.expect("it is made");
    }
    let before = disk.syncs();
    for number in 0..20 {
        store.commit(transaction(number)).await.expect("it is made");
    }
    assert_eq!(disk.syncs() - before, 20);

    let before = disk.syncs();
    let mut lost = Txn::new();
    lost.expect_raw("always".into(), Expected::Absent).delete_raw("always".into());
    assert!(store.commit(lost).await.is_err());
    store.commit(Txn::new()).await.expect("nothing to do");
    assert_eq!(disk.syncs(), before, "nothing was changed");

    // While the first of them is on its way, the others wait.
    disk.block_syncs(true);
    let writers: Vec<_> = (0..40)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(transaction(number)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    disk.block_syncs(false);
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.expect("it ends").expect("it is made"));
    }
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 40, "each has a revision of its own");
    let syncs = disk.syncs() - before;
    assert!((1..=3).contains(&syncs), "{syncs} syncs for 40 changes");
}

#[tokio::test]
async fn history_is_kept_within_its_bounds() {
    let disk = Disk::with_store();
    let options = Options { history: History { revisions: 5, bytes: 1 << 20 }, ..options() };
    let store = Embedded::open_on(Path::new("simulated"), disk.opener(), options).expect("opens");
    for number in 0..20 {
        store.commit(transaction(number)).await.expect("it is made");
    }
    let compacted = |watched: Result<Box<dyn sg_store::Watch>, WatchError>| match watched {
        Err(WatchError::Compacted { compacted, .. }) => compacted,
        other => panic!("{other:?}"),
    };
    let watched = store.watch(String::new(), Revision(2)).await;
    assert_eq!(compacted(watched), Revision(16), "21 - 5");
    drop(store);

    // Each transaction writes some 1,550 bytes; the newest one stays whatever its size.
    let options = Options { history: History { revisions: 100, bytes: 4000 }, ..options };
    let store = Embedded::open_on(Path::new("simulated"), disk.opener(), options).expect("opens");
    store.commit(transaction(20)).await.expect("it is made");
    let watched = store.watch(String::new(), Revision(2)).await;
    assert_eq!(compacted(watched), Revision(20), "two of 22");
    let options = Options { history: History { revisions: 100, bytes: 1 }, ..options };
    drop(store);
    let store = Embedded::open_on(Path::new("simulated"), disk.opener(), options).expect("opens");
    store.commit(transaction(21)).await.expect("it is made");
    let mut watch = store.watch(String::new(), Revision(23)).await.expect("the newest one stays");
    assert_eq!(watch.next().await.expect("it is there").through, Revision(23));
}
