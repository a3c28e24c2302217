//! The host's copy of the store, below the state directory: what a start without a server reads.
//!
//! ```text
//! control/base   the objects at one revision, a line each, behind a line that says which
//! control/log    revisions received since, a line each
//! control/past   bindings in force and before, and the store's epoch
//! ```
//!
//! Each line begins with a digest of its rest. A log ends where a line is not whole: a revision behind it was
//! never confirmed, and the server sends it again. A damaged base or past is said, and read anew
//! from the server; the owner's own state enforces meanwhile.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sg_api::feed::{Entry, Event};
use sg_store::{EpochId, Revision, Snapshot, objects::Object};
use sha2::{Digest as _, Sha256};

use super::{past::Past, translate::store_event};

/// A log below this length is not worth a new base.
const LONG_LOG: u64 = 4 << 20;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// First line of a base.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// The version of the agent that wrote it.
    version: String,
    epoch: EpochId,
    revision: u64,
    /// Lines that follow.
    objects: usize,
    /// Every object could be read: none is missing.
    is_complete: bool,
}

/// A line of the log.
#[derive(Debug, Serialize, Deserialize)]
struct Batch {
    events: Vec<Event>,
    through: u64,
}

/// State that was read.
#[derive(Debug, Default)]
pub struct Saved {
    /// The store with its objects, and whether this version wrote all of them.
    pub state: Option<(EpochId, Snapshot, bool)>,
    /// `None`: there is none, or it is damaged.
    pub past: Option<Past>,
    /// A sentence for each damaged file.
    pub faults: Vec<String>,
}

#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    log: File,
    log_length: u64,
    base_length: u64,
}

impl Disk {
    /// Makes the folder if there is none, and reads its files.
    ///
    /// # Errors
    /// The folder or a file cannot be read or made.
    pub fn open(state_dir: &Path) -> io::Result<(Self, Saved)> {
        let folder = state_dir.join("control");
        fs::create_dir_all(&folder)?;
        let mut saved = Saved::default();
        match read_past(&folder.join("past")) {
            Ok(past) => saved.past = Some(past),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                saved.faults.push(damaged(&folder.join("past"), &error));
            }
            Err(error) => return Err(error),
        }
        let (mut whole, mut base_length) = (0, 0);
        match read_base(&folder.join("base")) {
            Ok((head, mut snapshot, length)) => {
                base_length = length;
                whole = replay(&folder.join("log"), &mut snapshot)?;
                let is_ours = head.version == VERSION && head.is_complete;
                saved.state = Some((head.epoch, snapshot, is_ours));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                saved.faults.push(damaged(&folder.join("base"), &error));
            }
            Err(error) => return Err(error),
        }
        let log = File::options().create(true).append(true).open(folder.join("log"))?;
        log.set_len(whole)?;
        Ok((Self { folder, log, log_length: whole, base_length }, saved))
    }

    /// Writes revisions behind the base. They are durable when the file of [`Self::log`] is synced.
    ///
    /// # Errors
    /// Nothing counts that was written by then.
    pub fn append(&mut self, events: &[Event], through: Revision) -> io::Result<()> {
        let batch = Batch { events: events.to_vec(), through: through.0 };
        let line = line(&batch);
        if let Err(error) = self.log.write_all(&line) {
            // Half a line would end the log for those behind it.
            self.log.set_len(self.log_length)?;
            return Err(error);
        }
        self.log_length += line.len() as u64;
        Ok(())
    }

    /// The log, for fdatasync in another thread.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn log(&self) -> io::Result<File> {
        self.log.try_clone()
    }

    pub fn is_log_long(&self) -> bool {
        self.log_length > LONG_LOG.max(self.base_length)
    }

    /// Replaces base and log by a state, durably.
    ///
    /// # Errors
    /// The base and the log before count still.
    pub fn write_base(&mut self, epoch: EpochId, snapshot: &Snapshot) -> io::Result<()> {
        let head = Head {
            version: VERSION.to_owned(),
            epoch,
            revision: snapshot.revision().0,
            objects: snapshot.len(),
            is_complete: snapshot.unusable().next().is_none(),
        };
        let entries = snapshot.iter().map(|(key, object)| Entry {
            key: key.to_string(),
            value: text_of(object.object),
            create_revision: object.create_revision.0,
            mod_revision: object.mod_revision.0,
        });
        let lines = std::iter::once(line(&head)).chain(entries.map(|entry| line(&entry)));
        self.base_length = self.replace("base", lines)?;
        // Revisions up to the base's would be skipped by a replay.
        self.log.set_len(0)?;
        self.log_length = 0;
        Ok(())
    }

    /// # Errors
    /// The past before counts still.
    pub fn write_past(&self, past: &Past) -> io::Result<()> {
        self.replace("past", std::iter::once(line(past))).map(drop)
    }

    /// Puts a whole file in the place of another one, durably. Returns its length.
    fn replace(&self, name: &str, lines: impl Iterator<Item = Vec<u8>>) -> io::Result<u64> {
        let new = self.folder.join(format!(".{name}.new"));
        let mut file = io::BufWriter::new(File::create(&new)?);
        let mut length = 0;
        for line in lines {
            file.write_all(&line)?;
            length += line.len() as u64;
        }
        file.into_inner()?.sync_data()?;
        fs::rename(&new, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()?;
        Ok(length)
    }
}

