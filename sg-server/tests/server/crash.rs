//! SIGKILL during changes: every change that was answered is there, every other one whole or absent.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{EC2, PATIENCE, Server, form, now, send, signed};

/// Groups that are answered at least, over all lives of the server.
const CHANGES: usize = 200;
/// Kills at least: a fast machine makes the changes within a few of them.
const KILLS: u64 = 8;
const WRITERS: usize = 4;

#[test]
fn acknowledged_changes_survive() {
    let mut server = Server::start();
    let (key, address) = (server.key.clone(), server.address);
    let answered = Arc::new(Mutex::new(BTreeSet::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (key, answered, is_over) =
                (key.clone(), Arc::clone(&answered), Arc::clone(&is_over));
            thread::spawn(move || {
                for number in 0_usize.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("g-{writer}-{number}");
                    let parameters = [
                        ("GroupName", name.as_str()),
                        ("GroupDescription", "d"),
                        ("TagSpecification.1.ResourceType", "security-group"),
                        ("TagSpecification.1.Tag.1.Key", "name"),
                        ("TagSpecification.1.Tag.1.Value", name.as_str()),
                    ];
                    let body = form("CreateSecurityGroup", EC2, &parameters);
                    let deadline = Instant::now() + PATIENCE;
                    // A server that is down is asked again, as an SDK would.
                    while Instant::now() < deadline {
                        let request = signed(&key, address, "POST", "/", &body, "ec2", now());
                        match send(address, &request) {
                            Some(answer) if answer.status == 200 => {
                                answered.lock().expect("a list").insert(name.clone());
                                break;
                            }
                            // It was made, and the answer was lost.
                            Some(answer) if answer.code() == "InvalidGroup.Duplicate" => break,
                            Some(answer) => panic!("{}", answer.body),
                            None => thread::sleep(Duration::from_millis(5)),
                        }
                    }
                }
            })
        })
        .collect();
    let mut lives = 1;
    while lives <= KILLS || answered.lock().expect("a list").len() < CHANGES {
        thread::sleep(Duration::from_millis(40 + 37 * (lives % 5)));
        server.kill();
        server.restart();
        lives += 1;
    }
    is_over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    server.kill();
    server.restart();
    let groups = server.call("DescribeSecurityGroups", &[]).done();
    for name in answered.lock().expect("a list").iter() {
        assert!(groups.body.contains(&format!("<groupName>{name}</groupName>")), "{name} is lost");
    }
    // A group is whole: its tag and its default rule came in the same transaction.
    let count = |text: &str| groups.body.matches(text).count();
    let made = count("<groupName>g-");
    assert_eq!(made, count("<value>g-"), "a tag for each group");
    assert!(made >= answered.lock().expect("a list").len());
    assert!(lives > 3, "the server was killed {lives} times");
    assert!(server.run(&["check"]).status.success());
}
