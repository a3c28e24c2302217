//! Follows one VPC of a store, or all that a local feed shows of it: a complete list once, then events in
//! the order of revisions.
//!
//! Pure: [`Replica::step`] takes an [`Input`] and returns [`Action`]s. Its driver does the I/O, the
//! waiting between attempts, and the publishing. The same code follows every backend.
//!
//! - A list is taken whole or not at all, compared with what is there, deletions included, and published
//!   once.
//! - Events at or below the last revision are dropped. A revision is published whole. While a publish
//!   runs, the next ones add up.
//! - Empty is not an order. The replica holds its last state and says why, if the epoch or the
//!   VPC's record is missing or of another store, or if the store went back.

mod audit;
mod changes;
mod listing;
mod messages;

use std::collections::BTreeMap;

pub use audit::Audit;
pub use changes::Changes;
use listing::Listing;
pub use messages::{Action, Hold, Input};
use sg_policy::id::VpcId;

use crate::{
    id::{EpochId, Revision},
    key::Key,
    objects::{EpochRecord, Object},
    snapshot::Snapshot,
    store::{Batch, Event, Page},
};

/// The replica's place in the order: epoch, list, events.
#[derive(Debug)]
enum Phase {
    /// Waits for [`Input::Begin`].
    Idle,
    /// Waits for the epoch.
    Asking,
    Listing(Listing),
    Watching,
    Holding(Hold),
}

/// The part of a store that a replica follows. Each has a record that always exists and names the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Vpc(VpcId),
    /// Everything that the local feed shows to a host, the epoch's record included.
    Feed,
}

impl From<VpcId> for Scope {
    fn from(vpc: VpcId) -> Self {
        Self::Vpc(vpc)
    }
}

impl Scope {
    /// The key of the record without which the last state stays.
    fn record(self) -> Key {
        match self {
            Self::Vpc(vpc) => Key::Vpc(vpc),
            Self::Feed => Key::Epoch,
        }
    }

    /// Why the last state stays where the record is gone.
    fn without_record(self) -> Hold {
        match self {
            Self::Vpc(_) => Hold::NoVpc,
            Self::Feed => Hold::NoEpoch,
        }
    }

    /// The epoch that a record names. `None`: it cannot be read.
    fn epoch_of(self, document: &[u8]) -> Option<EpochId> {
        match Object::decode(&self.record(), document).ok()? {
            Object::Vpc(vpc) => Some(vpc.epoch),
            Object::Epoch(record) => Some(record.epoch),
            _ => None,
        }
    }
}

/// A replica of a part of a store.
#[derive(Debug)]
pub struct Replica {
    scope: Scope,
    /// The store that the state comes from. `None`: there is no state.
    epoch: Option<EpochId>,
    /// The store that the present connection leads to. It becomes `epoch` once its list is whole.
    connected: Option<EpochId>,
    /// An epoch that an operator has accepted.
    accepted: Option<EpochId>,
    snapshot: Snapshot,
    /// Events beyond the last whole revision.
    incoming: BTreeMap<(Revision, String), Event>,
    phase: Phase,
    /// Changes that are not enforced: not published yet, or refused.
    changes: Changes,
    /// The changes that the running publish is about, with the revision of its state.
    publishing: Option<(Changes, Revision)>,
    enforced: Revision,
    /// The state was read by another version, which may have left out fields that this one knows.
    must_list: bool,
}

impl Replica {
    /// A replica that has nothing yet.
    pub fn new(scope: impl Into<Scope>) -> Self {
        Self {
            scope: scope.into(),
            epoch: None,
            connected: None,
            accepted: None,
            snapshot: Snapshot::default(),
            incoming: BTreeMap::new(),
            phase: Phase::Idle,
            changes: Changes::default(),
            publishing: None,
            enforced: Revision(0),
            must_list: false,
        }
    }

    /// A replica with the state that was on the disk, which is enforced already. `same_version`: this
    /// version wrote it. Another one may have ignored fields that this one knows, so all is read again.
    pub fn resume(
        scope: impl Into<Scope>,
        epoch: EpochId,
        snapshot: Snapshot,
        same_version: bool,
    ) -> Self {
        let enforced = snapshot.revision();
        let must_list = !same_version;
        Self { epoch: Some(epoch), snapshot, enforced, must_list, ..Self::new(scope) }
    }

