//! Random histories: transactions, reads of old states, pages, watches, compactions and restarts.

use proptest::prelude::*;
use sg_store::{
    Event, Expected, List, ReadError, Revision, Store, Txn, TxnError, Watch, WatchError, store,
};

use crate::{
    backend::{Backend, LIMITS},
    oracle::Oracle,
};

const KEYS: [&str; 7] = ["/a", "/a/1", "/a/2", "/a/2/x", "/a0", "/b/1", "/b/2"];
const PREFIXES: [&str; 5] = ["", "/a", "/a/", "/b/", "/c"];

#[derive(Clone, Debug)]
enum Step {
    Commit {
        compares: Vec<(usize, Guess)>,
        ops: Vec<(usize, Option<u8>)>,
    },
    /// Reads the state `ago` revisions ago; 0: the present one, which is asked for by its number.
    Read {
        key: usize,
        ago: u64,
    },
    List {
        prefix: usize,
        ago: u64,
        limit: usize,
    },
    Watch {
        prefix: usize,
        ago: u64,
    },
    /// Reads a watch until it is up to date.
    Drain {
        watch: usize,
    },
    Compact {
        ago: u64,
    },
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Guess {
    Absent,
    Present,
    /// The key's revision, or the one before it.
    Right,
    Wrong,
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    let prefix = 0..PREFIXES.len();
    let guess = prop_oneof![
        2 => Just(Guess::Right),
        1 => Just(Guess::Wrong),
        1 => Just(Guess::Absent),
        1 => Just(Guess::Present),
    ];
    let compares = prop::collection::vec((key.clone(), guess), 0..3);
    let ops = prop::collection::vec((key.clone(), prop::option::weighted(0.7, any::<u8>())), 0..4);
    prop_oneof![
        8 => (compares, ops).prop_map(|(compares, ops)| Step::Commit { compares, ops }),
        2 => (key, 0..6_u64).prop_map(|(key, ago)| Step::Read { key, ago }),
        2 => (prefix.clone(), 0..6_u64, 0..4_usize)
            .prop_map(|(prefix, ago, limit)| Step::List { prefix, ago, limit }),
        2 => (prefix, 0..6_u64).prop_map(|(prefix, ago)| Step::Watch { prefix, ago }),
        3 => (0..4_usize).prop_map(|watch| Step::Drain { watch }),
        1 => (0..8_u64).prop_map(|ago| Step::Compact { ago }),
        1 => Just(Step::Reopen),
    ]
}

/// A watch with what it has delivered.
struct Watched {
    watch: Box<dyn Watch>,
    prefix: &'static str,
    next: Revision,
}

struct Run<B> {
    backend: B,
    oracle: Oracle,
    watches: Vec<Watched>,
}

pub fn histories<B: Backend>(cases: u32) {
    let steps = prop::collection::vec(any_step(), 1..40);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    proptest!(ProptestConfig::with_cases(cases), |(steps in steps)| {
        let mut run = Run { backend: B::make(), oracle: Oracle::new(), watches: Vec::new() };
        runtime.block_on(async {
            for step in steps {
                run.step(step).await;
            }
            run.compare_all().await;
        });
    });
}

impl<B: Backend> Run<B> {
    fn ago(&self, ago: u64) -> Revision {
        Revision(self.oracle.revision().0.saturating_sub(ago).max(1))
    }

