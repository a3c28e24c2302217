//! Follows the feed of a control plane: connects, gives its messages to the replica, has the
//! replica's states enforced, and confirms them to the server.
//!
//! One task does one thing after the other. Messages wait while a state is being enforced; all
//! messages that are there afterwards make one state. A revision is confirmed under three
//! conditions: the data path enforces it, and both the owner's journal and the copy of the store
//! are on the disk.
//!
//! The copy of the store is a base, written from a whole list, and a log of the events since. A
//! start enforces the copy before it asks any server.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use sg_api::feed::{FromHost, Position, Status, ToHost, VERSION};
use sg_store::{
    Replica, Revision, Snapshot,
    objects::EpochRecord,
    replica::{Action, Input, Scope},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{block_in_place, spawn_blocking},
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    condition::Condition,
    disk::{Disk, Saved},
    host::{Error, Host},
    link::Link,
    past::Past,
    translate::{batch, page},
};
use crate::{
    config::control::{Control, Source},
    observe::devices::Devices,
    owner::mailbox::{Ending, Mailbox, Request},
};

/// Between attempts to connect: the first wait, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A state that was refused is tried again after this, because the host may have changed.
const RETRY: Duration = Duration::from_secs(2);

/// An operator's request to accept the foreign store that makes the host hold. The answer is that
/// store's epoch, or an error.
pub type Accept = oneshot::Sender<Result<String, String>>;

#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    settings: Control,
    machine_id: String,
    host: Host,
    replica: Replica,
    disk: Disk,
    devices: Devices,
    condition: Condition,
    accepts: mpsc::Receiver<Accept>,
    link: Option<Connection>,
    /// Failed attempts to connect, one after the other.
    failures: u32,
    connect_at: Instant,
    retry_at: Option<Instant>,
    faults: Faults,
}

/// A connection to the server, and how far its conversation is.
#[derive(Debug)]
struct Connection {
    link: Link,
    /// The server sends a whole list, although the replica asked for the events since its revision.
    is_listed_anyway: bool,
    /// The server has accepted us and named its epoch.
    is_welcome: bool,
    /// The last status that was sent.
    said: Option<Status>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Faults of the copy on the disk, found at the start; a whole list ends them.
    disk: Vec<String>,
    /// Why the newest state is not enforced.
    refused: Option<String>,
    /// Why the server refused us.
    server: Option<String>,
}

/// The connection is of no use, or the agent ends.
enum Stop {
    Lost(io::Error),
    Ending,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl From<Ending> for Stop {
    fn from(_: Ending) -> Self {
        Self::Ending
    }
}

impl Follower {
    /// Reads the host's copy of the store. Within a runtime.
    ///
    /// # Errors
    /// The state directory or rtnetlink cannot be read.
    pub fn open(
        settings: &Control,
        state_dir: &Path,
        agent: Mailbox,
        condition: Condition,
        accepts: mpsc::Receiver<Accept>,
    ) -> anyhow::Result<Self> {
        let Source::Feed(path) = settings.source.clone();
        let (disk, saved) =
            Disk::open(state_dir).context("the copy of the control plane's state")?;
        let Saved { state, past, faults } = saved;
        for fault in &faults {
            error!("{fault}");
        }
        let past = past.unwrap_or_default();
        let replica = match (state, past.epoch()) {
            (Some((epoch, snapshot, is_ours)), _) => {
                Replica::resume(Scope::Feed, epoch, snapshot, is_ours)
            }
            // The copy is gone, and a store of another epoch is a foreign one all the same.
            (None, Some(epoch)) => Replica::resume(Scope::Feed, epoch, Snapshot::default(), false),
            (None, None) => Replica::new(Scope::Feed),
        };
        Ok(Self {
            path,
            settings: settings.clone(),
            machine_id: machine_id(settings),
            host: Host::new(settings.clone(), agent, past),
            replica,
            disk,
            devices: Devices::open()?,
            condition,
            accepts,
            link: None,
            failures: 0,
            connect_at: Instant::now(),
            retry_at: None,
            faults: Faults { disk: faults, ..Faults::default() },
        })
    }

    /// Runs until the agent ends.
    ///
    /// # Errors
    /// Changes of devices cannot be followed any more; the agent ends then.
    pub async fn run(mut self, agent: Mailbox) {
        match self.follow(&agent).await {
            Ok(Ending) => {}
            Err(error) => agent.stop(Err(error.context("cannot follow the control plane"))),
        }
    }

