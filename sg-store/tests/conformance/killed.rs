//! A process that is killed in the middle of writing: everything that it had acknowledged is there.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use sg_store::{Expected, Revision, Store, Txn, TxnError, embedded::Embedded, store};

use crate::backend::options;

const FILE: &str = "SG_STORE_TEST_FILE";
const WRITERS: u64 = 4;

/// The `number`th transaction of a writer: a key of its own, twice, so that half of it shows.
fn transaction(writer: u64, number: u64) -> Txn {
    let mut txn = Txn::new();
    let value = number.to_string().into_bytes();
    txn.put_raw(format!("{writer}/first/{number}"), value.clone());
    txn.put_raw(format!("{writer}/second/{number}"), value);
    txn.expect_raw(format!("{writer}/first/{number}"), Expected::Absent);
    txn
}

/// The other process. It writes until it is killed, and says what was acknowledged.
#[test]
fn writes_until_it_is_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.expect("a runtime").block_on(async {
        let store = Arc::new(Embedded::open(Path::new(&file), options()).expect("it opens"));
        let start = store.revision().0;
        let writers = (0..WRITERS).map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in start.. {
                    match store.commit(transaction(writer, number)).await {
                        Ok(Revision(revision)) => println!("acked {writer} {number} {revision}"),
                        Err(TxnError::Conflict { .. }) => (),
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("it goes on for ever");
        }
    });
}

/// Starts the other process, kills it, and returns what it had acknowledged.
fn kill_after(file: &PathBuf, pause: Duration) -> Vec<(u64, u64, u64)> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "killed::writes_until_it_is_killed", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let reader = std::thread::spawn(move || {
        let lines = lines.map_while(Result::ok);
        lines.filter_map(|line| acked(&line)).collect::<Vec<_>>()
    });
    std::thread::sleep(pause);
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    reader.join().expect("it ends with the pipe")
}

/// The last line may be cut, then nobody has heard of it.
fn acked(line: &str) -> Option<(u64, u64, u64)> {
    let mut words = line.strip_prefix("acked ")?.split(' ').map(|word| word.parse().ok());
    Some((words.next()??, words.next()??, words.next()??))
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.redb");
    drop(Embedded::create(&file, options(), &Txn::new()).expect("it is made"));
    let mut all = Vec::new();
    for round in 0..10 {
        let killed = kill_after(&file, Duration::from_millis(60 + 37 * round));
        all.extend(killed);
        let store = Embedded::open(&file, options()).expect("it opens after a kill");
        let (entries, at) = store::list_all(&store, "", None).await.expect("it can be read");
        for (writer, number, revision) in &all {
            for half in ["first", "second"] {
                let key = format!("{writer}/{half}/{number}");
                let found = entries.iter().find(|entry| entry.key == key);
                let found = found.unwrap_or_else(|| panic!("round {round}: {key} is lost"));
                assert_eq!(found.mod_revision, Revision(*revision), "{key}");
            }
        }
        // Both halves of every transaction, and nothing else.
        assert_eq!(entries.len() as u64, 2 * (at.0 - 1));
        for pair in entries.chunk_by(|one, other| one.key[..1] == other.key[..1]) {
            let halves = |half: &str| pair.iter().filter(|it| it.key.contains(half)).count();
            assert_eq!(halves("first"), halves("second"), "round {round}");
        }
    }
    assert!(all.len() > 20, "{} were acknowledged", all.len());
}