    async fn step(&mut self, step: Step) {
        let store = self.backend.store();
        match step {
            Step::Commit { compares, ops } => {
                let txn = self.transaction(&compares, &ops);
                let expected = self.oracle.commit(&txn);
                match (store.commit(txn).await, expected) {
                    (Ok(made), Some(expected)) => assert_eq!(made, expected),
                    (Err(TxnError::Conflict { key, found, .. }), None) => {
                        let state = self.oracle.state(self.oracle.revision());
                        assert_eq!(found, state.get(&key).map(|entry| entry.mod_revision));
                    }
                    (made, expected) => panic!("{made:?}, the oracle: {expected:?}"),
                }
            }
            Step::Read { key, ago } => {
                let at = self.ago(ago);
                match store.get(KEYS[key].to_owned(), Some(at)).await {
                    Ok(found) => {
                        let expected = self.oracle.state(at).get(KEYS[key]).cloned();
                        assert_eq!(found, (expected, at));
                    }
                    Err(error) => self.is_compacted(&error, at),
                }
            }
            Step::List { prefix, ago, limit } => self.list(&*store, prefix, ago, limit).await,
            Step::Watch { prefix, ago } => {
                let from = Revision(self.ago(ago).0 + 1);
                let prefix = PREFIXES[prefix];
                match store.watch(prefix.to_owned(), from).await {
                    Ok(watch) => self.watches.push(Watched { watch, prefix, next: from }),
                    Err(WatchError::Compacted { requested, compacted }) => {
                        assert_eq!((requested, compacted), (from, self.oracle.compacted));
                        assert!(from <= compacted);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Drain { watch } if watch < self.watches.len() => self.drain(watch).await,
            Step::Drain { .. } => (),
            Step::Compact { ago } => {
                let at = self.ago(ago);
                if at > self.oracle.compacted {
                    self.backend.compact(at).await;
                    self.oracle.compacted = at;
                }
            }
            Step::Reopen => {
                drop(store);
                self.watches.clear();
                self.backend.reopen();
            }
        }
    }

    fn transaction(&self, compares: &[(usize, Guess)], ops: &[(usize, Option<u8>)]) -> Txn {
        let state = self.oracle.state(self.oracle.revision());
        let mut txn = Txn::new();
        for (key, guess) in compares {
            let found = state.get(KEYS[*key]).map_or(Revision(0), |entry| entry.mod_revision);
            let expected = match guess {
                Guess::Absent => Expected::Absent,
                Guess::Present => Expected::Present,
                Guess::Right => Expected::At(found),
                Guess::Wrong => Expected::At(Revision(found.0 + 1)),
            };
            txn.expect_raw(KEYS[*key].to_owned(), expected);
        }
        for (key, value) in ops {
            let key = KEYS[*key].to_owned();
            match value {
                Some(value) => txn.put_raw(key, vec![*value]),
                None => txn.delete_raw(key),
            };
        }
        txn
    }

    fn is_compacted(&self, error: &ReadError, at: Revision) {
        let ReadError::Compacted { requested, compacted } = error else { panic!("{error}") };
        assert_eq!((*requested, *compacted), (at, self.oracle.compacted));
        assert!(at < *compacted);
    }

    async fn list(&self, store: &dyn Store, prefix: usize, ago: u64, limit: usize) {
        let at = self.ago(ago);
        let prefix = PREFIXES[prefix];
        let mut list = List { at: Some(at), limit, ..List::prefix(prefix) };
        let mut found = Vec::new();
        loop {
            let page = match store.list(list.clone()).await {
                Ok(page) => page,
                Err(error) => return self.is_compacted(&error, at),
            };
            assert!(limit == 0 || page.entries.len() <= limit);
            list.after = page.last().map(ToOwned::to_owned);
            found.extend(page.entries);
            if !page.has_more {
                break;
            }
        }
        let expected = self.oracle.state(at).values();
        let expected: Vec<_> =
            expected.filter(|entry| entry.key.starts_with(prefix)).cloned().collect();
        assert_eq!(found, expected);
    }

    async fn drain(&mut self, place: usize) {
        let now = self.oracle.revision();
        let watched = &mut self.watches[place];
        let mut events = Vec::<Event>::new();
        let mut next = watched.next;
        while next <= now {
            match watched.watch.next().await {
                Ok(batch) => {
                    assert!(batch.through >= next, "it goes forward");
                    events.extend(batch.events);
                    next = Revision(batch.through.0 + 1);
                }
                Err(WatchError::Compacted { requested, compacted }) => {
                    assert_eq!(compacted, self.oracle.compacted);
                    assert!(requested <= compacted);
                    self.watches.remove(place);
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        // Events of one revision may come in any order.
        events.sort_by(|one, other| (one.revision, &one.key).cmp(&(other.revision, &other.key)));
        assert_eq!(events, self.oracle.events(watched.prefix, watched.next, now));
        watched.next = next;
    }

    async fn compare_all(&mut self) {
        while !self.watches.is_empty() {
            self.drain(0).await;
            if !self.watches.is_empty() {
                self.watches.remove(0);
            }
        }
        self.backend.reopen();
        let store = self.backend.store();
        for revision in self.oracle.compacted.0.max(1)..=self.oracle.revision().0 {
            let at = Revision(revision);
            let (found, _) = store::list_all(&*store, "", Some(at)).await.expect("it is kept");
            let expected: Vec<_> = self.oracle.state(at).values().cloned().collect();
            assert_eq!(found, expected, "at {at}");
        }
        assert_eq!(store.limits(), LIMITS);
    }
}
