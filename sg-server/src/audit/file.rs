//! The files of the audit log.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sg_iam::Timestamp;

/// A file of reads is put aside at this size, in bytes.
const LARGEST: u64 = 64 << 20;
/// Files of reads that are put aside and kept.
const KEPT: u32 = 4;
/// Months of changes that are kept beside the present one: three have at least 89 days, so four.
const MONTHS: i64 = 4;

/// Kind of the records in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Changes,
    Reads,
}

pub(super) fn make_directory(directory: &Path) -> anyhow::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| directory.display().to_string())
        }
        _ => Ok(()),
    }
}

/// Room on the volume, in bytes.
pub(super) fn room(directory: &Path) -> io::Result<u64> {
    let volume = nix::sys::statvfs::statvfs(directory)?;
    Ok(volume.blocks_available() * volume.fragment_size())
}

/// The file that records of an owner go into now.
pub(super) fn path(directory: &Path, owner: &str, kind: Kind, now: u64) -> PathBuf {
    match kind {
        Kind::Changes => directory.join(format!("{owner}.{}.jsonl", month(now))),
        Kind::Reads => directory.join(format!("{owner}.reads.jsonl")),
    }
}

/// Appends lines and waits until they are on the disk.
pub(super) fn append(path: &Path, lines: &str, kind: Kind) -> io::Result<()> {
    if kind == Kind::Reads && fs::metadata(path).is_ok_and(|file| file.len() >= LARGEST) {
        put_aside(path)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(lines.as_bytes()).and_then(|()| match kind {
        Kind::Changes => file.sync_data(),
        Kind::Reads => Ok(()),
    });
    if written.is_err() {
        // Half a record would spoil the next one.
        let _ = file.set_len(before);
    }
    written
}

fn put_aside(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..KEPT).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

/// The last part of a file, of at most `bytes`.
pub(super) fn tail(path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Deletes files of changes of months that are no longer kept.
pub(super) fn delete_old(directory: &Path, now: u64) -> io::Result<()> {
    let oldest = number_of(&month(now)).unwrap_or(i64::MAX) - MONTHS;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let parts: Vec<&str> = name.split('.').collect();
        if let [_, month, "jsonl"] = parts[..]
            && number_of(month).is_some_and(|month| month < oldest)
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// `2026-12`
fn month(now: u64) -> String {
    let date = Timestamp(i64::try_from(now).unwrap_or(i64::MAX)).to_string();
    format!("{}-{}", &date[..4], &date[4..6])
}

/// Months since year 0.
fn number_of(month: &str) -> Option<i64> {
    let (year, month) = month.split_once('-')?;
    Some(year.parse::<i64>().ok()? * 12 + month.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECEMBER: u64 = 1_796_095_445;

    #[test]
    fn months_that_are_not_kept_are_deleted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ["1.2026-08.jsonl", "1.2026-12.jsonl", "1.reads.jsonl", "1.reads.jsonl.1", "x"];
        let old = ["1.2026-07.jsonl", "2.2025-12.jsonl", "admin.2024-01.jsonl"];
        for name in kept.iter().chain(&old) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        delete_old(folder.path(), DECEMBER).unwrap();
        let is_there = |name: &&str| folder.path().join(name).exists();
        assert!(kept.iter().all(&is_there));
        assert!(!old.iter().any(is_there));
    }

    #[test]
    fn reads_are_put_aside_by_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "1", Kind::Reads, DECEMBER);
        for round in 0..7 {
            File::create(&path).unwrap().set_len(LARGEST).unwrap();
            append(&path, &format!("{round}\n"), Kind::Reads).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "6\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1 + KEPT as usize);
        assert_eq!(tail(&path, 1).unwrap(), "\n");
        assert_eq!(tail(&folder.path().join("none"), 1).unwrap(), "");
    }
}