    /// The state that events can follow. `None`: only a list will do.
    pub fn resumes_at(&self) -> Option<(EpochId, Revision)> {
        let resumes = !self.must_list && self.hold().is_none();
        self.epoch.filter(|_| resumes).map(|epoch| (epoch, self.snapshot.revision()))
    }

    /// The newest whole state that is known.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The store whose state this is.
    pub fn epoch(&self) -> Option<EpochId> {
        self.epoch
    }

    /// The revision that is known to be enforced. It only rises, until a list of another epoch sets
    /// it to 0.
    pub fn enforced(&self) -> Revision {
        self.enforced
    }

    pub fn hold(&self) -> Option<&Hold> {
        match &self.phase {
            Phase::Holding(hold) => Some(hold),
            _ => None,
        }
    }

    pub fn is_watching(&self) -> bool {
        matches!(self.phase, Phase::Watching)
    }

    /// Takes an input and returns the driver's next actions. An input that does not fit the phase,
    /// such as a page of an older list, changes nothing.
    pub fn step(&mut self, input: Input) -> Vec<Action> {
        match input {
            Input::Begin | Input::WatchFailed => self.ask(),
            Input::Accepted(epoch) => {
                self.accepted = Some(epoch);
                self.ask()
            }
            Input::Epoch(record, revision) => self.meet(record, revision),
            Input::Page(page) => self.take_page(page),
            Input::ListFailed if matches!(self.phase, Phase::Listing(_)) => self.list(),
            Input::Compacted if self.is_watching() => self.list(),
            Input::ListFailed | Input::Compacted => Vec::new(),
            Input::Batch(batch) if self.is_watching() => self.take_batch(batch),
            // Events of a watch that has ended.
            Input::Batch(_) => Vec::new(),
            Input::Audit(audit) if self.is_watching() && audit.contradicts(&self.snapshot) => {
                self.list()
            }
            Input::Audit(_) => Vec::new(),
            Input::Published => self.published(true),
            Input::NotPublished => self.published(false),
        }
    }

    fn ask(&mut self) -> Vec<Action> {
        self.incoming.clear();
        // A hold goes on until the store has answered.
        if !matches!(self.phase, Phase::Holding(_)) {
            self.phase = Phase::Asking;
        }
        vec![Action::ReadEpoch]
    }

    fn hold_for(&mut self, hold: Hold) -> Vec<Action> {
        self.incoming.clear();
        self.phase = Phase::Holding(hold);
        Vec::new()
    }

    /// Decides by the store's epoch: hold, list, or follow its events.
    fn meet(&mut self, record: Option<EpochRecord>, revision: Revision) -> Vec<Action> {
        if !matches!(self.phase, Phase::Asking | Phase::Holding(_)) {
            return Vec::new();
        }
        let Some(record) = record else { return self.hold_for(Hold::NoEpoch) };
        let theirs = record.epoch;
        self.connected = Some(theirs);
        let Some(ours) = self.epoch else { return self.list() };
        if theirs != ours {
            return if record.comes_after(ours) || self.accepted == Some(theirs) {
                self.list()
            } else {
                self.hold_for(Hold::ForeignStore { ours, theirs })
            };
        }
        let known = self.snapshot.revision();
        if revision < known {
            return self.hold_for(Hold::WentBack { ours: known, theirs: revision });
        }
        // A record that is gone comes back by an event or by a list; only the list is sure.
        if self.must_list || matches!(self.phase, Phase::Holding(_)) {
            return self.list();
        }
        self.phase = Phase::Watching;
        vec![Action::Watch { from: known.next() }]
    }

    fn list(&mut self) -> Vec<Action> {
        self.incoming.clear();
        self.phase = Phase::Listing(Listing::default());
        vec![Action::List { at: None, after: None }]
    }

    fn take_page(&mut self, page: Page) -> Vec<Action> {
        let Phase::Listing(listing) = &mut self.phase else { return Vec::new() };
        match listing.add(page) {
            listing::Progress::More { at, after } => {
                vec![Action::List { at: Some(at), after: Some(after) }]
            }
            listing::Progress::Useless => self.list(),
            listing::Progress::Whole(entries, at) => {
                let snapshot = Snapshot::of(entries, at);
                self.take_list(snapshot)
            }
        }
    }

