use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::*;

/// Records a revision with this text.
fn record(
    store: &mut Store,
    text: &str,
    pending: Option<&PendingConfirmation>,
) -> Result<u64, Error> {
    let revision = store.next_revision();
    let document = &Document::new(DocumentKind::Rules, text.into());
    let new = NewRevision { document, origin: "rules.toml", rules: 1, groups: 1 };
    let change = LedgerChange::Record { revisions: vec![new], pending: pending.cloned() };
    store.record(change).map(|()| revision)
}

/// The state directory as an agent that was ended well leaves it.
fn leave(mut store: Store) {
    store.prepare().unwrap();
    drop(store);
}

/// The one segment of a journal.
fn segment(directory: &Path) -> PathBuf {
    let segments = fs::read_dir(directory.join(JOURNAL)).unwrap();
    let segments: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
    let [segment] = segments.as_slice() else { panic!("{segments:?}") };
    segment.clone()
}

fn pending(previous: u64) -> PendingConfirmation {
    PendingConfirmation { previous, deadline: 1000, boot_id: "b".into(), until: 7 }
}

fn open(directory: &Path) -> Store {
    Store::open(directory).unwrap()
}

#[test]
fn what_was_recorded_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    assert_eq!(store.ledger().current, 0);
    assert_eq!(record(&mut store, "one", None).unwrap(), 1);
    assert_eq!(record(&mut store, "two", Some(&pending(1))).unwrap(), 2);
    let again = open(directory.path());
    assert_eq!(again.ledger(), store.ledger());
    assert_eq!(again.ledger().pending, Some(pending(1)));
    assert_eq!(again.text(1).unwrap(), "one");
    assert_eq!(again.text(2).unwrap(), "two");
    assert!(matches!(again.text(3), Err(Error::NoSuchRevision(3))));
}

#[test]
fn files_that_a_crash_has_left_are_not_read_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    record(&mut open(directory.path()), "one", None).unwrap();
    let half = ["revisions/.2.toml.new", ".state.json.new"].map(|name| directory.path().join(name));
    half.iter().for_each(|path| fs::write(path, "{").unwrap());
    fs::write(directory.path().join("revisions/2.toml"), "two").unwrap();
    let mut store = open(directory.path());
    assert_eq!(store.ledger().current, 1);
    assert_eq!(record(&mut store, "other two", None).unwrap(), 2);
    assert!(half.iter().all(|path| !path.exists()));
    store.die();
    assert_eq!(open(directory.path()).text(2).unwrap(), "other two");
}

#[test]
fn numbers_rise_past_a_change_that_was_undone() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    let before = store.ledger().clone();
    let document = &Document::new(DocumentKind::Rules, "two".into());
    let new = NewRevision { document, origin: "rules.toml", rules: 1, groups: 1 };
    let appended =
        store.append(LedgerChange::Record { revisions: vec![new], pending: None }).unwrap();
    store.abandon(appended).unwrap();
    assert_eq!(*store.ledger(), Ledger { last: 2, ..before.clone() });
    assert_eq!(*open(directory.path()).ledger(), before);
    assert_eq!(record(&mut store, "three", None).unwrap(), 3);
    store.rise_above(9);
    assert_eq!(store.next_revision(), 10);
}

#[test]
fn an_unconfirmed_change_goes_back_or_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    record(&mut store, "two", Some(&pending(1))).unwrap();
    store.record(LedgerChange::RollBack).unwrap();
    let ledger = store.ledger();
    assert_eq!((ledger.current, ledger.last, &ledger.pending), (1, 2, &None));
    let undone: Vec<_> = ledger.revisions.iter().map(|entry| entry.rolled_back).collect();
    assert_eq!(undone, [false, true]);
    record(&mut store, "three", Some(&pending(1))).unwrap();
    assert_eq!(store.ledger().before_current(), Some(1));
    store.record(LedgerChange::Confirm).unwrap();
    assert_eq!((store.ledger().current, &store.ledger().pending), (3, &None));
}

#[test]
fn a_damaged_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "[settings]\n", None).unwrap();
    leave(store);
    let store = open(directory.path());
    let revision = directory.path().join("revisions/1.toml");
    fs::write(&revision, "").unwrap();
    let error = store.text(1).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} is corrupted", revision.display())), "{error}");
    fs::remove_file(&revision).unwrap();
    let error = store.text(1).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}", revision.display())), "{error}");
    let ledger = directory.path().join("state.json");
    fs::write(&ledger, b"{\"last\": 1").unwrap();
    let error = Store::open(directory.path()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} is corrupted", ledger.display())), "{error}");
}

