//! The replica against a log of whole states, and each hold by itself.

use proptest::prelude::*;
use sg_policy::id::{AccountId, GroupId};

use super::*;
use crate::{
    objects::{SecurityGroup, Stored, Tags, Vpc, VpcSettings},
    store::{KeyValue, Put},
};

const VPC: VpcId = VpcId(1);
const EPOCH: EpochId = EpochId(7);

fn vpc_record(epoch: EpochId) -> Vpc {
    Vpc {
        id: VPC,
        epoch,
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

fn group(id: u128, name: &str) -> SecurityGroup {
    SecurityGroup {
        id: GroupId(id),
        account: AccountId(1),
        region: "us-east-1".parse().expect("a region"),
        vpc: VPC,
        name: name.to_owned(),
        description: "d".to_owned(),
        ingress: Vec::new(),
        egress: Vec::new(),
        tags: Tags::new(),
    }
}

type State = BTreeMap<String, KeyValue>;

/// A store as it was at every revision: `states[n]` is revision n + 1.
#[derive(Clone, Debug)]
struct Log {
    record: EpochRecord,
    states: Vec<State>,
    events: Vec<Event>,
}

impl Log {
    fn new(record: EpochRecord) -> Self {
        let mut log = Self { record, states: vec![State::new()], events: Vec::new() };
        let epoch = log.record.epoch;
        log.change(vec![put(&vpc_record(epoch))]);
        log
    }

    fn revision(&self) -> Revision {
        Revision(self.states.len() as u64)
    }

    fn state(&self, at: Revision) -> &State {
        &self.states[at.0 as usize - 1]
    }

    fn snapshot(&self, at: Revision) -> Snapshot {
        Snapshot::of(self.state(at).values().cloned(), at)
    }

    /// Makes one revision of changes, which may be of another VPC.
    fn change(&mut self, changes: Vec<(String, Option<Vec<u8>>)>) -> Revision {
        let mut state = self.state(self.revision()).clone();
        let revision = self.revision().next();
        for (key, value) in changes {
            let created = state.get(&key).map_or(revision, |old| old.create_revision);
            let event = Event {
                key: key.clone(),
                revision,
                put: value.clone().map(|value| Put { value, create_revision: created }),
            };
            let was = match value {
                Some(value) => {
                    let (create_revision, mod_revision) = (created, revision);
                    let entry = KeyValue { key: key.clone(), value, create_revision, mod_revision };
                    state.insert(key, entry);
                    true
                }
                None => state.remove(&key).is_some(),
            };
            if was {
                self.events.push(event);
            }
        }
        self.states.push(state);
        revision
    }

    fn events(&self, from: Revision, to: Revision) -> Vec<Event> {
        let within = |event: &&Event| event.revision >= from && event.revision <= to;
        self.events.iter().filter(within).cloned().collect()
    }

    fn page(&self, at: Revision, after: Option<&str>, limit: usize) -> Page {
        let mut rest = self.state(at).values().filter(|entry| Some(entry.key.as_str()) > after);
        let entries = rest.by_ref().take(limit).cloned().collect();
        Page { at, entries, has_more: rest.next().is_some() }
    }

    fn epoch(&self) -> Input {
        Input::Epoch(Some(self.record.clone()), self.revision())
    }
}

fn put<T: Stored>(object: &T) -> (String, Option<Vec<u8>>) {
    (object.key().to_string(), Some(object.encode()))
}

fn gone(key: &Key) -> (String, Option<Vec<u8>>) {
    (key.to_string(), None)
}

/// Takes the list of a log in one page.
fn list(replica: &mut Replica, log: &Log) -> Vec<Action> {
    let page = log.page(log.revision(), None, usize::MAX);
    replica.step(Input::Page(page))
}

/// A replica that has everything and watches.
fn following(log: &Log) -> Replica {
    let mut replica = Replica::new(VPC);
    assert_eq!(replica.step(Input::Begin), [Action::ReadEpoch]);
    assert_eq!(replica.step(log.epoch()), [Action::List { at: None, after: None }]);
    let actions = list(&mut replica, log);
    let [Action::Publish(_), Action::Watch { from }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(*from, log.revision().next());
    assert_eq!(replica.step(Input::Published), []);
    assert_eq!(replica.enforced(), log.revision());
    replica
}

/// Delivers all that a replica lacks.
fn catch_up(replica: &mut Replica, log: &Log) -> Vec<Action> {
    let from = replica.snapshot().revision().next();
    let (events, through) = (log.events(from, log.revision()), log.revision());
    replica.step(Input::Batch(Batch { events, through }))
}

fn keys(changes: &Changes) -> Vec<String> {
    changes.keys().map(ToString::to_string).collect()
}

fn log() -> Log {
    let mut log = Log::new(EpochRecord::new(EPOCH));
    log.change(vec![put(&group(1, "a")), put(&group(2, "b"))]);
    log
}

#[test]
fn a_feed_follows_the_epoch_s_record() {
    let mut log = Log::new(EpochRecord::new(EPOCH));
    log.change(vec![put(&EpochRecord::new(EPOCH)), put(&group(1, "a"))]);
    let whole = |replica: &mut Replica, log: &Log| {
        replica.step(Input::Begin);
        replica.step(log.epoch());
        list(replica, log)
    };
    let mut replica = Replica::new(Scope::Feed);
    assert_eq!(replica.resumes_at(), None, "there is nothing to resume");
    assert!(matches!(whole(&mut replica, &log)[..], [Action::Publish(_), Action::Watch { .. }]));
    replica.step(Input::Published);
    assert_eq!(replica.resumes_at(), Some((EPOCH, log.revision())));

    // A VPC that is deleted is an order like another one; an epoch that is gone is none.
    log.change(vec![gone(&Key::Vpc(VPC))]);
    assert!(matches!(catch_up(&mut replica, &log)[..], [Action::Publish(_)]));
    replica.step(Input::Published);
    let known = log.revision();
    log.change(vec![gone(&Key::Epoch), gone(&group(1, "a").key())]);
    assert_eq!(catch_up(&mut replica, &log), []);
    assert_eq!(replica.hold(), Some(&Hold::NoEpoch));
    assert_eq!(replica.snapshot().revision(), known);
    assert_eq!(replica.resumes_at(), None, "only a list is sure after a hold");

    let other = Log::new(EpochRecord::new(EpochId(77)));
    let mut replica = Replica::new(Scope::Feed);
    assert_eq!(whole(&mut replica, &other), []);
    assert_eq!(replica.hold(), Some(&Hold::NoEpoch), "a list without the record");
    log.change(vec![put(&EpochRecord::new(EpochId(77)))]);
    let mut replica = Replica::new(Scope::Feed);
    assert_eq!(whole(&mut replica, &log), [Action::ReadEpoch], "another store came under the list");
}

#[test]
fn a_list_is_complete_or_nothing() {
    let log = log();
    let mut replica = Replica::new(VPC);
    replica.step(Input::Begin);
    replica.step(log.epoch());
    let first = log.page(log.revision(), None, 2);
    let after = first.last().map(str::to_owned);
    let actions = replica.step(Input::Page(first.clone()));
    assert_eq!(actions, [Action::List { at: Some(log.revision()), after: after.clone() }]);
    assert!(replica.snapshot().is_empty(), "half a list changes nothing");

    let anew = [Action::List { at: None, after: None }];
    assert_eq!(replica.step(Input::ListFailed), anew);
    replica.step(Input::Page(first.clone()));
    let other = Page { at: log.revision().next(), ..first.clone() };
    assert_eq!(replica.step(Input::Page(other)), anew, "a page of another revision");
    replica.step(Input::Page(first.clone()));
    assert_eq!(replica.step(Input::Page(first.clone())), anew, "a page that came twice");
    replica.step(Input::Page(first));
    let last = log.page(log.revision(), after.as_deref(), 2);
    let actions = replica.step(Input::Page(last));
    assert!(matches!(actions[..], [Action::Publish(_), Action::Watch { .. }]), "{actions:?}");
    assert_eq!(*replica.snapshot(), log.snapshot(log.revision()));
}

#[test]
fn a_list_is_compared_and_deletions_count() {
    let mut log = log();
    let mut replica = following(&log);
    log.change(vec![gone(&group(1, "a").key()), put(&group(3, "c"))]);
    log.change(vec![put(&group(2, "b"))]);
    assert_eq!(replica.step(Input::Compacted), [Action::List { at: None, after: None }]);
    let actions = list(&mut replica, &log);
    let [Action::Publish(changes), Action::Watch { .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    // Group 2 has the same value under another revision.
    let expected = [1, 2, 3].map(|id| group(id, "").key().to_string());
    assert_eq!(keys(changes), expected);
    replica.step(Input::Published);

    replica.step(Input::Compacted);
    let actions = list(&mut replica, &log);
    assert!(matches!(actions[..], [Action::Watch { .. }]), "nothing differs: {actions:?}");
    assert_eq!(replica.enforced(), log.revision());
}

#[test]
fn changes_add_up_while_a_publish_runs() {
    let mut log = log();
    let mut replica = following(&log);
    log.change(vec![put(&group(1, "x"))]);
    let actions = catch_up(&mut replica, &log);
    assert_eq!(actions.len(), 1, "{actions:?}");
    let published = log.revision();
    log.change(vec![put(&group(2, "y"))]);
    assert_eq!(catch_up(&mut replica, &log), []);
    log.change(vec![put(&group(3, "z"))]);
    assert_eq!(catch_up(&mut replica, &log), []);
    let actions = replica.step(Input::Published);
    assert_eq!(replica.enforced(), published);
    let [Action::Publish(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(keys(changes), [2, 3].map(|id| group(id, "").key().to_string()));
    assert_eq!(replica.step(Input::Published), []);
    assert_eq!(replica.enforced(), log.revision());
}

#[test]
fn a_publish_that_failed_is_never_confirmed() {
    let mut log = log();
    let mut replica = following(&log);
    let before = log.revision();
    log.change(vec![put(&group(1, "too large"))]);
    catch_up(&mut replica, &log);
    assert_eq!(replica.step(Input::NotPublished), []);
    assert_eq!(replica.enforced(), before);
    let quiet = Batch { events: Vec::new(), through: log.revision() };
    let actions = replica.step(Input::Batch(quiet));
    assert_eq!(actions.len(), 1, "it is tried again with the next news: {actions:?}");
    replica.step(Input::NotPublished);
    assert_eq!(replica.enforced(), before);

    log.change(vec![put(&group(2, "small"))]);
    let actions = catch_up(&mut replica, &log);
    let [Action::Publish(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(keys(changes), [1, 2].map(|id| group(id, "").key().to_string()));
    replica.step(Input::Published);
    assert_eq!(replica.enforced(), log.revision());
}

#[test]
fn old_events_are_dropped_and_halves_wait() {
    let mut log = log();
    let mut replica = following(&log);
    let old = log.events(Revision(2), log.revision());
    let stale = Batch { events: old, through: Revision(3) };
    assert_eq!(replica.step(Input::Batch(stale)), [], "it went back in time");

    log.change(vec![put(&group(1, "x")), put(&group(2, "y"))]);
    let events = log.events(log.revision(), log.revision());
    let half = Batch { events: events[..1].to_vec(), through: Revision(3) };
    assert_eq!(replica.step(Input::Batch(half)), [], "half a revision");
    assert_eq!(*replica.snapshot(), log.snapshot(Revision(3)));
    let rest = Batch { events: events[1..].to_vec(), through: log.revision() };
    let actions = replica.step(Input::Batch(rest));
    let [Action::Publish(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(keys(changes).len(), 2);
}

#[test]
fn a_store_that_is_not_ours_changes_nothing() {
    let ours = log();
    let before = ours.snapshot(ours.revision());
    let foreign = Log::new(EpochRecord::new(EpochId(8)));
    let mut replica = following(&ours);
    assert_eq!(replica.step(Input::WatchFailed), [Action::ReadEpoch]);
    assert_eq!(replica.step(foreign.epoch()), []);
    let hold = Hold::ForeignStore { ours: EPOCH, theirs: EpochId(8) };
    assert_eq!(replica.hold(), Some(&hold));
    assert!(hold.to_string().contains("until an operator accepts"), "{hold}");
    // Answers of the old watch, and of lists that nobody asked for.
    list(&mut replica, &foreign);
    catch_up(&mut replica, &ours);
    assert_eq!(*replica.snapshot(), before);

    replica.step(Input::Accepted(EpochId(9)));
    assert_eq!(replica.step(foreign.epoch()), [], "another one was accepted");
    replica.step(Input::Accepted(EpochId(8)));
    assert_eq!(replica.step(foreign.epoch()), [Action::List { at: None, after: None }]);
    assert_eq!(*replica.snapshot(), before, "until the list is whole");
    let actions = list(&mut replica, &foreign);
    assert!(matches!(actions[0], Action::Publish(_)), "{actions:?}");
    assert_eq!((replica.epoch(), replica.enforced()), (Some(EpochId(8)), Revision(0)));
    replica.step(Input::Published);
    assert_eq!(replica.enforced(), foreign.revision());
}

#[test]
fn a_restored_store_is_followed_along_the_chain() {
    let ours = log();
    let second = EpochRecord::following(EpochId(8), &ours.record);
    let third = Log::new(EpochRecord::following(EpochId(9), &second));
    let mut replica = following(&ours);
    replica.step(Input::WatchFailed);
    assert_eq!(replica.step(third.epoch()), [Action::List { at: None, after: None }]);
    let actions = list(&mut replica, &third);
    let [Action::Publish(changes), Action::Watch { from }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((keys(changes).len(), *from), (3, Revision(3)), "two groups and the record");
    assert_eq!(*replica.snapshot(), third.snapshot(Revision(2)));
}

#[test]
fn a_store_that_went_back_changes_nothing() {
    let mut log = log();
    let backup = log.clone();
    log.change(vec![put(&group(1, "newer"))]);
    let mut replica = following(&log);
    replica.step(Input::WatchFailed);
    assert_eq!(replica.step(backup.epoch()), []);
    let hold = replica.hold().expect("it holds").to_string();
    assert!(hold.contains("store went back") && hold.contains("revision 4"), "{hold}");
    assert_eq!(*replica.snapshot(), log.snapshot(log.revision()));

    // It is where it was before: all is well again, but only a list is sure.
    replica.step(Input::Begin);
    assert_eq!(replica.step(log.epoch()), [Action::List { at: None, after: None }]);
    // Between the epoch and the list it goes back.
    list(&mut replica, &backup);
    assert!(matches!(replica.hold(), Some(Hold::WentBack { .. })));
    assert_eq!(*replica.snapshot(), log.snapshot(log.revision()));
}

#[test]
fn empty_is_not_an_order() {
    let mut log = log();
    let mut replica = following(&log);
    let before = log.snapshot(log.revision());
    replica.step(Input::WatchFailed);
    replica.step(Input::Epoch(None, log.revision()));
    assert_eq!(replica.hold(), Some(&Hold::NoEpoch));

    // Somebody deletes the prefix; what came before it in the same batch is published.
    let mut replica = following(&log);
    log.change(vec![put(&group(3, "c"))]);
    let last_good = log.revision();
    let all: Vec<_> = log.state(last_good).keys().map(|key| (key.clone(), None)).collect();
    log.change(all);
    let actions = catch_up(&mut replica, &log);
    let [Action::Publish(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(keys(changes).len(), 1);
    assert_eq!(replica.hold(), Some(&Hold::NoVpc));
    assert_eq!(replica.snapshot().len(), before.len() + 1);
    assert_eq!(replica.snapshot().revision(), last_good);
    replica.step(Input::Published);
    assert_eq!(replica.enforced(), last_good);

    // A list without the record, complete as it is.
    replica.step(Input::Begin);
    replica.step(log.epoch());
    assert_eq!(list(&mut replica, &log), []);
    assert_eq!(replica.hold(), Some(&Hold::NoVpc));
    assert_eq!(replica.snapshot().len(), before.len() + 1);

    log.change(vec![put(&vpc_record(EPOCH)), put(&group(1, "a"))]);
    replica.step(Input::Begin);
    replica.step(log.epoch());
    let actions = list(&mut replica, &log);
    assert!(matches!(actions[0], Action::Publish(_)), "{actions:?}");
    assert_eq!(replica.snapshot().len(), 2, "now it is an order");
}

#[test]
fn a_record_of_another_store_is_noticed() {
    let mut log = log();
    let mut replica = following(&log);
    let before = log.snapshot(log.revision());
    log.change(vec![put(&vpc_record(EpochId(8))), gone(&group(1, "a").key())]);
    assert_eq!(catch_up(&mut replica, &log), [Action::ReadEpoch]);
    assert_eq!(*replica.snapshot(), before);
    // The epoch says that it is still ours.
    assert_eq!(replica.step(log.epoch()), [Action::Watch { from: Revision(4) }]);
    replica.step(Input::Compacted);
    list(&mut replica, &log);
    let hold = Hold::VpcOfOtherStore { store: EPOCH, vpc: EpochId(8) };
    assert_eq!(replica.hold(), Some(&hold));
    assert_eq!(*replica.snapshot(), before);
}

#[test]
fn a_document_that_cannot_be_read_keeps_its_last_good_state() {
    let mut log = log();
    let mut replica = following(&log);
    let key = group(1, "").key();
    let bad = Some(br#"{"format":99}"#.to_vec());
    log.change(vec![(key.to_string(), bad.clone()), put(&group(3, "c"))]);
    for _ in 0..2 {
        assert_eq!(
            replica.snapshot().group(GroupId(1)).map(|it| it.name.clone()),
            Some("a".into())
        );
        catch_up(&mut replica, &log);
        replica.step(Input::Published);
        assert!(replica.snapshot().group(GroupId(3)).is_some(), "others are as they are");
        assert_eq!(replica.snapshot().unusable().count(), 1);
        assert!(replica.snapshot().unusable().all(|unusable| unusable.has_older));
        // The same by a list.
        replica.step(Input::Compacted);
        list(&mut replica, &log);
        replica.step(Input::Published);
    }
    // The record of the VPC, too.
    log.change(vec![(Key::Vpc(VPC).to_string(), bad)]);
    catch_up(&mut replica, &log);
    assert!(replica.is_watching() && replica.snapshot().vpc(VPC).is_some());
    replica.step(Input::Compacted);
    list(&mut replica, &log);
    assert!(replica.is_watching() && replica.snapshot().vpc(VPC).is_some());
}

#[test]
fn an_audit_finds_what_a_watch_has_lost() {
    let mut log = log();
    let mut replica = following(&log);
    let audit = |log: &Log, at: Revision| {
        let keys = log.state(at).values().map(|entry| (entry.key.clone(), entry.mod_revision));
        Input::Audit(Audit { at, keys: keys.collect() })
    };
    let known = log.revision();
    assert_eq!(replica.step(audit(&log, known)), []);
    log.change(vec![gone(&group(1, "").key()), put(&group(2, "x")), put(&group(3, "c"))]);
    let changed = log.revision();
    assert_eq!(replica.step(audit(&log, changed)), [], "it is ahead of us, that is all");
    assert_eq!(replica.step(audit(&log, Revision(2))), [], "it is behind us, that is all");
    // A change, a deletion and a new object: each event may be the one that is lost.
    for lost in 0..3 {
        let mut replica = following(&log_before(&log));
        let mut events = log.events(changed, changed);
        events.remove(lost);
        replica.step(Input::Batch(Batch { events, through: changed }));
        let actions = replica.step(audit(&log, changed));
        assert_eq!(actions, [Action::List { at: None, after: None }], "event {lost}");
        list(&mut replica, &log);
        assert_eq!(*replica.snapshot(), log.snapshot(changed));
        assert_eq!(replica.step(audit(&log, changed)), []);
        assert_eq!(replica.step(audit(&log, known)), [], "an old answer");
    }
    // A document that cannot be read is there all the same.
    let bad = Some(br#"{"format":99}"#.to_vec());
    log.change(vec![(group(4, "").key().to_string(), bad)]);
    let mut replica = following(&log);
    assert_eq!(replica.step(audit(&log, log.revision())), []);
}

/// A log without its last revision.
fn log_before(log: &Log) -> Log {
    let mut before = log.clone();
    before.states.pop();
    before
}

#[test]
fn a_state_that_another_version_wrote_is_read_again() {
    let log = log();
    let snapshot = log.snapshot(log.revision());
    let mut same = Replica::resume(VPC, EPOCH, snapshot.clone(), true);
    assert_eq!(same.enforced(), log.revision());
    same.step(Input::Begin);
    assert_eq!(same.step(log.epoch()), [Action::Watch { from: log.revision().next() }]);
    let mut other = Replica::resume(VPC, EPOCH, snapshot, false);
    other.step(Input::Begin);
    assert_eq!(other.step(log.epoch()), [Action::List { at: None, after: None }]);
}

/// An event in the life of a replica and its store.
#[derive(Clone, Debug)]
enum Step {
    /// A transaction: groups with a name, or without one where they are deleted.
    Change(Vec<(u8, Option<u8>)>),
    /// A batch with events of revisions that were delivered before, up to so many behind the newest.
    Deliver {
        again: u64,
        behind: u64,
        cut: bool,
    },
    Publish {
        succeeds: bool,
    },
    Compact,
    Disconnect,
    /// The host starts again with its state of the last publish.
    Restart,
    ListFails,
}

fn any_step() -> impl Strategy<Value = Step> {
    let change = prop::collection::vec((0..5_u8, prop::option::weighted(0.7, 0..3_u8)), 1..4);
    let deliver = (0..4_u64, 0..3_u64, any::<bool>());
    prop_oneof![
        6 => change.prop_map(Step::Change),
        8 => deliver.prop_map(|(again, behind, cut)| Step::Deliver { again, behind, cut }),
        4 => prop::bool::weighted(0.8).prop_map(|succeeds| Step::Publish { succeeds }),
        1 => Just(Step::Compact),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Restart),
        1 => Just(Step::ListFails),
    ]
}

/// Drives a replica by a log, and keeps what a host would have.
struct World {
    log: Log,
    replica: Replica,
    page: usize,
    /// Actions that wait to be carried out, but for publishes.
    waiting: Vec<Action>,
    /// The state of the publish that runs.
    running: Option<Snapshot>,
    /// The state that the kernel has, and the disk.
    enforced: Option<Snapshot>,
    publishes: usize,
}

impl World {
    fn step(&mut self, input: Input) {
        let before = self.replica.enforced();
        for action in self.replica.step(input) {
            match action {
                Action::Publish(changes) => self.begin_publish(&changes),
                other => self.waiting.push(other),
            }
        }
        assert!(self.replica.enforced() >= before, "a host never goes back");
        assert_eq!(self.replica.hold(), None, "nothing is wrong with the store");
    }

    fn begin_publish(&mut self, changes: &Changes) {
        assert!(self.running.is_none(), "one publish at a time");
        assert!(!changes.is_empty());
        let state = self.replica.snapshot().clone();
        // A host is at a state that the store had, all of it.
        assert_eq!(state, self.log.snapshot(state.revision()));
        let nothing = Snapshot::default();
        let mut differences = Changes::default();
        differences.add_difference(self.enforced.as_ref().unwrap_or(&nothing), &state);
        let missing = differences.keys().find(|key| !changes.contains(key));
        assert_eq!(missing, None, "it differs from what is enforced");
        self.running = Some(state);
        self.publishes += 1;
    }

    /// Answers everything that the replica has asked the store for.
    fn answer(&mut self) {
        while let Some(action) = self.waiting.pop() {
            match action {
                Action::ReadEpoch => self.step(self.log.epoch()),
                Action::List { at, after } => {
                    let at = at.unwrap_or(self.log.revision());
                    let page = self.log.page(at, after.as_deref(), self.page);
                    self.step(Input::Page(page));
                }
                Action::Watch { from } => {
                    assert_eq!(from, self.replica.snapshot().revision().next());
                }
                Action::Publish(_) => unreachable!("it began already"),
            }
        }
    }

    fn publish(&mut self, succeeds: bool) {
        let Some(state) = self.running.take() else { return };
        if succeeds {
            let revision = state.revision();
            self.enforced = Some(state);
            self.step(Input::Published);
            assert!(self.replica.enforced() >= revision);
        } else {
            let before = self.replica.enforced();
            self.step(Input::NotPublished);
            assert_eq!(self.replica.enforced(), before);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Change(changes) => {
                let change = |(id, name): (u8, Option<u8>)| match name {
                    Some(name) => put(&group(u128::from(id), &name.to_string())),
                    None => gone(&group(u128::from(id), "").key()),
                };
                let mut seen = std::collections::BTreeSet::new();
                let once = changes.into_iter().filter(|(id, _)| seen.insert(*id));
                let changes = once.map(change).collect();
                self.log.change(changes);
            }
            Step::Deliver { again, behind, cut } => {
                self.answer();
                let known = self.replica.snapshot().revision();
                let from = Revision(known.0.saturating_sub(again) + 1);
                let through = Revision((self.log.revision().0 - behind.min(1)).max(known.0));
                let mut events = self.log.events(from, through);
                // The last revision is half there.
                let is_half = cut && events.last().is_some_and(|last| last.revision == through);
                if is_half && through > known {
                    events.pop();
                    let through = Revision(through.0 - 1);
                    self.step(Input::Batch(Batch { events, through }));
                } else {
                    self.step(Input::Batch(Batch { events, through }));
                }
            }
            Step::Publish { succeeds } => self.publish(succeeds),
            Step::Compact => {
                self.answer();
                self.step(Input::Compacted);
            }
            Step::Disconnect => {
                self.waiting.clear();
                self.step(Input::WatchFailed);
            }
            Step::Restart => {
                self.waiting.clear();
                self.running = None;
                self.replica = match &self.enforced {
                    Some(state) => Replica::resume(VPC, EPOCH, state.clone(), true),
                    None => Replica::new(VPC),
                };
                self.step(Input::Begin);
            }
            Step::ListFails => self.step(Input::ListFailed),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_host_is_always_at_a_state_that_the_store_had(
        steps in prop::collection::vec(any_step(), 1..60),
        page in 1..4_usize,
    ) {
        let log = log();
        let mut world = World {
            log,
            replica: Replica::new(VPC),
            page,
            waiting: Vec::new(),
            running: None,
            enforced: None,
            publishes: 0,
        };
        world.step(Input::Begin);
        for step in steps {
            world.take(step);
        }
        // After the last fault everything is current.
        world.answer();
        world.take(Step::Deliver { again: 0, behind: 0, cut: false });
        while world.running.is_some() {
            world.publish(true);
        }
        world.take(Step::Deliver { again: 0, behind: 0, cut: false });
        while world.running.is_some() {
            world.publish(true);
        }
        let now = world.log.revision();
        prop_assert_eq!(world.replica.enforced(), now);
        // The disk has the state of the last publish, and nothing has changed since.
        let disk = world.enforced.expect("it was published");
        let mut expected = world.log.snapshot(now);
        prop_assert!(world.publishes > 0);
        expected.advance(disk.revision());
        prop_assert!(disk.iter().eq(expected.iter()));
    }
}
