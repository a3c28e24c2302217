//! The server's own view of its store: every object, decoded, as new as the last watch event.

use std::sync::{Arc, RwLock, RwLockReadGuard};

use anyhow::Context as _;
use sg_store::{Revision, Snapshot, Store, Watch, key::ROOT, store::list_all};
use tokio::sync::watch;

/// Objects in memory. Clones share them.
#[derive(Clone, Debug)]
pub struct Replica {
    snapshot: Arc<RwLock<Snapshot>>,
    revision: watch::Receiver<Revision>,
}

impl Replica {
    /// Reads the whole store, and follows it in a task of its own.
    pub async fn start(store: &dyn Store) -> anyhow::Result<(Self, Follower)> {
        let (entries, at) = list_all(store, ROOT, None).await.context("cannot read the store")?;
        let snapshot = Snapshot::of(entries, at);
        if let Some(unusable) = snapshot.unusable().next() {
            anyhow::bail!("the store has a document that this version cannot use: {unusable}");
        }
        let events = store.watch(ROOT.to_owned(), at.next()).await?;
        let snapshot = Arc::new(RwLock::new(snapshot));
        let (progress, revision) = watch::channel(at);
        let follower = Follower { events, snapshot: Arc::clone(&snapshot), progress };
        Ok((Self { snapshot, revision }, follower))
    }

    /// The newest state. Keep it for a decision only: the follower waits meanwhile.
    pub fn read(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.snapshot.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until the replica has a revision. Returns false where the follower has ended.
    pub async fn reach(&self, revision: Revision) -> bool {
        self.revision.clone().wait_for(|reached| *reached >= revision).await.is_ok()
    }

    /// Tells of every new revision.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.clone()
    }
}

/// Takes events into the replica.
#[derive(Debug)]
pub struct Follower {
    events: Box<dyn Watch>,
    snapshot: Arc<RwLock<Snapshot>>,
    progress: watch::Sender<Revision>,
}

impl Follower {
    /// Runs until the watch ends. The server cannot go on then: it would decide by an old state.
    pub async fn run(mut self) -> anyhow::Error {
        loop {
            let batch = match self.events.next().await {
                Ok(batch) => batch,
                Err(error) => return anyhow::Error::new(error).context("the watch of the store"),
            };
            {
                let mut snapshot =
                    self.snapshot.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                for event in &batch.events {
                    snapshot.apply(event);
                }
                snapshot.advance(batch.through);
            }
            self.progress.send_if_modified(|reached| {
                let is_newer = batch.through > *reached;
                *reached = batch.through.max(*reached);
                is_newer
            });
        }
    }
}
