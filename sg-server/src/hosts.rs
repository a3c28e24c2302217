//! Hosts that are connected, and how far each is.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use sg_store::{HostName, Revision};
use tokio::{sync::watch, time::timeout};

/// Hosts by name. A host that is not connected is not waited for.
#[derive(Debug)]
pub struct Hosts {
    connected: Mutex<HashMap<HostName, Progress>>,
    /// Changes with every ack and every host that comes or goes.
    changes: watch::Sender<u64>,
}

/// How far a connected host is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// `None` until the host has said it for the first time.
    pub enforced: Option<Revision>,
    pub last_contact: Instant,
    pub faults: Vec<String>,
}

/// A connection of a host. The host is gone when it is dropped.
#[derive(Debug)]
pub struct Connected<'h> {
    hosts: &'h Hosts,
    name: HostName,
}

impl Default for Hosts {
    fn default() -> Self {
        Self { connected: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Hosts {
    /// Notes that a host is there. Returns `None` where it has a connection already.
    pub fn connect(&self, name: HostName) -> Option<Connected<'_>> {
        let mut connected = self.lock();
        if connected.contains_key(&name) {
            return None;
        }
        let progress =
            Progress { enforced: None, last_contact: Instant::now(), faults: Vec::new() };
        connected.insert(name.clone(), progress);
        drop(connected);
        self.tell();
        Some(Connected { hosts: self, name })
    }

    /// Waits until every connected host enforces a revision. Returns false where time is up first.
    pub async fn enforce(&self, revision: Revision, patience: Duration) -> bool {
        let mut changes = self.changes.subscribe();
        let all = async {
            while !self.all_enforce(revision) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(patience, all).await.is_ok()
    }

    fn all_enforce(&self, revision: Revision) -> bool {
        let connected = self.lock();
        connected.values().all(|host| host.enforced.is_some_and(|enforced| enforced >= revision))
    }

    /// The connected hosts, in no order.
    pub fn list(&self) -> Vec<(HostName, Progress)> {
        self.lock().iter().map(|(name, host)| (name.clone(), host.clone())).collect()
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Progress>> {
        self.connected.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Connected<'_> {
    /// Takes what the host says. Its revision never falls.
    pub fn report(&self, enforced: Revision, faults: Vec<String>) {
        if let Some(host) = self.hosts.lock().get_mut(&self.name) {
            host.enforced = host.enforced.max(Some(enforced));
            host.last_contact = Instant::now();
            host.faults = faults;
        }
        self.hosts.tell();
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.hosts.lock().remove(&self.name);
        self.hosts.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn name(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_change_waits_for_every_connected_host() {
        let hosts = Hosts::default();
        assert!(hosts.enforce(Revision(5), SOON).await, "nobody to wait for");
        let one = hosts.connect(name("one")).unwrap();
        let two = hosts.connect(name("two")).unwrap();
        assert!(!hosts.enforce(Revision(5), SOON).await, "nobody has said anything");
        one.report(Revision(5), Vec::new());
        two.report(Revision(4), Vec::new());
        assert!(!hosts.enforce(Revision(5), SOON).await);
        one.report(Revision(3), Vec::new());
        let (enforced, ()) =
            tokio::join!(hosts.enforce(Revision(5), Duration::from_secs(5)), async {
                tokio::task::yield_now().await;
                two.report(Revision(6), Vec::new());
            });
        assert!(enforced, "the revision of a host does not fall");
    }

    #[tokio::test]
    async fn a_host_that_goes_is_not_waited_for() {
        let hosts = Hosts::default();
        let one = hosts.connect(name("one")).unwrap();
        assert!(hosts.connect(name("one")).is_none(), "one connection a host");
        let (enforced, ()) =
            tokio::join!(hosts.enforce(Revision(5), Duration::from_secs(5)), async {
                tokio::task::yield_now().await;
                drop(one);
            });
        assert!(enforced);
        assert!(hosts.connect(name("one")).is_some());
    }
}