    async fn follow(&mut self, agent: &Mailbox) -> anyhow::Result<Ending> {
        if self.begin(agent).await.is_err() {
            return Ok(Ending);
        }
        loop {
            let connection = async {
                match &mut self.link {
                    Some(connection) => connection.link.hear().await,
                    None => {
                        sleep_until(self.connect_at).await;
                        Err(not_connected())
                    }
                }
            };
            let retry = async {
                match self.retry_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                message = connection => self.take(message).await,
                changed = self.devices.changed() => {
                    changed?;
                    self.devices_changed().await
                }
                () = retry => self.enforce_again().await,
                Some(accept) = self.accepts.recv() => {
                    self.accept(accept);
                    Ok(())
                }
            };
            match done {
                Ok(()) => {}
                Err(Stop::Ending) => return Ok(Ending),
                Err(Stop::Lost(error)) => self.lose(&error),
            }
            self.tell();
        }
    }

    /// Enforces the copy on the disk, before any server is asked.
    ///
    /// Two kinds of rules in force are kept in the [`Past`] first: rules of a file, and rules
    /// beside a damaged copy without a past. Their interfaces then stay filtered as they are.
    async fn begin(&mut self, agent: &Mailbox) -> Result<(), Stop> {
        let present = agent.ask(Request::Present).await?;
        let comes_from_file = present.file.is_some() && present.number > 0;
        let is_damaged = !self.faults.disk.is_empty();
        if comes_from_file || (is_damaged && self.host.past == Past::default()) {
            self.host.past.keep(Arc::clone(&present.state));
            self.save_past();
        }
        self.note_uplinks();
        self.enforce().await?;
        self.tell();
        Ok(())
    }

    fn note_uplinks(&mut self) {
        let names: Vec<String> = self.devices.uplinks().map(|device| device.name.clone()).collect();
        if names.iter().any(|name| !self.host.past.uplinks().contains(name)) {
            self.host.past.add_uplinks(names);
            self.save_past();
        }
    }

    fn save_past(&mut self) {
        if let Err(error) = self.host.save_past(&self.disk) {
            self.refuse(error.to_string());
        }
    }

    async fn devices_changed(&mut self) -> Result<(), Stop> {
        self.note_uplinks();
        self.enforce().await?;
        self.confirm().await
    }

    /// Has the replica's present state enforced. Returns true if it is; a refusal is kept for
    /// `status` and tried again after [`RETRY`].
    async fn enforce(&mut self) -> Result<bool, Stop> {
        let done = self.host.enforce(self.replica.snapshot(), self.devices.all(), &self.disk).await;
        match done {
            Ok(()) => {
                self.faults.refused = None;
                self.retry_at = None;
                Ok(true)
            }
            Err(Error::Ending(_)) => Err(Stop::Ending),
            Err(Error::Refused(reason)) => {
                self.refuse(reason);
                Ok(false)
            }
        }
    }

    fn refuse(&mut self, reason: String) {
        if self.faults.refused.as_ref() != Some(&reason) {
            error!("the control plane's state is not enforced: {reason}");
        }
        self.faults.refused = Some(reason);
        self.retry_at = Some(Instant::now() + RETRY);
    }

    /// Tries a refused state again. The replica makes a refused state part of the next publish, and
    /// an empty batch begins one.
    async fn enforce_again(&mut self) -> Result<(), Stop> {
        self.retry_at = None;
        let through = self.replica.snapshot().revision();
        let actions = self.replica.step(Input::Batch(batch(Vec::new(), through.0)));
        if actions.is_empty() {
            self.enforce().await?;
        }
        self.act(actions).await
    }

