//! The loaded programs against the reference evaluator. `cargo xtask test --soak 30m`
//! goes on with new seeds for that long; `SG_SEED=N` starts at a failure that was shown.

use sg_tests::differential::{Campaign, classbench_case, sequence_case, single_case};

/// 200,000 packets that know nothing of each other.
#[test]
fn single_packets() {
    Campaign { name: "single packets", cases: 3200, make: single_case }.run();
}

/// Packets, replies, errors, pauses, changes of the rules.
#[test]
fn sequences() {
    Campaign { name: "sequences", cases: 20_000, make: sequence_case }.run();
}

/// Rule sets of up to some thousand rules, packets at their edges.
#[test]
fn classbench() {
    Campaign { name: "classbench", cases: 120, make: classbench_case }.run();
}
