//! Signs of life for systemd (`WatchdogSec=`): given only while the owner takes its turn and answers, so
//! that an agent that hangs is started anew, whichever part of it hangs.

use std::time::Duration;

/// Calls `sign` at least twice within each `limit` in which the owner answers. Ends when `answers` says that
/// the owner has ended.
pub async fn watch_over<A: Future<Output = bool>>(
    answers: impl Fn() -> A,
    limit: Duration,
    sign: impl Fn(),
) {
    while answers().await {
        sign();
        tokio::time::sleep(limit / 3).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    use super::*;
    use crate::owner::{
        fake::{Fixture, view},
        mailbox::{Request, mailbox},
    };

    #[test]
    fn signs_are_given_while_the_owner_answers() {
        const LIMIT: Duration = Duration::from_millis(200);
        let signs = Arc::new(AtomicU32::new(0));
        let (agent, inbox) = mailbox();
        let (watched, given) = (agent.clone(), Arc::clone(&signs));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let watching = thread::spawn(move || {
            let answers = async || watched.ask(Request::Ping).await.is_ok();
            runtime.block_on(watch_over(answers, LIMIT, || {
                given.fetch_add(1, Ordering::Relaxed);
            }));
        });
        // Nobody runs the owner: it hangs.
        thread::sleep(5 * LIMIT);
        assert_eq!(signs.load(Ordering::Relaxed), 0);
        let stopping = thread::spawn(move || {
            thread::sleep(5 * LIMIT);
            agent.stop(Ok(()));
        });
        inbox.run(&mut Fixture::new(view([])).owner).unwrap();
        stopping.join().unwrap();
        let signs_then = signs.load(Ordering::Relaxed);
        // 15, were there nothing else to do; one within each limit is too few.
        assert!((8..=16).contains(&signs_then), "{signs_then} in five times the limit");
        drop(inbox);
        watching.join().unwrap();
    }
}
