//! The simplest store there is: every state, whole.

use std::collections::BTreeMap;

use sg_store::{Event, Expected, KeyValue, Op, Revision, Txn, store::Put};

type State = BTreeMap<String, KeyValue>;

/// Keeps the state at each revision; the first one is revision 1.
#[derive(Debug, Clone)]
pub struct Oracle {
    states: Vec<State>,
    pub compacted: Revision,
}

impl Oracle {
    pub fn new() -> Self {
        Self { states: vec![State::new()], compacted: Revision(0) }
    }

    pub fn revision(&self) -> Revision {
        Revision(self.states.len() as u64)
    }

    pub fn state(&self, at: Revision) -> &State {
        &self.states[at.0 as usize - 1]
    }

    /// The revision that holds the transaction; `None`: a compare does not hold.
    pub fn commit(&mut self, txn: &Txn) -> Option<Revision> {
        let mut state = self.state(self.revision()).clone();
        let holds = txn.compares().iter().all(|compare| {
            let found = state.get(&compare.key);
            match compare.expected {
                Expected::Absent => found.is_none(),
                Expected::Present => found.is_some(),
                Expected::At(revision) => found.is_some_and(|it| it.mod_revision == revision),
            }
        });
        if !holds {
            return None;
        }
        let revision = Revision(self.revision().0 + 1);
        let mut has_changed = false;
        for op in txn.ops() {
            match op {
                Op::Put { key, value } => {
                    let created = state.get(key).map_or(revision, |old| old.create_revision);
                    let entry = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: created,
                        mod_revision: revision,
                    };
                    state.insert(key.clone(), entry);
                    has_changed = true;
                }
                Op::Delete { key } => has_changed |= state.remove(key).is_some(),
            }
        }
        if has_changed {
            self.states.push(state);
        }
        Some(self.revision())
    }

    /// The changes between a state and the one before it, in the order of keys.
    fn step(&self, revision: Revision) -> Vec<Event> {
        let (old, new) = (self.state(Revision(revision.0 - 1)), self.state(revision));
        let put = |entry: &KeyValue| Put {
            value: entry.value.clone(),
            create_revision: entry.create_revision,
        };
        let puts = new.values().filter(|entry| entry.mod_revision == revision).map(|entry| Event {
            key: entry.key.clone(),
            revision,
            put: Some(put(entry)),
        });
        let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| Event {
            key: key.clone(),
            revision,
            put: None,
        });
        let mut events: Vec<_> = puts.chain(gone).collect();
        events.sort_by(|one, other| one.key.cmp(&other.key));
        events
    }

    /// All events of a prefix from one revision to another one, both included.
    pub fn events(&self, prefix: &str, from: Revision, to: Revision) -> Vec<Event> {
        let steps = (from.0.max(2)..=to.0).flat_map(|revision| self.step(Revision(revision)));
        steps.filter(|event| event.key.starts_with(prefix)).collect()
    }
}