    /// Takes a message of the server. Without a connection, `message` is no message: the wait is
    /// over, so it connects.
    async fn take(&mut self, message: io::Result<ToHost>) -> Result<(), Stop> {
        if self.link.is_none() {
            return self.connect().await;
        }
        let mut message = message?;
        loop {
            self.condition.update(|known| known.last_contact = Some(std::time::Instant::now()));
            let next = match message {
                ToHost::Events { events, through } => {
                    let (actions, next) = self.take_events(events, through)?;
                    self.act(actions).await?;
                    next
                }
                other => {
                    let actions = self.take_other(other)?;
                    self.act(actions).await?;
                    None
                }
            };
            match next {
                Some(next) => message = next,
                None => return Ok(()),
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Stop> {
        let at = self
            .replica
            .resumes_at()
            .map(|(epoch, revision)| Position { epoch: epoch.to_string(), revision: revision.0 });
        let hello = FromHost::Hello {
            version: VERSION,
            host: self.settings.host.to_string(),
            machine_id: self.machine_id.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            at,
        };
        let link = Link::open(&self.path, &hello).await?;
        self.link =
            Some(Connection { link, is_listed_anyway: false, is_welcome: false, said: None });
        Ok(())
    }

    fn lose(&mut self, error: &io::Error) {
        if self.link.take_if(|link| link.is_welcome).is_some() {
            warn!(source = %self.settings.source, "the control plane is gone: {error}; the last state stays");
            self.failures = 0;
        }
        self.link = None;
        self.connect_at = Instant::now() + backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
    }

    /// Appends events to the copy and gives them to the replica, with all further events that have
    /// arrived: they make one state. Returns the replica's actions, and the message behind the
    /// events, if there is one.
    fn take_events(
        &mut self,
        events: Vec<sg_api::feed::Event>,
        through: u64,
    ) -> Result<(Vec<Action>, Option<ToHost>), Stop> {
        let (mut events, mut through) = (events, through);
        let mut actions = Vec::new();
        loop {
            // A host that holds, or waits for a list, ignores events: its copy is not of this
            // store.
            if self.replica.is_watching() {
                if !events.is_empty()
                    && let Err(error) = self.disk.append(&events, Revision(through))
                {
                    // The revision is not confirmed before a later write has it: the next base
                    // does.
                    self.refuse(format!("cannot write the copy of the store: {error}"));
                    return Err(io::Error::other("the disk does not take the revision").into());
                }
                actions.extend(self.replica.step(Input::Batch(batch(events, through))));
            }
            let link = self.link.as_mut().and_then(|connection| connection.link.hear_now());
            match link.transpose()? {
                Some(ToHost::Events { events: more, through: further }) => {
                    (events, through) = (more, further);
                }
                other => return Ok((actions, other)),
            }
        }
    }

    fn take_other(&mut self, message: ToHost) -> Result<Vec<Action>, Stop> {
        match message {
            ToHost::Welcome { epoch, follows, revision, resumes, .. } => {
                self.welcome(&epoch, follows.as_deref(), Revision(revision), resumes)
            }
            ToHost::Refused { reason } => {
                self.faults.server = Some(reason.clone());
                Err(io::Error::other(reason).into())
            }
            // The server leaves out what a host may not read, so a page may be empty.
            ToHost::List { entries, has_more: true, .. } if entries.is_empty() => Ok(Vec::new()),
            ToHost::List { at, entries, has_more } => {
                let connection = self.link.as_mut().ok_or_else(not_connected)?;
                let mut actions = Vec::new();
                if std::mem::take(&mut connection.is_listed_anyway) {
                    self.replica.step(Input::Compacted);
                }
                let page = page(at, entries, has_more);
                actions.extend(block_in_place(|| self.replica.step(Input::Page(page))));
                if self.replica.is_watching() {
                    self.write_base()?;
                }
                Ok(actions)
            }
            ToHost::Events { .. } => Ok(Vec::new()),
        }
    }

    fn welcome(
        &mut self,
        epoch: &str,
        follows: Option<&str>,
        revision: Revision,
        resumes: bool,
    ) -> Result<Vec<Action>, Stop> {
        let connection = self.link.as_mut().ok_or_else(not_connected)?;
        connection.is_welcome = true;
        self.failures = 0;
        self.faults.server = None;
        let parse = |text: &str| text.parse().map_err(io::Error::other);
        let record = EpochRecord {
            epoch: parse(epoch)?,
            follows: follows.map(parse).transpose()?,
            earlier: Vec::new(),
        };
        self.replica.step(Input::Begin);
        let actions = self.replica.step(Input::Epoch(Some(record), revision));
        connection.is_listed_anyway = !resumes && self.replica.is_watching();
        match self.replica.hold() {
            Some(hold) => warn!(source = %self.settings.source, "{hold}"),
            None => info!(source = %self.settings.source, %revision, "follows the control plane"),
        }
        if resumes && actions.iter().any(begins_anew) {
            return Err(io::Error::other("the server goes on where a list is needed").into());
        }
        // Otherwise the server lists and tells events unasked.
        Ok(Vec::new())
    }

    /// Replaces the copy on the disk by the replica's state: after a whole list, and when the log
    /// is long.
    fn write_base(&mut self) -> Result<(), Stop> {
        let Some(epoch) = self.replica.epoch() else { return Ok(()) };
        let written = block_in_place(|| self.disk.write_base(epoch, self.replica.snapshot()));
        if let Err(error) = written {
            self.refuse(format!("cannot write the copy of the store: {error}"));
            return Err(io::Error::other("the disk does not take the list").into());
        }
        self.faults.disk.clear();
        if self.host.past.epoch() != Some(epoch) {
            self.host.past.set_epoch(Some(epoch));
            self.save_past();
        }
        Ok(())
    }

    /// Publishes until the replica has nothing new, and confirms. The log of the copy goes to the
    /// disk beside the enforcement; a publish succeeds only if both do.
    ///
    /// # Errors
    /// The replica wants to begin anew, which takes a new connection.
    async fn act(&mut self, actions: Vec<Action>) -> Result<(), Stop> {
        let mut publishes = actions.iter().any(|action| matches!(action, Action::Publish(_)));
        while publishes {
            let log = self.disk.log();
            let synced = spawn_blocking(move || log.and_then(|log| log.sync_data()));
            let is_enforced = self.enforce().await?;
            let is_durable = match synced.await.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            {
                Ok(()) => true,
                Err(error) => {
                    self.refuse(format!("cannot write the copy of the store: {error}"));
                    false
                }
            };
            let done = is_enforced && is_durable;
            let input = if done { Input::Published } else { Input::NotPublished };
            let next = self.replica.step(input);
            publishes = next.iter().any(|action| matches!(action, Action::Publish(_)));
        }
        if self.disk.is_log_long() && self.replica.is_watching() {
            self.write_base()?;
        }
        self.confirm().await?;
        // A server lists once a connection.
        if actions.iter().any(begins_anew) {
            return Err(io::Error::other("everything is read anew").into());
        }
        Ok(())
    }

    /// Sends the host's status to the server, if it has changed.
    async fn confirm(&mut self) -> Result<(), Stop> {
        let status = self.status();
        let has_state = self.replica.is_watching() || self.replica.hold().is_some();
        let Some(connection) = self.link.as_mut().filter(|link| link.is_welcome && has_state)
        else {
            return Ok(());
        };
        if connection.said.as_ref() != Some(&status) {
            connection.link.say(&FromHost::Status(status.clone())).await?;
            connection.said = Some(status);
        }
        Ok(())
    }

    /// The status for the server. A host that holds confirms nothing, and has bound nothing of that
    /// store.
    fn status(&self) -> Status {
        let faults = self.all_faults();
        match self.replica.hold() {
            Some(_) => Status { enforced: 0, bound: Vec::new(), faults },
            None => {
                let (enforced, bound) = (self.replica.enforced().0, self.host.bound.clone());
                Status { enforced, bound, faults }
            }
        }
    }

    fn all_faults(&self) -> Vec<String> {
        let hold = self.replica.hold().map(ToString::to_string);
        let Faults { disk, refused, server } = &self.faults;
        let unusable = self.replica.snapshot().unusable().map(ToString::to_string);
        let said = hold.into_iter().chain(server.clone()).chain(refused.clone());
        said.chain(disk.iter().cloned())
            .chain(self.host.faults.iter().cloned())
            .chain(unusable)
            .collect()
    }

    fn tell(&self) {
        let is_connected = self.link.as_ref().is_some_and(|link| link.is_welcome);
        let faults = self.all_faults();
        self.condition.update(|known| {
            known.is_connected = is_connected;
            known.epoch = self.replica.epoch();
            known.revision = self.replica.snapshot().revision();
            known.enforced = self.replica.enforced();
            known.faults = faults;
            known.devices = self.devices.all().to_vec();
            known.states.clone_from(&self.host.states);
        });
    }

    fn accept(&mut self, answer: Accept) {
        let Some(sg_store::replica::Hold::ForeignStore { ours, theirs }) =
            self.replica.hold().cloned()
        else {
            let _ = answer.send(Err("there is no other store to accept".to_owned()));
            return;
        };
        warn!(%ours, %theirs, "an operator accepts another store");
        self.replica.step(Input::Accepted(theirs));
        // The list comes with a new connection.
        self.link = None;
        self.connect_at = Instant::now();
        // The one who asked may be gone.
        let _ = answer.send(Ok(theirs.to_string()));
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

/// Returns true if the replica wants to read everything anew.
fn begins_anew(action: &Action) -> bool {
    matches!(action, Action::ReadEpoch | Action::List { at: None, after: None })
}

/// The wait before the next attempt. Half of it is random, so that hosts that lost a server
/// together do not come back together.
fn backoff(failures: u32) -> Duration {
    let (first, longest) = BACKOFF;
    let wait = first.saturating_mul(1 << failures.min(10)).min(longest);
    let drawn = RandomState::new().hash_one(failures) % 1000;
    wait / 2 + wait.mul_f64(drawn as f64 / 2000.0)
}

/// The machine's id; a container without one has its host's name.
fn machine_id(settings: &Control) -> String {
    let id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() { format!("name:{}", settings.host) } else { id.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_two_seconds_and_are_drawn() {
        for (failures, longest) in [(0, 100), (1, 200), (4, 1600), (5, 2000), (4_000_000, 2000)] {
            let drawn: Vec<u128> = (0..50).map(|_| backoff(failures).as_millis()).collect();
            assert!(drawn.iter().all(|wait| (longest / 2..=longest).contains(wait)), "{drawn:?}");
            assert!(drawn.iter().any(|wait| *wait != drawn[0]), "not drawn");
        }
    }
}
