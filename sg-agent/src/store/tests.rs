use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::*;

/// Records a revision with this text.
fn record(store: &mut Store, text: &'static str, pending: Option<&Pending>) -> Result<u64, Error> {
    let revision = store.next_revision();
    let file = Staged::begin(&store.revisions(), text.into())?;
    let new = NewRevision { file, origin: "rules.toml", rules: 1, groups: 1 };
    store.record(vec![new], pending).map(|()| revision)
}

fn pending(previous: u64) -> Pending {
    Pending { previous, deadline: 1000, boot_id: "b".into(), until: 7 }
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
fn a_crash_before_the_ledger_leaves_the_old_state() {
    let directory = tempfile::tempdir().unwrap();
    record(&mut open(directory.path()), "one", None).unwrap();
    // What a crash at each step of the next change leaves behind.
    let half = directory.path().join("revisions/.2.toml.new");
    fs::write(&half, "tw").unwrap();
    assert_eq!(open(directory.path()).ledger().current, 1);
    assert!(!half.exists());
    fs::write(directory.path().join("revisions/2.toml"), "two").unwrap();
    assert_eq!(open(directory.path()).ledger().current, 1);
    fs::write(directory.path().join(".state.json.new"), "{").unwrap();
    let mut store = open(directory.path());
    assert_eq!(store.ledger().current, 1);
    assert_eq!(record(&mut store, "other two", None).unwrap(), 2);
    assert_eq!(open(directory.path()).text(2).unwrap(), "other two");
}

#[test]
fn numbers_rise_past_a_change_that_was_undone() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    let before = store.ledger().clone();
    record(&mut store, "two", None).unwrap();
    store.restore(before.clone()).unwrap();
    assert_eq!(*store.ledger(), Ledger { last: 2, ..before });
    assert_eq!(open(directory.path()).next_revision(), 3);
    store.rise_above(9);
    assert_eq!(store.next_revision(), 10);
}

#[test]
fn an_unconfirmed_change_goes_back_or_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    record(&mut store, "two", Some(&pending(1))).unwrap();
    store.roll_back().unwrap();
    let ledger = store.ledger();
    assert_eq!((ledger.current, ledger.last, &ledger.pending), (1, 2, &None));
    let undone: Vec<_> = ledger.revisions.iter().map(|entry| entry.rolled_back).collect();
    assert_eq!(undone, [false, true]);
    record(&mut store, "three", Some(&pending(1))).unwrap();
    assert_eq!(store.ledger().before_current(), Some(1));
    store.confirm().unwrap();
    assert_eq!((store.ledger().current, &store.ledger().pending), (3, &None));
}

#[test]
fn a_damaged_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "[settings]\n", None).unwrap();
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

#[test]
fn a_failed_write_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    // A directory in the way of the ledger's temporary file: this fails for root too.
    fs::create_dir(directory.path().join(".state.json.new")).unwrap();
    let error = record(&mut store, "two", None).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert_eq!((store.ledger().current, store.next_revision()), (1, 2));
    assert_eq!(open(directory.path()).ledger(), store.ledger());
}

#[test]
fn old_revisions_go_but_never_the_one_to_fall_back_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    for _ in 0..ledger::KEPT + 5 {
        record(&mut store, "x", Some(&pending(1))).unwrap();
    }
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
    record(&mut open(directory.path()), "one", None).unwrap();
    let ledger = directory.path().join("state.json");
    let written = fs::read_to_string(&ledger).unwrap();
    let number = "\"format\": 1,";
    assert!(written.contains(number), "{written}");
    for (told, as_before) in
        [("", true), ("\"format\": 1, \"added\": {},", true), ("\"format\": 2,", false)]
    {
        fs::write(&ledger, written.replace(number, told)).unwrap();
        match Store::open(directory.path()) {
            Ok(store) => assert!(as_before && store.text(1).unwrap() == "one", "{told}"),
            Err(error) => {
                assert!(!as_before, "{told}: {error}");
                assert!(matches!(error, Error::Newer { format: 2, .. }), "{error}");
                assert!(error.to_string().contains("state.json was written by a newer"), "{error}");
            }
        }
    }
}
/// Nothing is ever guessed from half a file.
#[test]
fn a_file_cut_short_at_any_byte_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "[settings]\n", None).unwrap();
    record(&mut store, "# another\n", Some(&pending(1))).unwrap();
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
    // What a crash leaves of the next one beside it is never read.
    let whole = fs::read(&ledger).unwrap();
    for length in 0..whole.len() {
        fs::write(directory.path().join(".state.json.new"), &whole[..length]).unwrap();
        assert_eq!(open(directory.path()).ledger(), store.ledger());
    }
}

#[test]
fn a_file_that_no_revision_came_of_is_not_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    record(&mut store, "one", None).unwrap();
    let names = || -> Vec<_> {
        let names = fs::read_dir(store.revisions()).unwrap();
        names.map(|entry| entry.unwrap().file_name()).collect()
    };
    let eventually = |count: usize| {
        let until = Instant::now() + Duration::from_secs(10);
        while names().len() != count {
            assert!(Instant::now() < until, "{:?}", names());
            thread::sleep(Duration::from_millis(1));
        }
    };
    // Given up when it is there, and at once.
    let staged = Staged::begin(&store.revisions(), "two".into()).unwrap();
    eventually(2);
    drop(staged);
    eventually(1);
    assert_eq!(names(), ["1.toml"]);
    drop(Staged::begin(&store.revisions(), "two".into()).unwrap());
    eventually(1);
}