fn damaged(path: &Path, error: &io::Error) -> String {
    format!("{} is damaged: {error}; it is read anew from the control plane", path.display())
}

fn text_of(object: &Object) -> String {
    String::from_utf8(object.encode()).expect("documents are JSON")
}

fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("keys are text");
    let mut line = digest(&json).into_bytes();
    line.push(b' ');
    line.extend(json);
    line.push(b'\n');
    line
}

/// The value of a line. `None`: it is not whole.
fn value_of<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (sum, json) = line.strip_suffix(b"\n")?.split_at_checked(17)?;
    (sum.strip_suffix(b" ")? == digest(json).as_bytes()).then_some(())?;
    serde_json::from_slice(json).ok()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_past(path: &Path) -> io::Result<Past> {
    value_of(&fs::read(path)?).ok_or_else(|| invalid("it is not what was written"))
}

fn read_base(path: &Path) -> io::Result<(Head, Snapshot, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes)?;
    let head: Head = value_of(&bytes).ok_or_else(|| invalid("its first line"))?;
    let mut snapshot = Snapshot::default();
    for number in 0..head.objects {
        bytes.clear();
        reader.read_until(b'\n', &mut bytes)?;
        let entry: Entry =
            value_of(&bytes).ok_or_else(|| invalid(&format!("line {}", number + 2)))?;
        let (created, modified) = (Revision(entry.create_revision), Revision(entry.mod_revision));
        snapshot.put(&entry.key, entry.value.as_bytes(), created, modified);
    }
    snapshot.advance(Revision(head.revision));
    Ok((head, snapshot, length))
}

