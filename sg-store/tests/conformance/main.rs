//! One suite for every backend: what the interface promises, case by case, and random histories held
//! against an oracle that keeps every state whole.

mod backend;
mod backups;
mod cases;
mod damage;
mod faults;
mod killed;
mod oracle;
mod random;
mod simulated;

use backend::{InMemory, OnDisk, OnSimulatedDisk};

/// All tests of the suite for one backend.
macro_rules! suite {
    ($name:ident, $backend:ty, $histories:literal) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn transactions_are_whole_or_absent() {
                cases::transactions_are_whole_or_absent::<$backend>().await;
            }

            #[tokio::test]
            async fn revisions_rise_with_changes_only() {
                cases::revisions_rise_with_changes_only::<$backend>().await;
            }

            #[tokio::test]
            async fn old_states_can_be_read() {
                cases::old_states_can_be_read::<$backend>().await;
            }

            #[tokio::test]
            async fn lists_come_in_pages_of_one_revision() {
                cases::lists_come_in_pages_of_one_revision::<$backend>().await;
            }

            #[tokio::test]
            async fn a_watch_delivers_each_event_once_in_order() {
                cases::a_watch_delivers_each_event_once_in_order::<$backend>().await;
            }

            #[tokio::test]
            async fn a_watch_wakes_up_and_loses_nothing_when_dropped() {
                cases::a_watch_wakes_up_and_loses_nothing_when_dropped::<$backend>().await;
            }

            #[tokio::test]
            async fn compaction_says_from_where() {
                cases::compaction_says_from_where::<$backend>().await;
            }

            #[tokio::test]
            async fn a_revision_that_is_to_come_is_refused() {
                cases::a_revision_that_is_to_come_is_refused::<$backend>().await;
            }

            #[tokio::test]
            async fn one_of_many_writers_wins() {
                cases::one_of_many_writers_wins::<$backend>().await;
            }

            #[tokio::test]
            async fn too_much_is_refused() {
                cases::too_much_is_refused::<$backend>().await;
            }

            #[tokio::test]
            async fn the_epoch_is_read() {
                cases::the_epoch_is_read::<$backend>().await;
            }

            #[test]
            fn random_histories_are_what_the_oracle_says() {
                random::histories::<$backend>($histories);
            }
        }
    };
}

suite!(memory, InMemory, 300);
suite!(simulated_disk, OnSimulatedDisk, 300);
suite!(disk, OnDisk, 5);
