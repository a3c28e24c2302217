//! The audit log: one CloudTrail-shaped JSON record for each authenticated call, one a line.
//!
//! | file below `audit/` | records |
//! |---|---|
//! | `ACCOUNT.YYYY-MM.jsonl` | changes of a month, kept at least 90 days |
//! | `ACCOUNT.reads.jsonl`, `.1`, … | reads and refused calls, rotated by size |
//! | `admin.YYYY-MM.jsonl` | the verbs of `admin.sock` |
//!
//! The record of a change is part of its transaction ([`AuditRecord`]), so no crash loses it. A task takes
//! such records out of the store, appends them to the file, and deletes them from the store afterwards.

mod file;
mod line;
mod record;
mod writer;

use std::path::PathBuf;

pub use record::{Call, Identity, Outcome, Verb};
use sg_policy::id::AccountId;
use sg_store::{
    id::{EventId, ServerName},
    objects::AuditRecord,
};
use tokio::sync::mpsc;
pub use writer::Writer;

use self::{file::Kind, line::Line};

/// Records that wait for the disk. Calls wait while there are so many.
const QUEUE: usize = 4096;
/// Changes are refused where the volume has less room than this, in bytes.
const ROOM: u64 = 4 << 20;

/// Takes records. Clones write to the same files.
#[derive(Clone, Debug)]
pub struct Audit {
    directory: PathBuf,
    server: ServerName,
    queue: mpsc::Sender<Line>,
}

impl Audit {
    /// Opens the log below the state directory. The writer does nothing before its task runs.
    pub fn open(state_dir: &std::path::Path) -> anyhow::Result<(Self, Writer)> {
        let directory = state_dir.join("audit");
        file::make_directory(&directory)?;
        let (queue, lines) = mpsc::channel(QUEUE);
        let server: ServerName = "local".parse()?;
        let writer = Writer::new(directory.clone(), server.clone(), lines);
        Ok((Self { directory, server, queue }, writer))
    }

    /// Whether the volume has room for the record of a change.
    pub fn has_room(&self) -> bool {
        file::room(&self.directory).is_ok_and(|room| room >= ROOM)
    }

    /// The record of a change, to go into its transaction.
    pub fn of_change(&self, account: AccountId, call: &Call) -> anyhow::Result<AuditRecord> {
        let event: EventId = call.event.parse()?;
        Ok(AuditRecord { account, server: self.server.clone(), event, line: call.line() })
    }

    /// Writes the record of a read, or of a refused call.
    pub async fn other(&self, account: AccountId, call: &Call) {
        self.send(Line { owner: account.to_string(), kind: Kind::Reads, text: call.line() }).await;
    }

    /// Writes the record of a verb of root.
    pub async fn verb(&self, verb: &Verb<'_>, error: Option<&anyhow::Error>) {
        let text = record::verb(verb, error);
        self.send(Line { owner: "admin".to_owned(), kind: Kind::Changes, text }).await;
    }

    async fn send(&self, line: Line) {
        // The writer ends with the process only.
        let _ = self.queue.send(line).await;
    }
}