/// Applies the whole lines of a log. Returns their length.
fn replay(path: &Path, snapshot: &mut Snapshot) -> io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let (mut reader, mut bytes, mut whole) = (BufReader::new(file), Vec::new(), 0);
    let base = snapshot.revision();
    loop {
        bytes.clear();
        reader.read_until(b'\n', &mut bytes)?;
        let Some(batch) = value_of::<Batch>(&bytes) else { return Ok(whole) };
        whole += bytes.len() as u64;
        for event in batch.events {
            let event = store_event(event);
            // A crash between a new base and the end of its log leaves older lines there.
            if event.revision > base {
                snapshot.apply(&event);
            }
        }
        snapshot.advance(Revision(batch.through));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use sg_store::objects::Stored as _;
    use tempfile::TempDir;

    use super::*;
    use crate::sources::control::samples::{self, ENI_A, ENI_B, host, interface};

    const EPOCH: EpochId = EpochId(7);

    fn event(revision: u64, id: &str) -> Event {
        let object = interface(id);
        let value = String::from_utf8(object.encode()).expect("JSON");
        let key = object.key().to_string();
        Event { key, revision, value: Some(value), create_revision: revision }
    }

    /// A base at revision 10 with a host, and a log with two revisions.
    fn written() -> (TempDir, Disk) {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut disk, saved) = Disk::open(folder.path()).expect("an empty folder");
        assert!(saved.state.is_none() && saved.past.is_none() && saved.faults.is_empty());
        disk.write_base(EPOCH, &samples::snapshot([host("h1").into()])).expect("a base");
        disk.append(&[event(11, ENI_A), event(11, ENI_B)], Revision(11)).expect("a line");
        let gone = Event { value: None, ..event(12, ENI_A) };
        disk.append(&[gone], Revision(14)).expect("a line");
        (folder, disk)
    }

    fn read(folder: &TempDir) -> Saved {
        Disk::open(folder.path()).expect("it can be read").1
    }

    fn objects(saved: &Saved) -> (usize, u64, bool) {
        let (epoch, snapshot, is_ours) = saved.state.as_ref().expect("a state");
        assert_eq!(*epoch, EPOCH);
        (snapshot.len(), snapshot.revision().0, *is_ours)
    }

    #[test]
    fn base_and_log_are_the_state() {
        let (folder, mut disk) = written();
        assert_eq!(objects(&read(&folder)), (2, 14, true), "host and ENI_B");
        // The log of an older base counts from the new base on.
        let log = fs::read(folder.path().join("control/log")).expect("a log");
        let (_, snapshot, _) = read(&folder).state.expect("a state");
        disk.write_base(EPOCH, &snapshot).expect("a base");
        assert_eq!(objects(&read(&folder)), (2, 14, true));
        fs::write(folder.path().join("control/log"), log).expect("as a crash leaves it");
        assert_eq!(objects(&read(&folder)), (2, 14, true));
    }

    #[test]
    fn a_line_that_is_not_whole_ends_the_log() {
        let (folder, _disk) = written();
        let path = folder.path().join("control/log");
        let whole = fs::read(&path).expect("a log");
        let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
        fs::write(&path, &whole[..whole.len() - 1]).expect("a torn line");
        assert_eq!(objects(&read(&folder)), (3, 11, true));
        assert_eq!(fs::metadata(&path).expect("a log").len(), first as u64, "the rest is cut off");
        let mut zeros = whole[..first].to_vec();
        zeros.extend([0; 100]);
        fs::write(&path, zeros).expect("blocks that the disk never got");
        assert_eq!(objects(&read(&folder)), (3, 11, true));
    }

    #[test]
    fn a_flipped_bit_is_found() {
        for (name, place) in [("base", 30), ("base", 250), ("past", 30)] {
            let (folder, disk) = written();
            let mut past = Past::default();
            past.set_epoch(Some(EPOCH));
            disk.write_past(&past).expect("a past");
            assert_eq!(read(&folder).past, Some(past));
            let path = folder.path().join("control").join(name);
            let mut bytes = fs::read(&path).expect("a file");
            bytes[place] ^= 1;
            File::options()
                .write(true)
                .open(&path)
                .expect("it")
                .write_all_at(&bytes, 0)
                .expect("a flip");
            let saved = read(&folder);
            assert!(saved.faults[0].contains(name), "{:?}", saved.faults);
            assert_eq!(
                (saved.state.is_none(), saved.past.is_none()),
                (name == "base", name == "past")
            );
        }
    }

    #[test]
    fn an_object_that_could_not_be_read_is_asked_for_again() {
        let (folder, mut disk) = written();
        let mut snapshot = samples::snapshot([host("h1").into()]);
        let key = interface(ENI_A).key().to_string();
        snapshot.put(&key, b"{", Revision(11), Revision(11));
        disk.write_base(EPOCH, &snapshot).expect("a base");
        assert_eq!(objects(&read(&folder)), (1, 10, false));
    }
}
