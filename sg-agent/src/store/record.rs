//! A record of the journal: one change, in whole sectors, and how to tell a record that was never
//! written in full from one that was damaged later.
//!
//! ```text
//! 0   8   "sgrecord"
//! 8   8   number of the segment
//! 16  8   sequence number of the record
//! 24  8   bytes of the payload
//! 32  16  digest of the payload
//! 48  16  digest of the 48 bytes before
//! 64      payload: 4 bytes length of the JSON, the JSON, text
//!         zeros up to the next sector
//! ```
//!
//! Numbers are little-endian. Digests are the first 16 bytes of a SHA-256. A disk writes a sector
//! as a whole or not at all, in any order. A segment holds zeros before it is written. Each sector
//! of a record has a byte that is not 0. A record with a sector of zeros was therefore cut short. A
//! wrong digest without such a sector is damage.

use std::io;

use serde::{Deserialize, Serialize};
use sg_common::flow::Tick;
use sha2::{Digest as _, Sha256};

use super::ledger::{Ledger, LedgerEntry, PendingConfirmation};

pub(super) const SECTOR: usize = 512;
pub(super) const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"sgrecord";

/// A change as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Body {
    /// New revisions, the last of them in force.
    Record {
        revisions: Vec<Recorded>,
        pending: Option<PendingConfirmation>,
    },
    Confirm,
    /// The unconfirmed change goes on waiting, by another boot's ticks.
    Rearm {
        deadline: Tick,
        boot_id: String,
    },
    RollBack,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    pub(super) entry: LedgerEntry,
    pub(super) text: Difference,
}

/// A text as its difference to another: the beginning and the end that both have, and between them
/// the next `middle` bytes of the record's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Difference {
    /// Revision of the other text. 0 = the empty text.
    pub(super) base: u64,
    pub(super) prefix: usize,
    pub(super) suffix: usize,
    pub(super) middle: usize,
}

impl Difference {
    /// The difference from `old`, the text of revision `base`, to `new`; the bytes between.
    pub(super) fn between(base: u64, old: &str, new: &str) -> (Self, Vec<u8>) {
        let (old, new) = (old.as_bytes(), new.as_bytes());
        let prefix = common(old, new);
        let rest = old.len().min(new.len()) - prefix;
        let ends = old[prefix..].iter().rev().zip(new[prefix..].iter().rev());
        let suffix = ends.take(rest).take_while(|(old, new)| old == new).count();
        let between = &new[prefix..new.len() - suffix];
        (Self { base, prefix, suffix, middle: between.len() }, between.to_vec())
    }

    /// The new text, which takes its own bytes off the front of `bytes`; `None` if they or the old
    /// text are too short for it.
    pub(super) fn apply(&self, old: &[u8], bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let (between, rest) = bytes.split_at_checked(self.middle)?;
        *bytes = rest;
        let end = old.len().checked_sub(self.suffix)?;
        Some([old.get(..self.prefix)?, between, old.get(end..)?].concat())
    }
}

/// Length of the common beginning.
fn common(one: &[u8], other: &[u8]) -> usize {
    const STRIDE: usize = 256;
    let strides = one.chunks_exact(STRIDE).zip(other.chunks_exact(STRIDE));
    let same = STRIDE * strides.take_while(|(one, other)| one == other).count();
    let rest = one[same..].iter().zip(&other[same..]);
    same + rest.take_while(|(one, other)| one == other).count()
}

impl Body {
    /// Makes the change to a ledger.
    pub(super) fn apply(&self, ledger: &mut Ledger) {
        match self {
            Self::Record { revisions, pending } => {
                for Recorded { entry, .. } in revisions {
                    ledger.record(entry.clone(), pending.clone());
                }
            }
            Self::Confirm => ledger.pending = None,
            Self::Rearm { deadline, boot_id } => {
                if let Some(pending) = &mut ledger.pending {
                    pending.deadline = *deadline;
                    boot_id.clone_into(&mut pending.boot_id);
                }
            }
            Self::RollBack => ledger.roll_back(),
        }
    }
}

/// The payload of a record.
pub(super) fn payload(body: &Body, text: &[u8]) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(body)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes(), json.as_slice(), text].concat())
}

/// A payload's change and text.
pub(super) fn read_payload(payload: &[u8]) -> Result<(Body, &[u8]), String> {
    let too_short = || "a record is too short".to_owned();
    let (length, rest) = payload.split_first_chunk().ok_or_else(too_short)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (json, text) = rest.split_at_checked(length).ok_or_else(too_short)?;
    Ok((serde_json::from_slice(json).map_err(|error| error.to_string())?, text))
}

/// The sectors of a record.
pub(super) fn encode(segment: u64, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(extent(payload.len()));
    bytes.extend(MAGIC);
    bytes.extend(segment.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(digest(payload));
    bytes.extend(digest(&bytes));
    bytes.extend(payload);
    bytes.resize(extent(payload.len()), 0);
    bytes
}

/// The outcome of reading a place where a record may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A whole record, and the bytes that it takes.
    Record {
        sequence: u64,
        payload: &'a [u8],
        extent: usize,
    },
    /// Nothing was written, or not all of it.
    Unwritten,
    Damaged,
}

/// Reads what begins at the start of `bytes`, which end where the segment does.
pub(super) fn decode(segment: u64, bytes: &[u8]) -> Found<'_> {
    let Some(header) = bytes.get(..HEADER) else { return Found::Unwritten };
    let Some((sequence, length)) = read_header(segment, header) else {
        let sector = &bytes[..bytes.len().min(SECTOR)];
        return if is_zero(sector) { Found::Unwritten } else { Found::Damaged };
    };
    let whole = usize::try_from(length).ok().and_then(|length| {
        let payload = bytes.get(HEADER..HEADER.checked_add(length)?)?;
        Some((payload, bytes.get(..extent(length))?))
    });
    // The file ends before the record.
    let Some((payload, sectors)) = whole else { return Found::Unwritten };
    if header[32..48] == digest(payload) {
        return Found::Record { sequence, payload, extent: sectors.len() };
    }
    let is_cut_short = sectors.chunks(SECTOR).any(is_zero);
    if is_cut_short { Found::Unwritten } else { Found::Damaged }
}

/// Sequence number of the first record of this segment with a whole header, in any sector.
pub(super) fn find_later(segment: u64, bytes: &[u8]) -> Option<u64> {
    let headers = bytes.chunks(SECTOR).filter_map(|sector| sector.get(..HEADER));
    headers.filter_map(|header| read_header(segment, header)).map(|(sequence, _)| sequence).next()
}

/// Sequence number and length of the payload.
fn read_header(segment: u64, header: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    let is_whole = header[48..64] == digest(&header[..48]);
    (is_whole && header.starts_with(MAGIC) && number(8) == segment)
        .then(|| (number(16), number(24)))
}

/// Bytes that a record takes.
pub(super) fn extent(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(SECTOR)
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

pub(super) fn digest(bytes: &[u8]) -> [u8; 16] {
    *Sha256::digest(bytes).first_chunk().expect("32 bytes")
}
