//! `cargo xtask nightly`: everything in full. It goes on after a failure and ends with a report.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    steps::{Ran, Show, Step, slowest_tests, step, table},
    workspace,
};

/// All of it, in this order: what fails early is cheap.
pub(crate) const STEPS: &[Step] = &[
    step("setup", &["setup", "--ci", "--vm", "--bench", "--dist"]),
    step("lint", &["lint"]),
    step("deny", &["deny"]),
    // Their database is fetched from the network.
    step("advisories", &["cargo", "deny", "--all-features", "check", "advisories"]),
    step("size", &["size"]),
    step("demo", &["demo"]),
    step("test", &["test"]),
    step("package", &["dist", "--lint"]),
    step("vm-test", &["vm-test"]),
    step("systemd-6.1", &["vm-test", "--systemd", "--kernel", "6.1"]),
    step("systemd-6.12", &["vm-test", "--systemd", "--kernel", "6.12"]),
    step("bench", &["bench"]),
    step("fuzz", &["fuzz", "--time", "30m"]),
    step("soak", &["test", "--soak", "1h"]),
    step("mutants", &["mutants", "--thorough"]),
];

/// Lines of a failed step that the report repeats.
const LINES: usize = 30;
const SLOWEST: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show the steps and do nothing
    #[arg(long)]
    list: bool,
    /// Run this step; may be given several times
    #[arg(long, value_name = "STEP", value_parser = named)]
    only: Vec<&'static Step>,
    /// Leave this step out; may be given several times
    #[arg(long, value_name = "STEP", value_parser = named, conflicts_with = "only")]
    without: Vec<&'static Step>,
}

impl Args {
    fn wants(&self, step: &Step) -> bool {
        let named = |list: &[&Step]| list.iter().any(|other| other.name == step.name);
        if self.only.is_empty() { !named(&self.without) } else { named(&self.only) }
    }
}

fn named(name: &str) -> Result<&'static Step, String> {
    STEPS.iter().find(|step| step.name == name).ok_or_else(|| {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        format!("no such step; there are: {}", names.join(", "))
    })
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        STEPS.iter().for_each(|step| println!("{:<16} {}", step.name, step.command_line()));
        return Ok(());
    }
    let began = Instant::now();
    let (wanted, others): (Vec<&Step>, Vec<&Step>) =
        STEPS.iter().partition(|step| args.wants(step));
    ensure!(!wanted.is_empty(), "no step is left");
    let ran: Vec<Ran> = wanted.iter().map(|step| step.run(Show::AsItComes)).collect();

    let mut report = table(&ran, began.elapsed());
    others.iter().for_each(|step| report += &format!("{:<16} {:>26}\n", step.name, "not run"));
    if wanted.iter().any(|step| step.name == "test") {
        report += &slowest_tests(SLOWEST).map_or_else(
            |error| format!("\nno report of slow tests: {error:#}\n"),
            |tests| format!("\n{tests}"),
        );
    }
    let failed: Vec<&Ran> = ran.iter().filter(|ran| ran.fault.is_some()).collect();
    for Ran { name, .. } in &failed {
        report += &format!("\n{}", last_lines(named(name).map_err(anyhow::Error::msg)?));
    }
    let file = file();
    fs::write(&file, &report).with_context(|| file.display().to_string())?;
    println!("\n{report}\nthis report is in {}", file.display());
    if !failed.is_empty() {
        let names: Vec<_> = failed.iter().map(|ran| ran.name).collect();
        bail!("failed: {}", names.join(", "));
    }
    Ok(())
}

fn file() -> PathBuf {
    workspace::target().join("nightly.txt")
}

/// The last lines of a step's log.
fn last_lines(step: &Step) -> String {
    let said = fs::read(step.log()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    format!("{} ended with these lines; {} has all:\n{last}\n", step.name, step.log().display())
}
