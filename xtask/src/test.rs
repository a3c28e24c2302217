//! `cargo xtask test`: every test of the workspace, by cargo-nextest, whose closing lines come last.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{build, duration::parse as duration, run::say, setup, tools};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Without the tests that need root and a kernel with BPF
    #[arg(long)]
    quick: bool,
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
    let built = build::run(&build::Args::default())?;
    // A workspace member that is no more (or not yet) there would make a green run mean nothing.
    if !built.binaries.join("sg-agent").is_file() || !built.binaries.join("sgctl").is_file() {
        bail!("no sg-agent and sgctl in {}", built.binaries.display());
    }
    if !args.quick {
        setup::ensure_tests()?;
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
    nextest.args(&args.filter).args(&args.nextest);
    say(&mut nextest)
}
