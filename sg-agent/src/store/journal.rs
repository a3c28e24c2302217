//! The journal: records one after the other, in segments.
//!
//! ```text
//! journal/N   segment N: a sector with its header, then records (see [`record`]), then zeros
//!
//! header: 0  8   "sgjourna"
//!         8  8   format
//!         16 8   number of the segment
//!         24 8   sequence number of the first record
//!         32 16  digest of the 32 bytes before
//! ```
//!
//! A segment that begins with record S ends the one before: records from S on in there are void. A
//! change ends that way when it was refused and nobody knew how much of it the disk had taken.
//! After a failed fdatasync the kernel takes pages for written that are not, so the same segment is
//! not used again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Error,
    disk::{Disk, DiskFile},
    format::{FORMAT, Position},
    record::{self, Found, SECTOR},
    write_error,
};

const MAGIC: &[u8; 8] = b"sgjourna";

/// The writing end.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// Size of a segment, unless a single record takes more.
    segment_bytes: u64,
    next_segment: u64,
    next_sequence: u64,
    open: Option<Segment>,
    /// A record that was given up may still be on the disk.
    in_doubt: bool,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Where the next record goes.
    end: u64,
}

/// A record that is written but may not be on the disk yet.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) sequence: u64,
    extent: u64,
}

/// The content of a journal.
#[derive(Debug)]
pub(super) struct Replay {
    /// Payloads by rising sequence number, with the file that each is in.
    pub(super) records: Vec<(PathBuf, Vec<u8>)>,
    /// Sequence number of the last record.
    pub(super) sequence: u64,
    /// Number above those of all segments.
    pub(super) next_segment: u64,
}

impl Journal {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        segment_bytes: u64,
        replay: &Replay,
    ) -> Self {
        Self {
            disk,
            directory,
            segment_bytes,
            next_segment: replay.next_segment,
            next_sequence: replay.sequence + 1,
            open: None,
            in_doubt: false,
        }
    }

    /// Position after the last record that counts.
    pub(super) fn position(&self) -> Position {
        let segment = self.open.as_ref().map_or(self.next_segment, |open| open.number);
        Position { segment, sequence: self.next_sequence - 1 }
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Begins a segment, durably. Ends every doubt about records of the one before.
    pub(super) fn begin_segment(&mut self) -> Result<(), Error> {
        self.open = None;
        let number = self.next_segment;
        // Not used again if this fails: its header may be on the disk.
        self.next_segment += 1;
        let path = self.directory.join(number.to_string());
        match self.create(&path, number) {
            Ok(segment) => {
                self.open = Some(segment);
                self.in_doubt = false;
                Ok(())
            }
            Err(source) => {
                // Give the room back. Best effort: an empty segment says the same as the next one
                // will.
                let _ = self.disk.remove(&path);
                Err(write_error(path, source))
            }
        }
    }

    fn create(&self, path: &Path, number: u64) -> io::Result<Segment> {
        let mut file = self.disk.create(path)?;
        // Without room for a whole segment it grows with each record.
        if file.reserve(self.segment_bytes).is_err() {
            file.truncate(0)?;
        }
        file.write_at(0, &header(number, self.next_sequence))?;
        file.sync_data()?;
        self.disk.sync_directory(&self.directory)?;
        Ok(Segment { number, path: path.to_owned(), file, end: SECTOR as u64 })
    }

    /// Writes a record behind the others.
    ///
    /// # Errors
    /// Nothing of the record is left, or [`Error::Undecided`].
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<Written, Error> {
        let extent = record::extent(payload.len()) as u64;
        let is_full =
            |open: &Segment| open.end > SECTOR as u64 && open.end + extent > self.segment_bytes;
        if self.open.as_ref().is_none_or(is_full) {
            self.begin_segment()?;
        }
        let sequence = self.next_sequence;
        let open = self.open.as_mut().expect("just begun");
        let bytes = record::encode(open.number, sequence, payload);
        let Err(source) = open.file.write_at(open.end, &bytes) else {
            return Ok(Written { sequence, extent });
        };
        let path = open.path.clone();
        // The doubt says all that this error would.
        let _ = self.give_up(extent);
        Err(self.refusal(path, source))
    }

    /// Waits until the record is on the disk: one fdatasync.
    ///
    /// # Errors
    /// The record is void, or [`Error::Undecided`].
    #[expect(clippy::needless_pass_by_value, reason = "a record is committed or abandoned once")]
    pub(super) fn commit(&mut self, written: Written) -> Result<(), Error> {
        let open = self.open.as_mut().expect("the record's segment");
        match open.file.sync_data() {
            Ok(()) => {
                open.end += written.extent;
                self.next_sequence += 1;
                Ok(())
            }
            Err(source) => {
                let mut failed = self.open.take().expect("the record's segment");
                self.in_doubt = true;
                // The kernel may not repeat a write that failed once, but it does write new bytes.
                if self.begin_segment().is_err() && erase(&mut failed, written.extent).is_ok() {
                    self.in_doubt = false;
                }
                Err(self.refusal(failed.path, source))
            }
        }
    }

    /// Makes a record void that was not committed.
    ///
    /// # Errors
    /// [`Error::Undecided`].
    #[expect(clippy::needless_pass_by_value, reason = "a record is committed or abandoned once")]
    pub(super) fn abandon(&mut self, written: Written) -> Result<(), Error> {
        let path = self.open.as_ref().expect("the record's segment").path.clone();
        self.give_up(written.extent).map_err(|source| Error::Undecided { path, source })
    }

    /// Erases the last record, or begins the segment that makes it void.
    ///
    /// # Errors
    /// The record may count.
    fn give_up(&mut self, extent: u64) -> io::Result<()> {
        let open = self.open.as_mut().expect("the record's segment");
        let Err(error) = erase(open, extent) else { return Ok(()) };
        self.in_doubt = true;
        self.begin_segment().map_err(|_| error)
    }

    fn refusal(&self, path: PathBuf, source: io::Error) -> Error {
        if self.in_doubt { Error::Undecided { path, source } } else { write_error(path, source) }
    }
}

