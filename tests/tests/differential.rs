//! The loaded programs against the reference evaluator. `cargo xtask test --soak 30m`
//! goes on with new seeds for that long; `SG_SEED=N` starts at a failure that was shown.

use sg_common::Reason::{self, *};
use sg_tests::differential::{Campaign, classbench_case, cuts_case, sequence_case, single_case};

/// Reasons that a packet can get without any packet before it. Not "related": few untracked
/// services are quoted.
const ALONE: [Reason; 12] = [
    Rule,
    Untracked,
    Exempt,
    Fragment,
    NoRule,
    NotSyn,
    Malformed,
    FragmentUnknown,
    FragmentTiny,
    TooManyHeaders,
    SourceCheck,
    NonIp,
];
/// Reasons that depend on packets before. Full tables are in `flow_table.rs`: the evaluator's has
/// no end.
const HISTORY: [Reason; 3] = [Flow, Related, FlowCut];

const FEATURES: [&str; 22] = [
    "1 tag",
    "2 tags",
    "3 tags",
    "a tag of another type",
    "arp",
    "no Ethernet header",
    "IPv4 options",
    "DF or reserved bit",
    "IPv4 first fragment",
    "IPv4 later fragment",
    "IPv4 quote",
    "IPv4 options in a quote",
    "1 to 7 extension headers",
    "8 extension headers",
    "9 or more extension headers",
    "IPv6 atomic fragment",
    "IPv6 first fragment",
    "IPv6 later fragment",
    "IPv6 quote",
    "extension headers in a quote",
    "several buffers",
    "gso",
];

/// Packets that know nothing of each other.
#[test]
fn single_packets() {
    let campaign = Campaign { name: "single packets", cases: 3300, make: single_case };
    let Some(tally) = campaign.run() else { return };
    assert!(tally.packets >= 200_000, "{tally}");
    tally.has(50, &ALONE, &FEATURES);
    tally.has(50, &[], &["jumbo"]);
}

/// Packets, replies, errors, pauses, changes of the rules.
#[test]
fn sequences() {
    let campaign = Campaign { name: "sequences", cases: 20_000, make: sequence_case };
    let Some(tally) = campaign.run() else { return };
    tally.has(50, &ALONE, &FEATURES);
    tally.has(50, &HISTORY, &["a flow starts over"]);
    // States of the flows that are there in the end.
    tally.has(50, &[], &["new", "replied", "established", "stream", "closing", "cut"]);
    // Where it leaves an entry, which takes a handshake before it.
    tally.has(10, &[], &["reset"]);
}

/// Frames cut at every byte.
#[test]
fn cuts() {
    let campaign = Campaign { name: "cuts", cases: 600, make: cuts_case };
    let Some(tally) = campaign.run() else { return };
    // A frame makes many packets, so only what many frames have is sure to be there.
    let reasons = [Rule, NoRule, Malformed, FragmentTiny, TooManyHeaders];
    tally.has(20, &reasons, &["1 tag", "IPv4 options", "1 to 7 extension headers"]);
}

/// Rule sets of up to some thousand rules, packets at their edges.
#[test]
fn classbench() {
    Campaign { name: "classbench", cases: 120, make: classbench_case }.run();
}
