//! `cargo xtask test`: every test of the workspace, by cargo-nextest, whose closing lines come last.

use std::{thread, time::Duration};

use anyhow::{Result, bail};

use crate::{
    build::{self, Built},
    duration::parse as duration,
    run::say,
    setup, tools,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without the tests that need root and a kernel with BPF
    #[arg(long)]
    quick: bool,
    /// Only build the tests
    #[arg(long, conflicts_with_all = ["quick", "soak", "filter"])]
    no_run: bool,
    /// Only differential tests, with new seeds for this long (90s, 30m, 8h), and faults in full
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "quick")]
    soak: Option<Duration>,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Passed on to cargo-nextest
    #[arg(last = true)]
    nextest: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.no_run {
        return build_tests(&build::only_bpf()?);
    }
    let built = build::run(&build::Args::default())?;
    // A workspace member that is no more (or not yet) there would make a green run mean nothing.
    if let Some(absent) = build::PROGRAMS.iter().find(|name| !built.binaries.join(name).is_file()) {
        bail!("no {absent} in {}", built.binaries.display());
    }
    if !args.quick {
        setup::ensure_tests()?;
    }
    if args.soak.is_none() && args.filter.is_none() && args.nextest.is_empty() {
        // Examples in the documentation, which nextest does not run.
        say(built.cargo().args(["test", "--quiet", "--doc", "--workspace"]))?;
    }
    let mut nextest = built.cargo();
    nextest
        .args(["nextest", "run"])
        .env("SG_BIN_DIR", &built.binaries)
        .env("SG_TOOLS_DIR", tools::directory());
    if args.soak.is_none() {
        nextest.arg("--workspace");
    }
    if args.quick {
        nextest.args(["--exclude", "sg-tests"]);
    }
    if let Some(time) = args.soak {
        nextest.args(["--profile", "soak", "--package", "sg-tests"]);
        nextest.args(["--test", "differential", "--test", "faults"]);
        nextest.env("SG_SOAK_SECONDS", time.as_secs().to_string());
    }
    if args.soak.is_none() && !args.nextest.iter().any(|arg| is_threads(arg)) {
        nextest.args(["--test-threads", &threads()?.to_string()]);
    }
    nextest.args(&args.filter).args(&args.nextest);
    say(&mut nextest)
}

/// How many tests run at once; .config/nextest.toml says which count as several.
fn threads() -> Result<usize> {
    const FOR_EACH_CPU: usize = 2;
    Ok(FOR_EACH_CPU * thread::available_parallelism()?.get())
}

/// Whether an argument of nextest's says the same.
fn is_threads(arg: &str) -> bool {
    ["--test-threads", "-j", "--jobs", "--no-capture"].iter().any(|flag| arg.starts_with(flag))
}

/// Builds all tests, those of guests included: the same packages as for a run, or cargo would choose other
/// features and build them anew.
pub(crate) fn build_tests(built: &Built) -> Result<()> {
    say(built.cargo().args(["nextest", "run", "--workspace", "--no-run"]))
}