/// Removes the record at the end of a segment, durably.
fn erase(segment: &mut Segment, extent: u64) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(extent).map_err(io::Error::other)?];
    if segment.file.write_at(segment.end, &zeros).is_err() {
        // To give room back takes none, on a full disk either.
        segment.file.truncate(segment.end)?;
    }
    segment.file.sync_data()
}

fn header(segment: u64, first: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    bytes[..8].copy_from_slice(MAGIC);
    for (at, number) in [(8, u64::from(FORMAT)), (16, segment), (24, first)] {
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }
    let digest = record::digest(&bytes[..32]);
    bytes[32..48].copy_from_slice(&digest);
    bytes
}

/// Sequence number of the first record; `None` for a segment that was never begun.
fn read_header(path: &Path, number: u64, bytes: &[u8]) -> Result<Option<u64>, Error> {
    let sector = &bytes[..bytes.len().min(SECTOR)];
    if sector.len() < SECTOR || record::is_zero(sector) {
        return Ok(None);
    }
    let word = |at: usize| u64::from_le_bytes(sector[at..at + 8].try_into().expect("8 bytes"));
    if !sector.starts_with(MAGIC) || sector[32..48] != record::digest(&sector[..32]) {
        return Err(damaged(path, 0, "the header of the segment"));
    }
    match u32::try_from(word(8)) {
        Ok(FORMAT) => {}
        Ok(format) if format < FORMAT => return Err(damaged(path, 8, "the format number")),
        Ok(format) => return Err(Error::Newer { path: path.to_owned(), format }),
        Err(_) => return Err(damaged(path, 8, "the format number")),
    }
    if word(16) != number {
        return Err(damaged(path, 16, "the number of the segment"));
    }
    Ok(Some(word(24)))
}

fn damaged(path: &Path, offset: u64, what: &str) -> Error {
    let what = format!("{what} at byte {offset} is not what was written");
    Error::Corrupted { path: path.to_owned(), what }
}

/// Numbers of the segments in a directory, rising.
pub(super) fn segments(disk: &dyn Disk, directory: &Path) -> io::Result<Vec<u64>> {
    let names = match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the records after `from`; `None`: no record in there counts. A record at the end that was
/// not written in full never counted: nobody was told that it did.
///
/// # Errors
/// The file and the place of a record that was damaged later.
pub(super) fn replay(
    disk: &dyn Disk,
    directory: &Path,
    from: Option<Position>,
) -> Result<Replay, Error> {
    let read_error = |path: &Path, source| Error::Read { path: path.to_owned(), source };
    let numbers = segments(disk, directory).map_err(|error| read_error(directory, error))?;
    let next_segment = numbers.last().map_or(1, |last| last.saturating_add(1));
    let Some(from) = from else {
        return Ok(Replay { records: Vec::new(), sequence: 0, next_segment });
    };
    let next_segment = next_segment.max(from.segment);
    let mut begun = Vec::new();
    for number in numbers.into_iter().filter(|&number| number >= from.segment) {
        let path = directory.join(number.to_string());
        let bytes = disk.read(&path).map_err(|error| read_error(&path, error))?;
        if let Some(first) = read_header(&path, number, &bytes)? {
            begun.push(Scan { path, number, bytes, sequence: first, offset: SECTOR });
        }
    }
    let ends: Vec<_> = begun.iter().skip(1).map(|scan| scan.sequence).collect();
    let mut replay = Replay { records: Vec::new(), sequence: from.sequence, next_segment };
    for (index, mut scan) in begun.into_iter().enumerate() {
        if scan.sequence > replay.sequence + 1 {
            let what = format!("the records before its first, {}, are missing", scan.sequence);
            return Err(Error::Corrupted { path: scan.path, what });
        }
        let end = ends.get(index).copied();
        while let Some((sequence, payload)) = scan.next(end)? {
            if sequence > replay.sequence {
                replay.sequence = sequence;
                replay.records.push((scan.path.clone(), payload));
            }
        }
    }
    Ok(replay)
}

/// A segment that is being read.
struct Scan {
    path: PathBuf,
    number: u64,
    bytes: Vec<u8>,
    /// The sequence number of the next record.
    sequence: u64,
    offset: usize,
}

impl Scan {
    /// The next record, up to `end`, where a later segment begins.
    fn next(&mut self, end: Option<u64>) -> Result<Option<(u64, Vec<u8>)>, Error> {
        if end == Some(self.sequence) {
            return Ok(None);
        }
        let (sequence, offset) = (self.sequence, self.offset);
        let what = format!("record {sequence}");
        let damaged = || damaged(&self.path, offset as u64, &what);
        let rest = self.bytes.get(offset..).unwrap_or_default();
        match record::decode(self.number, rest) {
            Found::Record { sequence: found, payload, extent } if found == sequence => {
                let payload = payload.to_vec();
                self.sequence += 1;
                self.offset += extent;
                Ok(Some((sequence, payload)))
            }
            Found::Record { .. } | Found::Damaged => Err(damaged()),
            Found::Unwritten => {
                let later =
                    rest.get(SECTOR..).and_then(|rest| record::find_later(self.number, rest));
                if end.is_some() || later.is_some() { Err(damaged()) } else { Ok(None) }
            }
        }
    }
}
