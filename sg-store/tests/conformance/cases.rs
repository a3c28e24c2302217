//! The promises, one by one.

use std::{sync::Arc, time::Duration};

use sg_store::{
    EpochId, Event, Expected, KeyValue, List, ReadError, Revision, Store, Stored as _, Txn,
    TxnError, Watch, WatchError,
    objects::EpochRecord,
    store::{self, EpochError, Put},
};

use crate::backend::{Backend, LIMITS};

fn put(key: &str, value: &str) -> Txn {
    let mut txn = Txn::new();
    txn.put_raw(key.to_owned(), value.as_bytes().to_vec());
    txn
}

fn delete(key: &str) -> Txn {
    let mut txn = Txn::new();
    txn.delete_raw(key.to_owned());
    txn
}

fn entry(key: &str, value: &str, created: u64, changed: u64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.as_bytes().to_vec(),
        create_revision: Revision(created),
        mod_revision: Revision(changed),
    }
}

fn event(key: &str, revision: u64, put: Option<(&str, u64)>) -> Event {
    let put = put.map(|(value, created)| Put {
        value: value.as_bytes().to_vec(),
        create_revision: Revision(created),
    });
    Event { key: key.to_owned(), revision: Revision(revision), put }
}

async fn commit(store: &dyn Store, txn: Txn) -> Revision {
    store.commit(txn).await.expect("it is made")
}

async fn get(store: &dyn Store, key: &str, at: Option<u64>) -> Option<KeyValue> {
    store.get(key.to_owned(), at.map(Revision)).await.expect("it is read").0
}

async fn watch(store: &dyn Store, prefix: &str, from: u64) -> Result<Box<dyn Watch>, WatchError> {
    store.watch(prefix.to_owned(), Revision(from)).await
}

/// All events up to a revision.
async fn until(watch: &mut dyn Watch, revision: Revision) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let batch = watch.next().await.expect("it goes on");
        events.extend(batch.events);
        if batch.through >= revision {
            assert_eq!(batch.through, revision, "nothing came after it");
            return events;
        }
    }
}

pub async fn transactions_are_whole_or_absent<B: Backend>() {
    let mut backend = B::make();
    let store = backend.store();
    let mut both = put("a", "1");
    both.put_raw("b".into(), b"2".to_vec());
    assert_eq!(commit(&*store, both).await, Revision(2));

    let mut refused = put("a", "3");
    refused.delete_raw("b".into());
    refused.expect_raw("a".into(), Expected::At(Revision(2)));
    refused.expect_raw("b".into(), Expected::Absent);
    match store.commit(refused).await {
        Err(TxnError::Conflict { key, expected, found }) => {
            assert_eq!((key.as_str(), expected), ("b", Expected::Absent));
            assert_eq!(found, Some(Revision(2)));
        }
        other => panic!("{other:?}"),
    }
    drop(store);
    backend.reopen();
    let store = backend.store();
    assert_eq!(get(&*store, "a", None).await, Some(entry("a", "1", 2, 2)));
    assert_eq!(get(&*store, "b", None).await, Some(entry("b", "2", 2, 2)));

    let compares: [(&str, Expected, bool); 7] = [
        ("a", Expected::At(Revision(2)), true),
        ("a", Expected::At(Revision(3)), false),
        ("a", Expected::Present, true),
        ("a", Expected::Absent, false),
        ("z", Expected::Absent, true),
        ("z", Expected::Present, false),
        ("z", Expected::At(Revision(2)), false),
    ];
    for (key, expected, holds) in compares {
        let mut txn = Txn::new();
        txn.expect_raw(key.to_owned(), expected);
        let made = store.commit(txn).await;
        assert_eq!(made.is_ok(), holds, "{key} {expected}: {made:?}");
    }
}

