//! `cargo xtask ci`: what must hold of every submission. `.ci/run` calls it.
//!
//! Two steps that keep both CPUs busy gain nothing from each other. Steps run side by side only where
//! one of them waits: for a download, for a lock, for the one CPU that a crate is compiled on.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::steps::{Ran, Step, side_by_side, slowest_tests, step, table};

const SETUP: Step = step("setup", &["setup", "--lint"]);
const DOWNLOADS: Step = step("downloads", &["setup", "--ci", "--vm", "--bench"]);
const LINT: Step = step("lint", &["lint"]);
const BUILD_TESTS: Step = step("build-tests", &["test", "--no-run"]);
const SIZE: Step = step("size", &["size"]);
const BUILD: Step = step("build", &["build"]);
const BUILD_DEMO: Step = step("build-demo", &["demo", "--no-run"]);
const BUILD_BENCH: Step = step("build-bench", &["bench", "--no-run"]);
const BUILD_FUZZERS: Step = step("build-fuzzers", &["fuzz", "--no-run"]);
const DENY: Step = step("deny", &["deny"]);
const DEMO: Step = step("demo", &["demo"]);
/// The cases that sockets and neighbours have no part in.
const BENCH: Step = step(
    "bench",
    &[
        "bench",
        "--quick",
        "program",
        "deny",
        "untracked",
        "established",
        "new-flows",
        "memory",
        "growth",
    ],
);
/// On each kernel every program loads, judges as the reference evaluator does, and filters real
/// traffic.
const GUESTS: Step = step("vm-test", &["vm-test", "--quick"]);
const FUZZ: Step = step("fuzz", &["fuzz"]);
/// The command that the README gives.
const TEST: Step = step("test", &["test"]);

/// Phases follow each other. Lanes of a phase run side by side, and steps of a lane one after the other.
const PLAN: &[&[&[Step]]] = &[
    &[&[SETUP]],
    &[
        &[DOWNLOADS, DENY],
        &[SIZE, BUILD, BUILD_DEMO, BUILD_BENCH, BUILD_FUZZERS],
        &[LINT, BUILD_TESTS],
    ],
    // Each of these keeps both CPUs busy, or measures.
    &[&[GUESTS, DEMO, BENCH, FUZZ]],
    // Last, for its closing lines.
    &[&[TEST]],
];

/// Left out for time, each with the step of `cargo xtask nightly` that runs it.
const LEFT_OUT: &[(&str, &str)] = &[
    ("advisories", "known faults of dependencies: their database is no package"),
    ("package", "lintian's look at the Debian package"),
    ("vm-test", "6.1: spoofing over XDP, frames of vmxnet3 over XDP"),
    ("vm-test", "6.12: spoofing over TC, frames of virtio and vmxnet3 over TC"),
    ("systemd-6.1", "the package on a Debian system with Linux 6.1"),
    ("systemd-6.12", "the package on a Debian system with Linux 6.12"),
    ("bench", "the cases stream, connections, latency, apply, start, flow_log; curves; 25 rounds"),
    ("fuzz", "more than a minute for each target"),
    (
        "soak",
        "differential tests with new seeds for an hour; 200 deaths, 1,000 interfaces that come and go",
    ),
    ("mutants", "bugs that are planted one by one"),
];

const SLOWEST: usize = 10;

pub(crate) fn run() -> Result<()> {
    let began = Instant::now();
    let mut ran = Vec::new();
    for lanes in PLAN {
        ran.extend(side_by_side(lanes));
        if ran.iter().any(|ran: &Ran| ran.fault.is_some()) {
            break;
        }
    }
    print(&ran, began.elapsed());
    let failed: Vec<_> = ran.iter().filter(|ran| ran.fault.is_some()).map(|ran| ran.name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn print(ran: &[Ran], all: Duration) {
    println!("\nleft out of this run; `cargo xtask nightly --only STEP` runs it:");
    for (what, step) in LEFT_OUT {
        println!("{step:<16} {what}");
    }
    println!("\n{}", table(ran, all));
    match slowest_tests(SLOWEST) {
        Ok(table) => println!("{table}"),
        Err(error) => println!("no report of slow tests: {error:#}"),
    }
    if let Some(summary) = closing_lines() {
        println!("{summary}");
    }
}

/// The test runner's last lines, from its summary on.
fn closing_lines() -> Option<String> {
    let said = fs::read_to_string(TEST.log()).ok()?;
    let from = said.rfind(" Summary [")?;
    let from = said[..from].rfind('\n').map_or(0, |end| end + 1);
    Some(said[from..].trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly;

    fn steps() -> impl Iterator<Item = &'static Step> {
        PLAN.iter().flat_map(|lanes| lanes.iter()).flat_map(|lane| lane.iter())
    }

    /// A step of the night runs here in the same words, or it is named.
    #[test]
    fn nothing_is_left_out_silently() {
        let named = |step: &Step| LEFT_OUT.iter().any(|(name, _)| *name == step.name);
        let here = |step: &Step| steps().any(|other| other.words == step.words);
        let silent: Vec<_> = nightly::STEPS
            .iter()
            .filter(|step| step.name != SETUP.name && !here(step) && !named(step))
            .map(|step| step.name)
            .collect();
        assert!(silent.is_empty(), "neither run nor named: {silent:?}");
    }

    #[test]
    fn what_is_left_out_has_its_step() {
        for (name, _) in LEFT_OUT {
            assert!(nightly::STEPS.iter().any(|step| step.name == *name), "{name}");
        }
    }

    #[test]
    fn the_command_of_the_readme_comes_last() {
        assert_eq!(steps().last().expect("a step").command_line(), "cargo xtask test");
    }
}