/// Every bit of what the journal holds counts, and what was damaged is named with its place.
#[test]
fn a_bit_that_flips_in_the_journal_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    for text in ["one", "two\n".repeat(300).as_str(), "three"] {
        record(&mut store, text, None).unwrap();
    }
    store.die();
    let path = segment(directory.path());
    let mut whole = fs::read(&path).unwrap();
    let end = whole.iter().rposition(|&byte| byte != 0).unwrap();
    whole.truncate((end + 2 * record::SECTOR).next_multiple_of(record::SECTOR));
    let starts: Vec<usize> = (0..end)
        .step_by(record::SECTOR)
        .filter(|&at| at == 0 || whole[at..].starts_with(b"sgrecord"))
        .collect();
    assert_eq!(starts.len(), 4);
    for at in 0..end {
        let start = starts.iter().rposition(|&start| start <= at).unwrap();
        // Padding is no content.
        let mut length = whole[starts[start]..*starts.get(start + 1).unwrap_or(&(end + 1))].iter();
        let length = length.rposition(|&byte| byte != 0).unwrap();
        let is_content = if start == 0 { at < 48 } else { at - starts[start] <= length };
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        match Store::open(directory.path()) {
            Err(Error::Corrupted { path: named, what }) => {
                assert_eq!(named, path);
                let place = match start {
                    0 => "byte ".to_owned(),
                    record => format!("record {record} at byte {} ", starts[start]),
                };
                assert!(what.contains(&place), "{at}: {what}");
            }
            Err(Error::Newer { format, .. }) if (8..16).contains(&at) => assert_ne!(format, FORMAT),
            other => assert!(!is_content, "{at}: {other:?}"),
        }
    }
}

/// A record that the power cut short never counted; one before others did.
#[test]
fn a_torn_record_at_the_end_is_cut_and_one_before_others_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    for text in ["one", "two\n".repeat(300).as_str()] {
        record(&mut store, text, None).unwrap();
    }
    store.die();
    let path = segment(directory.path());
    let whole = fs::read(&path).unwrap();
    let end = whole.iter().rposition(|&byte| byte != 0).unwrap();
    let last = end / record::SECTOR * record::SECTOR;
    for (sector, found) in [(last, Ok(1)), (2 * record::SECTOR, Ok(1)), (record::SECTOR, Err(()))] {
        let mut bytes = whole.clone();
        bytes[sector..sector + record::SECTOR].fill(0);
        fs::write(&path, &bytes).unwrap();
        let opened = Store::open(directory.path());
        match (opened, found) {
            (Ok(store), Ok(revision)) => assert_eq!(store.ledger().current, revision),
            (Err(Error::Corrupted { what, .. }), Err(())) => {
                assert_eq!(what, "record 1 at byte 512 is not what was written");
            }
            (opened, _) => panic!("{sector}: {opened:?}"),
        }
    }
}

#[test]
fn a_failed_write_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    record(&mut open(directory.path()), "one", None).unwrap();
    let mut store = open(directory.path());
    // A directory in the way of the ledger's temporary file: this fails for root too.
    let in_the_way = directory.path().join(".state.json.new");
    fs::create_dir(&in_the_way).unwrap();
    let error = record(&mut store, "two", None).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert_eq!((store.ledger().current, store.next_revision()), (1, 2));
    assert_eq!(open(directory.path()).ledger(), store.ledger());
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(record(&mut store, "two", None).unwrap(), 2);
}

#[test]
fn old_revisions_go_but_never_the_one_to_fall_back_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    for _ in 0..ledger::KEPT + 5 {
        record(&mut store, "x", Some(&pending(1))).unwrap();
    }
    leave(store);
    let store = open(directory.path());
    assert_eq!(store.ledger().revisions.len(), ledger::KEPT);
    assert_eq!(store.text(1).unwrap(), "x");
    assert!(matches!(store.text(2), Err(Error::NoSuchRevision(2))));
    let files = fs::read_dir(directory.path().join("revisions")).unwrap().count();
    assert_eq!(files, ledger::KEPT);
}

#[test]
fn a_file_where_the_directory_should_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
}