pub async fn revisions_rise_with_changes_only<B: Backend>() {
    let mut backend = B::make();
    let store = backend.store();
    assert_eq!(commit(&*store, Txn::new()).await, Revision(1), "as an empty etcd");
    assert_eq!(commit(&*store, put("a", "1")).await, Revision(2));
    assert_eq!(commit(&*store, delete("z")).await, Revision(2), "nothing was deleted");
    assert_eq!(commit(&*store, put("a", "1")).await, Revision(3), "a put is a change");
    assert_eq!(get(&*store, "a", None).await, Some(entry("a", "1", 2, 3)));
    let mut two = put("b", "1");
    two.delete_raw("a".into());
    assert_eq!(commit(&*store, two).await, Revision(4));
    drop(store);
    backend.reopen();
    let store = backend.store();
    assert_eq!(commit(&*store, put("a", "2")).await, Revision(5));
    assert_eq!(get(&*store, "a", None).await, Some(entry("a", "2", 5, 5)), "it came to be anew");
}

pub async fn old_states_can_be_read<B: Backend>() {
    let mut backend = B::make();
    for _ in 0..2 {
        let store = backend.store();
        if get(&*store, "a", None).await.is_none() {
            commit(&*store, put("a", "1")).await;
            commit(&*store, put("b", "2")).await;
            commit(&*store, put("a", "3")).await;
            commit(&*store, delete("b")).await;
        }
        assert_eq!(get(&*store, "a", Some(1)).await, None);
        assert_eq!(get(&*store, "a", Some(2)).await, Some(entry("a", "1", 2, 2)));
        assert_eq!(get(&*store, "b", Some(3)).await, Some(entry("b", "2", 3, 3)));
        assert_eq!(get(&*store, "a", Some(3)).await, Some(entry("a", "1", 2, 2)));
        assert_eq!(get(&*store, "a", Some(4)).await, Some(entry("a", "3", 2, 4)));
        assert_eq!(get(&*store, "b", Some(4)).await, Some(entry("b", "2", 3, 3)));
        assert_eq!(get(&*store, "b", Some(5)).await, None);
        let (all, at) = store::list_all(&*store, "", Some(Revision(4))).await.expect("read");
        assert_eq!((all.len(), at), (2, Revision(4)));
        drop(store);
        backend.reopen();
    }
}

pub async fn lists_come_in_pages_of_one_revision<B: Backend>() {
    let backend = B::make();
    let store = backend.store();
    // Neighbours of the prefix in the order of bytes, which it must not take in.
    for key in ["/o", "/p", "/p/", "/p/a", "/p/b", "/p/b/c", "/p/c", "/p0", "/q"] {
        commit(&*store, put(key, key)).await;
    }
    let mut list = List { limit: 2, ..List::prefix("/p/") };
    let mut keys = Vec::new();
    let mut pages = 0;
    loop {
        let page = store.list(list.clone()).await.expect("it is read");
        assert_eq!(page.at, Revision(10));
        assert!(page.entries.len() <= 2 && !page.entries.is_empty());
        keys.extend(page.entries.iter().map(|entry| entry.key.clone()));
        pages += 1;
        list.after = page.last().map(ToOwned::to_owned);
        list.at = Some(page.at);
        // Changes between two pages are in neither.
        commit(&*store, put("/p/zz", "x")).await;
        commit(&*store, delete("/p/c")).await;
        if !page.has_more {
            break;
        }
    }
    assert_eq!(
        (keys, pages),
        (["/p/", "/p/a", "/p/b", "/p/b/c", "/p/c"].map(str::to_owned).into(), 3)
    );

    let exact = List { limit: 1, ..List::prefix("/q") };
    assert!(!store.list(exact).await.expect("it is read").has_more, "nothing is behind the last");
    let none = store.list(List::prefix("/zzz")).await.expect("it is read");
    assert_eq!((none.entries.len(), none.has_more), (0, false));
    let highest = List::prefix("\u{10ffff}");
    assert_eq!(store.list(highest).await.expect("it is read").entries.len(), 0);
    let all = List { limit: 100, ..List::prefix("") };
    assert_eq!(store.list(all).await.expect("it is read").entries.len(), 9);
}