    /// Takes a whole list as the new state, unless it is a reason to hold.
    fn take_list(&mut self, mut next: Snapshot) -> Vec<Action> {
        let Some(store) = self.connected else { return self.ask() };
        let (ours, theirs) = (self.snapshot.revision(), next.revision());
        if self.epoch == Some(store) && theirs < ours {
            return self.hold_for(Hold::WentBack { ours, theirs });
        }
        next.keep_good(&self.snapshot);
        let record = next.get_any(&self.scope.record());
        match record.map(|record| record.object) {
            Some(Object::Vpc(vpc)) if vpc.epoch != store => {
                return self.hold_for(Hold::VpcOfOtherStore { store, vpc: vpc.epoch });
            }
            // Another store has taken this one's place during the list.
            Some(Object::Epoch(record)) if record.epoch != store => return self.ask(),
            Some(_) => (),
            None => return self.hold_for(self.scope.without_record()),
        }
        if self.epoch != Some(store) {
            // Revisions of two epochs cannot be compared. Nothing of the new one is enforced yet.
            self.enforced = Revision(0);
            self.publishing = self.publishing.take().map(|(changes, _)| (changes, Revision(0)));
        }
        self.epoch = Some(store);
        self.accepted = None;
        self.must_list = false;
        self.changes.add_difference(&self.snapshot, &next);
        self.snapshot = next;
        self.phase = Phase::Watching;
        let mut actions = self.publish();
        actions.push(Action::Watch { from: self.snapshot.revision().next() });
        actions
    }

    fn take_batch(&mut self, batch: Batch) -> Vec<Action> {
        let known = self.snapshot.revision();
        for event in batch.events {
            if event.revision > known {
                self.incoming.insert((event.revision, event.key.clone()), event);
            }
        }
        let beyond = self.incoming.split_off(&(batch.through.next(), String::new()));
        let whole = std::mem::replace(&mut self.incoming, beyond);
        let record = self.scope.record().to_string();
        let mut revision = Vec::new();
        for event in whole.into_values() {
            if revision.first().is_some_and(|first: &Event| first.revision != event.revision)
                && let Some(actions) = self.take_revision(&mut revision, &record)
            {
                return actions;
            }
            revision.push(event);
        }
        if let Some(actions) = self.take_revision(&mut revision, &record) {
            return actions;
        }
        self.snapshot.advance(batch.through);
        self.publish()
    }

    /// Applies the events of one revision. Returns actions instead, if an event ends the watch.
    fn take_revision(&mut self, events: &mut Vec<Event>, record: &str) -> Option<Vec<Action>> {
        let is_of_store = |event: &Event| match &event.put {
            None => Err(self.scope.without_record()),
            // An unreadable record leaves the one before in force.
            Some(put) => match self.scope.epoch_of(&put.value) {
                Some(epoch) => Ok(Some(epoch) == self.epoch),
                None => Ok(true),
            },
        };
        if let Some(event) = events.iter().find(|event| event.key == record) {
            match is_of_store(event) {
                Err(hold) => {
                    let mut actions = self.publish();
                    actions.extend(self.hold_for(hold));
                    return Some(actions);
                }
                // Another store has taken this one's place during the watch.
                Ok(false) => {
                    let mut actions = self.publish();
                    actions.extend(self.ask());
                    return Some(actions);
                }
                Ok(true) => (),
            }
        }
        for event in events.drain(..) {
            self.changes.add(&event);
            self.snapshot.apply(&event);
        }
        None
    }

    /// Begins a publish if there are changes and no publish runs.
    fn publish(&mut self) -> Vec<Action> {
        if self.publishing.is_some() {
            return Vec::new();
        }
        let revision = self.snapshot.revision();
        if self.changes.is_empty() {
            self.enforced = self.enforced.max(revision);
            return Vec::new();
        }
        let changes = std::mem::take(&mut self.changes);
        self.publishing = Some((changes.clone(), revision));
        vec![Action::Publish(changes)]
    }

    /// Ends the running publish. A refused state is not published again as it is. It joins newer
    /// changes, at once if there are any, else with the next batch, which may be empty.
    fn published(&mut self, succeeded: bool) -> Vec<Action> {
        let Some((changes, revision)) = self.publishing.take() else { return Vec::new() };
        if succeeded {
            self.enforced = self.enforced.max(revision);
            return self.publish();
        }
        // The refused changes are part of the next publish.
        let has_newer = !self.changes.is_empty();
        self.changes.merge(changes);
        if has_newer { self.publish() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests;