/// Written by agents before and after this one.
#[test]
fn other_formats() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    leave(store);
    let ledger = directory.path().join("state.json");
    let written = fs::read_to_string(&ledger).unwrap();
    let number = "\"format\": 1,";
    assert!(written.contains(number), "{written}");
    for (told, as_before) in
        [("", true), ("\"format\": 1, \"added\": {},", true), ("\"format\": 3,", false)]
    {
        fs::write(&ledger, written.replace(number, told)).unwrap();
        match Store::open(directory.path()) {
            Ok(store) => assert!(as_before && store.text(1).unwrap() == "one", "{told}"),
            Err(error) => {
                assert!(!as_before, "{told}: {error}");
                assert!(matches!(error, Error::Newer { format: 3, .. }), "{error}");
                assert!(error.to_string().contains("state.json was written by a newer"), "{error}");
            }
        }
    }
}

/// A directory of an agent without a journal, and the way back to it. An agent that was ended well
/// leaves that format. An agent that was killed leaves another one, which the older agent refuses.
#[test]
fn a_directory_without_a_journal_is_carried_over_and_left_again() {
    let directory = tempfile::tempdir().unwrap();
    let format = || -> u64 {
        let json = fs::read(directory.path().join(LEDGER)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        json["format"].as_u64().unwrap()
    };
    fs::create_dir(directory.path().join(REVISIONS)).unwrap();
    fs::write(directory.path().join("revisions/4.toml"), "old").unwrap();
    let json = format!(
        r#"{{"format": 1, "last": 5, "current": 4, "pending": null, "revisions": [{{"revision": 4,
        "applied_at": 1, "rules": 1, "groups": 1, "origin": "f", "sha256": "{}"}}]}}"#,
        sha256(b"old")
    );
    fs::write(directory.path().join(LEDGER), json).unwrap();
    let mut store = open(directory.path());
    assert_eq!((store.text(4).unwrap().as_str(), store.next_revision(), format()), ("old", 6, 1));
    store.prepare().unwrap();
    assert_eq!(format(), 2);
    record(&mut store, "new", None).unwrap();
    store.die();
    assert_eq!(format(), 2);
    let mut store = open(directory.path());
    assert_eq!(store.text(6).unwrap(), "new");
    record(&mut store, "newer", None).unwrap();
    leave(store);
    assert_eq!(format(), 1);
    assert_eq!(fs::read_to_string(directory.path().join("revisions/7.toml")).unwrap(), "newer");
    // The older agent's next change: the journal says nothing of it.
    let path = directory.path().join(LEDGER);
    let json = fs::read_to_string(&path).unwrap();
    fs::write(&path, json.replace("\"current\": 7", "\"current\": 4")).unwrap();
    assert_eq!(open(directory.path()).ledger().current, 4);
}

/// Nothing is ever guessed from half a file.
#[test]
fn a_file_cut_short_at_any_byte_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "[settings]\n", None).unwrap();
    record(&mut store, "# another\n", Some(&pending(1))).unwrap();
    leave(store);
    let (ledger, revision) =
        (directory.path().join("state.json"), directory.path().join("revisions/2.toml"));
    for path in [&ledger, &revision] {
        let whole = fs::read(path).unwrap();
        for length in 0..whole.len() {
            fs::write(path, &whole[..length]).unwrap();
            let read = Store::open(directory.path()).and_then(|store| store.text(2));
            let Err(Error::Corrupted { path: named, .. }) = read else {
                panic!("{length}: {read:?}")
            };
            assert_eq!(named, *path);
        }
        fs::write(path, &whole).unwrap();
    }
}

/// Whole files are written behind the journal, by themselves.
#[test]
fn whole_files_come_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    let path = directory.path().join("revisions/1.toml");
    let until = Instant::now() + Duration::from_secs(10);
    while !path.exists() {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::read_to_string(path).unwrap(), "one");
}

#[test]
fn a_text_is_kept_as_its_difference() {
    let long = "0123456789abcdef\n".repeat(100);
    let edited = long.replacen("5", "five", 60);
    for (old, new) in [
        ("", ""),
        ("", "a"),
        ("a", ""),
        ("aa", "aaa"),
        ("aba", "ababa"),
        ("\u{e4}", "\u{e5}"),
        (&long, &edited),
        (&edited, &long),
    ] {
        let (difference, bytes) = Difference::between(1, old, new);
        let (mut rest, mut too_few) = (bytes.as_slice(), &bytes[..bytes.len().saturating_sub(1)]);
        assert_eq!(difference.apply(old.as_bytes(), &mut rest).unwrap(), new.as_bytes());
        assert!(rest.is_empty());
        assert!(bytes.is_empty() || difference.apply(old.as_bytes(), &mut too_few).is_none());
    }
    let one_more = format!("{long}x{long}");
    assert_eq!(Difference::between(1, &long.repeat(2), &one_more).1, b"x");
}