pub async fn a_watch_delivers_each_event_once_in_order<B: Backend>() {
    let mut backend = B::make();
    let store = backend.store();
    let mut first = put("/a/1", "x");
    first.put_raw("/b/1".into(), b"y".to_vec()).put_raw("/a/2".into(), b"z".to_vec());
    commit(&*store, first).await;
    commit(&*store, put("/b/2", "x")).await;
    let mut third = delete("/a/1");
    third.put_raw("/a/2".into(), b"w".to_vec());
    commit(&*store, third).await;

    let one = [event("/a/1", 2, Some(("x", 2))), event("/a/2", 2, Some(("z", 2)))];
    let three = [event("/a/1", 4, None), event("/a/2", 4, Some(("w", 2)))];
    let mut from_start = watch(&*store, "/a/", 2).await.expect("it starts");
    assert_eq!(until(&mut *from_start, Revision(4)).await, [&one[..], &three].concat());
    let mut from_third = watch(&*store, "/a/", 3).await.expect("it starts");
    assert_eq!(until(&mut *from_third, Revision(4)).await, three);

    commit(&*store, put("/a/3", "1")).await;
    commit(&*store, put("/a/3", "2")).await;
    let last = [event("/a/3", 5, Some(("1", 5))), event("/a/3", 6, Some(("2", 5)))];
    assert_eq!(until(&mut *from_start, Revision(6)).await, last);

    drop((store, from_start, from_third));
    backend.reopen();
    let store = backend.store();
    let mut again = watch(&*store, "/a/", 2).await.expect("it starts");
    let all = until(&mut *again, Revision(6)).await;
    assert_eq!(all, [&one[..], &three, &last].concat(), "history outlives a restart");
}

pub async fn a_watch_wakes_up_and_loses_nothing_when_dropped<B: Backend>() {
    let backend = B::make();
    let store = backend.store();
    let mut watch = watch(&*store, "/a", 2).await.expect("it starts at the next revision");
    let soon = Duration::from_millis(20);
    assert!(tokio::time::timeout(soon, watch.next()).await.is_err(), "nothing has happened");

    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        commit(&*writer, put("/a", "1")).await
    });
    let batch = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
    let batch = batch.expect("the change wakes it").expect("it goes on");
    assert_eq!(batch.events, [event("/a", 2, Some(("1", 2)))]);
    assert_eq!(batch.through, writing.await.expect("it ends"));

    commit(&*store, put("/elsewhere", "1")).await;
    let batch = watch.next().await.expect("it goes on");
    assert_eq!((batch.events.len(), batch.through), (0, Revision(3)), "it says how far it is");
}

pub async fn compaction_says_from_where<B: Backend>() {
    let mut backend = B::make();
    let store = backend.store();
    commit(&*store, put("a", "1")).await;
    commit(&*store, put("b", "1")).await;
    commit(&*store, put("a", "2")).await;
    commit(&*store, delete("b")).await;
    commit(&*store, put("c", "1")).await;
    let mut slow = watch(&*store, "", 2).await.expect("all is there");
    backend.compact(Revision(5)).await;

    for at in [1, 4] {
        match store.get("a".to_owned(), Some(Revision(at))).await {
            Err(ReadError::Compacted { requested, compacted }) => {
                assert_eq!((requested, compacted), (Revision(at), Revision(5)));
            }
            other => panic!("{other:?}"),
        }
    }
    for from in [2, 5] {
        match watch(&*store, "", from).await {
            Err(WatchError::Compacted { requested, compacted }) => {
                assert_eq!((requested, compacted), (Revision(from), Revision(5)));
            }
            other => panic!("{other:?}"),
        }
    }
    match slow.next().await {
        Err(WatchError::Compacted { requested, compacted }) => {
            assert_eq!((requested, compacted), (Revision(2), Revision(5)));
        }
        other => panic!("{other:?}"),
    }
    drop((slow, store));

    for _ in 0..2 {
        let store = backend.store();
        let (all, _) = store::list_all(&*store, "", Some(Revision(5))).await.expect("it is kept");
        assert_eq!(all, [entry("a", "2", 2, 4)]);
        assert_eq!(get(&*store, "a", None).await, Some(entry("a", "2", 2, 4)));
        let mut rest = watch(&*store, "", 6).await.expect("it is kept");
        assert_eq!(until(&mut *rest, Revision(6)).await, [event("c", 6, Some(("1", 6)))]);
        drop((store, rest));
        backend.reopen();
    }
    let store = backend.store();
    backend.compact(Revision(6)).await;
    let mut next = watch(&*store, "", 7).await.expect("the next revision");
    commit(&*store, put("d", "1")).await;
    assert_eq!(until(&mut *next, Revision(7)).await, [event("d", 7, Some(("1", 7)))]);
}

