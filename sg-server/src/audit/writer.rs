//! The task that brings records to the files.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::Value;
use sg_store::{
    Key, Store, Txn,
    id::{EventId, ServerName},
    objects::AuditRecord,
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    file::{self, Kind},
    line::Line,
};
use crate::{clock::unix_now, replica::Replica};

/// Records of changes leave the store this often: one transaction then takes many.
const PERIOD: Duration = Duration::from_secs(1);
/// Records that one transaction deletes.
const BATCH: usize = 64;
/// Lines that are written at a time.
const LINES: usize = 1024;
/// Where a record may stand that was written before a crash, in bytes from the end.
const TAIL: u64 = 1 << 20;

/// Writes the files. There is one.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    server: ServerName,
    lines: mpsc::Receiver<Line>,
    /// Whether the files may have records that the store has, too: after a start, until all are out.
    may_repeat: bool,
    is_failing: bool,
}

/// Records for one file.
type Batches = BTreeMap<(String, Kind), String>;

impl Writer {
    pub(super) fn new(directory: PathBuf, server: ServerName, lines: mpsc::Receiver<Line>) -> Self {
        Self { directory, server, lines, may_repeat: true, is_failing: false }
    }

    /// Runs until the process ends.
    pub async fn run(mut self, store: std::sync::Arc<dyn Store>, replica: Replica) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut days = 0;
        loop {
            let mut lines = Vec::new();
            tokio::select! {
                _ = self.lines.recv_many(&mut lines, LINES) => {
                    let mut batches = Batches::new();
                    for line in lines {
                        let batch = batches.entry((line.owner, line.kind)).or_default();
                        batch.push_str(&line.text);
                        batch.push('\n');
                    }
                    self.append(batches).await;
                }
                _ = ticks.tick() => {
                    self.changes(&*store, &replica).await;
                    let today = unix_now() / 86_400;
                    if today != days {
                        days = today;
                        self.delete_old();
                    }
                }
            }
        }
    }

    /// Takes records of changes out of the store.
    async fn changes(&mut self, store: &dyn Store, replica: &Replica) {
        loop {
            let (batches, mut txn, is_last) = self.waiting(replica);
            if txn.is_empty() {
                self.may_repeat = false;
                return;
            }
            if !self.append(batches).await {
                return;
            }
            let txn = std::mem::take(&mut txn);
            match store.commit(txn).await {
                Ok(revision) => {
                    replica.reach(revision).await;
                }
                Err(error) => {
                    // The next turn looks whether the file has them.
                    self.may_repeat = true;
                    tracing::warn!(%error, "records of changes stay in the store for now");
                    return;
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Records in the store, oldest first, and the transaction that deletes them.
    fn waiting(&self, replica: &Replica) -> (Batches, Txn, bool) {
        let snapshot = replica.read();
        let mut records: Vec<_> =
            snapshot.all::<AuditRecord>().filter(|record| record.server == self.server).collect();
        records.sort_by_key(|record| record.create_revision);
        let is_last = records.len() <= BATCH;
        let (mut batches, mut txn) = (Batches::new(), Txn::new());
        let mut written: BTreeMap<String, String> = BTreeMap::new();
        for record in records.into_iter().take(BATCH) {
            let owner = record.account.to_string();
            let key = Key::Audit(record.account, record.server.clone(), record.event.clone());
            txn.delete(&key);
            if self.may_repeat {
                let tail = written.entry(owner.clone()).or_insert_with(|| self.tail(&owner));
                if names(tail, &record.event) {
                    continue;
                }
            }
            let batch = batches.entry((owner, Kind::Changes)).or_default();
            batch.push_str(&with_revision(&record.line, record.create_revision.0));
            batch.push('\n');
        }
        (batches, txn, is_last)
    }

    fn tail(&self, owner: &str) -> String {
        let path = file::path(&self.directory, owner, Kind::Changes, unix_now());
        file::tail(&path, TAIL).unwrap_or_default()
    }

    /// Returns whether everything is in the files.
    async fn append(&mut self, batches: Batches) -> bool {
        let directory = self.directory.clone();
        let appended = tokio::task::spawn_blocking(move || {
            batches.iter().try_for_each(|((owner, kind), lines)| {
                let path = file::path(&directory, owner, *kind, unix_now());
                file::append(&path, lines, *kind).map_err(|error| (path, error))
            })
        });
        let failed = appended.await.unwrap_or(Ok(())).err();
        if let Some((path, error)) = &failed
            && !self.is_failing
        {
            tracing::error!(%error, "cannot write the audit log {}", path.display());
        }
        self.is_failing = failed.is_some();
        !self.is_failing
    }

    fn delete_old(&self) {
        if let Err(error) = file::delete_old(&self.directory, unix_now()) {
            tracing::warn!(%error, "cannot delete old files of the audit log");
        }
    }
}

/// Whether a file has the record of an event already.
fn names(tail: &str, event: &EventId) -> bool {
    tail.contains(&format!("\"eventID\":\"{event}\""))
}

/// The record with the revision that holds its change, which nobody knew before the commit.
fn with_revision(line: &str, revision: u64) -> String {
    match serde_json::from_str(line) {
        Ok(Value::Object(mut record)) => {
            record.insert("sgRevision".to_owned(), revision.into());
            Value::Object(record).to_string()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gets_the_revision_of_its_change() {
        assert_eq!(with_revision(r#"{"eventID":"e"}"#, 7), r#"{"eventID":"e","sgRevision":7}"#);
        let event: EventId = "e-1".parse().unwrap();
        assert!(names(r#"{"eventID":"e-1","x":1}"#, &event));
        assert!(!names(r#"{"eventID":"e-10"}"#, &event));
    }
}