pub async fn a_revision_that_is_to_come_is_refused<B: Backend>() {
    let backend = B::make();
    let store = backend.store();
    commit(&*store, put("a", "1")).await;
    let expected = (Revision(3), Revision(2));
    match store.get("a".to_owned(), Some(Revision(3))).await {
        Err(ReadError::Future { requested, current }) => assert_eq!((requested, current), expected),
        other => panic!("{other:?}"),
    }
    match store.list(List { at: Some(Revision(3)), ..List::prefix("") }).await {
        Err(ReadError::Future { requested, current }) => assert_eq!((requested, current), expected),
        other => panic!("{other:?}"),
    }
    match watch(&*store, "", 4).await {
        Err(WatchError::Future { requested, current }) => {
            assert_eq!((requested, current), (Revision(4), Revision(2)));
        }
        other => panic!("{other:?}"),
    }
}

pub async fn one_of_many_writers_wins<B: Backend>() {
    let backend = B::make();
    let store = backend.store();
    let start = commit(&*store, put("counter", "0")).await;
    let writer = |store: Arc<dyn Store>| async move {
        let mut conflicts = 0;
        for _ in 0..10 {
            loop {
                let old = get(&*store, "counter", None).await.expect("it is there");
                let number: u32 =
                    String::from_utf8(old.value).expect("UTF-8").parse().expect("a number");
                let mut txn = put("counter", &(number + 1).to_string());
                txn.expect_raw("counter".into(), Expected::At(old.mod_revision));
                tokio::task::yield_now().await;
                match store.commit(txn).await {
                    Ok(_) => break,
                    Err(TxnError::Conflict { .. }) => conflicts += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        conflicts
    };
    let writers: Vec<_> = (0..8).map(|_| tokio::spawn(writer(Arc::clone(&store)))).collect();
    let mut conflicts = 0;
    for writer in writers {
        conflicts += writer.await.expect("it ends");
    }
    assert!(conflicts > 0, "they met");
    let last = get(&*store, "counter", None).await.expect("it is there");
    assert_eq!(last, entry("counter", "80", start.0, start.0 + 80), "no update is lost");
}

pub async fn too_much_is_refused<B: Backend>() {
    let backend = B::make();
    let store = backend.store();
    assert_eq!(store.limits(), LIMITS);
    let many = |count: usize| {
        let mut txn = Txn::new();
        for number in 0..count {
            txn.put_raw(format!("k{number}"), Vec::new());
        }
        txn
    };
    commit(&*store, many(LIMITS.ops)).await;
    let what = |made: Result<Revision, TxnError>| match made {
        Err(TxnError::TooLarge { what, found, limit }) => (what, found, limit),
        other => panic!("{other:?}"),
    };
    assert_eq!(what(store.commit(many(129)).await), ("puts and deletes", 129, 128));
    let long = put("k", &"x".repeat(LIMITS.bytes));
    assert_eq!(what(store.commit(long).await), ("bytes", 4097, 4096));
    assert_eq!(commit(&*store, Txn::new()).await, Revision(2), "nothing was made of it");
}

pub async fn the_epoch_is_read<B: Backend>() {
    let backend = B::make();
    let store = backend.store();
    assert!(matches!(store::epoch(&*store).await, Err(EpochError::Missing)));
    let record = EpochRecord::following(EpochId(7), &EpochRecord::new(EpochId(6)));
    let mut txn = Txn::new();
    txn.create(&record);
    let made = commit(&*store, txn).await;
    assert_eq!(store::epoch(&*store).await.expect("it is there"), (record.clone(), made));
    let newer = String::from_utf8(record.encode()).expect("UTF-8").replace(":1,", ":2,");
    commit(&*store, put("/sg/1/epoch", &newer)).await;
    match store::epoch(&*store).await {
        Err(error @ EpochError::Undecodable(_)) => {
            assert!(error.to_string().contains("format 2 is newer"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
